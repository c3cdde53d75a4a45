"""A test phone with the real adb client, an SDK-like folder of stand-ins, and a bundle whose .dlc these can run."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bilayer.android_harness.cli import main
from bilayer.android_harness.device.adb import Adb
from bilayer.runtime.bundle import describe_file
from tests.android_harness.device_server import TestPhone
from tests.android_harness.stand_ins import PROGRAMS
from tests.runtime.conftest import CASE, usual_bundle

PROPERTIES = {
    "ro.product.manufacturer": "Test", "ro.product.model": "Phone 1", "ro.build.version.release": "10",
    "ro.build.id": "QD1A.190821.011", "ro.board.platform": "msmnile", "ro.soc.model": "SM8150",
    "ro.build.version.security_patch": "2019-10-05",
}  # fmt: skip
FILES = {
    "sys/class/kgsl/kgsl-3d0/gpuclk": "585000000", "sys/class/kgsl/kgsl-3d0/max_gpuclk": "585000000",
    "sys/class/kgsl/kgsl-3d0/thermal_pwrlevel": "0", "sys/class/kgsl/kgsl-3d0/gpu_model": "Adreno640v2",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1785600",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1785600",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "1785600",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil",
    "sys/class/thermal/thermal_zone0/type": "cpu-0-0-usr", "sys/class/thermal/thermal_zone0/temp": "38500",
    "sys/class/thermal/thermal_zone1/type": "battery", "sys/class/thermal/thermal_zone1/temp": "99000",
}  # fmt: skip
DUMPSYS = """#!/bin/sh
case "$1" in
thermalservice) echo 'IsStatusOverride: false'; echo 'Thermal Status: 0';;
battery) printf '  AC powered: false\\n  USB powered: true\\n  level: 83\\n  temperature: 291\\n';;
esac
"""


@pytest.fixture(scope="session", autouse=True)
def _server_of_stand_ins():
    with PROGRAMS:  # started when first asked
        yield


@pytest.fixture(autouse=True)
def _no_runner_of_the_users(monkeypatch):
    """What `bilayer-device build-runner` left in this user's cache is for phones, and would not start here."""
    monkeypatch.setattr("bilayer.android_harness.routes.runner_build.built_runner", lambda: None)
    monkeypatch.delenv("BILAYER_RUNNER", raising=False)


@pytest.fixture
def phone(tmp_path):
    root = tmp_path / "phone"
    (root / "data/local/tmp").mkdir(parents=True)
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    properties = "".join(f"[{name}]: [{value}]\n" for name, value in PROPERTIES.items())
    scripts = {"getprop": f"#!/bin/sh\ncat <<'EOF'\n{properties}EOF\n", "dumpsys": DUMPSYS}
    # Between two looks at a process, which is over at once here
    scripts["sleep"] = f'#!/bin/sh\n[ "$1" != 0.5 ] || set 0.03\nexec {shutil.which("sleep")} "$@"\n'
    scripts["uname"] = '#!/bin/sh\n[ "$1" = -m ] && echo aarch64 || echo 4.14.117\n'
    (root / "bin").mkdir()
    for name, text in scripts.items():
        (root / "bin" / name).write_text(text)
        (root / "bin" / name).chmod(0o755)
    phone = TestPhone(root)
    yield phone
    phone.close()


@pytest.fixture
def adb_environment(tmp_path):
    """The real client with a server of its own; the environment to call it with."""
    program = shutil.which(os.environ.get("ADB", "adb"))
    if program is None:
        pytest.skip("adb is not installed: apt install adb")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    home = tmp_path / "home"
    home.mkdir()
    environment = {"ADB": program, "ANDROID_ADB_SERVER_PORT": str(port), "HOME": str(home), "TMPDIR": str(tmp_path)}
    yield environment
    subprocess.run([program, "kill-server"], env=os.environ | environment, capture_output=True, check=False, timeout=30)


@pytest.fixture
def plug_in(phone, adb_environment):
    """Connects the phone, again if need be, and says by what serial adb knows it."""

    def connect():
        serial = f"127.0.0.1:{phone.port}"
        for arguments in (["disconnect", serial], ["connect", serial]):
            command = [adb_environment["ADB"], *arguments]
            environment = os.environ | adb_environment
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert "connected to" in done.stdout, done.stdout + done.stderr
        return serial

    return connect


@pytest.fixture
def adb(adb_environment, monkeypatch):
    for name, value in adb_environment.items():
        monkeypatch.setenv(name, value)
    return Adb.find()


@pytest.fixture
def device(adb, plug_in):
    return adb.choose(plug_in())


@pytest.fixture(scope="session")
def exported_folder(once_for_all):
    return usual_bundle(once_for_all)


@pytest.fixture
def bundle(exported_folder, tmp_path):
    """A bundle with a .dlc that only the stand-ins read."""
    return make_bundle(exported_folder, tmp_path / "it's a bundle", 3, "NHWC")


def make_bundle(exported_folder, folder, container, layout):
    shutil.copytree(exported_folder, folder)
    shutil.copy(folder / "avatar.onnx", folder / "avatar.dlc")
    path = folder / "avatar.json"
    contract = json.loads(path.read_text())
    dlc = describe_file(folder / "avatar.dlc")
    contract["files"]["dlc"] = {"name": dlc.name, "bytes": dlc.bytes, "sha256": dlc.sha256}
    contract["dlc"] = {
        "target": "snpe-1.32", "tool": "stand-in", "container": container, "readable_by": "stand-ins", "layout": layout
    }  # fmt: skip
    path.write_text(json.dumps(contract))
    return folder


def make_sdk(root, target, programs, libraries):
    """An SDK's folders with stand-ins in them."""
    for name in programs:
        viewer = "view" in name
        path = root / "bin" / ("x86_64-linux-clang" if viewer else target) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if viewer:  # it loads next to nothing
            path.write_text(f"#!{sys.executable} -IS\n{Path(__file__).with_name('stand_in_viewer.py').read_text()}")
        else:
            PROGRAMS.write(path, "stand_in_net_run.py")
        path.chmod(0o755)
    (root / "bin" / target).mkdir(parents=True, exist_ok=True)
    (root / "lib" / target).mkdir(parents=True)
    for name in libraries:
        place = root / "lib" / ("hexagon-v73/unsigned" if name.endswith("Skel.so") else target) / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(name.encode() * 1000)
    return root


HOSTILE = 'lib it\'s $(touch pwned) `touch pwned` "x" & ; é.so'


@pytest.fixture
def snpe_root(tmp_path):
    programs = ("snpe-net-run", "snpe-diagview")
    return make_sdk(tmp_path / "snpe $(x)-1.32.0.555", "aarch64-android-clang6.0", programs, ["libSNPE.so", HOSTILE])


@pytest.fixture
def track(tmp_path):
    """Four frames of the golden driver, in pixels."""
    points = CASE["target_landmarks"]
    np.save(tmp_path / "track.npy", np.concatenate([points, points + 3]))
    return tmp_path / "track.npy"


@pytest.fixture
def variables(adb_environment, snpe_root):
    """What a user's shell has set."""
    return {"SNPE_ROOT": str(snpe_root), "QAIRT_SDK_ROOT": "", "QNN_SDK_ROOT": ""} | adb_environment


@pytest.fixture
def command(variables, plug_in):
    """Runs bilayer-device with the phone plugged in; in this process, as starting Python takes a while."""
    serial = plug_in()

    def run(*arguments, **environment):
        name, *rest = map(str, arguments)
        chosen = [] if name in ("report", "list") else ["--serial", serial]
        return CliRunner().invoke(main, [name, *chosen, *rest], env=variables | environment)

    return run
