"""A driver's motion on another person's landmarks, so that the avatar keeps its own face.

The network has learned shape as well as motion from landmarks: fed with a driver's own, the avatar takes on the
driver's proportions (the paper, appendix: "driving identity leakage remains noticeable").

Source and driver each have coordinates of their own, any that are square: pixels, or a pose vector's -1..1. Results are
in the source's. Points are complex numbers x + iy in here, which makes a similarity one product, z -> a z + b, with
abs(a) its scale and angle(a) its turn. The one that brings p nearest to q in least squares (Umeyama 1991, without
reflections) is a = sum conj(p) q / sum |p|^2 on centred points. Formulae: docs/motion.md.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bilayer.runtime.arrays import Complex, Floats
from bilayer.runtime.errors import InputError, LandmarkError
from bilayer.runtime.face.crop import check_is_face, check_landmarks, crop_box, on_a_line, pose_vector
from bilayer.runtime.face.expression import LID_PAIRS
from bilayer.runtime.face.ibug import (
    EYE_CORNERS,
    EYES,
    MOUTH,
    MOUTH_CORNERS,
    NUM_LANDMARKS,
)
from bilayer.runtime.motion.bearing import bearing_of, complex_points
from bilayer.runtime.motion.track import LIP_PAIRS, PARTING, Track, check_frames, hold_faces
from bilayer.runtime.vocabulary import RetargetMode, checked_word

# Points that only the head moves: ears, nose, corners of the eyes
RIGID = np.array([0, 1, 15, 16, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45])
EYES_AND_CORNERS = tuple(zip(EYES, EYE_CORNERS, strict=True))  # all six points, the two corners
JAW = slice(0, 17)
TOUCHING = 0.08  # eye widths; between lids nearer than this there is no opening to compare
MAX_GAIN = 4.0  # times; lids and lips move no further than this beyond what the faces' sizes ask for
BLOCK = 4096  # frames at once; of an hour's video the rest would be memory


@dataclass(frozen=True)
class Gains:
    """How much of the driver's motion is taken over: 1 all of it, 0 none.

    Raises:
        InputError: one that is not within 0..MAX_GAIN.
    """

    head: float = 1.0  # turns, nods, travel; 0 holds the head still
    mouth: float = 1.0  # lips against the mouth's corners, and the jaw with them
    eyes: float = 1.0  # lids against the eyes' corners

    def __post_init__(self) -> None:
        for name, gain in vars(self).items():
            if not 0 <= gain <= MAX_GAIN:
                raise InputError(f"gain of the {name}: expected 0 to {MAX_GAIN:g}, found {gain}")


class Retargeter:
    """One source, driven frame by frame: for a webcam, where the first frame is the reference.

    * "absolute": the driver's landmarks as they are, as published. The shape of the driver's face comes with them.
    * "relative": the source's landmarks, moved as the driver's have moved since the reference. At the reference the
      result is the source itself. Lids move in proportion to the eye's opening, lips to the mouth's width.
    * "procrustes": the driver's track put onto the source by one similarity, plus what then is between both faces at
      the reference, all but the opening of their mouths: the lips part as far as the driver's, however the
      source's stand. Blind to where, how large and at what angle the driver's face is.

    Both of the latter want a reference in which the driver's head is held as the source's: see `closest_frame`.

    Keeps a few hundred numbers whatever the length of the track. Not for use by several threads at once.

    Args:
        source: (68, 2), or the (136,) pose of an avatar's source.
        mode: one of the above.
        reference: (68, 2) of the driver; None takes the first frame it is called with.
        gains: how much of the motion is taken over; may be set anew at any time. "absolute" has no motion, only places.

    Raises:
        LandmarkError: not 68 finite points, or all of them in one place.
        InputError: no such mode.
    """

    def __init__(
        self,
        source: ArrayLike,
        mode: RetargetMode = "relative",
        reference: ArrayLike | None = None,
        gains: Gains = Gains(),
    ) -> None:
        self.gains = gains
        self.mode: RetargetMode = checked_word(mode, RetargetMode, "mode")
        self._source = _face(source, "source")
        self._transfer: _Transfer | None = None
        if reference is not None:
            self._set_reference(_face(reference, "reference"))

    def __call__(self, driver: ArrayLike, out: Floats | None = None) -> Floats:
        """Landmarks (68, 2) of the driver's frame -> landmarks for the avatar.

        Args:
            driver: (68, 2) in the driver's coordinates.
            out: (68, 2) float32, written and returned; by default a new array.

        Raises:
            LandmarkError: not 68 finite points, all of them in one place or on a line, or `out` is of another kind.
        """
        points = check_landmarks(driver)
        check_is_face(points, "driver")
        if out is None:
            out = np.empty((NUM_LANDMARKS, 2), np.float32)
        elif out.shape != (NUM_LANDMARKS, 2) or out.dtype != np.float32:
            raise LandmarkError(f"out: expected (68, 2) float32, found {out.shape} {out.dtype}")
        if self.mode == "absolute":
            out[...] = points
            return out
        if self._transfer is None:
            self._set_reference(_face(points, "driver"))
        assert self._transfer is not None
        moved = self._transfer(complex_points(points)[None], self.gains)[0]
        out[:, 0], out[:, 1] = moved.real, moved.imag
        return out

    def pose(self, driver: ArrayLike) -> Floats:
        """Return what the avatar's network takes, (136,), of landmarks (68, 2) of the driver's frame.

        For a `source` given as a pose. In mode "absolute" the driver's frame is cropped by the published rule, so
        `driver` must be in pixels.

        Raises:
            LandmarkError: as calling does; in mode "absolute" also points that span less than a pixel.
        """
        moved = self(driver)
        return pose_vector(moved, crop_box(moved)) if self.mode == "absolute" else moved.ravel()

    def recentre(self) -> None:
        """Take the next frame as the reference: when another person sits down, or the first frame was a bad one."""
        self._transfer = None

    def _set_reference(self, reference: Complex) -> None:
        if self.mode != "absolute":
            self._transfer = _Transfer(self._source, reference, procrustes=self.mode == "procrustes")


def retarget(
    source: ArrayLike, driver: ArrayLike, mode: RetargetMode = "relative", reference: int | ArrayLike | None = None
) -> Floats:
    """Retarget a whole track at once: what a `Retargeter` gives for each frame.

    Args:
        source: (68, 2), or the (136,) pose of an avatar's source.
        driver: (T, 68, 2).
        mode: see `Retargeter`.
        reference: number of a frame of `driver`, or landmarks (68, 2) of the driver; None takes `closest_frame`.

    Returns:
        (T, 68, 2) in the source's coordinates; `.reshape(T, 136)` are poses where the source is one. In mode "absolute"
        a copy of `driver`. A frame that holds no face (`faces_among`) is as the one before.

    Raises:
        LandmarkError: other shapes, values that are not finite, points all in one place, no such frame.
        InputError: no such mode.
    """
    frames = hold_faces(check_frames(driver))
    face = _face(source, "source")
    if checked_word(mode, RetargetMode, "mode") == "absolute":
        return frames.copy()
    if reference is None:
        reference = closest_frame(source, frames)
    if isinstance(reference, int | np.integer):
        if not 0 <= reference < len(frames):
            raise LandmarkError(f"reference: frame {reference} asked for, the track has 0 to {len(frames) - 1}")
        reference = frames[reference]
    transfer = _Transfer(face, _face(reference, "reference"), procrustes=mode == "procrustes")
    out = np.empty(frames.shape, np.float32)
    for start in range(0, len(frames), BLOCK):
        moved = transfer(complex_points(frames[start : start + BLOCK]), Gains())
        out[start : start + BLOCK, :, 0], out[start : start + BLOCK, :, 1] = moved.real, moved.imag
    return out


def driving_poses(
    pose: ArrayLike, track: Track, mode: RetargetMode = "relative", reference: int | ArrayLike | None = None
) -> Floats:
    """Return (T, 136): a track as what the network of the avatar with the source `pose` (136,) takes, frame by frame.

    In mode "absolute" each frame is cropped by the published rule; otherwise arguments and errors are those of
    `retarget`.
    """
    moved = retarget(pose, track.landmarks, mode, reference)
    if mode == "absolute":
        return np.stack([pose_vector(frame, crop_box(frame)) for frame in moved])
    return moved.reshape(len(moved), -1)


def closest_frame(source: ArrayLike, driver: ArrayLike) -> int:
    """Return the frame of `driver` (T, 68, 2) in which the head is held, and the mouth stands, most like the source's.

    Motion counted from there starts from the same pose. Measures that proportions do not change are compared with the
    source's (yaw, roll, how far the mouth is open); those that they do change, with the driver's other frames: eyes at
    least as open, and the nod, as they mostly are. Of equals the first.

    Raises:
        LandmarkError: other shapes, values that are not finite, points all in one place or on a line.
    """
    own = bearing_of(_face(source, "source")[None])
    points = check_frames(driver)
    frames = complex_points(points)
    usable = np.flatnonzero(~on_a_line(points))
    if not len(usable):
        check_is_face(points[0], "driver")
    held = bearing_of(frames[usable])
    unlike = [held.yaw - own.yaw, held.roll - own.roll, (held.mouth - own.mouth) / 2]
    unusual = [np.minimum(held.eyes - np.median(held.eyes), 0), held.nod - np.median(held.nod)]
    return int(usable[np.argmin(np.sum(np.square(unlike + unusual), axis=0))])


class _Transfer:
    """The map from a driver's frames to the source's, for a fixed reference."""

    def __init__(self, source: Complex, reference: Complex, procrustes: bool) -> None:
        self._source, self._place = source, source - _centre(source)
        self._reference_centre = _centre(reference)
        self._reference = reference - self._reference_centre
        self._onto = _similarity(reference - reference.mean(), source - source.mean())
        if abs(self._onto) <= 1e-6 * np.ptp(np.abs(self._place)) / np.ptp(np.abs(self._reference)):
            raise LandmarkError("landmarks: no turn brings the driver's points near the source's; expected two faces")
        # Where the head goes: as in the driver's picture, or along the driver's own axes
        self._travel = self._onto if procrustes else np.abs(self._onto)
        laid = self._onto * self._reference  # the reference on the source
        self._lids = _lid_gains(self._place, laid)
        self._lips = min(_width(self._place) / max(_width(laid), 1e-12), MAX_GAIN)
        across = self._place[MOUTH_CORNERS[1]] - self._place[MOUTH_CORNERS[0]]
        self._down = 1j * across / max(abs(across), 1e-12)  # of the mouth; y points down
        gaps, driven = (_gaps(face, self._down) for face in (self._place, self._lips * laid))
        self._least_gaps = np.minimum(gaps, 0)  # a noisy source may have its lips crossed already
        self._parted = self._down * PARTING * (driven - gaps).mean() if procrustes else np.zeros_like(source)

    def __call__(self, frames: Complex, gains: Gains) -> Complex:
        """The source's points (T, 68) for the driver's (T, 68)."""
        centres = _centre(frames)
        frames = frames - centres
        head = _similarity(np.take(self._reference, RIGID), np.take(frames, RIGID, axis=-1))
        head = np.where(np.abs(head) > 1e-12, head, 1)  # a frame without extent has no size to follow
        # What is left without the head's turn and size in the picture: expression, and turns out of the picture
        moves = self._shaped(self._onto * (frames / head - self._reference), gains)
        travel = gains.head * (self._travel * (centres - self._reference_centre))
        if gains.head != 1:  # a part of the turn, and of the change of size
            head = np.abs(head) ** gains.head * np.exp(1j * gains.head * np.angle(head))
        return self._source + ((head - 1) * self._place + head * moves + travel)  # a sum of zeros at the reference

    def _shaped(self, moves: Complex, gains: Gains) -> Complex:
        """The driver's points' moves (T, 68), made those of the source's eyes and mouth."""
        shaped = gains.head * moves + self._parted
        if gains.mouth != gains.head:  # the jaw goes with the mouth
            opened = (gains.mouth - gains.head) * self._lips * _gaps(moves, self._down).mean(axis=-1, keepdims=True)
            shaped[:, JAW] += self._down * PARTING[JAW] * opened
        for points, corners in EYES_AND_CORNERS:
            carried = moves[:, corners].mean(axis=-1, keepdims=True)
            shaped[:, points] = gains.head * carried + gains.eyes * self._lids[points] * (moves[:, points] - carried)
            shaped[:, corners] = gains.head * moves[:, corners]
        carried = moves[:, MOUTH_CORNERS].mean(axis=-1, keepdims=True)
        lips = gains.mouth * self._lips * (moves[:, MOUTH] - carried)
        shaped[:, MOUTH] = gains.head * carried + lips + self._parted[MOUTH]
        upper, lower = LIP_PAIRS.T
        missing = np.maximum(self._least_gaps - _gaps(self._place + shaped, self._down), 0) / 2
        shaped[:, upper] -= self._down * missing
        shaped[:, lower] += self._down * missing
        return shaped


def _face(landmarks: ArrayLike, name: str) -> Complex:
    """A face of (68, 2) or (136,) numbers as (68,) complex ones."""
    if isinstance(landmarks, np.ndarray) and landmarks.shape == (2 * NUM_LANDMARKS,):
        landmarks = landmarks.reshape(NUM_LANDMARKS, 2)
    elif isinstance(landmarks, list | tuple) and len(landmarks) == 2 * NUM_LANDMARKS:  # avatar.json's own pose
        landmarks = [landmarks[at : at + 2] for at in range(0, 2 * NUM_LANDMARKS, 2)]
    points = check_landmarks(landmarks)
    face = complex_points(points)
    check_is_face(points, name)
    if min(np.ptp(np.abs(part - part.mean())) for part in (face, face[RIGID])) <= 1e-6 * np.abs(face).max():
        raise LandmarkError(f"{name}: all landmarks in one place; expected a face: find its points anew")
    return face


def _centre(points: Complex) -> Complex:
    """The middle (..., 1) of those of the points (..., 68) that only the head moves."""
    return np.asarray(np.take(points, RIGID, axis=-1).mean(axis=-1, keepdims=True))


def _similarity(points: Complex, targets: Complex) -> Complex:
    """The factor (..., 1) that brings centred points nearest to centred targets; exactly 1 where they are the same."""
    along = (points.real * targets.real + points.imag * targets.imag).sum(axis=-1, keepdims=True)
    across = (points.real * targets.imag - points.imag * targets.real).sum(axis=-1, keepdims=True)
    size = (points.real * points.real + points.imag * points.imag).sum(axis=-1, keepdims=True)
    return np.asarray((along + 1j * across) / size)


def _lid_gains(source: Complex, laid: Complex) -> Complex:
    """What to multiply the moves of each point with (68,), so that eyes close in proportion to their opening."""
    gains = np.ones(NUM_LANDMARKS, np.complex128)
    upper, lower = LID_PAIRS.T
    own, driven = source[lower] - source[upper], laid[lower] - laid[upper]
    widths = np.abs([laid[left] - laid[right] for right, left in EYE_CORNERS]).repeat(2)
    ratios = np.divide(own, driven, out=np.ones_like(own), where=np.abs(driven) > TOUCHING * widths)
    gains[upper] = gains[lower] = ratios * np.minimum(1, MAX_GAIN / np.maximum(np.abs(ratios), 1e-12))
    return gains


def _width(face: Complex) -> float:
    """The width of the mouth."""
    return float(np.abs(face[MOUTH_CORNERS[1]] - face[MOUTH_CORNERS[0]]))


def _gaps(faces: Complex, down: complex) -> NDArray[np.float64]:
    """The gaps between the inner lips (..., 3), along `down`; negative where they cross."""
    upper, lower = LIP_PAIRS.T
    between = np.take(faces, lower, axis=-1) - np.take(faces, upper, axis=-1)
    return np.asarray(between.real * down.real + between.imag * down.imag)
