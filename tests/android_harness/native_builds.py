"""The sampler's runner for this processor and for ARM, built once in a test run, whatever number of workers it has."""

import fcntl

from bilayer.android_harness.routes.runner_build import TARGET, Compiler, build_runner
from tests.native_sampler import ARM64, HOST

TOOLCHAINS = {"host": HOST, "arm64": ARM64}
# -Werror here, not for users: their compiler may know other warnings
STRICT = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-sign-conversion", "-Werror", "-static")


def sampler_runner(name, tmp_path_factory):
    """The program for host or arm64; skips where a tool is missing."""
    TOOLCHAINS[name].check()
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if shared.name.startswith("popen-") else shared  # of all workers
    program = shared / "native_builds" / name
    program.parent.mkdir(exist_ok=True)
    with program.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            march = ("-march=armv8.2-a",) if name == "arm64" else ()
            compiler = Compiler((TOOLCHAINS[name].compiler, *STRICT, *march), static=True)
            build_runner(program, compiler, TARGET if name == "arm64" else "native")
    return program
