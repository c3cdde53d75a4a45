"""Landmark metrics on cases that can be worked out by hand, and the meter on a detector that is scripted."""

import numpy as np
import pytest

from bilayer.runtime.face.found import face_from_landmarks
from bilayer.runtime.face.ibug import BOTH_EYES, MOUTH
from bilayer.training.evaluate.result import MethodResult
from bilayer.training.metrics.landmarks import eye_distance, nme
from bilayer.training.metrics.meter import Meter, remove_background, to_bytes
from tests.runtime.synthetic_faces import NARROW, seen
from tests.runtime.synthetic_faces import face as face_in_space


def face(scale=20.0, centre=(32.0, 32.0), mouth=0.0, shut=0.0):
    """Landmarks (68, 2) of a plain face, eyes as far apart as its measures say."""
    return seen(face_in_space(NARROW, mouth, shut), size=scale, at=centre)


class ScriptedLandmarker:
    """Finds the landmarks that a picture's top left pixel names, and nothing where that is 0."""

    def __init__(self, *known):
        self.known = known

    def find(self, photo):
        number = int(photo[0, 0, 0])
        return [face_from_landmarks(self.known[number - 1])] if number else []


def numbered(number, size=64):
    picture = np.zeros((size, size, 3), np.uint8)
    picture[0, 0] = number
    return picture


def test_nme_of_a_shift_is_its_length_over_the_eye_distance():
    truth = face(scale=20)
    assert eye_distance(truth) == pytest.approx(20 * NARROW.eye_spacing, rel=1e-6)
    assert nme(truth + np.float32([3, 4]), truth) == pytest.approx(5 / (20 * NARROW.eye_spacing), rel=1e-5)
    assert nme(truth, truth) == 0


def test_nme_does_not_depend_on_the_pictures_size():
    found, truth = face(mouth=0.3), face()
    assert nme(3 * found + 7, 3 * truth + 7) == pytest.approx(nme(found, truth), rel=1e-5)


def test_parts_see_only_their_points():
    truth = face()
    opened, blinking = face(mouth=0.4), face(shut=0.8)
    assert nme(opened, truth, BOTH_EYES) == 0
    assert nme(opened, truth, MOUTH) > 0.05
    assert nme(blinking, truth, MOUTH) == 0
    assert nme(blinking, truth, BOTH_EYES) > 0.01
    moved = truth.copy()
    moved[60] += np.float32([0, 8])
    assert nme(moved, truth, MOUTH) == pytest.approx(8 / 20 / eye_distance(truth), rel=1e-5)


def test_meter_compares_the_detectors_findings():
    truth_face, shifted = face(), face() + np.float32([3, 4])
    driving = face() + np.float32([0, 1])
    meter = Meter(landmarker=ScriptedLandmarker(truth_face, shifted))
    truth = meter.prepare_truth([numbered(1)] * 3, [driving] * 3)
    scores = meter.score([numbered(1), numbered(2), numbered(0)], truth)
    distance = eye_distance(truth_face)
    np.testing.assert_allclose(scores["nme"], [0, 5 / distance, np.nan], rtol=1e-4)
    np.testing.assert_allclose(scores["nme_x10"], [0, 50 / distance, np.nan], rtol=1e-4)
    np.testing.assert_allclose(scores["mouth_error"], [0, 5 / distance, np.nan], rtol=1e-4)
    expected = [1 / distance, np.hypot(3, 3) / distance, np.nan]
    np.testing.assert_allclose(scores["pose_error"], expected, rtol=1e-4)


def test_openings_of_result_and_truth_stand_side_by_side():
    faces = [face(mouth=0.1), face(mouth=0.5, shut=0.9), face(mouth=0.3, shut=0.45)]
    halves = [face(mouth=0.05), face(mouth=0.25, shut=0.45), face(mouth=0.15, shut=0.225)]
    meter = Meter(landmarker=ScriptedLandmarker(*faces, *halves))
    truth = meter.prepare_truth([numbered(n) for n in (1, 2, 3, 1)])
    half = MethodResult("half", meter.score([numbered(n) for n in (4, 5, 6, 0)], truth))
    assert half.follows("mouth") == pytest.approx(0.5, rel=1e-3)
    assert half.follows("eye") == pytest.approx(0.5, rel=1e-3)
    same = MethodResult("same", meter.score([numbered(n) for n in (1, 2, 3, 1)], truth))
    assert same.follows("mouth") == pytest.approx(1)
    still = MethodResult("still", meter.score([numbered(1)] * 4, truth))
    assert still.follows("eye") == pytest.approx(0, abs=1e-9)
    assert MethodResult("none", {}).follows("eye") is None


def test_no_face_in_the_truth_is_no_score():
    meter = Meter(landmarker=ScriptedLandmarker(face()))
    scores = meter.score([numbered(1)], meter.prepare_truth([numbered(0)]))
    assert np.isnan(scores["nme"]).all()
    assert np.isnan(scores["pose_error"]).all()
    assert np.isfinite(scores["l1"]).all()


def test_without_networks_the_rest_is_measured_and_the_lack_is_said():
    meter = Meter()
    pictures = [numbered(200)] * 10
    scores = meter.score(pictures, meter.prepare_truth(pictures))
    assert set(scores) == {"l1", "psnr", "ssim", "sharpness"}
    assert scores["l1"].tolist() == [0] * 10
    landmarks = {"nme", "nme_x10", "pose_error", "mouth_error", "eye_error"}
    assert set(meter.unavailable) == {"lpips", "perception", "csim", "identity_csim", "identity_distance", *landmarks}
    assert "[identity]" in meter.unavailable["identity_distance"]
    assert "vgg16-397923af.pth" in meter.unavailable["lpips"]
    assert "ArcFace" in meter.unavailable["csim"]


def test_background_becomes_black_in_proportion_to_the_mask():
    picture = np.full((1, 3, 3), 200, np.uint8)
    mask = np.array([[0, 51, 255]], np.uint8)
    assert remove_background(picture, mask)[0, :, 0].tolist() == [0, 40, 200]


def test_bytes_are_the_nearest_and_clamped():
    import torch

    values = torch.tensor([-3.0, -1.0, 0.0, 127 / 127.5 - 1 + 0.003, 1.0, 2.0]).view(1, 1, 1, 6).expand(1, 3, 1, 6)
    assert to_bytes(values)[0, 0, :, 0].tolist() == [0, 0, 128, 127, 255, 255]
