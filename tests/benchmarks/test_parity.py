"""The parity ladder passes what is right, and catches and names what is planted."""

import numpy as np
import pytest

from bilayer.benchmarks.parity.compare import compare_poses
from bilayer.benchmarks.parity.ladder import Pictures, check_bundle, climb
from bilayer.benchmarks.parity.layer_errors import compare_layers
from bilayer.benchmarks.parity.pictures import strip
from bilayer.benchmarks.parity.report import make_report
from bilayer.benchmarks.parity.rungs.engines import bfloat16, vulkan
from bilayer.benchmarks.parity.rungs.htp import simulator
from bilayer.benchmarks.parity.rungs.rung import EmulatedRung, Float64, OnnxRung
from bilayer.runtime.agreement import judge
from bilayer.runtime.errors import ParityError, ToolMissingError
from bilayer.runtime.frame import NetworkOutputs
from tests.benchmarks.avatars import export_tiny, rewritten, subject_of, with_constants
from tests.benchmarks.ladders import NOISY, trained_ladder, verdicts

# ---- what is right ----


def test_the_trained_model_and_the_onnx_are_one(made):
    ladder = trained_ladder(*made)
    assert verdicts(ladder) == {"trained": "passed", "onnx": "passed"}
    assert ladder.layers.over is None
    ladder.require()
    assert len(ladder.layers.layers) > 20
    errors = [error.sqnr_db for error in ladder.layers.layers]
    assert errors == sorted(errors)


def test_what_is_missing_is_said_with_how_to_get_it(made, monkeypatch):
    subject = subject_of(made[1], frames=1)

    def absent(*arguments, **settings):
        raise ToolMissingError("engine ncnn-vulkan: found no Vulkan device; install its driver, or --engine ncnn")

    monkeypatch.setattr("bilayer.runtime.engines.ncnn.Ncnn", absent)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    missing = [vulkan(subject, arithmetic=True), simulator(subject), bfloat16(subject)]
    ladder = climb(subject, [*missing, OnnxRung(subject)])
    assert [rung.name for rung in ladder.not_run] == ["vulkan-fp16", "htp-fp16", "openvino-bf16", "dlc"]
    words = ("apt install mesa-vulkan-drivers", "bilayer[qairt]", "bilayer[openvino]", "bilayer-export --target qairt")
    for rung, how in zip(ladder.not_run, words, strict=True):
        assert how in rung.reason
        assert rung.name in make_report(ladder).markdown()


def test_each_precision_costs_more_and_the_frames_say_so(made):
    subject = subject_of(made[1])
    rungs = [OnnxRung(subject), *(EmulatedRung(subject, a) for a in ("hybrid", "half4", "sequential"))]
    ladder = climb(subject, rungs, thresholds=NOISY)
    assert [step.emulated for step in ladder.steps] == [False, True, True, True]
    psnr = [step.truth.agreement.worst_db for step in ladder.steps]
    assert psnr[0] > 100 > psnr[1] > psnr[2] > psnr[3] > 25
    assert ladder.steps[1].ruling.verdict == "passed"
    for step in ladder.steps:
        assert sum(step.truth.level_shares.values()) == pytest.approx(1)
        assert step.above is None or step.above[0] in verdicts(ladder)


def test_the_cheap_rungs_alone(made):
    assert verdicts(check_bundle(made[1], thresholds=NOISY)) == {"onnx": "passed", "fp16-hybrid": "passed"}


@pytest.mark.slow
@pytest.mark.parametrize("align_corners", [True, False])
def test_both_align_corners_pass_and_neither_is_the_other(tmp_path, align_corners):
    bundle = export_tiny(tmp_path, align_corners=align_corners)
    assert trained_ladder(tmp_path, bundle).verdict == "passed"
    assert verdicts(check_bundle(bundle, thresholds=NOISY))["fp16-hybrid"] == "passed"
    flipped = rewritten(bundle, align_corners=not align_corners)
    ladder = trained_ladder(tmp_path, flipped)  # the checkpoint's hash tells
    assert verdicts(ladder) == {"trained": "passed", "onnx": "broken"}
    with pytest.raises(ParityError, match=f"made for {align_corners}"):
        check_bundle(flipped).require()  # so does the network's metadata
    assert ladder.layers.over is None


# ---- planted faults ----


def swap_channels(arrays):
    for name in ("block1_conv1.weight", "block1_conv1.bias"):
        arrays[name][[2, 5]] = arrays[name][[5, 2]]


def drop_bias(arrays):
    arrays["block0_skip.bias"][:] = 0


def one_weight(arrays):
    arrays["block1_conv1.weight"][3, 1, 0, 2] += 1e-2


@pytest.mark.parametrize(
    ("fault", "layer", "words"),
    [
        (swap_channels, "block1_conv1", "swapped channels: 2 holds 5, 5 holds 2"),
        (drop_bias, "block0_skip", "bias: that of"),
        (one_weight, "block1_conv1", "channel 3 of"),
    ],
)
def test_a_fault_in_the_network_is_caught_and_named(made, bundle, fault, layer, words):
    ladder = trained_ladder(made[0], with_constants(bundle, fault))
    assert verdicts(ladder) == {"trained": "passed", "onnx": "broken"}
    assert ladder.layers.over.layer == layer
    assert words in ladder.layers.over.suggestion
    with pytest.raises(ParityError, match=f"at {layer}: "):
        ladder.require()


def test_an_overflow_is_named(bundle):
    def enlarge(arrays):
        arrays["block1_conv1.weight"] *= 1e6

    subject = subject_of(with_constants(bundle, enlarge))
    ladder = climb(subject, [EmulatedRung(subject, "hybrid")])
    assert verdicts(ladder) == {"fp16-hybrid": "broken"}
    report = compare_layers(subject.generator, Float64(subject, ""), EmulatedRung(subject, "hybrid"))
    assert report.over.layer == "block1_conv1"
    assert "overflow" in report.over.suggestion


def test_rounding_names_the_length_of_the_sum(made):
    subject = subject_of(made[1])
    rung = EmulatedRung(subject, "sequential")
    report = compare_layers(subject.generator, Float64(subject, ""), rung, threshold=66)
    assert report.over is not None
    assert "products in one sum" in report.over.suggestion or "conditioning" in report.over.suggestion


# ---- figures ----


def test_a_strip_shows_every_pose_that_there_is():
    frames = {i: np.full((8, 8, 4), 40 * i, np.uint8) for i in range(5)}
    for count, shown in ((1, 1), (2, 2), (3, 3), (5, 3)):
        few = {i: frames[i] for i in range(count)}
        assert strip(Pictures(few, few)).size == (3 * 8, 8 * shown)


def test_frames_that_are_equal_and_frames_that_are_not():
    frame = np.random.default_rng(0).integers(0, 255, (32, 32, 4)).astype(np.uint8)
    still = NetworkOutputs(np.zeros((2, 8, 8)), np.zeros((3, 8, 8)), None)
    same = compare_poses([still], [still], [frame], [frame])
    assert (same.agreement.psnr_db["frame"], same.level_shares["0"]) == (200, 1)
    assert same.agreement.frame_ssim == pytest.approx(1)
    found = compare_poses([still], [still], [frame + np.uint8(1)], [frame])
    assert found.agreement.psnr_db["frame"] == pytest.approx(10 * np.log10(255**2))
    assert found.level_shares["1"] == 1


def test_a_number_that_is_not_finite_breaks_every_kind_of_rung():
    frame = np.zeros((8, 8, 4), np.uint8)
    still = NetworkOutputs(np.zeros((2, 8, 8)), np.zeros((3, 8, 8)), None)
    broken = still.copy()
    broken.delta_uv[0, 1, 2] = np.nan
    assert judge(compare_poses([still], [still], [frame], [frame]).agreement, "fp32").verdict == "passed"
    found = compare_poses([still, broken], [still, still], [frame] * 2, [frame] * 2)
    assert (found.errors["delta_uv"].max_abs, found.errors["lf_rgb"].max_abs) == (np.inf, 0)
    worst = found.agreement
    assert (worst.worst_db, worst.uv_pixels, worst.not_finite) == (-200, 8, 1)
    assert [pose.uv_pixels for pose in found.poses] == [0, 8]
    told = found.to_dict()
    assert (told["results"]["delta_uv"]["uv_pixels"], told["results"]["lf_rgb"]["uv_pixels"]) == (8, None)
    assert (told["results"]["delta_uv"]["psnr_db"], told["frame"]["psnr_db"], told["not_finite"]) == (-200, 200, 1)
    for kind in ("fp32", "fp16-hybrid", "fp16", "bf16"):
        assert judge(found.agreement, kind).reasons[0] == "1 numbers are not finite"
