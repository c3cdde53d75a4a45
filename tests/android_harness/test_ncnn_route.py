"""`--route ncnn`: no SDK; the test phone with a stand-in, and the real runner for ARM where ncnn was built for it."""

import importlib.util
import json
import os
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from bilayer.android_harness.results import read_result
from bilayer.android_harness.routes import runner_build
from bilayer.android_harness.routes.ncnn import NcnnBackend, find_ncnn_runner
from bilayer.android_harness.routes.sdk import is_android_program
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.engines.ncnn_convert import ncnn_network
from bilayer.runtime.errors import DeviceError, ToolMissingError
from bilayer.runtime.frame import NetworkOutputs
from bilayer.runtime.player import AvatarPlayer, read_texture
from bilayer.runtime.sampler.compositor import FrameCompositor
from tests.android_harness.stand_in_ncnn_runner import INVENTED_US
from tests.android_harness.stand_ins import PROGRAMS
from tests.native_sampler import ARM64

for package in ("ncnn", "pnnx"):
    if not importlib.util.find_spec(package):
        pytest.skip(f"{package} is not installed: pip install 'bilayer[ncnn]'", allow_module_level=True)

FEW = ("--repeats", 3, "--warm-up", 1, "--processes", 2, "--poses", 2, "--cool-down", 0, "--no-sampler")
# Folders of ncnnConfig.cmake in builds of ncnn: for 64-bit ARM Linux, and for this machine with Vulkan. Without them
# the real runner is not tested
NCNN_DIR = os.environ.get("BILAYER_TEST_NCNN_ARM64")
NCNN_VULKAN_DIR = os.environ.get("BILAYER_TEST_NCNN_VULKAN")


@pytest.fixture
def stand_in(tmp_path):
    path = tmp_path / "it's a runner"
    PROGRAMS.write(path, "stand_in_ncnn_runner.py")
    return path


@pytest.fixture
def ncnn(command, stand_in, exported_folder):
    """Runs a command on a bundle without a .dlc, with no SDK set."""

    def run(name, *arguments, **environment):
        settings = {"SNPE_ROOT": "", "BILAYER_NCNN_RUNNER": str(stand_in)} | environment
        return command(name, exported_folder, "--route", "ncnn", *arguments, **settings)

    return run


@pytest.mark.slow
def test_a_bench_without_an_sdk(ncnn, tmp_path):
    out = tmp_path / "a.json"
    done = ncnn("bench", *FEW, "--out", out, "--logs", tmp_path / "logs")
    assert done.exit_code == 0, done.stderr
    result = read_result(out)
    assert (result.measured_on, result.tools.route) == ("stand-in", "ncnn")
    assert (result.tools.program, result.tools.runtime) == ("bilayer-ncnn-runner", "stand-in on CPU, 1 threads")
    assert result.model.converted_by.startswith("pnnx ")
    rows = {row.mode: row for row in result.rows}
    assert list(rows) == ["ncnn-cpu", "ncnn-cpu-fp16", "ncnn-vulkan", "ncnn-vulkan-fp16-hybrid", "ncnn-vulkan-fp16"]
    for mode in ("ncnn-vulkan", "ncnn-vulkan-fp16-hybrid", "ncnn-vulkan-fp16"):
        assert "there is no Vulkan device" in rows[mode].missing
    full, half = rows["ncnn-cpu"], rows["ncnn-cpu-fp16"]
    assert (full.processes, full.latency, full.layers) == (2, None, [])
    assert full.parity.worst_db > 100
    assert 40 < half.parity.worst_db < 100  # 16 bits between the layers
    for text in (done.stdout, done.stderr, out.read_text()):
        assert not any(number in text for number in (str(INVENTED_US), "31.337", "31.34"))
    assert sorted(path.name for path in (tmp_path / "logs").glob("*.txt")) == [
        f"ncnn-{mode}-{number}.txt" for mode in ("cpu", "cpu-fp16") for number in (1, 2)
    ]


def test_on_a_device_times_are_kept(ncnn, tmp_path, phone, monkeypatch):
    """The same flow with the guard held open: what a device's result holds, of numbers that are invented."""
    monkeypatch.setattr("bilayer.android_harness.bench.outcome.is_android_program", lambda path: True)
    phone.environment["STAND_IN_VERSION"] = "1.0.20990101"
    out = tmp_path / "a.json"
    done = ncnn("bench", *FEW, "--mode", "ncnn-cpu", "--out", out)
    assert done.exit_code == 0, done.stderr
    (row,) = read_result(out).rows
    assert (row.latency.total_ms.median, row.latency.forward_ms) == (INVENTED_US / 1000, None)
    assert row.latency.init_ms.high == INVENTED_US / 1000


@pytest.mark.slow
def test_a_run_gives_the_players_frames(ncnn, exported_folder, tmp_path, track):
    out = tmp_path / "frames"
    done = ncnn("run", "--drive", track, "--retarget", "absolute", "--out", out)
    assert done.exit_code == 0, done.stderr
    assert "ncnn, CPU, FP32, stand-in" in done.stdout
    from bilayer.runtime import crop_box, pose_vector

    avatar, points = AvatarPlayer.load(exported_folder, engine="onnxruntime"), np.load(track)
    for number, landmarks in enumerate(points):
        expected = avatar.render(pose_vector(landmarks, crop_box(landmarks))).astype(int)
        found = np.asarray(Image.open(out / f"{number:05d}.png")).astype(int)
        assert abs(found - expected).max() <= 1


def test_what_goes_wrong_is_one_line(ncnn, tmp_path, phone):
    out = tmp_path / "a.json"
    phone.environment["STAND_IN"] = "fail"
    failed = ncnn("bench", *FEW, "--mode", "ncnn-cpu", "--out", out)
    assert failed.exit_code == 3
    assert "bilayer-ncnn-runner (ncnn-cpu) ended with code 1: error: avatar.param: ncnn cannot" in failed.stderr
    none = ncnn("bench", *FEW, "--mode", "ncnn-vulkan-fp16", "--out", out)
    assert none.exit_code == 3
    assert "no mode could run: bilayer-ncnn-runner (ncnn-vulkan-fp16): the device does not have" in none.stderr
    wrong = ncnn("bench", *FEW, "--mode", "gpu-fp16", "--out", out)
    assert "mode gpu-fp16: bilayer-ncnn-runner has ncnn-cpu, ncnn-cpu-fp16" in wrong.stderr
    missing = ncnn("bench", *FEW, "--out", out, BILAYER_NCNN_RUNNER="")
    assert (missing.exit_code, missing.stderr.count("\n")) == (5, 1)
    assert "no bilayer-ncnn-runner: give --ncnn-runner or set $BILAYER_NCNN_RUNNER. To build it" in missing.stderr
    with pytest.raises(ToolMissingError, match=r"nowhere: no such file\. To build it"):
        find_ncnn_runner(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["", "{}", '{"format": "bilayer-ncnn-runner", "version": 2}', "null"])
def test_a_log_that_is_none_is_refused(exported_folder, stand_in, tmp_path, content):
    (tmp_path / "ncnn.json").write_text(content)
    backend = NcnnBackend(stand_in, read_bundle(exported_folder))
    with pytest.raises(DeviceError, match="build it again"):
        backend.read_log(tmp_path / "ncnn.json")


def build_real(folder, ncnn, *options):
    configure = ["cmake", "-S", str(runner_build.NATIVE), "-B", str(folder), f"-Dncnn_DIR={ncnn}", *options]
    for words in (configure, ["cmake", "--build", str(folder), "--target", "bilayer-ncnn-runner"]):
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "bilayer-ncnn-runner"


@pytest.mark.slow
@pytest.mark.skipif(not NCNN_DIR, reason="$BILAYER_TEST_NCNN_ARM64 names no build of ncnn for 64-bit ARM")
def test_the_real_runner_on_arm_code(command, exported_folder, tmp_path):
    """ncnn itself, as ARM code with half-precision instructions, under qemu."""
    ARM64.check()
    compiler = [f"-DCMAKE_CXX_COMPILER={ARM64.compiler}", "-DCMAKE_SYSTEM_NAME=Linux"]
    program = build_real(tmp_path / "build", NCNN_DIR, *compiler, "-DCMAKE_SYSTEM_PROCESSOR=aarch64")
    assert is_android_program(program)
    emulated = tmp_path / "runner"
    emulated.write_text(f'#!/bin/sh\nexec {shutil.which(ARM64.emulator)} {program} "$@"\n')
    out, logs = tmp_path / "a.json", tmp_path / "logs"
    settings = {"SNPE_ROOT": "", "BILAYER_NCNN_RUNNER": str(emulated)}
    done = command("bench", exported_folder, "--route", "ncnn", *FEW, "--out", out, "--logs", logs, **settings)
    assert done.exit_code == 0, done.stderr
    full, half, *vulkan = read_result(out).rows
    assert full.parity.worst_db > 100
    assert 40 < half.parity.worst_db < 80
    assert all("ncnn was built without Vulkan" in row.missing for row in vulkan)
    log = json.loads((logs / "ncnn-cpu-fp16-1.txt").read_text())
    assert (log["total_us"], log["init_us"], log["executions"]) == (None, None, 3)
    assert "run by qemu" in log["machine"]["emulation"]


@pytest.mark.slow
@pytest.mark.skipif(not NCNN_VULKAN_DIR, reason="$BILAYER_TEST_NCNN_VULKAN names no build of ncnn with Vulkan")
def test_the_real_runner_on_a_vulkan_device(command, exported_folder, tmp_path):
    """This machine's, a graphics card or Mesa's lavapipe, which computes in true half precision."""
    program, out = build_real(tmp_path / "build", NCNN_VULKAN_DIR), tmp_path / "a.json"
    settings = {"SNPE_ROOT": "", "BILAYER_NCNN_RUNNER": str(program)}
    done = command("bench", exported_folder, "--route", "ncnn", *FEW, "--out", out, **settings)
    assert done.exit_code == 0, done.stderr
    result = read_result(out)
    rows = {row.mode.removeprefix("ncnn-"): row for row in result.rows}
    assert (result.measured_on, {row.latency for row in result.rows}) == ("stand-in", {None})
    assert "no half-precision arithmetic" in rows["cpu-fp16"].missing
    assert min(rows["cpu"].parity.worst_db, rows["vulkan"].parity.worst_db) > 100
    assert 40 < rows["vulkan-fp16"].parity.worst_db < rows["vulkan-fp16-hybrid"].parity.worst_db < 90


def run_real(program, folder, network, pose, *options):
    """The program's results of one pose: Result_0's files by name."""
    pose.astype("<f4").tofile(folder / "pose.raw")
    (folder / "list.txt").write_text(f"pose:={folder / 'pose.raw'}\n")
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    outputs = ",".join(f"{tensor}=out{number}" for number, tensor in enumerate(network.ends.outputs))
    words = ["--param", network.param, "--bin", network.weights, "--input-size", pose.size, "--outputs", outputs]
    words += ["--input-list", folder / "list.txt", "--output-dir", out, *options]
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in (out / "Result_0").iterdir()}, json.loads(
        (out / "ncnn.json").read_text()
    )


@pytest.mark.slow
@pytest.mark.skipif(not NCNN_VULKAN_DIR, reason="$BILAYER_TEST_NCNN_VULKAN names no build of ncnn with Vulkan")
@pytest.mark.parametrize("mode", ["vulkan", "vulkan-fp16"])
def test_the_real_runner_draws_where_the_results_are(mode, exported_folder, tmp_path):
    """Frames on the Vulkan device, of results that stay there, are the CPU sampler's of the same results."""
    program = build_real(tmp_path / "build", NCNN_VULKAN_DIR)
    bundle = read_bundle(exported_folder)
    contract, network = bundle.contract, ncnn_network(bundle.path(bundle.contract.files.onnx), bundle.contract)
    pose = np.array(contract.source.pose, np.float32)
    texture = np.ascontiguousarray(np.moveaxis(read_texture(bundle)[1:-2, 1:-2, :3], -1, 0))
    texture.tofile(tmp_path / "texture.raw")
    tensors, told = run_real(program, tmp_path, network, pose, "--mode", mode)
    assert "drawn" not in told
    shapes = {f"{name}.raw": shape for name, shape in network.ends.outputs.items()}
    outputs = NetworkOutputs.read(
        contract.outputs, {name[:-4]: np.frombuffer(tensors[name], "<f4").reshape(shapes[name]) for name in shapes}
    )
    size = 3 * contract.image_size // 2
    expected = FrameCompositor(texture, contract.align_corners, size=size).compose(outputs)
    draw = ",".join(
        f"{name}={part.tensor}:{part.start}:{part.scale}:{part.offset}"
        for name, part in contract.outputs.by_name.items()
    )
    options = ["--draw", draw, "--texture", tmp_path / "texture.raw", "--frame-size", f"{size}x{size}"]
    options += ["--texture-size", "x".join(map(str, texture.shape[1:])), "--align-corners", int(contract.align_corners)]
    found, told = run_real(program, tmp_path, network, pose, "--mode", mode, *options)
    assert (list(found), told["drawn"]) == (["frame.rgba"], True)
    difference = np.abs(np.frombuffer(found["frame.rgba"], np.uint8).reshape(expected.shape).astype(int) - expected)
    assert difference.max() <= 1
    assert np.mean(difference == 0) >= 0.9999
    words = [program, "--mode", "cpu", "--draw", draw, "--outputs", "a=out0"]
    words += ["--input-list", tmp_path / "list.txt", "--output-dir", tmp_path, "--param", "a", "--bin", "b"]
    refused = subprocess.run([*map(str, words)], capture_output=True, text=True)
    assert (refused.returncode, refused.stderr) == (2, "error: --draw: needs a Vulkan mode\n")
