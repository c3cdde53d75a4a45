import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilayer.runtime.face.region import MARGIN, Region, apply, region_of_landmarks
from tests.runtime.test_face import frontal, turned

ROWS, COLUMNS = np.mgrid[:600, :800]
# Smooth, so that any right way of sampling agrees; a different value everywhere
SMOOTH = np.stack([COLUMNS / 4, ROWS / 3, 128 + 100 * np.sin(COLUMNS / 90)], axis=-1).round().astype(np.uint8)


def exact(points):
    x, y = points[..., 0], points[..., 1]
    return np.stack([x / 4, y / 3, 128 + 100 * np.sin(x / 90)], axis=-1)


@settings(deadline=None)
@given(
    st.floats(300, 500),
    st.floats(250, 350),
    st.floats(8, 360),
    st.floats(-7, 7),
    st.sampled_from([128, 192]),
)
def test_a_cut_out_shows_what_its_matrix_says(x, y, side, angle, size):
    region = Region(x, y, side, angle)
    view = region.cut(SMOOTH, size)
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1).reshape(-1, 2)
    expected = exact(apply(region.matrix(size), grid)).reshape(size, size, 3)
    assert np.abs(view - expected).max() < 3


@pytest.mark.parametrize("side", [40, 128, 300, 700, 1500, 5000])
def test_large_regions_are_averaged_not_sampled(side):
    photo = np.random.default_rng(0).integers(0, 256, (3000, 3000, 3), np.uint8)
    view = Region(1500, 1500, side, 0.3).cut(photo, 128)[40:-40, 40:-40]
    shrink = side / 128
    assert view.mean() == pytest.approx(127.5, abs=8)
    assert view.std() < 74 / max(1, min(shrink, 4)) * 1.3  # of n averaged pixels; 16 are enough


@given(st.floats(-2000, 3000), st.floats(-2000, 3000), st.floats(1e-3, 4000), st.floats(-7, 7))
@settings(deadline=None, max_examples=50)
def test_a_region_anywhere_is_cut_with_black_around_the_photo(x, y, side, angle):
    view = Region(x, y, side, angle).cut(np.full((30, 70, 3), 200, np.uint8), 64)
    assert (view.shape, view.dtype) == ((64, 64, 3), np.uint8)
    if math.hypot(x, y) > 80 + side:
        assert not view.any()


def test_photos_wider_than_opencv_can_warp_are_cut():
    photo = np.zeros((40, 40_000, 3), np.uint8)
    photo[:, 39_000:] = 255
    assert Region(39_500, 20, 10, 0.2).cut(photo, 16).min() == 255


def test_quarter_turns_turn_the_view():
    region = Region(400.5, 300.5, 64, 0)
    upright = region.cut(SMOOTH, 64)
    for quarters in range(4):
        # A square turned clockwise shows its content turned counter-clockwise
        np.testing.assert_allclose(region.turned(quarters).cut(SMOOTH, 64), np.rot90(upright, quarters), atol=1)


@given(st.floats(-3.1, 3.1), st.floats(10, 100))
def test_the_region_of_landmarks_turns_and_grows_with_them(angle, eye_distance):
    upright = region_of_landmarks(frontal(eye_distance))
    turned_region = region_of_landmarks(turned(frontal(eye_distance), math.degrees(angle)))
    assert turned_region.side == pytest.approx(upright.side, rel=1e-3)
    assert turned_region.angle == pytest.approx(angle, abs=1e-3)
    assert upright.side == pytest.approx(region_of_landmarks(frontal(50)).side * eye_distance / 50, rel=1e-3)


def test_the_region_of_landmarks_holds_the_face_and_its_forehead():
    points = frontal(60)
    region = region_of_landmarks(points)
    seen = cv2.invertAffineTransform(region.matrix(100))
    inside = apply(seen, points)
    margin = 100 * (1 - 1 / MARGIN) / 2
    assert inside.min() > margin - 1
    assert inside.max() < 101 - margin
    assert inside[:, 1].min() > margin + 5  # the forehead
