"""Random fields for skin, hair and backgrounds, and the smooth step that shapes them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Floats

WAVES = 10  # that solid noise is the sum of


def smooth(low: float, high: float, value: Floats | NDArray[np.float64]) -> Floats:
    """Return 0 below `low`, 1 above `high`, an S-curve between; falling where `low` > `high`."""
    share = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), dtype=np.float32)


def image_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float, sigma_down: float = 0) -> Floats:
    """Return Gaussian noise (H, W) of deviation 1, blurred by `sigma` pixels (downwards by `sigma_down`, if given)."""
    blurred = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), sigma, sigmaY=sigma_down)
    return np.asarray(blurred / blurred.std(), dtype=np.float32)


def solid_noise(rng: np.random.Generator, points: Floats, wavelength: float) -> Floats:
    """Return smooth noise (n,) of about unit deviation over points (n, 3) in cm: it has no seams on the head."""
    directions = rng.normal(size=(WAVES, 3)) * (2 * np.pi / wavelength / np.sqrt(3))
    total = np.zeros(len(points), np.float32)
    for direction, phase in zip(directions.astype(np.float32), rng.uniform(0, 2 * np.pi, WAVES), strict=True):
        angle = points[:, 0] * direction[0] + points[:, 1] * direction[1] + points[:, 2] * direction[2]
        total += np.sin(angle + np.float32(phase))
    return total * np.float32(np.sqrt(2 / WAVES))


def pick(rng: np.random.Generator, *options: tuple[float, str]) -> str:
    """Return one of the named options with the given probabilities (they must sum to 1)."""
    return str(rng.choice([name for _, name in options], p=[share for share, _ in options]))
