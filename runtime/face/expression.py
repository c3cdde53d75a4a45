"""How far a face's mouth and eyes are open, by its landmarks (..., 68, 2), and whether one face follows another's."""

import math

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.face.ibug import EYE_CORNERS

Landmarks = NDArray[np.floating]

MOST = 10.0  # widths: frames that hold no face must not come to be NaN
LID_PAIRS = np.array([(37, 41), (38, 40), (43, 47), (44, 46)])  # upper and lower points that touch when eyes close


def mouth_opening(landmarks: Landmarks) -> NDArray[np.float64]:
    """Return the distance of the inner lips' middles over the mouth's width: (...), 0 shut."""
    return _ratio(_distance(landmarks, 66, 62), _distance(landmarks, 54, 48))


def eye_opening(landmarks: Landmarks) -> NDArray[np.float64]:
    """Return the distance of the lids over the eye's width, of both eyes: (...), about 0.3 open.

    The eye aspect ratio of Soukupova and Cech 2016, of both eyes in one.
    """
    lids, widths = _eyes(landmarks)
    return _ratio(lids.sum(-1), 2 * widths.sum(-1))


def eye_openings(landmarks: Landmarks) -> NDArray[np.float64]:
    """Return the same of each eye, the picture's left one first: (..., 2)."""
    lids, widths = _eyes(landmarks)
    return _ratio(lids, 2 * widths)


def _eyes(landmarks: Landmarks) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of each eye's two distances between the lids (..., 2), and its width (..., 2)."""
    lids = np.stack([_distance(landmarks, upper, lower) for upper, lower in LID_PAIRS], axis=-1)
    widths = np.stack([_distance(landmarks, start, end) for start, end in EYE_CORNERS], axis=-1)
    return lids[..., 0::2] + lids[..., 1::2], widths


def follow_ratio(found: NDArray[np.float64], driven: NDArray[np.float64]) -> float:
    """Return how far `found` (T,) opens for each step that `driven` (T,) does: 1 follows it, 0 does not move.

    The slope of the least-squares line, over the frames in which both are known (not NaN); a constant difference, a
    detector's bias or a face of another build, does not count. NaN where the driver does not move.
    """
    known = np.isfinite(found) & np.isfinite(driven)
    if known.sum() < 2:
        return math.nan
    moved = driven[known] - driven[known].mean()
    energy = float(moved @ moved)
    return float(moved @ (found[known] - found[known].mean())) / energy if energy > 1e-9 else math.nan


def _distance(landmarks: Landmarks, a: int, b: int) -> NDArray[np.float64]:
    between = landmarks[..., a, :].astype(np.float64) - landmarks[..., b, :]
    return np.asarray(np.hypot(between[..., 0], between[..., 1]))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.minimum(part / np.maximum(whole, 1e-12), MOST)
