import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bilayer.runtime.errors import LandmarkError
from bilayer.runtime.face.crop import (
    CropBox,
    check_landmarks,
    crop_box,
    crop_face,
    cut_box,
    photo_part,
    pose_vector,
    scale_image,
)
from bilayer.runtime.face.person_mask import erode_mask
from bilayer.runtime.face.stickman import draw_stickman
from tests import golden

PREPROC = golden.load("preproc/preproc.npz")
CASES = sorted({key.split("/")[0] for key in PREPROC if "/" in key})
CROPS = [(case, size) for case in CASES for size in (64, 256) if f"{case}/img_u8_{size}" in PREPROC]
STICKMEN = golden.load("stickman/stickman.npz")
DRAWINGS = sorted(key for key in STICKMEN if key.startswith("stick_u8"))


def test_all_goldens_are_used():
    assert len(CASES) == 6
    assert len(CROPS) == 7
    assert len(STICKMEN["poses"]) == 7
    assert len(DRAWINGS) == 7


@pytest.mark.parametrize(("case", "size"), CROPS)
def test_crops_equal_the_authors_to_the_bit(case, size):
    crop = crop_face(PREPROC[f"{case}/image"], PREPROC[f"{case}/landmarks"], size)
    np.testing.assert_array_equal(crop.image.transpose(2, 0, 1), PREPROC[f"{case}/img_u8_{size}"])
    np.testing.assert_array_equal(crop.pose, PREPROC[f"{case}/pose"])
    np.testing.assert_array_equal(crop.box.corners, PREPROC[f"{case}/box"])


@pytest.mark.parametrize("case", CASES)
def test_stickmen_of_crops_equal_the_authors(case):
    drawn = draw_stickman(PREPROC[f"{case}/pose"], 64)
    np.testing.assert_array_equal(drawn.transpose(2, 0, 1), PREPROC[f"{case}/stick_u8_64"])


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_stickmen_equal_the_authors_at_every_size_and_thickness(drawing):
    size, thickness = (int(word.strip("sizethck")) for word in drawing.split("_")[2:])
    for pose, expected in zip(STICKMEN["poses"], STICKMEN[drawing], strict=True):
        np.testing.assert_array_equal(draw_stickman(pose, size, thickness).transpose(2, 0, 1), expected)


def test_opencv_is_a_version_that_draws_as_the_authors_did():
    major, minor = (int(part) for part in cv2.__version__.split(".")[:2])
    assert (4, 6) <= (major, minor) < (4, 13)


def test_network_inputs_equal_the_authors():
    case = golden.load("case_a/preproc.npz")
    crop = crop_face(case["source_image"], case["source_landmarks"], 64)
    np.testing.assert_array_equal(scale_image(crop.image), case["source_imgs"][0, 0])
    np.testing.assert_array_equal(crop.pose, case["source_poses"][0, 0])
    np.testing.assert_array_equal(scale_image(draw_stickman(crop.pose, 64)), case["source_stickmen"][0, 0])


@given(
    arrays(np.float32, (68, 2), elements=st.floats(-500, 500, width=32)),
    st.integers(-300, 300),
    st.integers(-300, 300),
)
def test_pose_does_not_depend_on_where_the_face_is(points, dx, dy):
    points = np.round(points)  # whole pixels, so that shifting is exact
    if np.ptp(points, axis=0).max() < 1:
        points[0] += 8
    # Half-pixel centres round to even, so only even shifts keep the rule
    moved = points + np.array([2 * dx, 2 * dy], np.float32)
    box, shifted = crop_box(points), crop_box(moved)
    assert (shifted.x - box.x, shifted.y - box.y, shifted.half) == (2 * dx, 2 * dy, box.half)
    np.testing.assert_array_equal(pose_vector(points, box), pose_vector(moved, shifted))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.zeros((68, 3)), r"\(68, 2\), found \(68, 3\)"),
        (np.full((68, 2), np.nan), "point 0"),
        (np.zeros((68, 2)), "span 0 pixels"),
        (np.eye(68, 2) * 1e6, "span 1000000 pixels"),
        ([["a", "b"]] * 68, "pairs of numbers"),
    ],
)
def test_unusable_landmarks_are_refused_with_a_reason(bad, words):
    with pytest.raises(LandmarkError, match=words):
        crop_box(check_landmarks(bad))


@given(arrays(np.float32, (11, 9), elements=st.floats(0, 1, width=32)))
def test_erosion_is_the_minimum_over_a_disk_of_21_cells(mask):
    padded = np.pad(mask, 2, constant_values=np.inf)
    cells = [(y, x) for y in range(5) for x in range(5) if {y, x} - {0, 4}]
    assert len(cells) == 21
    expected = np.min([padded[y : y + 11, x : x + 9] for y, x in cells], axis=0)
    np.testing.assert_array_equal(erode_mask(mask), expected)


@pytest.mark.parametrize("beyond", [1e300, -1e39, 10**400])
def test_a_number_beyond_float32_is_told_and_not_warned_of(beyond):
    points = np.arange(136, dtype=np.float64).reshape(68, 2).tolist()
    points[5][1] = beyond
    with pytest.raises(LandmarkError, match=r"point 5 is \[10\.0, -?inf\]|pairs of numbers"):
        check_landmarks(points)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(-30, 60), st.integers(-30, 60), st.integers(1, 30))
def test_the_photos_part_of_a_crop_is_what_nothing_beyond_it_changes(width, height, x, y, half):
    """Of a photo in a white frame and in a black one the same square shows the same there, and nowhere else."""
    box, margin, size = CropBox(x, y, half), 128, 24
    photo = np.full((height, width, 3), 128, np.uint8)
    framed = (np.pad(photo, [(margin, margin)] * 2 + [(0, 0)], constant_values=level) for level in (0, 255))
    black, white = (cut_box(one, CropBox(x + margin, y + margin, half), size).astype(int) for one in framed)
    part = photo_part(photo, box, size)
    assert set(np.unique(part)) <= {0, 1}
    np.testing.assert_array_equal(cut_box(photo, box, size), black)
    off = np.abs(white - black).max(axis=-1)
    assert off[part == 1].max(initial=0) <= 1
    assert not part[off > 2].any()
    # A pixel that is further within than the bicubic filter reaches is the photo's
    scale = box.side / size
    centres, reach = (np.arange(size) + 0.5) * scale, 2 * max(scale, 1) + 1
    inside = [
        (first + centres - reach >= 0) & (first + centres + reach <= length)
        for first, length in ((y - half, height), (x - half, width))
    ]
    assert part[np.outer(*inside)].all()
