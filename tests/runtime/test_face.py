import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bilayer.runtime.errors import LandmarkError, PhotoError
from bilayer.runtime.face.find import choose_face, face_concerns, find_face
from bilayer.runtime.face.found import MIRRORED, Face, face_from_landmarks, largest_first, mirror_landmarks


def frontal(eye_distance=60.0, x=256.0, y=256.0):
    """A plain symmetric face: what matters are ears, nose bridge, eyes and chin."""
    points = np.zeros((68, 2), np.float32)
    jaw = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([np.cos(jaw) * 0.85, np.sin(jaw) * 1.2], 1)
    points[17:27] = np.stack([np.linspace(-0.7, 0.7, 10), np.full(10, -0.35)], 1)
    points[27:31] = np.stack([np.zeros(4), np.linspace(0, 0.4, 4)], 1)
    points[31:36] = np.stack([np.linspace(-0.2, 0.2, 5), np.full(5, 0.5)], 1)
    eye = np.array([[-0.5, 0], [-0.4, -0.05], [-0.3, -0.05], [-0.2, 0], [-0.3, 0.05], [-0.4, 0.05]])
    points[36:42] = eye
    points[42:48] = (eye * [-1, 1])[[3, 2, 1, 0, 5, 4]]
    lips = np.linspace(np.pi, -np.pi, 12, endpoint=False)
    points[48:60] = np.stack([np.cos(lips) * 0.3, 0.8 - np.sin(lips) * 0.1], 1)
    points[60:68] = np.stack([np.cos(lips[::-1][:8]), np.sin(lips[:8])], 1) * 0.05 + [0, 0.8]
    return (points * eye_distance + [x, y]).astype(np.float32)


def turned(points, degrees):
    angle = np.radians(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = points.mean(axis=0)
    return ((points - middle) @ rotation.T + middle).astype(np.float32)


def with_bridge_moved(points, offset):
    """The nose bridge `offset` half widths of the face away from its middle."""
    points = points.copy()
    points[27, 0] += offset * (points[16, 0] - points[0, 0]) / 2
    return points


def a_face(area=100.0, left=0.0, points=None):
    side = area**0.5
    return Face(frontal() if points is None else points, 1.0, (left, 0.0, left + side, side))


def test_measures_of_a_frontal_face():
    face = face_from_landmarks(frontal(eye_distance=60))
    assert face.eye_distance == pytest.approx(60, abs=0.01)
    assert face.roll == pytest.approx(0, abs=0.01)
    assert face.yaw == pytest.approx(0, abs=0.1)
    assert face.box == pytest.approx((205, 235, 307, 328), abs=1)
    assert face.area == pytest.approx(102 * 93, rel=0.01)


@given(st.floats(-179, 179), st.floats(-0.9, 0.9))
def test_roll_and_yaw_do_not_mix(roll, offset):
    face = face_from_landmarks(turned(with_bridge_moved(frontal(), offset), roll))
    assert face.roll == pytest.approx(roll, abs=0.1)
    assert face.yaw == pytest.approx(42 * offset, abs=0.5)


def test_yaw_changes_its_sign_in_the_mirror():
    points = with_bridge_moved(frontal(), 0.4)
    assert face_from_landmarks(points).yaw > 15
    assert face_from_landmarks(mirror_landmarks(points, 512)).yaw < -15


@given(arrays(np.float32, (68, 2), elements=st.integers(0, 1000).map(float)), st.integers(1, 1000))
def test_mirroring_twice_is_the_identity(points, width):
    np.testing.assert_array_equal(mirror_landmarks(mirror_landmarks(points, width), width), points)


def test_mirroring_a_symmetric_face_leaves_each_stroke_in_its_place():
    points = frontal(x=255.5)
    strokes = [range(17), range(17, 27), range(27, 31), range(31, 36), range(36, 48), range(48, 60)]
    flipped = mirror_landmarks(points, 512)
    for stroke in map(list, strokes):
        np.testing.assert_allclose(flipped[stroke], points[stroke], atol=1e-3)
    assert sorted(MIRRORED) == list(range(68))
    assert all(MIRRORED[MIRRORED] == np.arange(68))
    assert [(MIRRORED[60 + i] - 60) for i in range(8)] == [4, 3, 2, 1, 0, 7, 6, 5]  # inner lips, corner to corner


def test_order_is_by_area_then_from_left_to_right():
    faces = [a_face(4, left=9), a_face(9), a_face(4, left=2)]
    assert [face.box[0] for face in largest_first(faces)] == [0, 2, 9]
    assert [face.box[0] for face in largest_first(faces[::-1])] == [0, 2, 9]


def test_the_largest_face_is_taken_with_a_warning(caplog):
    faces = [a_face(9), a_face(4)]
    assert choose_face(faces, name="a.jpg") is faces[0]
    assert [r.getMessage() for r in caplog.records] == [
        "a.jpg: found 2 faces; taking the largest, --face N takes another"
    ]


def test_a_single_or_a_numbered_face_is_taken_silently(caplog):
    faces = [a_face(9), a_face(4)]
    assert choose_face(faces[:1]) is faces[0]
    assert choose_face(faces, 1) is faces[0]
    assert choose_face(faces, 2) is faces[1]
    assert caplog.records == []


@pytest.mark.parametrize(
    ("count", "number", "words"),
    [(0, None, "a.jpg: expected a face, found none"), (2, 3, "face 3 asked for, found 2"), (2, 0, "face 0 asked for")],
)
def test_a_face_that_is_not_there_is_an_error(count, number, words):
    with pytest.raises(PhotoError, match=words):
        choose_face([a_face()] * count, number, "a.jpg")


SHAPE = (512, 512, 3)


@pytest.mark.parametrize(
    ("points", "shape", "words"),
    [
        (frontal(eye_distance=24), SHAPE, "small: 24 pixels"),
        (with_bridge_moved(frontal(), 1.0), SHAPE, "turned away: about 42 degrees"),
        (with_bridge_moved(frontal(), -1.0), SHAPE, "turned away: about 42 degrees"),
        (turned(frontal(), 60), SHAPE, "not upright: the eye line is 60 degrees clockwise"),
        (turned(frontal(), -170), SHAPE, "170 degrees counter-clockwise"),
        (frontal(x=60), SHAPE, "leaves the picture: 21% of it"),
        (frontal(), (256, 512, 3), "leaves the picture"),
        (frontal(x=5000), SHAPE, "leaves the picture: 100% of it"),
    ],
)
def test_what_may_spoil_an_avatar_is_named(points, shape, words):
    (concern,) = face_concerns(face_from_landmarks(points), shape)
    assert words in concern


@pytest.mark.parametrize(
    "points", [frontal(eye_distance=26), with_bridge_moved(frontal(), 0.9), turned(frontal(), 40), frontal(x=110)]
)
def test_a_good_face_raises_no_concern(points):
    assert face_concerns(face_from_landmarks(points), SHAPE) == []


def test_find_face_logs_what_it_chose(caplog):
    class Finder:
        def find(self, photo):
            return [a_face(9, points=frontal(eye_distance=20)), a_face(4)]

    caplog.set_level(logging.WARNING)
    face = find_face(np.zeros(SHAPE, np.uint8), Finder(), name="a.jpg")
    assert face.eye_distance == pytest.approx(20, abs=0.1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "a.jpg: found 2 faces" in caplog.text


def test_degenerate_landmarks_do_not_divide_by_zero():
    face = face_from_landmarks(np.ones((68, 2)))
    assert np.isfinite([face.yaw, face.roll, face.eye_distance]).all()


def test_landmarks_of_another_kind_are_refused():
    with pytest.raises(LandmarkError, match=r"\(68, 2\)"):
        face_from_landmarks(np.zeros((5, 2)))
