"""The default landmarker on a real photograph, and on what is done to photographs."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from bilayer.runtime.errors import PhotoError, ToolMissingError
from bilayer.runtime.face.crop import crop_face
from bilayer.runtime.face.find import face_concerns, find_face
from bilayer.runtime.face.found import Face, face_from_landmarks, mirror_landmarks
from bilayer.runtime.face.person_mask import PersonMasker
from bilayer.runtime.media.photo import read_photo

# Read off the enlarged photo by eye, to a pixel or two; the outer eye corners are 63 pixels apart
BY_EYE = {
    36: (192, 100),
    39: (211, 102),
    42: (236, 104),
    45: (258, 103),
    30: (223, 127),
    33: (224, 133),
    48: (203, 139),
    54: (244, 140),
    51: (224, 139),
    57: (223, 153),
    8: (223, 178),
}


@pytest.fixture(scope="module")
def astronaut(astronaut_path):
    return read_photo(astronaut_path)  # (512, 512, 3)


@pytest.fixture(scope="module")
def face(landmarker, astronaut):
    (found,) = landmarker.find(astronaut)
    return found


def error(found, expected):
    """Normalised mean error: mean distance over the distance of the outer eye corners, as 300-W measures."""
    distance = np.linalg.norm(expected[45] - expected[36])
    return float(np.linalg.norm(found - expected, axis=1).mean() / distance)


def resized(photo, factor):
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(photo, None, fx=factor, fy=factor, interpolation=method)


def rotated(photo, degrees):
    """The photo turned around its middle, and the matrix that turns points with it."""
    size = photo.shape[0]
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), degrees, 1)
    turned = cv2.warpAffine(photo, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return turned, matrix


def test_landmarks_lie_where_eyes_see_them(face):
    for index, seen in BY_EYE.items():
        assert np.linalg.norm(face.landmarks[index] - seen) < 4, index


def test_landmarks_are_in_the_order_of_ibug(face):
    x, y = face.landmarks.T
    assert (np.diff(x[:17]) > -1).all()  # jaw, from the right ear (picture's left) to the left one
    assert y[8] == y[:17].max()  # the chin
    assert (np.diff(x[17:27]) > 0).all()  # brows
    assert (y[17:27] < y[36:48].min()).all()  # above the eyes
    assert (np.diff(y[27:31]) > 0).all()  # nose, downwards
    assert (np.diff(x[31:36]) > 0).all()
    for first in (36, 42):  # each eye clockwise from its right corner
        corner, upper, lower = x[first], y[first + 1 : first + 3], y[first + 4 : first + 6]
        assert corner < x[first + 3]
        assert upper.max() < lower.min()
    assert x[48] < x[60] < x[51] < x[64] < x[54]  # lips: outer corner, inner corner, middle
    assert y[51] < y[62] < y[66] < y[57]


def test_the_face_knows_its_measures(face, astronaut):
    assert face.landmarks.dtype == np.float32
    assert 0.9 < face.score <= 1
    assert face.eye_distance == pytest.approx(63, abs=3)
    assert abs(face.yaw) < 8
    assert abs(face.roll) < 5
    left, top, right, bottom = face.box
    assert left < face.landmarks[:, 0].min()
    assert right > face.landmarks[:, 0].max()
    assert top < face.landmarks[17:27, 1].min() - 10  # the forehead is in it
    assert bottom > face.landmarks[8, 1] - 2
    assert face_concerns(face, astronaut.shape) == []


@pytest.mark.parametrize("degrees", [-180, -150, -120, -90, -60, -30, 15, 45, 75, 105, 135, 165])
def test_faces_are_found_at_any_angle(landmarker, astronaut, face, degrees):
    turned, matrix = rotated(astronaut, degrees)
    (found,) = landmarker.find(turned)
    assert error(found.landmarks, face.landmarks @ matrix[:, :2].T + matrix[:, 2]) < 0.01
    assert abs((found.roll - face.roll + degrees + 180) % 360 - 180) < 3


@pytest.mark.parametrize(("factor", "limit"), [(0.25, 0.047), (0.5, 0.015), (2, 0.013), (6, 0.013)])
def test_faces_are_found_at_any_size(landmarker, astronaut, face, factor, limit):
    (found,) = landmarker.find(resized(astronaut, factor))
    assert error(found.landmarks, (face.landmarks + 0.5) * factor - 0.5) < limit
    concerns = face_concerns(found, resized(astronaut, factor).shape)
    assert ["small" in concern for concern in concerns] == [True] * (factor == 0.25)


def blurred(photo):
    return cv2.GaussianBlur(photo, None, 3)


def noisy(photo):
    noise = np.random.default_rng(0).normal(0, 20, photo.shape)
    return (photo + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("spoil", "limit"),
    [(lambda photo: photo // 10, 0.025), (noisy, 0.015), (blurred, 0.045), (lambda photo: photo[:, :, ::-1], 0.03)],
    ids=["dark", "noisy", "blurred", "channels swapped"],
)
def test_faces_are_found_in_poor_photos(landmarker, astronaut, face, spoil, limit):
    (found,) = landmarker.find(np.ascontiguousarray(spoil(astronaut)))
    assert error(found.landmarks, face.landmarks) < limit


@pytest.mark.parametrize(("left", "top"), [(300, 1200), (2650, 90), (1380, 905)])
def test_a_small_face_is_found_in_a_large_picture(landmarker, astronaut, face, left, top):
    import skimage

    picture = cv2.resize(read_photo(Path(skimage.__file__).parent / "data" / "coffee.png"), (3000, 2000))
    picture[top : top + 230, left : left + 230] = cv2.resize(astronaut[:256, 96:352], (230, 230))
    (found,) = landmarker.find(picture)  # its face is 94 pixels wide, 3 % of the picture
    expected = (face.landmarks + 0.5 - [96, 0]) * 230 / 256 - 0.5 + [left, top]
    assert error(found.landmarks, expected) < 0.01


def test_several_faces_are_found_the_largest_first(landmarker, astronaut, face, caplog):
    head = astronaut[:256, 96:352]
    picture = np.full((400, 900, 3), 128, np.uint8)
    picture[:256, :256] = head
    picture[8:392, 258:642] = cv2.resize(head, (384, 384))
    picture[:256, 644:] = head[:, ::-1]
    landmarks = face.landmarks - np.float32([96, 0])
    expected = [
        (landmarks + 0.5) * 1.5 - 0.5 + np.float32([258, 8]),
        landmarks,
        mirror_landmarks(landmarks, 256) + np.float32([644, 0]),
    ]
    found = landmarker.find(picture)
    assert len(found) == 3
    assert found[0].area > 1.8 * found[1].area
    assert error(found[0].landmarks, expected[0]) < 0.013
    for other in expected[1:]:
        assert min(error(one.landmarks, other) for one in found[1:]) < 0.025
    chosen = find_face(picture, landmarker, name="three.png")
    assert "three.png: found 3 faces; taking the largest" in caplog.text
    np.testing.assert_array_equal(chosen.landmarks, found[0].landmarks)
    np.testing.assert_array_equal(find_face(picture, landmarker, number=3).landmarks, found[2].landmarks)


@pytest.mark.parametrize(
    "name", ["brick.png", "coffee.png", "chelsea.png", "coins.png", "rocket.jpg", "motorcycle_left.png", "moon.png"]
)
@pytest.mark.parametrize("width", [None, 1500])
def test_no_face_is_seen_in_pictures_of_other_things(landmarker, name, width):
    import skimage

    photo = read_photo(Path(skimage.__file__).parent / "data" / name)
    assert landmarker.find(photo if width is None else resized(photo, width / photo.shape[1])) == []


@pytest.mark.parametrize(
    "photo",
    [
        np.full((480, 640, 3), 128, np.uint8),
        np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((3, 5000, 3), np.uint8),
        np.zeros((5000, 2, 3), np.uint8),
    ],
    ids=["grey", "noise", "one pixel", "wide", "tall"],
)
def test_no_face_is_seen_where_nothing_is(landmarker, photo):
    assert landmarker.find(photo) == []
    with pytest.raises(PhotoError, match=r"a\.png: expected a face, found none"):
        find_face(photo, landmarker, name="a.png")


# Video


def test_a_moving_face_is_tracked_without_searching(landmarker, astronaut, face, monkeypatch):
    monkeypatch.setattr(landmarker, "find", lambda frame: pytest.fail("searched"))
    tracked = face
    for step in range(1, 13):  # 18 pixels, 1.5 degrees and 2 % of the size a frame
        matrix = cv2.getRotationMatrix2D((222, 130), 1.5 * step, 1.02**step)
        matrix[:, 2] += [18 * step, 6 * step]
        frame = cv2.warpAffine(astronaut, matrix, (800, 512), borderMode=cv2.BORDER_REFLECT)
        tracked = landmarker.track(frame, tracked)
        assert error(tracked.landmarks, face.landmarks @ matrix[:, :2].T + matrix[:, 2]) < 0.05


def test_tracking_does_not_drift(landmarker, astronaut, face):
    tracked = face
    for _ in range(40):
        tracked = landmarker.track(astronaut, tracked)
    assert error(tracked.landmarks, face.landmarks) < 0.03


def test_a_lost_face_is_searched_for(landmarker, astronaut, face):
    elsewhere = face_from_landmarks(face.landmarks + np.float32([200, 300]))
    for previous in (None, elsewhere):
        np.testing.assert_array_equal(landmarker.track(astronaut, previous).landmarks, face.landmarks)
    assert landmarker.track(np.zeros_like(astronaut), face) is None


# The person's mask


@pytest.mark.parametrize("size", [64, 256, 500])
def test_the_mask_covers_the_person_and_leaves_out_the_background(face_networks, astronaut, face, size):
    crop = crop_face(astronaut, face.landmarks, size)
    mask = PersonMasker().mask(crop.image)
    assert (mask.shape, mask.dtype) == ((size, size), np.float32)
    assert 0 <= mask.min() <= mask.max() <= 1
    points = ((crop.pose.reshape(68, 2) + 1) / 2 * size).astype(int)
    x, y = points.mean(axis=0).astype(int)
    assert mask[points[17:, 1], points[17:, 0]].min() > 0.9
    assert mask[y - size // 4 : y + size // 4, x - size // 8 : x + size // 8].mean() > 0.95
    wall = mask[: size // 2, : size // 12], mask[: size // 2, -size // 12 :]
    assert max(part.mean() for part in wall) < 0.05


# How it runs

REPORT = """
import hashlib, sys
from bilayer.runtime.face.mediapipe import MediapipeLandmarker
from bilayer.runtime.face.person_mask import PersonMasker
from bilayer.runtime.media.photo import read_photo
photo = read_photo(sys.argv[1])
(face,) = MediapipeLandmarker().find(photo)
mask = PersonMasker().mask(photo)
print(hashlib.sha256(face.landmarks.tobytes() + mask.tobytes() + repr((face.score, face.box)).encode()).hexdigest())
assert not {"torch", "onnx"} & set(sys.modules)
"""


def test_same_bytes_from_any_process_and_nothing_on_stderr(face_networks, astronaut_path, astronaut, face):
    outputs = []
    for seed, threads in (("1", "1"), ("2", "2")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads}
        command = [sys.executable, "-c", REPORT, str(astronaut_path)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert (done.returncode, done.stderr) == (0, "")
        outputs.append(done.stdout.strip())
    mask = PersonMasker().mask(astronaut)
    here = face.landmarks.tobytes() + mask.tobytes() + repr((face.score, face.box)).encode()
    assert outputs == [hashlib.sha256(here).hexdigest()] * 2


def test_without_litert_the_way_out_is_named(face_networks, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ToolMissingError, match="pip install ai-edge-litert"):
        find_face(np.zeros((8, 8, 3), np.uint8))


def test_without_the_networks_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("BILAYER_CACHE", str(tmp_path))
    with pytest.raises(ToolMissingError, match=r"python[\d.]* -m bilayer\.runtime\.face\.model_files"):
        find_face(np.zeros((8, 8, 3), np.uint8))


def test_a_face_of_another_finder_can_be_tracked(landmarker, astronaut, face):
    tracked = landmarker.track(astronaut, Face(face.landmarks, 1.0, (0.0, 0.0, 1.0, 1.0)))
    assert error(tracked.landmarks, face.landmarks) < 0.03
