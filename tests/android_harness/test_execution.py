"""What runs on the device: what an interrupted command left there, and nothing else, is stopped."""

import contextlib
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from bilayer.android_harness.device.execution import execute, stop_leftover
from bilayer.android_harness.device.workspace import ROOT, Workspace
from bilayer.android_harness.routes.executorch import ExecutorchBackend
from bilayer.android_harness.routes.litert import LitertBackend
from bilayer.android_harness.routes.vendor import ROUTES
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.errors import DeviceError
from tests.android_harness.test_executorch_route import with_pte


def test_only_what_an_interrupted_command_left_running_is_stopped(device, phone):
    place = phone.inside(ROOT)
    (place / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("sleep"), place / "bin/snpe-net-run")
    with (
        subprocess.Popen([place / "bin/snpe-net-run", "600"]) as left,
        subprocess.Popen(["sleep", "600"]) as others,
    ):
        (place / "run.pid").write_text(f"{others.pid}\n")  # a number that another program has by now
        stop_leftover(Workspace(device))
        assert not (place / "run.pid").exists()
        assert (left.poll(), others.poll()) == (None, None)
        (place / "run.pid").write_text(f"{left.pid}\n")
        stop_leftover(Workspace(device))
        assert left.wait(20) == -9
        assert others.poll() is None
        others.kill()
    stop_leftover(Workspace(device))  # nothing is left: nothing happens


def left_running(phone):
    """What runs in the folder of the phone, by its own words."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "cwd").readlink() == phone.inside(ROOT).resolve():
                found.append((folder / "cmdline").read_bytes())
    return found


@pytest.fixture
def commands(exported_folder, tmp_path):
    """What the routes run that is more than one program: for each pose, or one before another."""
    both = with_pte(exported_folder, tmp_path / "both")
    litert, executorch = LitertBackend(both, read_bundle(both)), ExecutorchBackend(both, read_bundle(both))
    return {
        "litert, poses": litert.command("litert-xnnpack", "basic", "parity.txt"),
        "litert, timed": litert.command("litert-xnnpack", "basic", "timed.txt"),
        "executorch, poses": executorch.command("executorch-xnnpack", "basic", "parity.txt"),
        "executorch, timed": executorch.command("executorch-xnnpack", "basic", "timed.txt"),
        "qnn, prepared first": ROUTES["qnn"].command("htp-context", "basic", "parity.txt"),
        "qnn": ROUTES["qnn"].command("htp", "basic", "parity.txt"),
    }


@pytest.mark.parametrize("begun_by", ["this call", "an earlier one"])
@pytest.mark.parametrize(
    "name",
    ["litert, poses", "litert, timed", "executorch, poses", "executorch, timed", "qnn, prepared first", "qnn"],
)
def test_of_what_hangs_nothing_is_left(device, phone, commands, name, begun_by):
    """Not the program that a shell runs for each pose either, nor the shell, which would go on to the next pose."""
    place = phone.inside(ROOT)
    for folder in ("bin", "out"):
        (place / folder).mkdir(parents=True)
    for program in set(re.findall(r"\./bin/([\w-]+)", commands[name])):
        (place / "bin" / program).write_text("#!/bin/sh\nsleep 600 & echo $! > $$.hanging\nwait\n")
        (place / "bin" / program).chmod(0o755)
    for inputs in ("parity.txt", "timed.txt"):
        (place / inputs).write_text("pose:=a.raw\npose:=b.raw\n")
    workspace = Workspace(device)
    if begun_by == "this call":
        with pytest.raises(DeviceError, match="x did not end within 2 s and was stopped"):
            execute(workspace, "x", commands[name], timeout=2)
    else:
        with subprocess.Popen(["sh", "-c", f"echo $$ > run.pid; {commands[name]}; true"], cwd=place):
            wait_until(lambda: list(place.glob("*.hanging")))
            stop_leftover(workspace)
    wait_until(lambda: not left_running(phone))  # the shell that watched it looks twice a second
    assert len(list(place.glob("*.hanging"))) == 1
    assert not (place / "run.pid").exists()


def wait_until(true):
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
