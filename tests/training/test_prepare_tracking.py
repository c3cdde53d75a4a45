"""Which frames of a video make a sequence, against rules said in another way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bilayer.runtime.face.crop import CropBox, crop_box
from bilayer.runtime.face.found import face_from_landmarks
from bilayer.training.prepare.tracking import (
    MIN_OVERLAP,
    FaceFollower,
    Sighting,
    overlap,
    split_stretches,
    turn_of,
    watch,
)

FACE = np.random.default_rng(0).uniform(-50, 50, (68, 2)).astype(np.float32)

boxes = st.builds(CropBox, st.integers(-99, 99), st.integers(-99, 99), st.integers(1, 99))
# What a frame shows: no face, or one at a place in one of two sizes; and whether the scene changed
frames = st.lists(
    st.tuples(st.one_of(st.none(), st.integers(0, 6)), st.sampled_from([1.0, 2.0]), st.booleans()), max_size=40
)


def sightings_of(drawn):
    return [
        Sighting(i, None if place is None else FACE * np.float32(size) + np.float32([place * 9, 0]), cut)
        for i, (place, size, cut) in enumerate(drawn)
    ]


@given(boxes, boxes)
def test_overlap_counts_common_pixels(a, b):
    def pixels(box):
        left, top, right, bottom = (corner + 300 for corner in box.corners)
        area = np.zeros((600, 600), bool)
        area[top:bottom, left:right] = True
        return area

    ours, theirs = pixels(a), pixels(b)
    assert overlap(a, b) == pytest.approx((ours & theirs).sum() / (ours | theirs).sum())
    assert overlap(a, b) == overlap(b, a)


@given(frames, st.integers(1, 6))
def test_stretches_are_the_longest_runs_of_one_face(drawn, least):
    sightings = sightings_of(drawn)
    stretches = split_stretches(sightings, least)
    every = split_stretches(sightings, 1)
    shown = [sighting.number for sighting in sightings if sighting.landmarks is not None]
    assert [number for stretch in every for number in stretch.numbers] == shown  # each face in one, in order
    assert [s.numbers for s in stretches] == [s.numbers for s in every if len(s.numbers) >= least]
    begins = {stretch.numbers[0] for stretch in every}
    for stretch in every:
        first = crop_box(stretch.landmarks[0])
        for number, landmarks in zip(stretch.numbers[1:], stretch.landmarks[1:], strict=True):
            assert number - 1 in stretch.numbers
            assert not sightings[number].cut
            assert overlap(first, crop_box(landmarks)) >= MIN_OVERLAP
        after = stretch.numbers[-1] + 1
        if after in begins:  # it could not have gone on
            there = sightings[after]
            assert there.cut or overlap(first, crop_box(there.landmarks)) < MIN_OVERLAP


def test_the_square_is_the_median_of_the_frames_own():
    moves = [0, 2, 4, 6, 15]
    sightings = [Sighting(i, FACE + np.float32([move, -move]), False) for i, move in enumerate(moves)]
    (stretch,) = split_stretches(sightings, 1)
    middle = crop_box(FACE + np.float32([4, -4]))
    assert (stretch.box.x, stretch.box.y, stretch.box.half) == (middle.x, middle.y, middle.half)
    np.testing.assert_array_equal(stretch.landmarks[4], FACE + np.float32([15, -15]))


def kept_at(times, fps):
    """Numbers of the frames that are kept of those at `times`."""
    turns = [turn_of(time, fps) for time in times]
    return [number for number, turn in enumerate(turns) if turn not in turns[:number]]


@given(st.integers(1, 500), st.floats(0.01, 1))
def test_kept_frames_are_spread_evenly(count, step):
    kept = kept_at([number / 30 for number in range(count)], 30 * step)
    assert kept[0] == 0
    for number in range(count):
        so_far = sum(k <= number for k in kept)
        assert abs(so_far - (1 + number * step)) < 1 + 1e-6
    if len(kept) > 1:
        assert {int(gap) for gap in np.diff(kept)} <= {int(1 / step - 1e-9), int(1 / step), int(np.ceil(1 / step))}


@pytest.mark.parametrize(("fps", "expected"), [(25, 25), (12.5, 13), (5, 5), (1, 1), (99, 25)])
def test_frames_a_second(fps, expected):
    rounded = [round(number / 25, 3) for number in range(25)]  # to milliseconds, as in .mkv and .webm
    assert len(kept_at(rounded, fps)) == expected


def test_frames_are_counted_by_their_times_where_the_rate_varies():
    script = Scripted(range(1, 101))
    times = [*np.arange(80) / 100, *(0.8 + np.arange(20) / 5)]  # 80 quick frames, 20 slow ones
    moments = list(zip(times, script.pictures(), strict=True))
    assert [seen.number for seen in watch(moments, script, fps=10)] == [*range(0, 80, 10), *range(80, 100)]
    assert len(list(watch(moments, script, seconds=1))) == 81


class Scripted:
    """Pictures of one grey each, and a tracker that finds a face at that many pixels to the right."""

    def __init__(self, greys):
        self.greys, self.previous = greys, []

    def pictures(self):
        for grey in self.greys:
            yield np.full((40, 60, 3), grey, np.uint8)

    def moments(self):
        return ((number / 25, picture) for number, picture in enumerate(self.pictures()))

    def track(self, frame, previous):
        self.previous.append(previous)
        grey = int(frame[0, 0, 0])
        return None if grey == 0 else face_from_landmarks(FACE + np.float32([grey, 0]))


def test_a_video_is_watched_frame_by_frame():
    script = Scripted([10, 11, 0, 12, 90, 91])
    seen = list(watch(script.moments(), script))
    assert [sighting.number for sighting in seen] == list(range(6))
    assert [sighting.cut for sighting in seen] == [False, False, False, False, True, False]
    assert [sighting.landmarks is None for sighting in seen] == [False, False, True, False, False, False]
    assert [previous is None for previous in script.previous] == [True, False, False, True, True, False]
    np.testing.assert_allclose(seen[5].landmarks, FACE + np.float32([91, 0]))


def test_a_cut_between_looked_at_frames_is_noticed():
    script = Scripted([10] * 6 + [90] * 6)
    seen = list(watch(script.moments(), script, fps=25 / 4))
    assert [(sighting.number, sighting.cut) for sighting in seen] == [(0, False), (4, False), (8, True)]
    assert len(list(watch(script.moments(), script, seconds=0.2))) == 5


def test_a_landmarker_without_memory_follows_the_nearest_face():
    near, far = (face_from_landmarks(FACE * np.float32(size) + np.float32([x, 0])) for x, size in ((10, 1), (300, 2)))

    class Finder:
        def find(self, photo):
            return [far, near] if photo.any() else []

    follower = FaceFollower(Finder())
    picture = np.ones((4, 4, 3), np.uint8)
    assert follower.track(picture, None) is far
    assert follower.track(picture, face_from_landmarks(FACE)) is near
    assert follower.track(picture, far) is far
    assert follower.track(picture * 0, near) is None
