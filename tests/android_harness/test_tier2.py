"""`bilayer-device` on an emulated phone: the real adb, adbd, and Android's shell and tools, ARM code under qemu.

What stands in for snpe-net-run is a program for 64-bit ARM that computes the network: tier2/net_run.cpp.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from bilayer.android_harness.cli import main
from bilayer.android_harness.device.adb import Adb
from bilayer.android_harness.device.execution import execute
from bilayer.android_harness.device.workspace import ROOT, Workspace
from bilayer.android_harness.results import read_result
from bilayer.android_harness.routes.per_pose import over_list
from bilayer.runtime.bundle import describe_file
from bilayer.runtime.errors import DeviceError
from tests.android_harness.conftest import make_bundle, make_sdk
from tests.android_harness.stand_in_net_run import INVENTED_US
from tests.android_harness.test_adb import HOSTILE
from tests.android_harness.tier2 import phone as tier2
from tests.android_harness.tier2.graph_dump import dump

COMPILER = "aarch64-linux-gnu-g++"
SOURCE = Path(tier2.__file__).parent / "net_run.cpp"
SDK = "snpe-1.32.0.555"
FEW = ("--repeats", 2, "--warm-up", 1, "--processes", 1, "--poses", 2)


@pytest.fixture(scope="module", autouse=True)
def _needs():
    reason = tier2.missing() or (None if shutil.which(COMPILER) else f"{COMPILER} is not installed")
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def phone():
    # On a disk: of a file system in memory Android's df says nothing to programs that see a folder of it alone
    with tempfile.TemporaryDirectory(prefix="tier2-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        phone = tier2.snapdragon_855(Path(folder) / "it's a phone")
        yield phone
        phone.close()


@pytest.fixture
def device(phone):
    return Adb(str(phone.adb)).choose()


@pytest.fixture(scope="module")
def sdk(once_for_all):
    """An SDK's folders with the interpreter in them."""

    def make(folder):
        target = "aarch64-android-clang6.0"
        root = make_sdk(folder / SDK, target, ["snpe-diagview"], ["libSNPE.so"])
        # Small, as the phone's emulated sha256sum reads it again and again
        flags = ["-O1", "-s", "-std=c++17", "-static", "-march=armv8.2-a+fp16", "-Wall", "-Wextra", "-Werror"]
        subprocess.run([COMPILER, *flags, SOURCE, "-o", root / "bin" / target / "snpe-net-run"], check=True)

    return once_for_all("tier2-sdk", make) / SDK


@pytest.fixture
def bundle(exported_folder, tmp_path):
    folder = make_bundle(exported_folder, tmp_path / "a $(touch pwned) bundle", 3, "NHWC")
    (folder / "avatar.dlc").write_bytes(dump(folder / "avatar.onnx"))
    contract = json.loads((folder / "avatar.json").read_text())
    dlc = describe_file(folder / "avatar.dlc")
    contract["files"]["dlc"] |= {"bytes": dlc.bytes, "sha256": dlc.sha256}
    (folder / "avatar.json").write_text(json.dumps(contract))
    return folder


def variables(phone, sdk):
    """What a user's shell has set."""
    return {"ADB": str(phone.adb), "SNPE_ROOT": str(sdk), "QAIRT_SDK_ROOT": "", "QNN_SDK_ROOT": ""}


@pytest.fixture
def command(phone, sdk):
    def run(*arguments):
        serial = [] if arguments[0] == "report" else ["--serial", phone.serial]
        return CliRunner().invoke(main, [*map(str, arguments), *serial], env=variables(phone, sdk))

    return run


def test_it_is_recognised_as_emulated(command):
    done = command("probe", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    facts, now = found["device"], found["conditions"]
    assert (facts["architecture"], facts["soc"]) == ("aarch64", "SM8150 (Snapdragon 855)")
    assert facts["emulation"] == ["its programs are run by qemu"]
    assert facts["free_mb"] > 0
    assert (now["gpu_mhz"], now["hottest_celsius"], now["battery_percent"]) == (585.0, 38.5, 83.0)
    assert (now["cpu_governor"], now["thermal_status"]) == ("schedutil", 0)


@pytest.mark.slow
def test_from_bundle_to_report_without_a_time(command, bundle, tmp_path, phone, device):
    out = tmp_path / "a.json"
    done = command("bench", bundle, *FEW, "--out", out, "--logs", tmp_path / "logs")
    assert done.exit_code == 0, done.stderr
    result = read_result(out)
    assert (result.measured_on, result.why) == ("emulated", ["its programs are run by qemu"])
    assert (result.tools.runtime, result.device.architecture) == ("interpreter-1", "aarch64")
    rows = {row.mode: row for row in result.rows if row.mode in ("gpu-fp16", "gpu-fp16-hybrid", "cpu")}
    assert len(rows) == 3
    for row in rows.values():
        assert (row.processes, row.latency, row.layers, row.missing) == (1, None, [], None)
        assert (row.parity.poses, row.parity.not_finite) == (2, 0)
    half, hybrid, full = (rows[mode].parity for mode in ("gpu-fp16", "gpu-fp16-hybrid", "cpu"))
    assert full.worst_db > 100  # float sums in another order
    assert 35 < half.worst_db < hybrid.worst_db < 80  # half sums, and half storage alone
    assert full.uv_pixels < 0.001 < hybrid.uv_pixels < half.uv_pixels < 1
    everything = done.stdout + done.stderr + out.read_text()
    assert str(INVENTED_US) in (tmp_path / "logs/cpu-1.log").read_text()
    for invented in (INVENTED_US, INVENTED_US + 1000, INVENTED_US + 2000):
        assert not any(
            form in everything for form in (str(invented), f"{invented / 1000:.1f}", f"{invented / 1000:.2f}")
        )

    page = tmp_path / "r.html"
    report = command("report", out, "--html", page)
    assert report.exit_code == 0, report.stderr
    for text in (report.stdout, page.read_text()):
        assert "Test Phone 1 (emulated)" in text
        assert f"{half.psnr_db['frame']:.1f}" in text
        assert "No time is shown" in text
    assert not list(tmp_path.rglob("pwned"))
    assert device.shell(f"ls {ROOT}/out").code != 0


@pytest.mark.slow
def test_litert_and_executorch_from_bundle_to_report(command, sdk, bundle, tmp_path):
    """Their programs' flags on Android's shell, one network in each: what stands in computes the .onnx's dump."""
    program = next(sdk.glob("bin/aarch64-*/snpe-net-run"))
    contract = json.loads((bundle / "avatar.json").read_text())
    for role, name in {
        "tflite": "avatar.tflite",
        "pte_xnnpack": "avatar.xnnpack.pte",
        "pte_vulkan": "avatar.vulkan.pte",
    }.items():
        (bundle / name).write_bytes(dump(bundle / "avatar.onnx"))
        file = describe_file(bundle / name)
        contract["files"][role] = {"name": name, "bytes": file.bytes, "sha256": file.sha256}
    (bundle / "avatar.json").write_text(json.dumps(contract))
    results = []
    for route, option in {"litert": "--benchmark-model", "executorch": "--executor-runner"}.items():
        results.append(tmp_path / f"{route}.json")
        few = ("--repeats", 2, "--warm-up", 1, "--processes", 1, "--poses", 2, "--no-sampler")
        done = command("bench", bundle, "--route", route, option, program, *few, "--out", results[-1])
        assert done.exit_code == 0, done.stderr
        result = read_result(results[-1])
        assert (result.measured_on, result.why, result.tools.route) == (
            "emulated",
            ["its programs are run by qemu"],
            route,
        )
        assert (
            result.tools.runtime
            == {
                "litert": "GPU delegate, completely; XNNPACK delegate, completely",
                "executorch": "of a version that it does not tell",
            }[route]
        )
        for row in result.rows:
            assert (row.processes, row.latency, row.missing, row.parity.poses) == (1, None, None, 2)
            assert 35 < row.parity.worst_db < 80 if row.mode.endswith("fp16") else row.parity.worst_db > 100
    report = command("report", *results)
    assert report.exit_code == 0, report.stderr
    for text in ("LiteRT, GPU delegate, FP16", "ExecuTorch, Vulkan, FP32", "No time is shown", "At best, by published"):
        assert text in report.stdout, text
    assert str(INVENTED_US) not in report.stdout


@pytest.mark.parametrize("word", HOSTILE)
def test_words_and_files_reach_androids_shell_as_they_are(device, phone, tmp_path, word):
    done = device.run("printf", "%s|", word, "end")
    assert (done.code, done.out) == (0, f"{word}|end|")
    if "\n" not in word:
        (tmp_path / "sent").write_bytes(b"\x00\n\r" * 1000)
        device.push(tmp_path / "sent", f"/data/local/tmp/{word}.bin")
        assert phone.inside(f"/data/local/tmp/{word}.bin").read_bytes() == b"\x00\n\r" * 1000
        device.pull(f"/data/local/tmp/{word}.bin", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b"\x00\n\r" * 1000
        device.run("rm", f"/data/local/tmp/{word}.bin")
    assert device.shell("find / -xdev -name pwned").out == ""


@pytest.mark.slow
def test_a_device_without_a_gpu_runtime_is_measured_without_it(command, bundle, tmp_path, device):
    device.shell("touch /data/local/tmp/no-gpu")
    once = ("--repeats", 1, "--warm-up", 0, "--processes", 1, "--poses", 1)
    try:
        modes = ("--mode", "gpu-fp16", "--mode", "cpu")
        done = command("bench", bundle, *once, *modes, "--out", tmp_path / "a.json", "--clean")
    finally:
        device.shell("rm /data/local/tmp/no-gpu")
    assert done.exit_code == 0, done.stderr
    rows = {row.mode: row for row in read_result(tmp_path / "a.json").rows}
    assert "the device does not have this runtime: error_code=" in rows["gpu-fp16"].missing
    assert rows["cpu"].parity.worst_db > 100
    assert device.shell(f"ls {ROOT}").code != 0  # --clean


@pytest.mark.slow
def test_the_battery_taken_out_it_goes_on_afterwards(phone, sdk, bundle, tmp_path):
    """In the middle of a process, the command a process of its own, as a user has it."""
    out = tmp_path / "a.json"
    words = ["bench", bundle, *FEW, "--processes", 2, "--mode", "cpu", "--out", out, "--serial", phone.serial]
    program = [Path(sys.executable).parent / "bilayer-device", *map(str, words)]
    environment = os.environ | variables(phone, sdk)
    with subprocess.Popen(
        program, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as running:
        said = []
        for line in running.stderr:
            said.append(line)
            if "process 2 of 2" in line:
                wait_for_program(phone)
                phone.stop()
    assert running.returncode == 3, said
    assert re.fullmatch(r"error: .*: the device is gone .* it goes on where it stopped\n", said[-1]), said
    assert not out.exists()
    assert out.with_name("a.json.partial").is_file()

    phone.start()
    again = subprocess.run(program, capture_output=True, text=True, check=False, env=environment)
    assert again.returncode == 0, again.stderr
    assert "going on where it stopped: 1 of 2 timed processes are done" in again.stderr
    assert "pushed" not in again.stderr.replace("0 files pushed", "")
    (row,) = (row for row in read_result(out).rows if row.mode == "cpu")
    assert (row.processes, row.latency) == (2, None)
    assert list(tmp_path.glob("a.json*")) == [out]


@pytest.mark.parametrize(
    "command",
    [over_list("parity.txt", "./bin/benchmark_model", ""), over_list("timed.txt", "", "./bin/benchmark_model")],
    ids=["for each pose", "timed"],
)
def test_of_what_hangs_nothing_is_left(device, phone, command):
    """By Android's own shell. What it says of a signal is not taken for what the program said."""
    place = phone.inside(ROOT)
    shutil.rmtree(place, ignore_errors=True)
    for folder in ("bin", "out"):
        (place / folder).mkdir(parents=True)
    for inputs in ("parity.txt", "timed.txt"):
        (place / inputs).write_text("pose:=a.raw\npose:=b.raw\n")
    (place / "bin/benchmark_model").write_text("#!/system/bin/sh\nsleep 600 & echo $! > $$.hanging\nwait\n")
    (place / "bin/benchmark_model").chmod(0o755)
    with pytest.raises(DeviceError, match="x did not end within 4 s and was stopped"):
        execute(Workspace(device), "x", command, timeout=4)
    (hanging,) = place.glob("*.hanging")
    deadline = time.monotonic() + 20
    for pid in (hanging.stem, hanging.read_text().strip()):
        while not re.search(r"^$|\) Z ", device.shell(f"cat /proc/{pid}/stat").out):  # adbd, the first here, reaps none
            assert time.monotonic() < deadline
    (place / "bin/benchmark_model").write_text("#!/system/bin/sh\nkill -ABRT $$\n")
    with pytest.raises(
        DeviceError, match=r"x (crashed with signal 6 \(Aborted\)|ended with code 1): qemu: .* signal 6"
    ):
        execute(Workspace(device), "x", command, 20)


def wait_for_program(phone):
    """Until the device's program runs."""
    deadline = time.monotonic() + 20
    while not phone.inside(f"{ROOT}/run.pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_full_disk_is_one_line_and_leaves_no_half_file(tmp_path):
    phone = tier2.snapdragon_855(tmp_path / "phone", data_mb=12)
    try:
        workspace = Workspace(Adb(str(phone.adb)).choose())
        files = {name: tmp_path / name for name in ("small", "large")}
        files["small"].write_bytes(b"1" * 1000)
        files["large"].write_bytes(b"2" * (14 << 20))
        with pytest.raises(DeviceError, match=r"15 MB needed on the device, no space left for them \(1\d MB free\)"):
            workspace.sync(files)
        phone.inside("/system/bin/df").unlink()  # on a phone that does not say how much is free
        with pytest.raises(DeviceError, match="no space left on the device; free some and run the same command again"):
            workspace.sync(files)
        assert workspace.digests().keys() == {"small"}
        files["large"].write_bytes(b"2" * (2 << 20))
        assert workspace.sync(files).pushed == ("large",)
    finally:
        phone.close()
