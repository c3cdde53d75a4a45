"""Landmark tracks: what drives an avatar, and a built-in one for when there is no driver at hand.

Landmarks are 68 (x, y) points in iBUG order, x right and y down. A track's points are pixels of its own picture; the
built-in motion takes and gives whatever coordinates its source has, a pose vector's -1..1 (136 numbers as 68 pairs)
included.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bilayer.runtime.arrays import Floats, Points
from bilayer.runtime.errors import LandmarkError, in_short
from bilayer.runtime.face.crop import check_landmarks, on_a_line
from bilayer.runtime.face.expression import LID_PAIRS
from bilayer.runtime.face.ibug import LEFT_EYE_CORNER, MOUTH, MOUTH_CORNERS, NUM_LANDMARKS, RIGHT_EYE_CORNER
from bilayer.runtime.vocabulary import DEFAULT_FPS

MAX_FPS = 1000.0
NO_EXTENT = 0.01  # of the track's usual one; a frame under that is no face
MAX_FRAMES = 1 << 18  # 2.4 hours at 30 a second, 140 MB

# Upper and lower points that touch when lips close
LIP_PAIRS = np.array([(61, 67), (62, 66), (63, 65)])

# How far each point goes down the face as the lips part by 1: the chin follows the lower lip, the jaw line less and
# less towards the ears, the upper lip lifts a little.
PARTING = np.zeros(NUM_LANDMARKS)
PARTING[:17] = 0.8 * np.sin(np.pi * np.arange(17) / 16) ** 2
PARTING[[55, 56, 57, 58, 59, 65, 66, 67]] = [0.65, 0.9, 0.9, 0.9, 0.65, 0.9, 0.9, 0.9]
PARTING[[48, 54, 60, 64]] = 0.2  # corners of the mouth
PARTING[[50, 51, 52, 61, 62, 63]] = -0.1


@dataclass(frozen=True, eq=False)
class Track:
    """One face over time.

    Raises:
        LandmarkError: another shape, no or too many frames, NaN or infinite values, or a rate that is none.
    """

    landmarks: Floats  # (T, 68, 2) x, y in pixels of the driver's picture
    fps: float = DEFAULT_FPS  # frames per second

    def __post_init__(self) -> None:
        object.__setattr__(self, "landmarks", check_frames(self.landmarks))
        if not (isinstance(self.fps, int | float) and 0 < self.fps <= MAX_FPS):
            raise LandmarkError(f"fps: expected a number above 0, at most {MAX_FPS:.0f}; found {self.fps!r}")

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.landmarks)

    @property
    def seconds(self) -> float:
        """How long the track lasts, in seconds."""
        return len(self) / self.fps


def faces_among(frames: Floats) -> NDArray[np.bool_]:
    """Return which frames (T, 68, 2) hold a face, (T,): trackers that see none write one point, or a line."""
    extents = np.ptp(frames, axis=1).max(axis=-1)
    usual = np.quantile(extents[extents > 0], 0.9, method="lower") if extents.any() else np.inf
    return np.asarray((extents > NO_EXTENT * usual) & ~on_a_line(frames))


def hold_faces(frames: Floats) -> Floats:
    """Return the frames (T, 68, 2), those without a face as the last with one before them, at first as the first."""
    there = faces_among(frames)
    if there.all() or not there.any():
        return frames
    last = np.maximum.accumulate(np.where(there, np.arange(len(frames)), -1))
    held: Floats = frames[np.where(last < 0, np.argmax(there), last)]
    return held


def check_frames(landmarks: object) -> Floats:
    """Return landmarks of a track as (T, 68, 2) float32.

    Raises:
        LandmarkError: another shape, no or too many frames, not numbers, NaN or infinite values.
    """
    try:
        with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is reported as such
            frames = np.asarray(landmarks, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        reason = in_short(error)
        raise LandmarkError(f"landmarks: expected frames of 68 (x, y) pairs of numbers ({reason})") from error
    if frames.ndim != 3 or frames.shape[1:] != (NUM_LANDMARKS, 2):
        found = f"found {frames.shape}; give the 68 points of iBUG's order of each frame"
        raise LandmarkError(f"landmarks: expected shape (frames, 68, 2), {found}")
    if not 1 <= len(frames) <= MAX_FRAMES:
        raise LandmarkError(f"landmarks: {len(frames)} frames, expected 1 to {MAX_FRAMES}")
    finite = np.isfinite(frames).all(axis=(1, 2))
    if not finite.all():
        frame = int(np.argmin(finite))
        raise LandmarkError(
            f"landmarks: frame {frame} holds a point that is not finite; leave out or fill in frames without a face"
        )
    return frames


# ---- the built-in motion ----

CYCLE = 6.0  # seconds of one round of turn, nod and talk
YAW, PITCH, ROLL = 20.0, 11.0, 4.0  # degrees at the most
BLINK = 0.32  # seconds from open to open; people take 0.1 to 0.4
SYLLABLE = 0.26  # seconds
LIDS_SHUT = 0.95  # of the eye's opening; a rest keeps the drawn eye a line of two strokes
LIDS_MEET = 0.8  # of the way down from the upper lid: it does most of the move
MOUTH_OPEN = 0.24  # mouth widths between the inner lips, on top of what the source has
LIPS_CLOSE = 0.7  # of the gap in the source's own mouth, between syllables

# How far each point stands before the plane of the outer eye corners, in distances between these: rounded from an
# adult face of 9 cm there. The jaw line is the visible contour, which slides along the skin: less deep
# than the skin's points, so that the far cheek is not drawn inside of the eye.
_DEPTH = np.array([
    -.55, -.54, -.51, -.45, -.36, -.24, -.10, .02, .06, .02, -.10, -.24, -.36, -.45, -.51, -.54, -.55,  # jaw
    -.06, .05, .12, .15, .16, .16, .15, .12, .05, -.06,  # brows
    .13, .20, .29, .37, .18, .22, .26, .22, .18,  # nose
    .00, .05, .07, .06, .06, .04, .06, .07, .05, .00, .04, .06,  # eyes
    .10, .17, .22, .23, .22, .17, .10, .17, .20, .21, .20, .17,  # outer lips
    .11, .18, .19, .18, .11, .18, .19, .18,  # inner lips, as deep above as below: a nod shall not cross them
])  # fmt: skip
_NECK = (0.0, 0.55, -0.50)  # what the head turns about, right of, below and before the middle of the eyes


class Posed(Protocol):
    """What knows the pose (136,) of its source, as an `AvatarPlayer`."""

    source_pose: Floats


def demo_motion(source: "ArrayLike | Posed", seconds: float = CYCLE, fps: float = DEFAULT_FPS) -> Track:
    """Return the source's own landmarks turning, nodding, blinking and talking.

    Starts at the source itself and loops: the frame after the last is the first. The points are lifted onto a generic
    depth profile, turned in space about the neck and seen without perspective; lids and lips move in the face's plane
    before that. Up to 20 degrees to either side, for a source that looks into the camera.

    Args:
        source: (68, 2), in any unit, a face at any size and angle in the picture; or an avatar, for its source's pose.
        seconds: length of the loop; rounds of about 6 seconds fill it.
        fps: frames per second.

    Returns:
        A track of `seconds * fps` frames, at least one, in the source's coordinates.

    Raises:
        LandmarkError: not 68 finite points, eyes that coincide, or a length or rate that is none.
    """
    pose = getattr(source, "source_pose", None)
    landmarks = check_landmarks(source if pose is None else pose.reshape(NUM_LANDMARKS, 2))
    for name, value in (("seconds", seconds), ("fps", fps)):
        if not (math.isfinite(value) and value > 0):
            raise LandmarkError(f"{name}: expected a number above 0, found {value}")
    if not seconds * fps <= MAX_FRAMES:
        raise LandmarkError(f"seconds: {seconds} at {fps} a second, expected at most {MAX_FRAMES} frames")
    face, axis = _upright(landmarks)
    count = max(1, round(seconds * fps))
    rounds = max(1, round(seconds / CYCLE))
    phase = np.arange(count) * rounds / count % 1  # (T,) 0..1 of a round
    still = np.column_stack([face, _DEPTH]) - np.array(_NECK)  # (68, 3)
    moved = np.repeat(still[None], count, axis=0)
    moved[..., :2] += _lids(face, _blinks(phase, seconds / rounds)) + _lips(face, *_speech(phase, seconds / rounds))
    moved = _turned(moved, *_head_angles(phase))
    offset = (moved - still)[..., :2]  # exactly zero at rest
    offset = offset[..., :1] * axis + offset[..., 1:] * np.array([-axis[1], axis[0]])
    return Track((landmarks + offset).astype(np.float32), float(fps))


def _upright(source: Floats) -> tuple[Points, Points]:
    """(68, 2) from the middle of the eyes, along and across the eye line, in units of it; and its vector (2,)."""
    right, left = source[[RIGHT_EYE_CORNER, LEFT_EYE_CORNER]].astype(np.float64)
    axis = left - right
    length = float(np.hypot(*axis))
    if length <= 1e-6 * float(np.abs(source).max()):
        raise LandmarkError("landmarks: both eyes at one place; expected the 68 points of a face")
    centred = source - (right + left) / 2
    along = centred @ axis
    across = centred @ np.array([-axis[1], axis[0]])
    return np.column_stack([along, across]) / length**2, axis


def _window(phase: Points, start: float, stop: float) -> Points:
    """0 outside of start..stop, 1 in its middle, smooth at both ends."""
    inside = np.clip((phase - start) / (stop - start), 0, 1)
    return np.sin(np.pi * inside) ** 2


def _head_angles(phase: Points) -> tuple[Points, Points, Points]:
    """Yaw, pitch and roll (T,) in radians over a round."""
    turn = _window(phase, 0.02, 0.24) - _window(phase, 0.20, 0.42)  # one side, then the other
    nod = _window(phase, 0.43, 0.53) - 0.5 * _window(phase, 0.50, 0.57) + 0.8 * _window(phase, 0.54, 0.64)
    sway = _window(phase, 0.66, 0.98)  # nobody talks with a still head
    yaw = YAW * (turn + 0.25 * sway * np.sin(4 * np.pi * phase))
    pitch = PITCH * (nod + 0.2 * sway * np.sin(10 * np.pi * phase))
    roll = ROLL * (0.6 * turn - 0.8 * sway)
    return np.radians(yaw), np.radians(pitch), np.radians(roll)


def _blinks(phase: Points, period: float) -> Points:
    """How far the lids are closed (T,), 0..1."""
    half = min(BLINK / period, 0.1) / 2
    return np.asarray(LIDS_SHUT * np.sum([_window(phase, at - half, at + half) for at in (0.22, 0.60, 0.86)], axis=0))


def _speech(phase: Points, period: float) -> tuple[Points, Points]:
    """How much of the mouth is moving (T,), and how open it is then (T,), 0..1."""
    start, stop = 0.64, 0.98
    inside = np.clip((phase - start) / (stop - start), 0, 1)
    talking = np.minimum(1, 6 * inside * (1 - inside))
    talking = talking * talking * (3 - 2 * talking)
    syllables = max(2, round((stop - start) * period / SYLLABLE))
    loudness = 0.65 + 0.35 * np.sin(2 * np.pi * 2.2 * inside + 0.7)
    return talking, np.sin(np.pi * syllables * inside) ** 2 * loudness


def _lids(face: Points, closed: Points) -> Points:
    """Moves (T, 68, 2) that bring the lids together."""
    offset = np.zeros_like(face)
    upper, lower = LID_PAIRS.T
    gap = face[lower] - face[upper]
    offset[upper], offset[lower] = LIDS_MEET * gap, (LIDS_MEET - 1) * gap
    return closed[:, None, None] * offset


def _lips(face: Points, talking: Points, openness: Points) -> Points:
    """Moves (T, 68, 2) of lips and jaw, down the face."""
    width = float(np.hypot(*(face[MOUTH_CORNERS[1]] - face[MOUTH_CORNERS[0]])))
    gap = max(0.0, float(np.mean(face[LIP_PAIRS[:, 1], 1] - face[LIP_PAIRS[:, 0], 1])))
    added = talking * (openness * MOUTH_OPEN * width - (1 - openness) * LIPS_CLOSE * gap)
    offset = np.zeros((len(talking), NUM_LANDMARKS, 2))
    offset[..., 1] = added[:, None] * PARTING
    centre = face[MOUTH, 0].mean()
    narrowing = talking * openness * 0.08  # an open mouth is a narrower one
    offset[:, MOUTH, 0] = -narrowing[:, None] * (face[MOUTH, 0] - centre)
    return offset


def _turned(points: Points, yaw: Points, pitch: Points, roll: Points) -> Points:
    """Points (T, 68, 3) turned about the origin; the axes are right, down and towards the camera."""
    x, y, z = np.moveaxis(points, -1, 0)
    sin, cos = np.sin(yaw)[:, None], np.cos(yaw)[:, None]
    x, z = x * cos + z * sin, z * cos - x * sin
    sin, cos = np.sin(pitch)[:, None], np.cos(pitch)[:, None]
    y, z = y * cos + z * sin, z * cos - y * sin
    sin, cos = np.sin(roll)[:, None], np.cos(roll)[:, None]
    x, y = x * cos - y * sin, y * cos + x * sin
    return np.stack([x, y, z], axis=-1)
