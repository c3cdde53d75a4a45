"""A device's results against ONNX Runtime's: by the one meter."""

import math

import numpy as np
import pytest

from bilayer.android_harness.bench.parity import Reference
from bilayer.runtime.agreement import FRAME
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.motion.poses import choose_poses


@pytest.fixture
def subject(bundle):
    """A reference, two poses, and what the network gives for them."""
    read = read_bundle(bundle)
    reference, poses = Reference(read, "numpy"), choose_poses(read.contract.source.pose, 2)
    return read.contract, reference, poses, [reference.run(pose) for pose in poses]


def test_equal_results_have_200_decibels(subject):
    contract, reference, poses, found = subject
    parity = reference.compare(poses, found, "fp32")
    names = {"delta_uv", "lf_rgb", FRAME} | ({"seg"} if contract.outputs.seg else set())
    assert parity.psnr_db == dict.fromkeys(names, 200)
    assert (parity.poses, parity.uv_pixels, parity.not_finite, parity.plausible) == (2, 0, 0, True)


def test_the_warps_error_is_a_distance_and_the_worst_pose_counts(subject):
    contract, reference, poses, found = subject
    uv = contract.outputs.delta_uv
    found[1][uv.tensor][0, uv.start : uv.stop, 3, 4] += np.array([3, 4]) * 2 / contract.image_size / uv.scale
    parity = reference.compare(poses, found, "fp32")
    assert parity.uv_pixels == pytest.approx(5, abs=1e-3)
    expected = 20 * math.log10(2) - 10 * math.log10(((6 / 64) ** 2 + (8 / 64) ** 2) / (2 * contract.image_size**2))
    assert contract.image_size == 64
    assert parity.psnr_db["delta_uv"] == pytest.approx(expected, abs=0.01)
    assert parity.psnr_db["lf_rgb"] == 200


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_results_that_are_not_finite_are_not_this_networks(subject, value):
    contract, reference, poses, found = subject
    lf = contract.outputs.lf_rgb
    found[0][lf.tensor][0, lf.start, 0, 0] = value
    parity = reference.compare(poses, found, "fp16")
    assert (parity.not_finite, parity.psnr_db["lf_rgb"], parity.plausible) == (1, -200, False)
    assert parity.psnr_db[FRAME] > 0
