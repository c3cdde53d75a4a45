"""The detector's arithmetic against hand-made network outputs; what it finds in photos is test_mediapipe's."""

import math

import numpy as np
import pytest

from bilayer.runtime.face import detector as face_detector
from bilayer.runtime.face.detector import STRIDE, WINDOW, Detection, FaceDetector, best_of_each
from bilayer.runtime.face.region import MARGIN, Region


class Network:
    """Stands in for the network: the same raw outputs for every window, and a record of the windows."""

    def __init__(self, finds):
        self.regressors = np.zeros((1, 896, 16), np.float32)
        self.logits = np.full((1, 896, 1), -50, np.float32)
        self.windows = []
        for anchor, score, values in finds:
            self.regressors[0, anchor] = values
            self.logits[0, anchor] = math.log(score / (1 - score))

    def __call__(self, image):
        self.windows.append(image)
        return [self.regressors, self.logits]


@pytest.fixture
def detector_with(monkeypatch):
    def make(*finds):
        monkeypatch.setattr(face_detector.model_files, "load", lambda model: b"")
        network = Network(finds)
        monkeypatch.setattr(face_detector, "TfliteNetwork", lambda content: network)
        return FaceDetector(), network

    return make


def raw(dx=0.0, dy=0.0, size=32.0, tilt=0.0):
    """A box around its anchor, its eyes 10 pixels apart and tilted by `tilt` radians."""
    eyes = [-5 * math.cos(tilt), -5 * math.sin(tilt), 5 * math.cos(tilt), 5 * math.sin(tilt)]
    return [dx, dy, size, size, *eyes, *([0] * 8)]


# Anchors count two to a cell of 8 pixels on a 16 x 16 grid, then six to a cell of 16 pixels on an 8 x 8 grid:
# the centre of cell (row, column) is at (column + 0.5) * 8, (row + 0.5) * 8, in pixels whose first begins at 0
FINE = 2 * (16 * 3 + 5)  # row 3, column 5: at (44, 28)
COARSE = 512 + 6 * (8 * 2 + 6) + 1  # row 2, column 6: at (104, 40)


@pytest.mark.parametrize(("anchor", "x", "y"), [(FINE, 44, 28), (FINE + 1, 44, 28), (COARSE, 104, 40)])
def test_a_find_is_decoded_around_its_anchor(detector_with, anchor, x, y):
    detector, _ = detector_with((anchor, 0.9, raw(dx=3, dy=-2, size=30, tilt=0.4)))
    (find,) = detector.search(np.zeros((128, 128, 3), np.uint8), 128)
    assert find.score == pytest.approx(0.9, abs=1e-6)
    assert (find.region.x, find.region.y) == pytest.approx((x + 3 - 0.5, y - 2 - 0.5), abs=1e-4)
    assert find.region.side == pytest.approx(30 * MARGIN, abs=1e-4)
    assert find.region.angle == pytest.approx(0.4, abs=1e-6)


def test_overlapping_finds_are_averaged_by_score_and_distant_ones_kept(detector_with):
    detector, _ = detector_with(
        (FINE, 0.8, raw(dx=-4)), (FINE + 1, 0.6, raw(dx=3)), (COARSE, 0.7, raw()), (COARSE + 1, 0.4, raw(dx=-50))
    )
    first, second = detector.search(np.zeros((128, 128, 3), np.uint8), 128)
    assert (first.score, second.score) == pytest.approx((0.8, 0.7), abs=1e-6)
    assert first.region.x == pytest.approx(44 - 0.5 + (0.8 * -4 + 0.6 * 3) / 1.4, abs=1e-4)
    assert second.region.x == pytest.approx(104 - 0.5, abs=1e-4)


def test_a_find_in_a_shrunken_photo_comes_back_in_its_pixels(detector_with):
    detector, network = detector_with((FINE, 0.9, raw()))
    (find,) = detector.search(np.full((512, 1024, 3), 255, np.uint8), 128)
    assert (find.region.x, find.region.y) == pytest.approx((44 * 8 - 0.5, 28 * 8 - 0.5), abs=1e-3)
    assert find.region.side == pytest.approx(32 * 8 * MARGIN, abs=1e-3)
    (window,) = network.windows
    assert window.shape == (128, 128, 3)
    assert (window[:64].min(), window[64:].max()) == (1, -1)  # the photo, scaled to -1..1, and black below it


@pytest.mark.parametrize("long_side", [128, 171, 341, 683])
@pytest.mark.parametrize("shape", [(1000, 1000), (1000, 600), (300, 1000), (40, 900)])
def test_windows_cover_the_whole_photo_and_overlap(detector_with, long_side, shape):
    photo = np.zeros((*shape, 3), np.uint8)
    photo[:, :, 0] = np.linspace(0, 255, shape[1]).astype(np.uint8)
    photo[:, :, 1] = np.linspace(0, 255, shape[0]).astype(np.uint8)[:, None]
    photo[:, :, 2] = 255
    detector, network = detector_with()
    assert detector.search(photo, long_side) == []
    seen = np.stack(network.windows) * 127.5 + 127.5
    inside = seen[..., 2] > 200
    for channel, length in ((0, shape[1]), (1, shape[0])):
        step = 255 / (long_side * length / max(shape))  # of the gradient, from pixel to pixel
        values = np.unique(seen[..., channel][inside].round())
        assert values[0] < step + 3
        assert values[-1] > 252 - step
        assert np.diff(values).max() < 2 * step + 3  # no gap between windows
    short_side = round(long_side * min(shape) / max(shape))
    count = [math.ceil(max(side - WINDOW, 0) / STRIDE) + 1 for side in (long_side, short_side)]
    assert len(network.windows) == math.prod(count)


def test_large_photos_are_averaged_on_the_way_down(detector_with):
    detector, network = detector_with()
    noise = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8)
    detector.search(noise, 128)
    assert network.windows[0][:90].std() < 0.58 / 3  # of uniform noise in -1..1, at least 9 pixels averaged


def test_of_the_same_face_seen_twice_the_best_view_is_kept():
    def find(score, x):
        return Detection(score, Region(x, 50.0, 60.0, 0.0))

    kept = best_of_each([find(0.6, 50), find(0.9, 54), find(0.7, 200), find(0.9, 52)])
    assert [(one.score, one.region.x) for one in kept] == [(0.9, 52), (0.7, 200)]


@pytest.mark.parametrize("quarters", range(4))
def test_a_face_is_turned_to_the_side_that_scores_best(detector_with, monkeypatch, quarters):
    detector, _ = detector_with()
    scores = {0: 0.6, 1: 0.62, 2: 0.61, 3: 0.5, quarters: 0.9}

    def look_at(photo, region):
        return Detection(scores[round(region.angle / (math.pi / 2)) % 4], region)

    monkeypatch.setattr(detector, "_look_at", look_at)
    find = Detection(0.7, Region(10.0, 10.0, 8.0, 0.0))
    upright = detector.turn_upright(np.zeros((20, 20, 3), np.uint8), find)
    assert upright.region.angle == pytest.approx(quarters * math.pi / 2)
    assert upright.score == 0.9


def test_a_find_that_shows_nothing_on_a_second_look_is_none(detector_with):
    detector, _ = detector_with()
    find = Detection(0.9, Region(10.0, 10.0, 8.0, 0.0))
    assert detector.turn_upright(np.zeros((20, 20, 3), np.uint8), find) is None
