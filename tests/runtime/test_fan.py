"""The adapter to `face-alignment` against a stand-in with its documented interface (1.5.0).

The real package fetches its weights from its authors' server when first used, which tests must not.
"""

import enum
import sys
import types
import warnings
from urllib.error import URLError

import numpy as np
import pytest

from bilayer.runtime.errors import ToolMissingError
from bilayer.runtime.face.fan import FanLandmarker
from tests.runtime.test_face import frontal

PHOTO = np.zeros((64, 64, 3), np.uint8)


@pytest.fixture
def package(monkeypatch):
    stand_in = types.ModuleType("face_alignment")

    class LandmarksType(enum.IntEnum):
        TWO_D = 1
        THREE_D = 3

    class FaceAlignment:
        faces = ()

        def __init__(self, landmarks_type, network_size=4, device="cuda", flip_input=False, compile=True):
            stand_in.settings = (landmarks_type, device, flip_input, compile)

        def get_landmarks_from_image(self, image, return_bboxes=False):
            assert return_bboxes
            np.testing.assert_array_equal(image, PHOTO)
            if not self.faces:
                warnings.warn("No faces were detected.", stacklevel=2)
                return None, None, None
            return [points for points, _ in self.faces], None, [box for _, box in self.faces]

    stand_in.LandmarksType, stand_in.FaceAlignment = LandmarksType, FaceAlignment
    monkeypatch.setitem(sys.modules, "face_alignment", stand_in)
    return stand_in


def test_it_is_set_up_as_the_authors_did(package):
    FanLandmarker(device="cpu")
    assert package.settings == (package.LandmarksType.TWO_D, "cpu", True, False)


def test_faces_come_back_the_largest_first(package):
    small = (frontal(20).astype(np.float64), np.array([10, 10, 30, 40, 0.7], np.float32))
    large = (frontal(50).astype(np.float64), np.array([0, 0, 60, 60, 0.99], np.float32))
    package.FaceAlignment.faces = (small, large)
    first, second = FanLandmarker().find(PHOTO)
    assert first.landmarks.dtype == np.float32
    np.testing.assert_array_equal(first.landmarks, frontal(50))
    np.testing.assert_array_equal(second.landmarks, frontal(20))
    assert first.box == (0, 0, 60, 60)
    assert (first.score, second.score) == pytest.approx((0.99, 0.7))


def test_no_face_is_an_empty_list_without_a_warning(package):
    assert FanLandmarker().find(PHOTO) == []


def test_the_absent_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(ToolMissingError, match=r"pip install 'bilayer\[face-alignment\]'"):
        FanLandmarker()


def test_weights_that_cannot_be_fetched_are_a_missing_tool(package, monkeypatch):
    def offline(self, *arguments, **settings):
        raise URLError("no route")

    monkeypatch.setattr(package.FaceAlignment, "__init__", offline)
    with pytest.raises(ToolMissingError, match="cannot fetch its weights"):
        FanLandmarker()
