"""Poses without a tracker's trembling: the one-euro filter (Casiez, Roussel and Vogel, CHI 2012), head and face apart.

A low-pass of one pole whose cutoff rises with the speed: what stands still stands still, what is quick is not late. The
head's points are filtered as they lie in the picture; lids and lips as they lie in the face, after the head's turn and
place are taken away, and by a quicker filter, so that a blink is not smoothed away. Formulae: docs/motion.md.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bilayer.runtime.arrays import Complex, Floats
from bilayer.runtime.errors import InputError
from bilayer.runtime.face.crop import check_landmarks
from bilayer.runtime.face.expression import LID_PAIRS
from bilayer.runtime.face.ibug import MOUTH, MOUTH_CORNERS, NUM_LANDMARKS
from bilayer.runtime.motion.bearing import complex_points
from bilayer.runtime.motion.retarget import EYES_AND_CORNERS, RIGID
from bilayer.runtime.motion.track import LIP_PAIRS, PARTING

LIVE_SMOOTHING = 0.75  # amount for a camera: a tracker's trembling of 0.3 px comes to be 0.09
LIGHTEST, HEAVIEST = 8.0, 0.4  # Hz, cutoff at rest of amounts just above 0, and of 1
HEAD_HASTE = 24.0  # Hz of cutoff more for each half crop a second
FACE_HASTE = 100.0  # the same of lids and lips, which go shorter ways
SPEED_CUTOFF = 2.0  # Hz, of the speed's own low-pass; the paper's 1 is late for a blink of 0.3 s
CALM = 0.04  # half crops a second (5 px of 256) that trembling of 0.3 px alone makes: no reason for haste

LIDS = np.unique(LID_PAIRS)  # without the corners, which only the head moves
_HEAD = np.setdiff1d(np.arange(NUM_LANDMARKS), [*LIDS, *range(NUM_LANDMARKS)[MOUTH]])
# How far the jaw goes down with the lips; ears tell the head's turn and are left alone
_CHIN = np.where(np.isin(np.arange(NUM_LANDMARKS), RIGID), 0, PARTING)


def rest_cutoff(amount: float) -> float:
    """Return the cutoff at rest, in Hz, of a smoothing of 0..1, else an InputError; infinite for 0, no smoothing."""
    if not 0 <= amount <= 1:
        raise InputError(f"smoothing: expected 0 to 1, found {amount}")
    return LIGHTEST * (HEAVIEST / LIGHTEST) ** amount if amount else math.inf


def latency_ms(amount: float) -> float:
    """Return the milliseconds by which the slowest motion is late under an amount of smoothing 0..1: 1 / (2 pi cutoff).

    The most that there is: quick motion raises the cutoff (measured in docs/motion.md).

    Raises:
        InputError: not within 0..1.
    """
    return 1000 / (2 * math.pi * rest_cutoff(amount))


class OneEuro:
    """The filter, of values that move together: they share one cutoff, that of their speed's root mean square.

    Of one value and with no calm it is the paper's. Not for use by several threads at once.

    Args:
        cutoff: Hz at rest; infinite does not smooth.
        haste: Hz more per unit a second; the paper's beta.
        speed_cutoff: Hz, of the speed's own low-pass.
        calm: units a second; of the speed only what is above it makes haste.
    """

    def __init__(self, cutoff: float, haste: float, speed_cutoff: float = 1.0, calm: float = 0.0) -> None:
        self.cutoff, self.haste, self.speed_cutoff, self.calm = cutoff, haste, speed_cutoff, calm
        self._values: NDArray[np.float64] | None = None
        self._speeds: NDArray[np.float64] = np.zeros(0)
        self._seconds = 0.0

    def __call__(self, values: ArrayLike, seconds: float) -> NDArray[np.float64]:
        """The values (N,), smoothed; the first, and those of a time that does not go on, are taken as they are."""
        new = np.array(values, np.float64)
        step, self._seconds = seconds - self._seconds, seconds
        past = self._values
        if past is None or past.shape != new.shape or not step > 0 or math.isinf(self.cutoff):
            self._values, self._speeds = new, np.zeros_like(new)
            return new.copy()
        self._speeds = self._speeds + _share(self.speed_cutoff, step) * ((new - past) / step - self._speeds)
        speed = max(math.sqrt(float(np.mean(np.square(self._speeds)))) - self.calm, 0.0)
        self._values = past + _share(self.cutoff + self.haste * speed, step) * (new - past)
        return self._values.copy()

    def reset(self) -> None:
        """Take the next values as they are."""
        self._values = None


def _share(cutoff: float, step: float) -> float:
    """How much of the new value a low-pass of one pole takes after `step` seconds."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * step))


class PoseSmoother:
    """The poses of one avatar, smoothed frame by frame. Not for use by several threads at once.

    Args:
        source: (136,), the avatar's own pose; or (68, 2).
        amount: 0..1, none to most; `latency_ms` tells what it costs.

    Raises:
        LandmarkError: the source is no face.
        InputError: no such amount.
    """

    def __init__(self, source: ArrayLike, amount: float) -> None:
        self._amount = amount
        self._source = complex_points(check_landmarks(np.reshape(source, (-1, 2))))
        self._rest = self._source[RIGID] - self._source[RIGID].mean()
        across = self._source[MOUTH_CORNERS[1]] - self._source[MOUTH_CORNERS[0]]
        self._down = 1j * across / max(abs(across), 1e-12)  # of the mouth, in the face; y points down
        cutoff = rest_cutoff(amount)
        self._head = OneEuro(cutoff, HEAD_HASTE, SPEED_CUTOFF, CALM)
        self._eyes = OneEuro(cutoff, FACE_HASTE, SPEED_CUTOFF, CALM)
        self._mouth = OneEuro(cutoff, FACE_HASTE, SPEED_CUTOFF, CALM)

    def __call__(self, pose: ArrayLike, seconds: float) -> Floats:
        """The pose (136,) of a moment -> (136,), smoothed; where time does not go on it is taken as it is."""
        exact = np.asarray(pose, np.float32).reshape(-1, 2)
        if not self._amount:
            return exact.ravel()
        points = complex_points(exact)
        turn = self._turn(points)
        middle = points[list(MOUTH_CORNERS)].mean()
        lids = np.concatenate([(points[p] - points[list(corners)].mean()) / turn for p, corners in _LIDS])
        mouth = (points[MOUTH] - middle) / turn
        # The chin goes down with the lower lip: that part of the jaw is the mouth's
        jaw = turn * self._down * _CHIN * self._opened(mouth)
        held = _smooth(self._head, np.append((points - jaw)[_HEAD], middle), seconds)
        lids, mouth = _smooth(self._eyes, lids, seconds), _smooth(self._mouth, mouth, seconds)
        smooth = points.copy()
        smooth[_HEAD] = held[:-1]
        turn = self._turn(smooth)
        smooth[_HEAD] += (turn * self._down * _CHIN * self._opened(mouth))[_HEAD]
        for (p, corners), own in zip(_LIDS, np.split(lids, len(_LIDS)), strict=True):
            smooth[p] = smooth[list(corners)].mean() + turn * own
        smooth[MOUTH] = held[-1] + turn * mouth
        return np.stack([smooth.real, smooth.imag], axis=-1).astype(np.float32).ravel()

    def reset(self) -> None:
        """Take the next pose as it is."""
        for part in (self._head, self._eyes, self._mouth):
            part.reset()

    def _turn(self, points: Complex) -> complex:
        """The head's turn and size in the picture, as a factor on the source's points; Umeyama's (1991)."""
        rigid = points[RIGID] - points[RIGID].mean()
        turn = complex(np.vdot(self._rest, rigid) / np.vdot(self._rest, self._rest).real)
        return turn if abs(turn) > 1e-12 else 1

    def _opened(self, mouth: Complex) -> float:
        """The gap between the inner lips, of the mouth's points (20,) in the face."""
        gaps = mouth[LIP_PAIRS[:, 1] - MOUTH.start] - mouth[LIP_PAIRS[:, 0] - MOUTH.start]
        return float((gaps * np.conj(self._down)).real.mean())


_LIDS = [(np.intersect1d(LIDS, np.arange(NUM_LANDMARKS)[points]), corners) for points, corners in EYES_AND_CORNERS]


def _smooth(part: OneEuro, points: Complex, seconds: float) -> Complex:
    return np.asarray(part(points.view(np.float64), seconds).view(np.complex128))
