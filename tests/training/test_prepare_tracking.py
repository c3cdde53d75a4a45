"""Which frames of a video make a sequence, against rules said in another way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bilayer.runtime.face.crop import CropBox, crop_box
from bilayer.runtime.face.found import face_from_landmarks
from bilayer.training.prepare.tracking import MIN_OVERLAP, Followed, Sighting, is_kept, overlap, split, watch

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
    stretches = split(sightings, least)
    every = split(sightings, 1)
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
    (stretch,) = split(sightings, 1)
    middle = crop_box(FACE + np.float32([4, -4]))
    assert (stretch.box.x, stretch.box.y, stretch.box.half) == (middle.x, middle.y, middle.half)
    np.testing.assert_array_equal(stretch.landmarks[4], FACE + np.float32([15, -15]))


@given(st.integers(1, 500), st.floats(0.01, 1))
def test_kept_frames_are_spread_evenly(count, step):
    kept = [number for number in range(count) if is_kept(number, step)]
    assert kept[0] == 0
    for number in range(count):
        so_far = sum(k <= number for k in kept)
        assert abs(so_far - (1 + number * step)) < 1 + 1e-6
    if len(kept) > 1:
        assert {int(gap) for gap in np.diff(kept)} <= {int(1 / step - 1e-9), int(1 / step), int(np.ceil(1 / step))}


@pytest.mark.parametrize(("fps", "expected"), [(25, 25), (12.5, 13), (5, 5), (1, 1), (None, 25), (99, 25)])
def test_frames_a_second(fps, expected):
    step = 1.0 if fps is None else min(fps / 25.0, 1.0)
    assert sum(is_kept(number, step) for number in range(25)) == expected


class Scripted:
    """Pictures of one grey each, and a tracker that finds a face at that many pixels to the right."""

    rate, count = 25.0, None

    def __init__(self, greys):
        self.greys, self.previous = greys, []

    def __iter__(self):
        for grey in self.greys:
            yield np.full((40, 60, 3), grey, np.uint8)

    def track(self, frame, previous):
        self.previous.append(previous)
        grey = int(frame[0, 0, 0])
        return None if grey == 0 else face_from_landmarks(FACE + np.float32([grey, 0]))


def test_a_video_is_watched_frame_by_frame():
    script = Scripted([10, 11, 0, 12, 90, 91])
    seen = list(watch(script, script))
    assert [sighting.number for sighting in seen] == list(range(6))
    assert [sighting.cut for sighting in seen] == [False, False, False, False, True, False]
    assert [sighting.landmarks is None for sighting in seen] == [False, False, True, False, False, False]
    assert [previous is None for previous in script.previous] == [True, False, False, True, True, False]
    np.testing.assert_allclose(seen[5].landmarks, FACE + np.float32([91, 0]))


def test_a_cut_between_looked_at_frames_is_noticed():
    script = Scripted([10] * 6 + [90] * 6)
    seen = list(watch(script, script, fps=25 / 4))
    assert [(sighting.number, sighting.cut) for sighting in seen] == [(0, False), (4, False), (8, True)]
    assert len(list(watch(script, script, seconds=0.2))) == 5


def test_a_landmarker_without_memory_follows_the_nearest_face():
    near, far = (face_from_landmarks(FACE * np.float32(size) + np.float32([x, 0])) for x, size in ((10, 1), (300, 2)))

    class Finder:
        def find(self, photo):
            return [far, near] if photo.any() else []

    follower = Followed(Finder())
    picture = np.ones((4, 4, 3), np.uint8)
    assert follower.track(picture, None) is far
    assert follower.track(picture, face_from_landmarks(FACE)) is near
    assert follower.track(picture, far) is far
    assert follower.track(picture * 0, near) is None
