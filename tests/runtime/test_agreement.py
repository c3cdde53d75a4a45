"""The one meter: PSNR, SSIM and the warp's error against formulas, their conventions, and what is judged of them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from bilayer.runtime.agreement import (
    DEFAULT,
    MOST_DB,
    Agreement,
    compare,
    decibels,
    judge,
    psnr,
    ssim,
    storage_excess,
    uv_pixels,
)
from bilayer.runtime.frame import NetworkOutputs
from tests import golden

NUMBERS = st.floats(-4, 4, width=32)


@st.composite
def pairs(draw):
    shape = draw(array_shapes(min_dims=1, max_dims=3, max_side=6))
    return tuple(draw(arrays(np.float32, shape, elements=NUMBERS)) for _ in range(2))


def outputs(value=0.0, seg=True, size=8):
    planes = [np.full((channels, size, size), value, np.float32) for channels in (2, 3, 1)]
    return NetworkOutputs(planes[0], planes[1], planes[2] if seg else None)


@given(pairs(), st.sampled_from([1.0, 2.0, 255.0]))
def test_psnr_is_the_formula_in_float64(pair, value_range):
    a, b = pair
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    expected = 200 if error == 0 else min(200, 10 * math.log10(value_range**2 / error))
    assert psnr(a, b, value_range) == pytest.approx(expected, abs=1e-9)
    assert psnr(b, a, value_range) == psnr(a, b, value_range)
    assert psnr(a, a, value_range) == MOST_DB


def test_psnr_by_hand():
    assert psnr(np.zeros(4, np.float32), np.full(4, 0.2, np.float32), 2.0) == pytest.approx(20)
    black, white = np.zeros((4, 4, 4), np.uint8), np.full((4, 4, 4), 255, np.uint8)
    assert psnr(black, white, 255) == 0  # bytes do not wrap around


@given(pairs(), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_what_is_not_finite_has_the_least_psnr(pair, value):
    broken = pair[0].copy()
    broken.flat[0] = value
    assert psnr(broken, pair[1], 2.0) == psnr(pair[1], broken, 2.0) == psnr(broken, broken, 2.0) == -MOST_DB


@pytest.mark.parametrize(
    ("error", "value_range", "expected"),
    [(0, 0, 200), (1, 0, -200), (1e300, 2, -200), (5e-324, 2, 200), (math.inf, 2, -200), (math.nan, 2, -200)],
)
def test_no_psnr_leaves_its_range(error, value_range, expected):
    assert decibels(error, value_range) == expected


def test_a_texture_pixel_is_two_over_the_side():
    still = np.zeros((2, 8, 8))
    moved = still.copy()
    moved[:, 3, 4] = 3 * 2 / 8, 4 * 2 / 8
    assert uv_pixels(moved, still) == uv_pixels(still, moved) == pytest.approx(5)
    assert uv_pixels(still, still) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_offset_that_is_not_finite_points_anywhere(value):
    still = np.zeros((2, 8, 8), np.float32)
    broken = still.copy()
    broken[0, 1, 2] = value
    assert uv_pixels(broken, still) == uv_pixels(broken, broken) == 8


def test_ssim_equals_the_authors():
    case = golden.load("losses/losses.npz")
    found = np.mean([ssim(a, b) for a, b in zip(case["ssim/a"], case["ssim/b"], strict=True)])
    assert found == pytest.approx(float(case["ssim/value"]), abs=1e-5)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), height=st.integers(3, 30), width=st.integers(3, 30))
def test_ssim_is_symmetric_and_one_of_equal_pictures(seed, height, width):
    a, b = np.random.default_rng(seed).uniform(-1, 1, (2, 3, height, width))
    assert ssim(a, a) == pytest.approx(1)
    assert ssim(a, b) == pytest.approx(ssim(b, a))
    assert ssim(a, b) < 1


def test_every_result_and_the_frame_are_compared():
    frame = np.zeros((8, 8, 4), np.uint8)
    found = compare(outputs(0.02), outputs(), frame + np.uint8(1), frame)
    assert found.psnr_db == pytest.approx(
        {"delta_uv": 40, "lf_rgb": 40, "seg": 40 - 20 * math.log10(2), "frame": 20 * math.log10(255)}, abs=1e-4
    )
    assert found.uv_pixels == pytest.approx(math.hypot(0.02, 0.02) * 4)
    assert found.not_finite == 0
    assert compare(outputs(seg=False), outputs(seg=False)).psnr_db == {"delta_uv": 200, "lf_rgb": 200}


def test_the_worst_of_poses_is_that_of_each_figure():
    poses = [Agreement({"delta_uv": 90, "frame": 50}, 0.1, 1), Agreement({"delta_uv": 80, "frame": 60}, 0.2, 2)]
    assert Agreement.worst(poses) == Agreement({"delta_uv": 80, "frame": 50}, 0.2, 3)


@pytest.mark.parametrize(
    ("kind", "changes", "verdict", "reason"),
    [
        ("fp32", {"delta_uv": 101, "frame": 61}, "passed", ""),
        ("fp32", {"delta_uv": 99}, "broken", "delta_uv has 99.0 dB, expected at least 100"),
        ("fp32", {"delta_uv": 101, "frame": 59}, "broken", "frame has 59.0 dB, expected at least 60"),
        ("fp16-hybrid", {"delta_uv": 70, "lf_rgb": 61, "seg": 61, "frame": 37}, "passed", ""),  # a sharp texture
        ("fp16-hybrid", {"delta_uv": 70, "lf_rgb": 59, "seg": 61, "frame": 61}, "broken", "lf_rgb has 59.0 dB"),
        ("fp16-hybrid", {"delta_uv": 70, "lf_rgb": 61, "seg": 59, "frame": 61}, "broken", "seg has 59.0 dB"),
        ("fp16", {"delta_uv": 70, "frame": 37}, "passed", ""),  # a sharp texture
        ("bf16", {"delta_uv": 70, "frame": 19}, "broken", "frame has 19.0 dB"),
    ],
)
def test_each_kind_has_its_thresholds(kind, changes, verdict, reason):
    ruling = judge(Agreement(changes, 0.1), kind)
    assert ruling.verdict == verdict
    assert reason in "".join(ruling.reasons)


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_less_than_float32_is_warned_of_by_the_frames_structure(kind):
    found = {"delta_uv": 70.0, "frame": 37.0}
    assert judge(Agreement(found, 0.1, frame_ssim=0.951), kind).verdict == "passed"
    ruling = judge(Agreement(found, 0.1, frame_ssim=0.949), kind)
    assert (ruling.verdict, ruling.reasons) == ("warned", ("the frame's SSIM is 0.9490, expected at least 0.95",))


def test_a_warp_that_is_off_breaks_the_hybrid_and_a_number_that_is_not_finite_every_kind():
    good = {"delta_uv": 150.0, "frame": 150.0}
    assert judge(Agreement(good, DEFAULT.fp16_hybrid_uv_pixels), "fp16-hybrid").verdict == "passed"
    assert judge(Agreement(good, 0.3), "fp16-hybrid").reasons == ("delta_uv is 0.3 px off, expected at most 0.25",)
    unlike = judge(Agreement(good, 0.1, frame_ssim=0.98), "fp16-hybrid")
    assert unlike.reasons == ("the frame's SSIM is 0.9800, expected at least 0.99",)
    for kind in ("fp32", "fp16-hybrid", "fp16", "bf16"):
        assert judge(Agreement(good, 0.0, 1), kind).reasons == ("1 numbers are not finite",)


@pytest.mark.parametrize(
    ("found", "emulated", "verdict"),
    [(60, 65, "passed"), (54, 65, "broken"), (75, 95, "passed"), (69, 95, "broken"), (60, None, "passed")],
)
def test_a_measured_arithmetic_is_held_against_its_emulation(found, emulated, verdict):
    bracket = None if emulated is None else {"delta_uv": emulated}
    for kind in ("fp16", "bf16"):
        assert judge(Agreement({"delta_uv": found, "frame": 60}, 0.1), kind, DEFAULT, bracket).verdict == verdict


def test_the_gate_as_one_number():
    passing = Agreement({"delta_uv": 30.0, "lf_rgb": 60.0, "seg": 80.0, "frame": 20.0}, 0.25, frame_ssim=0.995)
    assert storage_excess(passing) == pytest.approx(1)
    assert storage_excess(replace(passing, uv_pixels=0.5)) == pytest.approx(2)
    assert storage_excess(replace(passing, psnr_db={"lf_rgb": 40.0})) == pytest.approx(10)
    assert storage_excess(replace(passing, frame_ssim=0.97)) == pytest.approx(3)
    assert storage_excess(replace(passing, not_finite=1)) == math.inf


# Near to what is allowed, where a limit that stands in one of the two alone would show
NEAR = {
    "lf_rgb": st.floats(DEFAULT.fp16_hybrid_psnr - 1, DEFAULT.fp16_hybrid_psnr + 1),
    "seg": st.floats(DEFAULT.fp16_hybrid_psnr - 1, DEFAULT.fp16_hybrid_psnr + 1),
    "uv_pixels": st.floats(0, 2 * DEFAULT.fp16_hybrid_uv_pixels),
    "frame_ssim": st.floats(2 * DEFAULT.fp16_hybrid_frame_ssim - 1, 1) | st.just(math.nan),
    "not_finite": st.sampled_from([0, 0, 0, 1]),
}


@given(st.fixed_dictionaries(NEAR), st.sampled_from(["fp16-hybrid", "w8a16", "w8a8"]))
def test_the_gate_as_one_number_passes_what_is_ruled_to_pass(near, kind):
    figures = {"delta_uv": 30.0, "frame": 20.0, "lf_rgb": near["lf_rgb"], "seg": near["seg"]}
    agreement = Agreement(figures, near["uv_pixels"], near["not_finite"], near["frame_ssim"])
    limits = (DEFAULT.fp16_hybrid_psnr, DEFAULT.fp16_hybrid_frame_ssim)
    found = (near["lf_rgb"], near["seg"], near["frame_ssim"])
    assume(not any(abs(figure - limit) < 1e-9 for figure in found for limit in limits))  # where rounding decides
    assert (storage_excess(agreement) <= 1) == (judge(agreement, kind).verdict == "passed")
