"""How far two computations of the same frames are apart, in every figure that a ladder reports."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bilayer.runtime import agreement
from bilayer.runtime.agreement import FRAME, Agreement
from bilayer.runtime.arrays import Bytes
from bilayer.runtime.frame import NetworkOutputs, Values

LEVELS = (0, 1, 2, 4, 8, 16, 256)  # bounds of the histogram: differences of 0, 1, 2-3, 4-7, 8-15, 16 and more


@dataclass(frozen=True)
class Errors:
    """How far the numbers of one result are off over the poses."""

    max_abs: float  # of all poses; infinite where a value is not finite
    mean_abs: float
    cosine: float  # of the worst pose


@dataclass(frozen=True)
class Comparison:
    """One rung compared with another."""

    poses: tuple[Agreement, ...]  # of each pose
    errors: dict[str, Errors]  # by result
    level_shares: dict[str, float]  # share of all values of the frames by how many levels they differ

    @property
    def agreement(self) -> Agreement:
        """The figures that the gate judges by: each the worst pose's."""
        return Agreement.worst(self.poses)

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as JSON values, by result and for the frame."""
        worst = self.agreement
        results: dict[str, dict[str, float | None]] = {
            name: {**asdict(errors), "psnr_db": worst.psnr_db[name], "uv_pixels": None}
            for name, errors in self.errors.items()
        }
        results["delta_uv"]["uv_pixels"] = worst.uv_pixels
        frame = {"psnr_db": worst.psnr_db[FRAME], "ssim": worst.frame_ssim, "level_shares": self.level_shares}
        return {"results": results, "frame": frame, "not_finite": worst.not_finite}


def compare_poses(
    found: Sequence[NetworkOutputs],
    expected: Sequence[NetworkOutputs],
    frames: Sequence[Bytes],
    expected_frames: Sequence[Bytes],
) -> Comparison:
    """Compare results and frames (S, S, 4) with those expected, both pose by pose."""
    return Comparison(
        tuple(agreement.compare(*pose) for pose in zip(found, expected, frames, expected_frames, strict=True)),
        {
            name: _errors([f.by_name[name] for f in found], [e.by_name[name] for e in expected])
            for name in expected[0].by_name
        },
        _level_shares(frames, expected_frames),
    )


def _errors(found: list[Values], expected: list[Values]) -> Errors:
    pairs = list(zip(found, expected, strict=True))
    finite = all(np.isfinite(values).all() for pair in pairs for values in pair)
    errors = [np.abs(f.astype(np.float64) - e) for f, e in pairs] if finite else [np.array(math.inf)]
    return Errors(
        max_abs=max(float(error.max()) for error in errors),
        mean_abs=float(np.mean([error.mean() for error in errors])),
        cosine=min(_cosine(*pair) for pair in pairs) if finite else 0.0,
    )


def _cosine(found: Values, expected: Values) -> float:
    a, b = found.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.dot(a, b)) / lengths if lengths else float(not a.any() and not b.any())


def _level_shares(frames: Sequence[Bytes], expected: Sequence[Bytes]) -> dict[str, float]:
    apart = np.stack([np.abs(a.astype(np.int16) - b) for a, b in zip(frames, expected, strict=True)])
    counts, _ = np.histogram(apart, LEVELS)
    names = [_level_name(low, high) for low, high in itertools.pairwise(LEVELS)]
    return {name: float(count / apart.size) for name, count in zip(names, counts, strict=True)}


def _level_name(low: int, high: int) -> str:
    if high == LEVELS[-1]:
        return f"{low} or more"
    return str(low) if high == low + 1 else f"{low} to {high - 1}"
