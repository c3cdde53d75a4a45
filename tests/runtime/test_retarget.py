import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilayer.runtime.errors import InputError, LandmarkError
from bilayer.runtime.face.crop import crop_box, pose_vector
from bilayer.runtime.motion.retarget import Retargeter, closest_frame, driving_poses, retarget
from bilayer.runtime.motion.track import LIP_PAIRS, Track, demo_motion
from tests.runtime.synthetic_faces import BROAD, NARROW, eye_opening, face, mouth_opening, performance, seen, unlikeness

MOVED = ["relative", "procrustes"]
PEOPLE = pytest.mark.parametrize(
    ("source", "driver"), [(NARROW, BROAD), (BROAD, NARROW)], ids=["to narrow", "to broad"]
)

driver_places = st.tuples(st.floats(-500, 500), st.floats(-500, 500))
driver_sizes = st.floats(0.05, 20)


def tracks(source, driver):
    """The same performance by both, in pictures of different size."""
    return performance(source, size=160.0, at=(100.0, 80.0)), performance(driver)


def at_size(landmarks, size, at):
    return (np.float64(size) * landmarks + at).astype(np.float32)


# ---- whose face, whose motion ----


@PEOPLE
def test_absolute_gives_the_drivers_face_to_the_avatar(source, driver):
    own, driven = tracks(source, driver)
    moved = retarget(own[0], driven, "absolute")
    np.testing.assert_array_equal(moved, driven)
    assert min(unlikeness(a, b) for a, b in zip(moved, own, strict=True)) > 0.15  # that is the leak


@PEOPLE
@pytest.mark.parametrize("mode", MOVED)
def test_others_keep_the_sources_face_while_the_motion_follows(source, driver, mode):
    """Against the oracle, the source's own performance of the same motion: turns to 22 degrees, talk, blinks."""
    own, driven = tracks(source, driver)
    moved = retarget(own[0], driven, mode, reference=0)
    to_own = np.array([unlikeness(a, b) for a, b in zip(moved, own, strict=True)])
    to_driver = np.array([unlikeness(a, b) for a, b in zip(moved, driven, strict=True)])
    standing = np.array([unlikeness(own[0], frame) for frame in own])  # what not to move at all would score
    assert to_own.max() < 0.04
    assert to_driver.min() > 0.15
    assert (to_own < to_driver / 4).all()
    assert to_own.mean() < standing.mean() / 3


@PEOPLE
@pytest.mark.parametrize("mode", MOVED)
def test_mouth_and_eyes_follow(source, driver, mode):
    own, driven = tracks(source, driver)
    moved = retarget(own[0], driven, mode, reference=0)
    talk, heard = ([mouth_opening(frame) for frame in frames] for frames in (moved, driven))
    np.testing.assert_allclose(talk, heard, atol=0.02)
    assert max(heard) > 0.3
    closing, seen_closing = (
        [eye_opening(frame) / eye_opening(frames[0]) for frame in frames] for frames in (moved, driven)
    )
    np.testing.assert_allclose(closing, seen_closing, atol=0.02)
    assert min(closing) < 0.1


@pytest.mark.parametrize("mode", MOVED)
def test_the_head_moves_by_face_sizes_instead_of_pixels(mode):
    own, driven = tracks(NARROW, BROAD)
    moved = retarget(own[0], driven, mode, reference=0)
    ways = [np.ptp(frames.mean(axis=1)[:, 0]) / np.sqrt(frames[0].var(axis=0).sum()) for frames in (moved, driven)]
    assert ways[0] == pytest.approx(ways[1], rel=0.1)
    tilts = []
    for frames in (moved, driven):
        line = frames[:, 45] - frames[:, 36]
        tilts.append(np.degrees(np.arctan2(line[:, 1], line[:, 0])))
    np.testing.assert_allclose(tilts[0], tilts[1], atol=1.5)
    assert max(tilts[1]) > 10


def test_a_smiling_source_can_shut_its_mouth_only_by_procrustes():
    smiling, driven = seen(face(NARROW, mouth=0.2)), performance(BROAD)
    relative, procrustes = (retarget(smiling, driven, mode, reference=0) for mode in MOVED)
    assert min(map(mouth_opening, relative)) == pytest.approx(0.2, abs=0.01)
    assert min(map(mouth_opening, procrustes)) < 0.01
    heard = [mouth_opening(frame) for frame in driven]
    np.testing.assert_allclose([mouth_opening(frame) for frame in procrustes], heard, atol=0.02)


@pytest.mark.parametrize("mode", MOVED)
def test_lips_never_cross(mode):
    """A driver first seen with the mouth wide open, who then shuts it, drives a mouth that is shut from the start."""
    driven = np.stack([seen(face(BROAD, mouth=gap)) for gap in (0.4, 0.2, 0.0)])
    for frame in retarget(seen(face(NARROW)), driven, mode, reference=0):
        assert (frame[LIP_PAIRS[:, 1], 1] - frame[LIP_PAIRS[:, 0], 1]).min() > -1e-3


def test_eyes_shut_in_the_reference_do_not_blow_up():
    driven = np.stack([seen(face(BROAD, shut=share)) for share in (1.0, 0.5, 0.0)])
    source = seen(face(NARROW))
    moved = retarget(source, driven, reference=0)
    assert np.abs(moved - source).max() < np.ptp(source) / 5


# ---- rules ----


@pytest.mark.parametrize("reference", [None, 7])
@pytest.mark.parametrize("mouth", [0.1, -0.1])  # of a noisy photo lips may be crossed
def test_relative_with_a_driver_at_rest_is_the_source_exactly(reference, mouth):
    source = seen(face(NARROW, mouth=mouth), yaw=5, roll=3, size=77.7)
    still = np.repeat(seen(face(BROAD), roll=-4, size=33.3)[None], 20, axis=0)
    np.testing.assert_array_equal(retarget(source, still, "relative", reference), np.repeat(source[None], 20, axis=0))


def test_a_rolled_driver_that_moves_aside_moves_the_source_aside():
    driven = np.stack([seen(face(BROAD), roll=30), seen(face(BROAD), roll=30) + np.float32([10, 0])])
    before, after = retarget(seen(face(NARROW)), driven, "relative", reference=0)
    assert (after - before)[:, 0].min() > 5
    np.testing.assert_allclose((after - before)[:, 1], 0, atol=1e-3)


@pytest.mark.parametrize("mode", MOVED)
def test_a_mouth_without_width_in_the_reference_does_not_blow_up(mode):
    driven = np.stack([seen(face(BROAD, mouth=gap)) for gap in (0.0, 0.2)])
    driven[0, 48:, 0] = driven[0, 48:, 0].mean() + 1e-3 * (driven[0, 48:, 0] - driven[0, 48:, 0].mean())
    source = seen(face(NARROW))
    assert np.abs(retarget(source, driven, mode, reference=0) - source).max() < np.ptp(source)


@settings(max_examples=60, deadline=None)
@given(driver_places, driver_sizes)
def test_relative_does_not_care_where_and_how_large_the_driver_is(at, size):
    own, driven = tracks(NARROW, BROAD)
    expected = retarget(own[0], driven, reference=0)
    np.testing.assert_allclose(retarget(own[0], at_size(driven, size, at), reference=0), expected, atol=0.02)


@settings(max_examples=60, deadline=None)
@given(driver_places, driver_sizes, st.floats(-np.pi, np.pi))
def test_procrustes_does_not_care_for_the_drivers_angle_either(at, size, angle):
    own, driven = tracks(NARROW, BROAD)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    placed = at_size(driven @ turn, size, at)
    expected = retarget(own[0], driven, "procrustes", reference=0)
    np.testing.assert_allclose(retarget(own[0], placed, "procrustes", reference=0), expected, atol=0.02)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MOVED), driver_places, driver_sizes)
def test_results_are_in_the_sources_coordinates(mode, at, size):
    own, driven = tracks(NARROW, BROAD)
    moved = retarget(at_size(own[0], size, at), driven, mode, reference=0)
    expected = at_size(retarget(own[0], driven, mode, reference=0), size, at)
    np.testing.assert_allclose(moved, expected, atol=0.01 * max(1, size))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MOVED), st.floats(-60, 60), st.floats(0.3, 3), driver_places)
def test_a_driver_with_the_sources_face_moves_it_as_its_own(mode, roll, zoom, at):
    """In the picture's plane, where there is nothing to guess: turn, size and place come over whole."""
    source = seen(face(NARROW), at=(0, 0))
    own = np.stack([source, seen(face(NARROW), roll=roll, size=100 * zoom, at=at)])
    np.testing.assert_allclose(retarget(source, own, mode, reference=0), own, atol=0.01)


def test_demo_motion_of_the_source_comes_through_as_it_is():
    source = seen(face(NARROW))
    demo = demo_motion(source)
    np.testing.assert_allclose(retarget(source, demo.landmarks, reference=0), demo.landmarks, atol=1e-3)


# ---- frame by frame ----


@pytest.mark.parametrize("mode", ["absolute", *MOVED])
def test_a_webcam_gets_what_a_file_does(mode):
    own, driven = tracks(NARROW, BROAD)
    live = Retargeter(own[0], mode)
    np.testing.assert_array_equal([live(frame) for frame in driven], retarget(own[0], driven, mode, reference=0))


def test_a_buffer_of_ones_own_is_used():
    own, driven = tracks(NARROW, BROAD)
    live, out = Retargeter(own[0]), np.empty((68, 2), np.float32)
    assert live(driven[3], out) is out
    assert live(driven[4]) is not live(driven[4])
    for wrong in (np.empty((68, 2)), np.empty(136, np.float32)):
        with pytest.raises(LandmarkError, match="out: expected"):
            live(driven[0], wrong)


@pytest.mark.parametrize("mode", ["absolute", *MOVED])
def test_a_long_session_does_not_grow(mode):
    own, driven = tracks(NARROW, BROAD)
    live, out = Retargeter(own[0], mode), np.empty((68, 2), np.float32)
    for frame in driven:
        live(frame, out)
    tracemalloc.start()
    try:
        for _ in range(5):
            for frame in driven:
                live(frame, out)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 10_000
    assert peak < 200_000


def test_recentre_takes_the_next_frame_as_reference():
    own, driven = tracks(NARROW, BROAD)
    live = Retargeter(own[0])
    live(driven[0])
    assert not np.array_equal(live(driven[9]), own[0])
    live.recentre()
    np.testing.assert_array_equal(live(driven[9]), own[0])


def test_inputs_are_left_alone():
    own, driven = tracks(NARROW, BROAD)
    source, copies = own[0], (own[0].copy(), driven.copy())
    for mode in ("absolute", *MOVED):
        retarget(source, driven, mode)[:] = 0
    np.testing.assert_array_equal(source, copies[0])
    np.testing.assert_array_equal(driven, copies[1])


# ---- poses for the network ----


def test_poses_are_landmarks_in_the_sources_crop():
    own, driven = tracks(NARROW, BROAD)
    box = crop_box(own[0])
    pose = pose_vector(own[0], box)
    poses = driving_poses(pose, Track(driven), "relative", reference=0)
    assert poses.shape == (len(driven), 136)
    np.testing.assert_array_equal(poses[0], pose)
    by_pixels = [pose_vector(frame, box) for frame in retarget(own[0], driven, "relative", reference=0)]
    np.testing.assert_allclose(poses, by_pixels, atol=1e-5)
    live = Retargeter(pose)
    np.testing.assert_array_equal([live.pose(frame) for frame in driven], poses)
    np.testing.assert_array_equal(driving_poses(pose.tolist(), Track(driven), "relative", reference=0), poses)


def test_absolute_poses_are_cropped_as_published():
    own, driven = tracks(NARROW, BROAD)
    poses = driving_poses(own[0].ravel(), Track(driven), "absolute")
    np.testing.assert_array_equal(poses, [pose_vector(frame, crop_box(frame)) for frame in driven])
    np.testing.assert_array_equal(Retargeter(own[0], "absolute").pose(driven[5]), poses[5])


# ---- the reference ----


def test_closest_frame_has_the_sources_head_pose():
    driven = np.stack([seen(face(BROAD), yaw=yaw, at=(9 * yaw, 0)) for yaw in range(-30, 31, 5)])
    for yaw in (-20, 0, 25):
        found = closest_frame(seen(face(NARROW), yaw=yaw, size=300), driven)
        assert abs(found - (yaw + 30) / 5) * 5 <= 10  # degrees: a flatter face must turn further to look as turned


def test_closest_frame_skips_a_blink_and_a_frame_without_extent():
    frames = [np.full((68, 2), 50, np.float32), seen(face(BROAD, shut=1)), seen(face(BROAD, mouth=0.4))]
    driven = np.stack([*frames, seen(face(BROAD)), seen(face(BROAD))])
    assert closest_frame(seen(face(NARROW)), driven) == 3


def test_a_reference_may_be_landmarks_of_the_driver():
    own, driven = tracks(NARROW, BROAD)
    by_number = retarget(own[0], driven, reference=4)
    np.testing.assert_array_equal(retarget(own[0], driven, reference=driven[4]), by_number)
    live = Retargeter(own[0], reference=driven[4])
    np.testing.assert_array_equal([live(frame) for frame in driven], by_number)


# ---- what cannot be used ----


def test_garbage_between_frames_stays_finite():
    own, driven = tracks(NARROW, BROAD)
    driven = driven.copy()
    driven[5] = 7  # a tracker that lost the face
    for mode in MOVED:
        assert np.isfinite(retarget(own[0], driven, mode, reference=0)).all()


@pytest.mark.parametrize(
    ("source", "driver", "options", "message"),
    [
        (np.zeros((67, 2)), None, {}, r"expected shape \(68, 2\), found \(67, 2\)"),
        (np.zeros((68, 2)), None, {}, "source: all landmarks in one place"),
        ([[1, 2], [3]], None, {}, "expected 68"),
        (np.full((68, 2), "a"), None, {}, "expected 68"),
        (None, np.zeros((3, 67, 2)), {}, r"expected shape \(frames, 68, 2\), found \(3, 67, 2\)"),
        (None, np.zeros((0, 68, 2)), {}, "0 frames"),
        (None, np.zeros((3, 68, 2)), {}, "driver: all landmarks in one place"),
        (None, np.full((3, 68, 2), np.nan), {}, "frame 0 holds a point that is not finite"),
        (None, None, {"reference": 60}, "frame 60 asked for, the track has 0 to 59"),
        (None, None, {"reference": -1}, "frame -1 asked for"),
        (None, None, {"reference": np.zeros((68, 3))}, r"found \(68, 3\)"),
    ],
)
def test_unusable_landmarks_are_one_line(source, driver, options, message):
    own, driven = tracks(NARROW, BROAD)
    with pytest.raises(LandmarkError, match=message) as caught:
        retarget(own[0] if source is None else source, driven if driver is None else driver, **options)
    assert "\n" not in str(caught.value)


def test_an_unknown_mode_names_the_known_ones():
    with pytest.raises(InputError, match="absolute, relative, procrustes; found 'affine'"):
        Retargeter(seen(face(NARROW)), "affine")
