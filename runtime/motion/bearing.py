"""How a face is held in a picture, by its landmarks as complex numbers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Complex, Floats
from bilayer.runtime.face.expression import MOST, eye_opening, mouth_opening
from bilayer.runtime.face.ibug import LEFT_EAR, LEFT_EYE, NOSE_BRIDGE, RIGHT_EAR, RIGHT_EYE


@dataclass(frozen=True, eq=False)
class Bearing:
    """How a face is held in each frame, (T,) each."""

    yaw: NDArray[np.float64]  # where the nose bridge stands between the ears, -1..1
    roll: NDArray[np.float64]  # radians
    nod: NDArray[np.float64]  # where the nose's tip stands between bridge and base
    mouth: NDArray[np.float64]  # gap in widths
    eyes: NDArray[np.float64]  # opening in widths


def bearing_of(frames: Complex) -> Bearing:
    """Return the bearing in frames (T, 68) of points x + iy."""
    across = frames[:, LEFT_EYE].mean(axis=-1) - frames[:, RIGHT_EYE].mean(axis=-1)
    upright = frames * np.exp(-1j * np.angle(across))[:, None]
    right, left, bridge, tip, base = (upright[:, index] for index in (RIGHT_EAR, LEFT_EAR, NOSE_BRIDGE, 30, 33))
    points = np.stack([frames.real, frames.imag], axis=-1)
    return Bearing(
        yaw=_ratio((bridge - (left + right) / 2).real, np.abs(left - right) / 2),
        roll=np.angle(across),
        nod=_ratio((tip - bridge).imag, np.abs(base - bridge)),
        mouth=mouth_opening(points),
        eyes=eye_opening(points),
    )


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """`part` / `whole`, at most MOST to either side."""
    return np.clip(part / np.maximum(whole, 1e-12), -MOST, MOST)


def complex_points(landmarks: Floats) -> Complex:
    """Return landmarks (..., 68, 2) as x + iy (..., 68)."""
    exact = landmarks.astype(np.float64)
    return exact[..., 0] + 1j * exact[..., 1]
