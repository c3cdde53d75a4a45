"""Openings of mouth and eyes on faces whose every motion is known."""

import numpy as np
import pytest

from bilayer.runtime.face.expression import eye_opening, follow_ratio, mouth_opening
from tests.runtime.synthetic_faces import BROAD, NARROW, face, seen


def opened(person=NARROW, mouth=0.0, shut=0.0, **pose):
    return seen(face(person, mouth, shut), **({"size": 30.0, "at": (50.0, 40.0)} | pose))


@pytest.mark.parametrize("person", [NARROW, BROAD])
@pytest.mark.parametrize("gap", [0.1, 0.4])
def test_mouth_opens_by_its_widths(person, gap):
    rest, wide = mouth_opening(opened(person)), mouth_opening(opened(person, mouth=gap))
    assert float(wide - rest) == pytest.approx(gap, rel=1e-4)


@pytest.mark.parametrize("person", [NARROW, BROAD])
def test_eyes_close_by_their_opening(person):
    assert float(eye_opening(opened(person))) == pytest.approx(person.eye_opening, rel=1e-4)
    assert float(eye_opening(opened(person, shut=0.75))) == pytest.approx(person.eye_opening / 4, rel=1e-4)
    assert float(mouth_opening(opened(person, shut=1.0))) == float(mouth_opening(opened(person)))


def test_neither_size_place_nor_roll_of_the_head_count():
    one, other = opened(mouth=0.3, shut=0.4), opened(mouth=0.3, shut=0.4, size=80.0, at=(9.0, 200.0), roll=25)
    for opening in (mouth_opening, eye_opening):
        assert float(opening(other)) == pytest.approx(float(opening(one)), rel=1e-4)


def test_of_a_track_each_frame_is_measured():
    frames = np.stack([opened(mouth=0.1), opened(mouth=0.2, shut=0.5)])
    assert mouth_opening(frames).shape == (2,)
    assert mouth_opening(frames).tolist() == [float(mouth_opening(frame)) for frame in frames]


def test_a_face_in_one_point_is_a_number():
    assert np.isfinite(mouth_opening(np.zeros((68, 2), np.float32)))


def test_follow_ratio_is_the_slope():
    driven = np.array([0.0, 0.1, 0.5, 0.3, np.nan])
    assert follow_ratio(driven, driven) == pytest.approx(1)
    assert follow_ratio(0.6 * driven + 0.2, driven) == pytest.approx(0.6)
    assert follow_ratio(np.full(5, 0.3), driven) == pytest.approx(0)
    noisy = driven + np.array([0.02, -0.03, 0.01, 0.02, 0])
    assert follow_ratio(noisy, driven) == pytest.approx(np.polyfit(driven[:4], noisy[:4], 1)[0])


def test_without_a_move_there_is_no_ratio():
    assert np.isnan(follow_ratio(np.array([0.1, 0.2]), np.array([0.3, 0.3])))
    assert np.isnan(follow_ratio(np.array([0.1, np.nan]), np.array([0.3, 0.4])))
