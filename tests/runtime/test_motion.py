import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilayer.runtime.errors import LandmarkError
from bilayer.runtime.face.found import face_from_landmarks
from bilayer.runtime.motion.track import LIP_PAIRS, MAX_FRAMES, Track, check_frames, demo_motion
from tests.runtime.synthetic_faces import BROAD, NARROW, eye_opening, face, mouth_opening, seen

SOURCES = pytest.mark.parametrize(
    "source",
    [
        seen(face(NARROW)),
        seen(face(BROAD)),
        seen(face(NARROW, mouth=0.2), yaw=8, roll=-15),
        seen(face(BROAD)) / 300 - 1,
    ],
    ids=["narrow", "broad", "smiling aslant", "as a pose"],
)


def size(source):
    return float(np.ptp(source, axis=0).max())


# ---- the built-in motion ----


@SOURCES
def test_demo_starts_at_the_source_itself(source):
    track = demo_motion(source)
    assert track.landmarks.shape == (150, 68, 2)
    assert track.landmarks.dtype == np.float32
    assert track.fps == 25
    np.testing.assert_array_equal(track.landmarks[0], np.float32(source))


@SOURCES
@pytest.mark.parametrize("seconds", [2.0, 6.0, 20.0])
def test_demo_is_smooth_and_loops(source, seconds):
    """No point jumps, the step from the last frame back to the first included, nor changes its way at once."""
    frames = demo_motion(source, seconds, fps=200).landmarks.astype(np.float64)
    step = np.roll(frames, -1, axis=0) - frames
    turn = np.roll(step, -1, axis=0) - step
    assert np.abs(step).max() < 0.03 * size(source) * max(1, 6 / seconds)
    assert np.abs(turn).max() < 0.006 * size(source) * max(1, 6 / seconds) ** 2
    assert np.abs(step[-1]).max() < 0.002 * size(source)


@SOURCES
def test_demo_turns_nods_blinks_and_talks(source):
    frames = demo_motion(source).landmarks
    yaws = np.array([face_from_landmarks(frame).yaw for frame in frames])
    assert yaws.max() - yaws[0] > 10
    assert yaws.min() - yaws[0] < -10
    across = frames[0, 45] - frames[0, 36]
    down = np.array([-across[1], across[0]]) / np.hypot(*across)
    assert np.ptp((frames[:, 30] - frames[:, 27]) @ down) > 0.02 * size(source)  # the nose's tip against its bridge
    eyes = np.array([eye_opening(frame) for frame in frames])
    assert (eyes < 0.2 * eyes[0]).sum() >= 3
    assert np.median(eyes) == pytest.approx(eyes[0], rel=0.1)
    mouths = np.array([mouth_opening(frame) for frame in frames])
    assert mouths.max() > mouths[0] + 0.15
    assert mouths.min() < max(0.02, 0.6 * mouths[0])


@SOURCES
def test_demo_keeps_a_face_a_face(source):
    frames = demo_motion(source).landmarks
    across = frames[:, 45] - frames[:, 36]
    down = np.stack([-across[:, 1], across[:, 0]], axis=-1) / np.hypot(*across.T)[:, None]
    gaps = np.einsum("tpc,tc->tp", frames[:, LIP_PAIRS[:, 1]] - frames[:, LIP_PAIRS[:, 0]], down)
    assert gaps.min() > -0.01 * size(source)
    heights = np.einsum("tpc,tc->tp", frames[:, [8, 57, 51, 33, 30, 27]], down)
    assert (np.diff(heights, axis=1) < 0).all()  # chin, lips, nose, bridge, from below
    assert np.abs(frames - frames[0]).max() < 0.5 * size(source)  # within its crop


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 100), st.tuples(st.floats(-500, 500), st.floats(-500, 500)), st.floats(-np.pi, np.pi))
def test_demo_goes_with_the_face_wherever_it_is(scale, at, angle):
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) * scale
    source = seen(face(NARROW), at=(0, 0))
    moved = demo_motion(source @ turn + at, fps=5).landmarks
    np.testing.assert_allclose(moved, demo_motion(source, fps=5).landmarks @ turn + at, atol=1e-3 * max(1, scale))


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 30), st.floats(0.5, 120))
def test_demo_has_the_length_that_was_asked_for(seconds, fps):
    track = demo_motion(seen(face(NARROW)), seconds, fps)
    assert len(track) == max(1, round(seconds * fps))
    assert track.seconds == pytest.approx(len(track) / fps)


def test_demo_is_the_same_every_time():
    source = seen(face(BROAD))
    assert demo_motion(source).landmarks.tobytes() == demo_motion(source.tolist()).landmarks.tobytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((67, 2)),), r"found \(67, 2\)"),
        ((np.ones((68, 2)),), "both eyes at one place"),
        ((seen(face(NARROW)), 0), "seconds: expected a number above 0"),
        ((seen(face(NARROW)), float("nan")), "seconds: expected a number above 0"),
        ((seen(face(NARROW)), 6, float("inf")), "fps: expected a number above 0"),
        ((seen(face(NARROW)), 1e9), f"at most {MAX_FRAMES} frames"),
    ],
)
def test_demo_refuses_what_it_cannot_move(arguments, message):
    with pytest.raises(LandmarkError, match=message):
        demo_motion(*arguments)


# ---- tracks ----


def test_a_track_is_checked_and_converted():
    track = Track(np.arange(272).reshape(2, 68, 2), 10)
    assert track.landmarks.dtype == np.float32
    assert len(track) == 2
    assert track.seconds == 0.2


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1e6, "25", None])
def test_a_track_needs_a_rate(fps):
    with pytest.raises(LandmarkError, match="fps: expected a number above 0"):
        Track(np.zeros((2, 68, 2)), fps)


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [
        (np.zeros((68, 2)), r"expected shape \(frames, 68, 2\), found \(68, 2\)"),
        (np.zeros((3, 136)), r"found \(3, 136\)"),
        (np.zeros((0, 68, 2)), "0 frames, expected 1 to"),
        (np.broadcast_to(np.float32(0), (MAX_FRAMES + 1, 68, 2)), f"{MAX_FRAMES + 1} frames, expected 1 to"),
        ([[[1, 2], [3]]], "expected frames of 68"),
        ([["a"]], "expected frames of 68"),
        (np.full((2, 68, 2), 1e300), "frame 0 holds a point that is not finite"),
    ],
)
def test_frames_of_another_form_are_refused(landmarks, message):
    with pytest.raises(LandmarkError, match=message) as caught:
        check_frames(landmarks)
    assert "\n" not in str(caught.value)


def test_the_first_frame_that_is_not_finite_is_named():
    frames = np.zeros((9, 68, 2))
    frames[4, 3, 1] = frames[7, 0, 0] = np.nan
    with pytest.raises(LandmarkError, match="frame 4"):
        check_frames(frames)
