"""The likeness of avatars that are known: the photo itself, the photo blurred, and nobody."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from skimage.filters import gaussian

from bilayer.runtime.face.crop import crop_box, crop_face
from bilayer.runtime.face.expression import eye_opening, mouth_opening
from bilayer.runtime.face.person_mask import PersonMasker
from bilayer.runtime.face.recognition import IdentityRecogniser
from bilayer.runtime.likeness import likeness_poses, measure_likeness, save_sheet
from bilayer.runtime.motion.track import demo_motion

SIZE = 256


class Still:
    """An avatar of a photo that shows one picture whatever drives it."""

    def __init__(self, photo, landmarks, change=lambda picture: picture):
        crop = crop_face(photo, landmarks, SIZE)
        self.size, self.source_pose = SIZE, crop.pose
        source = SimpleNamespace(crop=list(crop_box(landmarks).corners))
        self.bundle = SimpleNamespace(contract=SimpleNamespace(source=source))
        alpha = np.rint(PersonMasker().mask(crop.image) * 255).astype(np.uint8)
        self._frame = np.dstack([change(crop.image).astype(np.uint8), alpha])

    def render(self, pose):
        assert pose.shape == (68, 2)
        return self._frame.copy()


@pytest.fixture(scope="module")
def photo(astronaut_path):
    return np.asarray(Image.open(astronaut_path).convert("RGB"))


@pytest.fixture(scope="module")
def landmarks(photo, landmarker):
    return landmarker.find(photo)[0].landmarks


@pytest.fixture(scope="module")
def recogniser():
    pytest.importorskip("dlib", reason="the extra [identity] is not installed")
    return IdentityRecogniser()


def blur(picture):
    return gaussian(picture, 3, channel_axis=2, preserve_range=True)


def test_the_photo_is_its_own_likeness_but_does_not_move(photo, landmarks, landmarker, recogniser):
    found = measure_likeness(Still(photo, landmarks), photo, landmarker, recogniser, count=4)
    assert len(found.poses) == len(found.frames) == 4
    assert found.worst_distance < 0.15  # the background, white in the frames, counts a little
    for pose in found.poses:
        assert pose.sharpness == pytest.approx(1, abs=0.02)
    assert found.follows("mouth") == pytest.approx(0, abs=1e-6)
    assert found.follows("eyes") == pytest.approx(0, abs=1e-6)
    rest = found.poses[0]
    assert rest.mouth[1] == pytest.approx(rest.mouth[0], abs=0.05)
    assert rest.eyes[1] == pytest.approx(rest.eyes[0], abs=0.05)


def test_a_blurred_likeness_is_farther_and_softer(photo, landmarks, landmarker, recogniser):
    sharp, soft = (
        measure_likeness(Still(photo, landmarks, change), photo, landmarker, recogniser, count=1)
        for change in (lambda picture: picture, blur)
    )
    assert soft.poses[0].sharpness < 0.5
    assert soft.worst_distance > sharp.worst_distance + 0.05


def test_without_a_recogniser_the_rest_is_measured(photo, landmarks, landmarker, tmp_path):
    found = measure_likeness(Still(photo, landmarks, blur), photo, landmarker, count=9)
    values = found.to_dict()
    assert values["recogniser"] is None
    assert values["distance_worst"] is None
    assert values["poses_without_a_face"] is None
    assert 0 < values["sharpness"] < 0.5
    save_sheet(tmp_path / "sheet.png", found)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (7 * 260 - 4, 2 * (256 + 32 + 4) - 4)  # the photo and nine poses: two rows
        shown = np.asarray(sheet)
    assert np.array_equal(shown[32:288, :256], found.photo)
    assert np.array_equal(shown[32:288, 260:516], found.frames[0])


def test_frames_without_a_face_are_counted_and_have_no_number(photo, landmarks, landmarker, recogniser):
    found = measure_likeness(Still(photo, landmarks, np.zeros_like), photo, landmarker, recogniser, count=3)
    assert math.isnan(found.worst_distance)
    values = found.to_dict()
    assert values["poses_without_a_face"] == 3
    assert (values["distance_at_rest"], values["mouth_follows"], values["eyes_follow"]) == (None, None, None)
    assert values["sharpness"] < 0.01  # black; what is nearly solid takes on a trace of white


@pytest.mark.parametrize("count", [1, 3, 20])
def test_poses_begin_at_rest_and_hold_the_ends_of_the_motion(landmarks, photo, count):
    pose = crop_face(photo, landmarks, SIZE).pose
    poses = likeness_poses(pose, count)
    whole = demo_motion(pose.reshape(68, 2)).landmarks
    assert poses.shape == (count, 68, 2)
    assert np.array_equal(poses[0].ravel(), pose)
    if count >= 3:
        assert eye_opening(poses).min() == eye_opening(whole).min()
        assert mouth_opening(poses).max() == mouth_opening(whole).max()
