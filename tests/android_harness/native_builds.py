"""The sampler's runner for this processor and for ARM, built once in a test run, whatever number of workers it has."""

import json
import os
import shlex
import shutil
from pathlib import Path

from click.testing import CliRunner

from bilayer.android_harness.cli import main
from bilayer.android_harness.routes.runner_build import Compiler, build_runner
from tests.native_sampler import ARM64, HOST, built_objects

TOOLCHAINS = {"host": HOST, "arm64": ARM64}
# -Werror here, not for users: their compiler may know other warnings
STRICT = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-sign-conversion", "-Werror", "-static")


def sampler_runner(name, once_for_all):
    """The program for host or arm64; skips where a tool is missing."""
    TOOLCHAINS[name].check()
    if name == "arm64":
        return runner_of_the_command(once_for_all)[1]

    def make(folder):
        with built_objects(once_for_all):
            build_runner(folder / name, Compiler((HOST.compiler, *STRICT), static=True), "native")

    return once_for_all(f"runner-{name}", make) / name


def runner_of_the_command(once_for_all):
    """A user's cache, and the program for ARM that `bilayer-device build-runner` left there, of a strict compiler."""

    def make(folder):
        compiler = folder / ARM64.compiler
        compiler.write_text(f'#!/bin/sh\nexec {shutil.which(ARM64.compiler)} {shlex.join(STRICT)} "$@"\n')
        compiler.chmod(0o755)
        paths = {"BILAYER_CACHE": f"{folder}/cache", "PATH": f"{folder}:{os.environ['PATH']}"}
        with built_objects(once_for_all):
            done = CliRunner().invoke(
                main, ["build-runner", "--json"], env=paths | {"ANDROID_NDK_HOME": "", "ANDROID_NDK_ROOT": ""}
            )
        assert done.exit_code == 0, done.stderr
        (folder / "said").write_text(done.stdout)

    folder = once_for_all("runner-arm64", make)
    return folder / "cache", Path(json.loads((folder / "said").read_text())["out"])
