"""The sampler's runner for this processor and for ARM, built once in a test run, whatever number of workers it has."""

from bilayer.android_harness.routes.runner_build import TARGET, Compiler, build_runner
from tests.native_sampler import ARM64, HOST, shared_ir

TOOLCHAINS = {"host": HOST, "arm64": ARM64}
# -Werror here, not for users: their compiler may know other warnings
STRICT = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-sign-conversion", "-Werror", "-static")


def sampler_runner(name, once_for_all):
    """The program for host or arm64; skips where a tool is missing."""
    TOOLCHAINS[name].check()

    def make(folder):
        march = ("-march=armv8.2-a",) if name == "arm64" else ()
        compiler = Compiler((TOOLCHAINS[name].compiler, *STRICT, *march), static=True)
        with shared_ir(once_for_all):
            build_runner(folder / name, compiler, TARGET if name == "arm64" else "native")

    return once_for_all(f"runner-{name}", make) / name
