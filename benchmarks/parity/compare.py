"""How far two computations of the same frames are apart."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bilayer.benchmarks.parity.subject import RANGES, Bytes, Results, Values

MOST_PSNR = 200.0  # dB, said of equal arrays: JSON has no infinity
LEVELS = (0, 1, 2, 4, 8, 16, 256)  # bounds of the histogram: differences of 0, 1, 2-3, 4-7, 8-15, 16 and more


@dataclass(frozen=True)
class Difference:
    """Of one result over the poses."""

    max_abs: float  # of all poses; infinite where a value is not finite
    mean_abs: float
    psnr_db: float  # of the worst pose
    cosine: float  # of the worst pose
    max_pixels: float | None  # delta_uv's largest distance, in texture pixels


@dataclass(frozen=True)
class FrameDifference:
    """Of the RGBA frames over the poses."""

    psnr_db: float  # of 8-bit values, the worst pose's
    ssim: float  # of the worst pose; by bilayer.training.metrics
    level_shares: dict[str, float]  # share of all values by how many levels they differ


@dataclass(frozen=True)
class Comparison:
    """Of one rung with another."""

    results: dict[str, Difference]
    frame: FrameDifference

    @property
    def worst_psnr(self) -> float:
        """Of the results, not the frame."""
        return min(difference.psnr_db for difference in self.results.values())


def compare(
    found: Sequence[Results], expected: Sequence[Results], frames: Sequence[Bytes], expected_frames: Sequence[Bytes]
) -> Comparison:
    """All figures of `found` against `expected`, pose by pose."""
    results = {name: _difference(name, [f[name] for f in found], [e[name] for e in expected]) for name in expected[0]}
    return Comparison(results, compare_frames(frames, expected_frames))


def decibels(mean_square: float, value_range: float) -> float:
    """PSNR of a mean squared error: -MOST_PSNR where that is not finite."""
    if not math.isfinite(mean_square):
        return -MOST_PSNR
    return max(-MOST_PSNR, min(MOST_PSNR, 10 * math.log10(value_range**2 / mean_square))) if mean_square else MOST_PSNR


def _difference(name: str, found: list[Values], expected: list[Values]) -> Difference:
    errors = [f.astype(np.float64) - e for f, e in zip(found, expected, strict=True)]
    if not all(np.isfinite(error).all() for error in errors):
        return Difference(math.inf, math.inf, -MOST_PSNR, 0.0, math.inf if name == "delta_uv" else None)
    return Difference(
        max_abs=max(float(np.abs(error).max()) for error in errors),
        mean_abs=float(np.mean([np.abs(error).mean() for error in errors])),
        psnr_db=min(decibels(float(np.mean(error**2)), RANGES[name]) for error in errors),
        cosine=min(_cosine(f, e) for f, e in zip(found, expected, strict=True)),
        max_pixels=max(map(uv_pixels, found, expected)) if name == "delta_uv" else None,
    )


def uv_pixels(found: Values, expected: Values) -> float:
    """The largest distance of two delta_uv (2, S, S), in texture pixels: -1..1 is the width of the texture, S."""
    x, y = found.astype(np.float64) - expected
    return float(np.max(np.hypot(x, y)) * (found.shape[-1] / 2))


def _cosine(found: Values, expected: Values) -> float:
    a, b = found.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.dot(a, b)) / lengths if lengths else float(not a.any() and not b.any())


def compare_frames(frames: Sequence[Bytes], expected: Sequence[Bytes]) -> FrameDifference:
    """RGBA frames (S, S, 4) against the expected ones."""
    import torch

    from bilayer.training.metrics.pictures import ssim

    pairs = list(zip(frames, expected, strict=True))
    apart = np.stack([np.abs(a.astype(np.int16) - b) for a, b in pairs])
    counts, _ = np.histogram(apart, LEVELS)
    names = [_level_name(low, high) for low, high in itertools.pairwise(LEVELS)]
    similar = []
    for pair in pairs:
        a, b = (torch.from_numpy(frame.transpose(2, 0, 1)[None] / 127.5 - 1) for frame in pair)
        similar.append(float(ssim(a, b)))
    return FrameDifference(
        psnr_db=min(decibels(float(np.mean(np.square(one, dtype=np.float64))), 255) for one in apart),
        ssim=min(similar),
        level_shares={name: float(count / apart.size) for name, count in zip(names, counts, strict=True)},
    )


def _level_name(low: int, high: int) -> str:
    if high == LEVELS[-1]:
        return f"{low} or more"
    return str(low) if high == low + 1 else f"{low} to {high - 1}"
