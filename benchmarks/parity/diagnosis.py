"""Why a layer's output is wrong: what is seen in the difference, from the telling to the general."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilayer.export.network.layers import Array, Conv, ConvTranspose, Gemm, Layer
from bilayer.export.targets import MAX_FLOAT16

EXPLAINED = 0.01  # a cause is named where it leaves at most this share of the error's energy
MUCH = 6.0  # dB
# Of one weight: fewer pixels match some input by chance; so much of a channel's error is its, the rest may be rounding;
# and so many times the usual channel's error, relative to what the channel holds
LEAST_PIXELS, MOST_OF_IT, OUTLIER = 256, 0.8, 8.0


def recognise(
    layer: Layer, right: NDArray[Any], found: NDArray[Any], inputs: list[NDArray[Any]] | None, step: float
) -> str:
    """Return a fault that is seen in the difference and is no rounding, in words; empty where none is.

    Args:
        layer: of the truth.
        right: (1, C, H, W) or (1, features): what it should have made of its inputs.
        found: what it made.
        inputs: of `found`; None where they are hidden.
        step: relative rounding of what `found` stores, at most: that of a weight or a bias is no fault.
    """
    if not np.isfinite(found).all():
        count = int(np.count_nonzero(~np.isfinite(found)))
        what = f"{count} values are not finite, where up to {float(np.abs(right).max()):.3g} was right"
        if step <= np.finfo(np.float32).eps:
            return f"{what}: a weight of it is not finite, or another than the truth's; export again"
        return f"overflow: {what} and FP16 ends at {MAX_FLOAT16:.0f}; --keep-norms keeps the values small"
    expected, given = right[0].astype(np.float64), found[0].astype(np.float64)
    fault = _layout(expected, given) or _swapped(expected, given) or _bias(layer, expected, given, step)
    return fault or _one_weight(layer, expected, given, inputs, step) or _few_channels(expected, given)


def explain(
    layer: Layer, *, own_db: float | None, inherited_db: float, terms: int, rounds: bool, integers: bool = False
) -> str:
    """Return a sentence on the cause where no fault is recognised, and what to do.

    Args:
        layer: of the truth.
        own_db: signal over the error that it adds itself; None where its inputs are hidden.
        inherited_db: signal over error of its worst input.
        terms: products in each of its sums.
        rounds: whether it computes in less than float32: what float32 shows is no rounding.
        integers: whether it is stored in integers, whose sums are exact.
    """
    if own_db is None:
        return "its inputs are hidden: the cause is in it or above; --between float64 onnx looks into the weights"
    if not rounds or integers:
        if own_db >= inherited_db:
            return f"its inputs come with {inherited_db:.0f} dB, and it adds nothing: look at the layers above it"
        if integers:
            return (
                f"its own doing ({own_db:.0f} dB; its inputs come with {inherited_db:.0f}): its integers, or the steps "
                "that they count, stand for other numbers than the truth's; export again"
            )
        return (
            f"its own doing ({own_db:.0f} dB), and float32 does not round so: a weight, a setting (slope, padding, "
            "stride) or an edge of it is another than the truth's, or the file is of another avatar; export again"
        )
    if own_db >= min(inherited_db, MUCH + inherited_db):
        return (
            f"conditioning: its inputs come with {inherited_db:.0f} dB, and it adds little itself ({own_db:.0f} dB); "
            "its sums cancel: look at the layers above it, and lower the kappa at which norms are folded (--keep-norms)"
        )
    if isinstance(layer, Gemm | Conv | ConvTranspose):
        return (
            f"accumulation length: {terms} products in one sum, rounded on the way; float32 sums (hybrid) or more "
            "partial sums help"
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


def _bias(layer: Layer, expected: Array, found: Array, step: float) -> str:
    bias = getattr(layer, "bias", None)
    error = (found - expected).reshape(len(found), -1)
    offsets = error.mean(axis=1)
    changed = np.abs(offsets) > 0.1 * np.abs(offsets).max()
    if not _explains(error[~changed], error):
        return ""
    if bias is not None and _explains(error[changed] + bias[changed, None], error):
        return f"bias: that of {_those(changed)} is missing"
    rounding = step * (0.0 if bias is None else np.abs(bias).max())
    if error.shape[1] > 1 and np.abs(offsets).max() > 4 * rounding and _explains(error - offsets[:, None], error):
        return f"bias: {_those(changed)} off by up to {np.abs(offsets).max():.3g} in every pixel"
    return ""


def _one_weight(layer: Layer, expected: Array, found: Array, inputs: list[NDArray[Any]] | None, step: float) -> str:
    """One weight of a convolution: its channel's error is that of one input, moved by one tap, times a number."""
    if not isinstance(layer, Conv) or inputs is None or expected[0].size < LEAST_PIXELS:
        return ""
    error = (found - expected).reshape(len(found), -1)
    energy = np.sum(error**2, axis=1)
    relative = energy / np.maximum(np.sum(expected.reshape(error.shape) ** 2, axis=1), np.finfo(np.float64).tiny)
    channel = int(np.argmax(energy))
    if relative[channel] < OUTLIER * np.median(relative):
        return ""
    side, (top, left, bottom, right) = layer.weight.shape[2], layer.pads
    padded = np.pad(inputs[0][0].astype(np.float64), ((0, 0), (top, bottom), (left, right)))
    height, width = expected.shape[1:]
    taps = [padded[:, y : y + height, x : x + width] for y in range(side) for x in range(side)]
    columns = np.stack(taps, axis=1).reshape(-1, height * width)  # in the order of weight[channel].ravel()
    lengths = np.sum(columns**2, axis=1)
    products = columns @ error[channel]
    explained = np.divide(products**2, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    best = int(np.argmax(explained))
    change = products[best] / lengths[best] if lengths[best] else 0.0
    weights = layer.weight[channel].ravel()
    if explained[best] < MOST_OF_IT * energy[channel] or abs(change) < 4 * step * np.abs(weights).max():
        return ""
    place = ", ".join(map(str, (channel, *np.unravel_index(best, layer.weight.shape[1:]))))
    return f"weights: [{place}], of channel {channel} of {len(error)}, ({weights[best]:.3g}) is off by {change:.2g}"


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
