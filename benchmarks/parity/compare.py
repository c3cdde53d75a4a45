"""How far two computations of the same frames are apart, in every figure that a ladder reports."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bilayer.runtime.agreement import FRAME, RANGES, Agreement, frame_ssim, psnr, uv_pixels
from bilayer.runtime.arrays import Bytes
from bilayer.runtime.frame import NetworkOutputs, Values

LEVELS = (0, 1, 2, 4, 8, 16, 256)  # bounds of the histogram: differences of 0, 1, 2-3, 4-7, 8-15, 16 and more


@dataclass(frozen=True)
class Difference:
    """How far one result is off over the poses."""

    max_abs: float  # of all poses; infinite where a value is not finite
    mean_abs: float
    psnr_db: float  # of the worst pose
    cosine: float  # of the worst pose
    max_pixels: float | None  # delta_uv's largest distance, in texture pixels


@dataclass(frozen=True)
class FrameDifference:
    """How far the RGBA frames are off over the poses."""

    psnr_db: float  # of 8-bit values, the worst pose's
    ssim: float  # of the worst pose, over four channels
    level_shares: dict[str, float]  # share of all values by how many levels they differ


@dataclass(frozen=True)
class Comparison:
    """One rung compared with another."""

    results: dict[str, Difference]
    frame: FrameDifference
    not_finite: int = 0  # numbers that the first gave

    @property
    def worst_psnr(self) -> float:
        """The least PSNR of the results in dB; the frame does not count."""
        return min(difference.psnr_db for difference in self.results.values())

    @property
    def agreement(self) -> Agreement:
        """The figures that the gate judges by."""
        psnr_db = {name: difference.psnr_db for name, difference in self.results.items()}
        pixels = self.results["delta_uv"].max_pixels
        assert pixels is not None
        return Agreement(psnr_db | {FRAME: self.frame.psnr_db}, pixels, self.not_finite, self.frame.ssim)


def compare(
    found: Sequence[NetworkOutputs],
    expected: Sequence[NetworkOutputs],
    frames: Sequence[Bytes],
    expected_frames: Sequence[Bytes],
) -> Comparison:
    """Compare results and frames with those expected, both pose by pose."""
    results = {
        name: _difference(name, [f.by_name[name] for f in found], [e.by_name[name] for e in expected])
        for name in expected[0].by_name
    }
    return Comparison(results, compare_frames(frames, expected_frames), sum(one.not_finite for one in found))


def _difference(name: str, found: list[Values], expected: list[Values]) -> Difference:
    pairs = list(zip(found, expected, strict=True))
    finite = all(np.isfinite(values).all() for pair in pairs for values in pair)
    errors = [np.abs(f.astype(np.float64) - e) for f, e in pairs] if finite else [np.array(math.inf)]
    return Difference(
        max_abs=max(float(error.max()) for error in errors),
        mean_abs=float(np.mean([error.mean() for error in errors])),
        psnr_db=min(psnr(*pair, RANGES[name]) for pair in pairs),
        cosine=min(_cosine(*pair) for pair in pairs) if finite else 0.0,
        max_pixels=max(uv_pixels(*pair) for pair in pairs) if name == "delta_uv" else None,
    )


def _cosine(found: Values, expected: Values) -> float:
    a, b = found.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.dot(a, b)) / lengths if lengths else float(not a.any() and not b.any())


def compare_frames(frames: Sequence[Bytes], expected: Sequence[Bytes]) -> FrameDifference:
    """Compare RGBA frames (S, S, 4) with those expected."""
    pairs = list(zip(frames, expected, strict=True))
    apart = np.stack([np.abs(a.astype(np.int16) - b) for a, b in pairs])
    counts, _ = np.histogram(apart, LEVELS)
    names = [_level_name(low, high) for low, high in itertools.pairwise(LEVELS)]
    return FrameDifference(
        psnr_db=min(psnr(*pair, RANGES[FRAME]) for pair in pairs),
        ssim=min(frame_ssim(*pair) for pair in pairs),
        level_shares={name: float(count / apart.size) for name, count in zip(names, counts, strict=True)},
    )


def _level_name(low: int, high: int) -> str:
    if high == LEVELS[-1]:
        return f"{low} or more"
    return str(low) if high == low + 1 else f"{low} to {high - 1}"
