"""Why a layer's output is wrong: what is seen in the difference, from the telling to the general."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilayer.export.layers import Conv, ConvTranspose, Gemm, Layer

EXPLAINED = 0.01  # a cause is named where it leaves at most this share of the error's energy
MUCH = 6.0  # dB
FP16_MAX = 65504.0

Array = NDArray[np.float64]


def explain(
    layer: Layer, right: NDArray[Any], found: NDArray[Any], *, own_db: float | None, inherited_db: float, terms: int
) -> str:
    """A sentence on the cause, and what to do.

    Args:
        layer: of the truth.
        right: (1, C, H, W) or (1, features): what it should have made of its inputs.
        found: what it made.
        own_db: signal over the error that it adds itself; None where its inputs are hidden.
        inherited_db: signal over error of its worst input.
        terms: products in each of its sums.
    """
    if not np.isfinite(found).all():
        count = int(np.count_nonzero(~np.isfinite(found)))
        peak = float(np.abs(right).max())
        return (
            f"overflow: {count} values are not finite, where up to {peak:.3g} was right and FP16 ends at "
            f"{FP16_MAX:.0f}; --keep-norms keeps the values small, or run it in hybrid"
        )
    expected, given = right[0].astype(np.float64), found[0].astype(np.float64)
    fault = _layout(expected, given) or _swapped(expected, given) or _bias(layer, expected, given)
    fault = fault or _few_channels(expected, given)
    if fault:
        return fault
    if own_db is not None and own_db >= min(inherited_db, MUCH + inherited_db):
        return (
            f"conditioning: its inputs come with {inherited_db:.0f} dB, and it adds little itself ({own_db:.0f} dB); "
            "its sums cancel: look at the layers above it, and lower the kappa at which norms are folded (--keep-norms)"
        )
    if isinstance(layer, Gemm | Conv | ConvTranspose):
        return (
            f"accumulation length: {terms} products in one sum, rounded on the way; float32 sums (hybrid) or more "
            "partial sums help. Where the arithmetic is float32, its weights differ"
        )
    return "rounding of the values that it stores: their range is too wide for FP16; --keep-norms narrows it"


def _explains(rest: Array, error: Array) -> bool:
    return bool(np.sum(rest**2) <= EXPLAINED * np.sum(error**2))


def _layout(expected: Array, found: Array) -> str:
    if expected.ndim != 3:
        return ""
    channels, height, width = expected.shape
    error = found - expected
    if _explains(found.reshape(height, width, channels).transpose(2, 0, 1) - expected, error):
        return "layout: the values are those of NHWC, read as NCHW; read them as NHWC"
    if _explains(found.transpose(1, 2, 0).reshape(expected.shape) - expected, error):
        return "layout: the values are those of NCHW, read as NHWC; read them as NCHW"
    return ""


def _swapped(expected: Array, found: Array) -> str:
    a, b = found.reshape(len(found), -1), expected.reshape(len(expected), -1)
    if a.shape[1] == 1:
        return ""  # single numbers: any could be another's
    apart = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)[None] - 2 * a @ b.T
    nearest = np.argmin(apart, axis=1)
    moved = np.flatnonzero(nearest != np.arange(len(a)))
    permutation = len(set(nearest.tolist())) == len(a)
    if len(moved) and permutation and _explains(a - b[nearest], a - b):
        pairs = ", ".join(f"{i} holds {nearest[i]}" for i in moved[:6])
        return f"swapped channels: {pairs}; the order of its weights, or of its readers, is another"
    return ""


def _bias(layer: Layer, expected: Array, found: Array) -> str:
    bias = getattr(layer, "bias", None)
    if bias is None:
        return ""
    error = (found - expected).reshape(len(found), -1)
    offsets = error.mean(axis=1)
    changed = np.abs(offsets) > 0.1 * np.abs(offsets).max()
    if _explains(error[changed] + bias[changed, None], error) and _explains(error[~changed], error):
        return f"bias: that of {_those(changed)} is missing"
    if error.shape[1] > 1 and _explains(error - offsets[:, None], error):
        return f"bias: {_those(changed)} off by up to {np.abs(offsets).max():.3g} in every pixel"
    return ""


def _few_channels(expected: Array, found: Array) -> str:
    energy = np.sum((found - expected).reshape(len(found), -1) ** 2, axis=1)
    changed = energy > 1e-4 * energy.max()
    if (
        len(energy) > 1
        and 4 * np.count_nonzero(changed) <= len(energy)
        and _explains(energy[~changed] ** 0.5, energy**0.5)
    ):
        return f"weights: those of {_those(changed)} alone differ, by far more than rounding"
    return ""


def _those(changed: NDArray[np.bool_]) -> str:
    numbers = np.flatnonzero(changed)
    if len(numbers) == len(changed):
        return "all channels"
    shown = ", ".join(map(str, numbers[:6])) + (", ..." if len(numbers) > 6 else "")
    return f"channel{'s' if len(numbers) > 1 else ''} {shown} of {len(changed)}"
