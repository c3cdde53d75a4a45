import json
import subprocess
import sys

import numpy as np
import pytest

from bilayer.benchmarks.report.charts import BLUE
from bilayer.benchmarks.speed import sampler_sides
from bilayer.benchmarks.speed.timing import Samples
from tests import forked


@pytest.fixture(scope="module")
def case():
    return sampler_sides.make_case(48)


def test_every_warp_computes_the_warp(case):
    expected = sampler_sides.exact_warp(case)
    sides = list(sampler_sides.warp_sides(case))
    assert sides[0].name == sampler_sides.OURS
    for side in sides:
        if side.result is not None:
            # OpenCV rounds coordinates to 1/32 of a texel, whatever the maps; all else is float32.
            allowed = 0.07 if side.name.startswith("cv2") else 5e-5
            assert np.abs(side.result(side.run()) - expected).max() < allowed, side.name


def test_every_frame_is_the_published_display(case):
    expected = sampler_sides.exact_frame(case).astype(int)
    sides = list(sampler_sides.frame_sides(case))
    assert sides[0].name == sampler_sides.OURS
    for side in sides:
        if side.result is not None:
            allowed = 9 if side.name.startswith("cv2") else 1
            assert np.abs(side.result(side.run()) - expected).max() <= allowed, side.name


@pytest.mark.parametrize("size", [48, 96])
def test_every_frame_of_smaller_results_is_torchs(size):
    case = sampler_sides.make_case(size, results=48)
    assert case.mask.shape == (48, 48)
    expected = sampler_sides.exact_resized_frame(case).astype(int)
    for side in sampler_sides.frame_sides(case):
        if side.result is not None:
            allowed = 9 if side.name.startswith("cv2") else 1
            assert np.abs(side.result(side.run()) - expected).max() <= allowed, side.name


def test_ratios_are_taken_turn_by_turn():
    ours, other = Samples((1.0, 10.0, 1.0)), Samples((3.0, 30.0, 3.3))  # a slow machine in the middle
    assert other.ratio_to(ours) == pytest.approx(3)


def test_the_command_reports_all_sides(tmp_path):
    words = ["sampler", "--size", "16", "--repeats", "2", "--warm-up", "1"]
    command = [sys.executable, "-m", "bilayer.benchmarks.speed.cli", *words]
    drawn = tmp_path / "sampler.svg"
    done = subprocess.run([*command, "--json", "--plot", drawn], capture_output=True, check=True)
    reports = json.loads(done.stdout)["benchmarks"]
    assert [report["benchmark"] for report in reports] == [
        "Warp, 16 x 16", "Frame, 16 x 16", "Frame, 16 x 16 of 256 x 256"
    ]  # fmt: skip
    for report in reports:
        assert report["settings"] == {"repeats": 2, "warm_up": 1}
        assert report["rows"][0]["name"] == report["baseline"]
        assert all(row["min_ms"] <= row["median_ms"] <= row["p90_ms"] for row in report["rows"])
    picture = drawn.read_text()
    assert picture.count(f"fill: {BLUE}") == sum(len(report["rows"]) for report in reports)
    assert all(f">{report['benchmark']}</text>" in picture for report in reports)
    assert "| torch grid_sample " in forked.run("bench", *words).stdout
