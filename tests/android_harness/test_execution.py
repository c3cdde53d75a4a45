"""What runs on the device: what an interrupted command left there, and nothing else, is stopped."""

import shutil
import subprocess

from bilayer.android_harness.device.execution import stop_leftover
from bilayer.android_harness.device.workspace import ROOT, Workspace


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
