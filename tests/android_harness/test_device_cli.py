"""`bilayer-device` from bundle to report, on the test phone with stand-ins for the vendor's tools."""

import contextlib
import importlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bilayer.android_harness.device.workspace import ROOT
from bilayer.android_harness.results import read_result
from bilayer.runtime.player import AvatarPlayer
from tests.android_harness.conftest import HOSTILE, make_bundle, make_sdk
from tests.android_harness.stand_in_net_run import INVENTED_US

FEW = ("--repeats", 5, "--warm-up", 2, "--processes", 2, "--poses", 3, "--cool-down", 0)
INVENTED = re.compile(rf"{INVENTED_US // 1000}[.,]?{INVENTED_US % 1000}|3[123]\.3")  # 31337, 31.337, 32.3, 33.3


def test_devices_and_what_they_are(command, plug_in, phone):
    listed = command("list", "--json")
    assert listed.exit_code == 0, listed.stderr
    assert [one["model"] for one in json.loads(listed.stdout)["devices"]] == ["Test Phone"]
    done = command("probe", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["sdk_here"] == "1.32.0.555 for aarch64-android-clang6.0 ($SNPE_ROOT)"
    facts, now = found["device"], found["conditions"]
    assert (facts["model"], facts["soc"], facts["gpu"]) == ("Phone 1", "SM8150 (Snapdragon 855)", "Adreno640v2")
    assert (facts["android"], facts["build"], facts["emulation"]) == ("10", "QD1A.190821.011", [])
    assert (now["thermal_status"], now["hottest_celsius"], now["gpu_mhz"]) == (0, 38.5, 585.0)
    assert (now["cpu_governor"], now["battery_percent"], now["battery_celsius"]) == ("schedutil", 83.0, 29.1)
    assert now["powered"] is True
    shown = command("probe")
    assert "Adreno640v2" in shown.stdout
    assert "next: bilayer-device bench BUNDLE" in shown.stderr


def test_the_installed_program_reports_errors_in_one_line(variables, bundle):
    """As a user's shell runs it."""
    words = [Path(sys.executable).parent / "bilayer-device", "bench", bundle, "--serial", "none"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | variables)
    assert done.returncode == 3
    assert re.fullmatch(r"error: --serial none: no such device \(found: none\); plug it in and .*\n", done.stderr)


@pytest.mark.slow
def test_a_bench_of_a_stand_in_shows_parity_and_no_time(command, bundle, tmp_path, phone, track):
    out = tmp_path / "results" / "a.json"
    out.parent.mkdir()
    done = command("bench", bundle, *FEW, "--drive", track, "--out", out, "--mode", "cpu", "--mode", "gpu-fp16")
    assert done.exit_code == 0, done.stderr
    result = read_result(out)
    assert (result.measured_on, result.why) == ("stand-in", ["snpe-net-run is no program for 64-bit Android"])
    assert (result.device.model, result.device.build, result.tools.runtime) == (
        "Phone 1",
        "QD1A.190821.011",
        "stand-in",
    )
    assert (result.protocol.executions, result.protocol.processes) == (5, 2)
    assert result.protocol.poses == "3 of track.npy"
    half, full = result.rows
    assert (half.mode, full.mode, half.processes, full.processes) == ("gpu-fp16", "cpu", 2, 2)
    assert (half.latency, half.layers, full.latency, full.layers) == (None, [], None, [])
    assert (set(full.parity.psnr_db.values()), full.parity.uv_pixels) == ({200}, 0.0)
    assert 55 < half.parity.worst_db < 100  # rounded once to float16
    everything = done.stdout + done.stderr + out.read_text()
    assert not INVENTED.search(everything), INVENTED.search(everything)
    assert "No time is shown" in done.stdout
    assert f"next: bilayer-device report {out} --html report.html" in done.stderr
    assert [path.name for path in out.parent.iterdir()] == ["a.json"]
    here = phone.inside(ROOT)
    assert not (here / "out").exists()
    assert (here / "lib" / HOSTILE).is_file()
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.slow
def test_what_is_on_the_device_is_not_pushed_again(command, bundle, tmp_path, phone):
    arguments = ("bench", bundle, "--repeats", 2, "--warm-up", 0, "--processes", 1, "--poses", 2, "--mode", "cpu")
    assert command(*arguments, "--out", tmp_path / "a.json").exit_code == 0
    phone.faults.pushed.clear()
    again = command(*arguments, "--out", tmp_path / "b.json", "--clean", "--json", "--logs", tmp_path / "logs")
    assert again.exit_code == 0, again.stderr
    assert phone.faults.pushed == []
    assert json.loads(again.stdout)["rows"][0]["parity"]["poses"] == 2
    assert not phone.inside(ROOT).exists()
    kept = [path.name for path in sorted((tmp_path / "logs").iterdir())]
    assert kept == ["cpu-1.log", "cpu-1.txt", "cpu-layers.log", "cpu-layers.txt"]


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("fail", r"snpe-net-run \(cpu\) ended with code 1: error_code=910; error_message=Layer is not supported"),
        ("crash", r"snpe-net-run \(cpu\) crashed with signal 11"),
        ("full", r"no space left on the device; free some and run the same command again"),
        ("nothing", r"expected layers.raw, found nothing|copying it here failed"),
    ],
)
def test_a_program_that_fails_is_one_line(command, bundle, tmp_path, phone, mode, message):
    phone.environment["STAND_IN"] = mode
    done = command("bench", bundle, *FEW, "--mode", "cpu", "--out", tmp_path / "a.json")
    assert done.exit_code == 3, done.stderr
    assert re.search(message, done.stderr.splitlines()[-1]), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "a.json").exists()


def test_a_hang_is_stopped_on_the_device_too(command, bundle, tmp_path, phone):
    phone.environment["STAND_IN"] = "hang"
    done = command("bench", bundle, *FEW, "--mode", "cpu", "--timeout", 4, "--out", tmp_path / "a.json")
    assert done.exit_code == 3
    assert "snpe-net-run (cpu) did not end within 4 s and was stopped" in done.stderr
    assert not (phone.inside(ROOT) / "run.pid").exists()
    deadline = time.monotonic() + 20
    while running(phone) and time.monotonic() < deadline:  # the shell that watched it looks twice a second
        time.sleep(0.1)
    assert running(phone) == []


def running(phone):
    """Stand-ins of this phone that are still there."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"snpe-net-run" in (folder / "cmdline").read_bytes():
                found += [folder] if (folder / "cwd").readlink().is_relative_to(phone.root) else []
    return found


def test_a_runtime_that_the_device_lacks_does_not_stop_the_others(command, bundle, tmp_path, phone):
    phone.environment["STAND_IN"] = "no gpu"
    out = tmp_path / "a.json"
    done = command("bench", bundle, *FEW, "--out", out, "--mode", "gpu-fp16-hybrid", "--mode", "cpu")
    assert done.exit_code == 0, done.stderr
    missing, cpu = read_result(out).rows
    assert "the device does not have this runtime: error_code=500" in missing.missing
    assert (missing.parity, cpu.parity.worst_db, cpu.processes) == (None, 200, 2)
    assert "could not run" in done.stdout
    assert "127.0.0.1" not in out.read_text()  # its serial number
    only = command("bench", bundle, *FEW, "--out", tmp_path / "b.json", "--mode", "gpu-fp16-hybrid")
    assert only.exit_code == 3
    assert "no mode could run" in only.stderr


@pytest.mark.slow
def test_unplugged_in_the_middle_it_goes_on_where_it_stopped(command, bundle, tmp_path, phone, plug_in):
    out = tmp_path / "a.json"
    arguments = ("bench", bundle, *FEW, "--mode", "cpu", "--out", out)
    phone.faults.unplug_on = ("--input_list timed.txt", 2)
    done = command(*arguments)
    assert done.exit_code == 3
    assert "the device is gone" in done.stderr.splitlines()[-1]
    assert "it goes on where it stopped" in done.stderr.splitlines()[-1]
    assert not out.exists()
    phone.faults.unplug_on = None
    phone.faults.scripts.clear()
    phone.faults.pushed.clear()
    phone.plug_in()
    plug_in()
    again = command(*arguments)
    assert again.exit_code == 0, again.stderr
    assert "going on where it stopped: 1 of 2 timed processes are done" in again.stderr
    ran = [name for script in phone.faults.scripts for name in re.findall(r"--input_list (\w+)", script)]
    assert ran == ["warm", "timed", "layers"]
    assert phone.faults.pushed == []
    assert read_result(out).rows[0].processes == 2
    assert not out.with_name("a.json.partial").exists()


def test_results_in_another_layout_end_with_4(command, bundle, tmp_path, phone):
    phone.environment["STAND_IN"] = "wrong layout"
    out = tmp_path / "a.json"
    arguments = ("--repeats", 2, "--warm-up", 0, "--processes", 1, "--poses", 2, "--mode", "cpu")
    done = command("bench", bundle, *arguments, "--out", out)
    assert done.exit_code == 4, done.stderr
    assert "cpu: the device's results are not this network's" in done.stderr
    assert "WRONG RESULTS" in done.stdout
    assert read_result(out).rows[0].parity.worst_db < 20


def test_a_run_gives_the_players_frames(command, bundle, tmp_path, track):
    out = tmp_path / "frames"
    done = command("run", bundle, "--drive", track, "--retarget", "absolute", "--mode", "cpu", "--out", out)
    assert done.exit_code == 0, done.stderr
    assert "CPU, stand-in" in done.stdout
    from bilayer.runtime import crop_box, pose_vector

    avatar = AvatarPlayer.load(bundle, engine="onnxruntime")
    points = np.load(track)
    assert len(list(out.iterdir())) == len(points)
    for number, landmarks in enumerate(points):
        expected = avatar.render(pose_vector(landmarks, crop_box(landmarks)))
        assert np.array_equal(np.asarray(Image.open(out / f"{number:05d}.png")), expected)


@pytest.mark.slow
def test_qnn_runs_a_v4_dlc(command, exported_folder, tmp_path):
    bundle = make_bundle(exported_folder, tmp_path / "v4", 4, "NCHW")
    libraries = ["libQnnGpu.so", "libQnnCpu.so", "libQnnSystem.so", "libQnnModelDlc.so"]
    sdk = make_sdk(tmp_path / "2.51.0.1", "aarch64-android", ["qnn-net-run", "qnn-profile-viewer"], libraries)
    out = tmp_path / "a.json"
    done = command("bench", bundle, *FEW, "--processes", 1, "--out", out, SNPE_ROOT=str(sdk))
    assert done.exit_code == 0, done.stderr
    result = read_result(out)
    assert (result.tools.route, result.tools.sdk, result.measured_on) == ("qnn", "2.51.0.1", "stand-in")
    assert [(row.mode, row.parity.psnr_db["frame"]) for row in result.rows] == [("gpu", 200), ("cpu", 200)]


QNN_HTP = ("libQnnHtp.so", "libQnnHtpPrepare.so", "libQnnHtpV73Stub.so", "libQnnHtpV73Skel.so")
QNN = ("libQnnGpu.so", "libQnnCpu.so", "libQnnSystem.so", "libQnnModelDlc.so")


@pytest.fixture
def in_integers(exported_folder, tmp_path):
    """A bundle whose contract says that its .dlc is in integers."""
    folder = make_bundle(exported_folder, tmp_path / "integers", 4, "NCHW")
    contract = json.loads((folder / "avatar.json").read_text())
    contract["quantization"] = {"precision": "w8a16", "wide": [], "frame_db": 58.0, "uv_pixels": 0.1}
    (folder / "avatar.json").write_text(json.dumps(contract))
    return folder


def test_a_dlc_in_integers_runs_on_hexagon_by_qnn(command, in_integers, tmp_path):
    programs = ["qnn-net-run", "qnn-context-binary-generator", "qnn-profile-viewer"]
    sdk = make_sdk(tmp_path / "2.51.0.1", "aarch64-android", programs, [*QNN, *QNN_HTP])
    out = tmp_path / "a.json"
    modes = ("--mode", "htp", "--mode", "htp-context")
    done = command("bench", in_integers, *FEW, "--processes", 1, *modes, "--out", out, SNPE_ROOT=str(sdk))
    assert done.exit_code == 0, done.stderr
    result = read_result(out)
    assert [(row.mode, row.parity.kind, row.parity.psnr_db["frame"]) for row in result.rows] == [
        ("htp", "fp16", 200),
        ("htp-context", "fp16", 200),
    ]
    assert result.measured_on == "stand-in"
    assert not any(row.latency for row in result.rows)


def test_a_dlc_in_integers_runs_on_hexagon_by_snpe_where_the_phone_has_it(command, in_integers, tmp_path):
    libraries = ["libSNPE.so", "libSnpeHtpPrepare.so", "libSnpeHtpV73Stub.so", "libSnpeHtpV73Skel.so"]
    sdk = str(make_sdk(tmp_path / "2.51.0.1", "aarch64-android", ["snpe-net-run", "snpe-diagview"], libraries))
    # the stand-in gives NHWC, as SNPE 1.x does, which a v4 file does not: so its results are compared as wrong ones
    once = ("bench", in_integers, *FEW, "--processes", 1, "--mode", "dsp", "--out")
    done = command(*once, tmp_path / "a.json", SNPE_ROOT=sdk, STAND_IN="wrong layout")
    assert done.exit_code == 0, done.stderr
    (row,) = read_result(tmp_path / "a.json").rows
    assert (row.mode, row.title, row.parity.psnr_db["frame"]) == ("dsp", "DSP or HTP, integers", 200)
    done = command(*once, tmp_path / "b.json", SNPE_ROOT=sdk, STAND_IN="no dsp")
    assert done.exit_code == 3
    assert "the device does not have this runtime" in done.stderr


def test_floats_have_no_modes_on_hexagon(command, bundle, tmp_path):
    done = command("bench", bundle, "--mode", "dsp", "--out", tmp_path / "a.json")
    assert done.exit_code == 3
    assert "snpe-net-run has gpu-fp16, gpu-fp16-hybrid, cpu; it is for a .dlc in integers" in done.stderr


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"SNPE_ROOT": ""}, 5, "no SDK: set $SNPE_ROOT"),
        ({"SNPE_ROOT": "/nowhere"}, 5, "$SNPE_ROOT is /nowhere: has no bin/aarch64-android*"),
        ({"ADB": "/nowhere/adb"}, 5, "/nowhere/adb: not found ($ADB)"),
    ],
)
def test_what_is_missing_here_is_named(command, bundle, tmp_path, change, code, message):
    done = command("bench", bundle, "--out", tmp_path / "a.json", **change)
    assert (done.exit_code, done.stderr.count("\n")) == (code, 1), done.stderr
    assert message in done.stderr


def test_bundles_that_cannot_run_are_named(command, exported_folder, tmp_path):
    done = command("bench", exported_folder)
    assert done.exit_code == 3
    assert "has no .dlc; export it again with bilayer-export --target snpe-1.32" in done.stderr
    bundle = make_bundle(exported_folder, tmp_path / "v4", 4, "NCHW")
    done = command("bench", bundle)
    assert done.exit_code == 3
    assert "a DLC v4, which SNPE 1.x cannot read" in done.stderr
    bundle = make_bundle(exported_folder, tmp_path / "v3", 3, "NHWC")
    done = command("bench", bundle, "--mode", "aip")
    assert (done.exit_code, "'aip' is not one of" in done.stderr) == (2, True)
    done = command("bench", bundle, "--mode", "gpu_float16")
    assert (done.exit_code, "'gpu_float16' is called 'gpu-fp16' here" in done.stderr) == (2, True)
    done = command("bench", bundle, "--executions", 3)
    assert (done.exit_code, "--executions is called --repeats here" in done.stderr) == (2, True)
    done = command("bench", bundle, "--mode", "ncnn-cpu")
    assert (done.exit_code, "snpe-net-run has gpu-fp16, gpu-fp16-hybrid, cpu" in done.stderr) == (3, True)


@pytest.mark.parametrize("arguments", [["--help"], ["bench", "--help"], ["report", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    program = [sys.executable, "-X", "importtime", "-m", "bilayer.android_harness.cli", *arguments]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    found = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "click" in found
    assert not found & {"numpy", "onnxruntime", "numba", "torch", "cv2"}


def test_on_a_device_times_are_kept(adb, plug_in, snpe_root, bundle, tmp_path, monkeypatch, phone):
    """The same flow with the guard held open: what a device's result holds, of numbers that are invented."""
    from bilayer.android_harness import BenchOptions, BenchSetup, VendorBackend, find_sdk
    from bilayer.android_harness.routes.vendor import choose_route
    from bilayer.runtime.bundle import read_bundle
    from bilayer.runtime.motion.poses import load_poses

    bench_module = importlib.import_module("bilayer.android_harness.bench.run")
    monkeypatch.setattr("bilayer.android_harness.bench.outcome.is_android_program", lambda path: True)
    phone.environment["STAND_IN_VERSION"] = "1.32.0.555"
    read, sdk = read_bundle(bundle), find_sdk({"SNPE_ROOT": str(snpe_root)})
    poses, _ = load_poses(read.contract.source.pose)
    setup = BenchSetup(adb.choose(plug_in()), read, VendorBackend(choose_route(sdk, read), sdk, read), poses[:2])
    options = BenchOptions(("cpu",), executions=3, warm_up=1, processes=2, cool_down=0)
    (row,) = bench_module.run_bench(setup, options, tmp_path / "a.json").rows
    assert row.latency.forward_ms.median == INVENTED_US / 1000
    assert row.latency.total_ms.median == INVENTED_US / 1000 + 1
    assert row.latency.init_ms.high == INVENTED_US / 1000 + 2
    assert [layer.ms for layer in row.layers] == [INVENTED_US / 1000, 0.021]
    assert (row.throttled, row.not_cooled, row.processes) == ([], 0, 2)
    # An emulated processor closes it again
    (phone.root / "bin/uname").write_text("#!/bin/sh\necho x86_64\n")
    result = bench_module.run_bench(setup, options, tmp_path / "b.json")
    assert (result.measured_on, result.rows[0].latency, result.rows[0].layers) == ("emulated", None, [])
    assert not INVENTED.search((tmp_path / "b.json.partial").read_text())
