"""`--route litert`: the bundle's .tflite in benchmark_model, for which LiteRT's Python package stands in."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from bilayer.android_harness.results import read_result
from bilayer.android_harness.routes.litert import LitertBackend, find_benchmark_model
from bilayer.android_harness.routes.per_pose import over_list, split
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.errors import BundleError, DeviceError, ToolMissingError
from bilayer.runtime.player import AvatarPlayer
from tests.android_harness.stand_in_benchmark_model import INVENTED_US
from tests.android_harness.stand_ins import PROGRAMS

FEW = ("--repeats", 3, "--warm-up", 1, "--processes", 2, "--poses", 2, "--cool-down", 0, "--no-sampler")
MODES = ["litert-gpu-fp16", "litert-gpu", "litert-xnnpack", "litert-xnnpack-fp16"]


@pytest.fixture
def stand_in(tmp_path):
    path = tmp_path / "it's a program"
    PROGRAMS.write(path, "stand_in_benchmark_model.py")
    return path


@pytest.fixture
def litert(command, stand_in, exported_folder):
    """Runs a command on a bundle without a .dlc, with no SDK set."""

    def run(name, *arguments, bundle=exported_folder, route="litert", **environment):
        settings = {"SNPE_ROOT": "", "BILAYER_BENCHMARK_MODEL": str(stand_in)} | environment
        return command(name, bundle, *(("--route", route) if route else ()), *arguments, **settings)

    return run


@pytest.mark.slow
def test_a_bench_without_an_sdk(litert, tmp_path):
    out = tmp_path / "a.json"
    done = litert("bench", *FEW, "--out", out, "--logs", tmp_path / "logs")
    assert done.exit_code == 0, done.stderr
    result = read_result(out)
    assert (result.measured_on, result.tools.route, result.tools.program) == ("stand-in", "litert", "benchmark_model")
    assert result.tools.runtime == "stand-in: XNNPACK delegate, partially"
    assert result.model.converted_by == "bilayer-export"
    rows = {row.mode: row for row in result.rows}
    assert list(rows) == MODES
    for mode in MODES[:2]:
        assert "Disallowed CPU fallback detected" in rows[mode].missing
    full, half = rows["litert-xnnpack"], rows["litert-xnnpack-fp16"]
    assert (full.processes, full.latency, full.layers) == (2, None, [])
    assert full.parity.worst_db > 100
    assert 60 < half.parity.worst_db < 100
    for text in (done.stdout, done.stderr, out.read_text()):
        assert not any(number in text for number in (str(INVENTED_US), "31.337", "31.34"))
    assert len(list((tmp_path / "logs").glob("litert-xnnpack-?.txt"))) == 2


@pytest.mark.slow
def test_weights_in_fp16_alone_are_no_wrong_results(litert, exported_folder, tmp_path):
    """A bundle of `--also tflite-fp16`: what float arithmetic makes of rounded weights is held to half storage."""
    bundle, out = tmp_path / "half", tmp_path / "a.json"
    shutil.copytree(exported_folder, bundle)
    contract = json.loads((bundle / "avatar.json").read_text())
    del contract["files"]["tflite"]
    (bundle / "avatar.json").write_text(json.dumps(contract))
    done = litert("bench", *FEW, "--out", out, bundle=bundle)
    assert done.exit_code == 0, done.stderr
    rows = {row.mode: row for row in read_result(out).rows}
    full, half = rows["litert-xnnpack"], rows["litert-xnnpack-fp16"]
    assert (full.parity.kind, half.parity.kind) == ("fp16-hybrid", "fp16")
    assert full.title == "LiteRT, XNNPACK, FP32, 4 threads, weights in FP16"
    assert 50 < full.parity.worst_db < 100


def test_on_a_device_times_are_kept(litert, tmp_path, phone, monkeypatch):
    """The same flow with the guard held open: what a device's result holds, of numbers that are invented."""
    monkeypatch.setattr("bilayer.android_harness.bench.outcome.is_android_program", lambda path: True)
    phone.environment |= {"STAND_IN_VERSION": "", "STAND_IN": "gpu"}
    out = tmp_path / "a.json"
    done = litert("bench", *FEW, "--mode", "litert-gpu-fp16", "--out", out)
    assert done.exit_code == 0, done.stderr
    result = read_result(out)
    (row,) = result.rows
    assert result.tools.runtime == "GPU delegate, completely"
    assert (row.latency.total_ms.median, row.latency.forward_ms) == (INVENTED_US / 1000, None)
    assert row.latency.init_ms.high == INVENTED_US / 1000


@pytest.mark.slow
def test_a_run_gives_the_players_frames(litert, exported_folder, tmp_path, track):
    out = tmp_path / "frames"
    arguments = ("--drive", track, "--retarget", "absolute", "--mode", "litert-xnnpack", "--out", out)
    done = litert("run", *arguments)
    assert done.exit_code == 0, done.stderr
    from bilayer.runtime import crop_box, pose_vector

    avatar, points = AvatarPlayer.load(exported_folder, engine="onnxruntime"), np.load(track)
    for number, landmarks in enumerate(points):
        expected = avatar.render(pose_vector(landmarks, crop_box(landmarks))).astype(int)
        found = np.asarray(Image.open(out / f"{number:05d}.png")).astype(int)
        assert abs(found - expected).max() <= 1


def test_what_goes_wrong_is_one_line(litert, exported_folder, tmp_path, phone, monkeypatch):
    out = tmp_path / "a.json"
    phone.environment["STAND_IN"] = "fail"
    failed = litert("bench", *FEW, "--mode", "litert-xnnpack", "--out", out)
    assert failed.exit_code == 3
    assert "benchmark_model (litert-xnnpack) ended with code 1: ERROR: Failed to load model" in failed.stderr
    missing = litert("bench", *FEW, "--out", out, BILAYER_BENCHMARK_MODEL="")
    assert (missing.exit_code, missing.stderr.count("\n")) == (5, 1)
    assert "no benchmark_model: give --benchmark-model or set $BILAYER_BENCHMARK_MODEL. https://" in missing.stderr
    with pytest.raises(ToolMissingError, match=r"nowhere: no such file\. https"):
        find_benchmark_model(tmp_path / "nowhere")
    bare = tmp_path / "bare"
    shutil.copytree(exported_folder, bare)
    contract = json.loads((bare / "avatar.json").read_text())
    del contract["files"]["tflite"], contract["files"]["tflite_fp16"]
    (bare / "avatar.json").write_text(json.dumps(contract))
    for route, said in {"litert": "found litert", None: "found none"}.items():
        routed = litert("bench", "--hosted-device", "Test Phone", "--out", out, route=route)
        assert (routed.exit_code, routed.stdout) == (2, "")
        assert f"--hosted-device: expected --route aihub with it, {said}; give that, or leave it out" in routed.stderr
    monkeypatch.setattr("bilayer.android_harness.cli_setup.find_device", lambda serial: pytest.fail("asked for one"))
    for name, place in {"bench": "a.json", "run": "frames"}.items():
        other = litert(name, "--mode", "ncnn-cpu", "--out", tmp_path / place)
        assert (other.exit_code, other.stderr.count("\n")) == (3, 1)
        assert "mode ncnn-cpu: benchmark_model has litert-gpu-fp16, " in other.stderr
    none = litert("bench", *FEW, "--out", out, bundle=bare)
    assert (none.exit_code, "has no .tflite; export it again with bilayer-export --also tflite" in none.stderr) == (
        3,
        True,
    )
    with pytest.raises(BundleError):
        LitertBackend(tmp_path, read_bundle(bare))


def test_a_log_without_times_is_told(exported_folder, tmp_path):
    (tmp_path / "tool.log").write_text("INFO: STARTING!\n")
    backend = LitertBackend(tmp_path, read_bundle(exported_folder))
    with pytest.raises(DeviceError, match="expected a line `Inference timings in us`"):
        backend.read_log(tmp_path / "tool.log")


def test_several_outputs_are_cut_apart_by_the_shell(tmp_path):
    """By the same words that a phone's shell is given; with names and places that it could misread."""
    sizes = {"delta_uv": 8, "lf_rgb": 12, "seg": 4}
    (tmp_path / "out").mkdir()
    (tmp_path / "parity.txt").write_text("pose:=inputs/a.raw\npose:=inputs/it's $(b).raw\n")
    once = f"printf '%s' 'uv______rgb_________seg_' > \"out/Result_$n/all\" && {split('all', sizes)}"
    script = over_list("parity.txt", f'printf "%s\\n" "${{line#*:=}}" >> seen && {once}', "")
    done = subprocess.run(["sh", "-c", f"{script} > tool.log 2>&1"], cwd=tmp_path, check=False, env=os.environ)
    assert done.returncode == 0
    assert (tmp_path / "seen").read_text() == "inputs/a.raw\ninputs/it's $(b).raw\n"
    for number in (0, 1):
        found = {path.name: path.read_bytes() for path in (tmp_path / f"out/Result_{number}").iterdir()}
        assert found == {"delta_uv.raw": b"uv______", "lf_rgb.raw": b"rgb_________", "seg.raw": b"seg_"}
