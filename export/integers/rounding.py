"""Weights to int8, each rounded so that it makes up for the rounding of those before it.

That is GPTQ (Frantar et al., ICLR 2023; the update is Optimal Brain Quantization's, NeurIPS 2022): neighbouring pixels
and channels are so alike here that the nearest integers leave 29 dB of a frame where these leave 45. What is left of a
channel's mean error goes into its bias (Nagel et al., Data-Free Quantization, ICCV 2019).
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bilayer.export.integers.scheme import HIGH, LOW, MOST
from bilayer.export.network.evaluate import run_layer
from bilayer.export.network.layers import Add, Array, Conv, ConvTranspose, Gemm, Layer, Weighted

_SAMPLES = 8192  # pixels that a layer's inputs are learned from: of 1152 numbers at the most, which are alike
_DAMPING = 1e-3  # of their mean square: what poses that were not seen may hold
_BLOCK = 64  # weights of each channel whose errors are handed on together; the result does not depend on it
_MOST_BIAS = 2.0**31 - 2


def rounded_layer(
    layer: Weighted, given: Tensor, target: Tensor, step: float, wide: bool
) -> list[tuple[Layer, Array | None]]:
    """Return the layers in integers that take the place of one, each with its weights' scales (out,); a sum has none.

    Args:
        layer: with weights as they are.
        given: what it reads in the integer network, (N, ...).
        target: what it makes in the float network.
        step: the scale of the grid of `given`.
        wide: keep its weights in 16 bits: two layers of int8, and their sum under its name.
    """
    shape = [-1 if axis == _channel_axis(layer) else 1 for axis in range(layer.weight.ndim)]
    scale = _scales(_rows(layer), layer.bias, step)
    if not wide:
        integers = _fitted(layer, given, scale)
        layer = replace(layer, weight=integers * scale.reshape(shape))
        return [(_with_bias(layer, target - run_layer(layer, [given]), step * scale), scale)]
    high = np.clip(np.rint(layer.weight / scale.reshape(shape)), -MOST, MOST) * scale.reshape(shape)
    fine = (scale / (2 * MOST)).astype(np.float32).astype(np.float64)
    low = np.clip(np.rint((layer.weight - high) / fine.reshape(shape)), -MOST, MOST) * fine.reshape(shape)
    parts = (
        replace(layer, name=f"{layer.name}{HIGH}", weight=high),
        replace(layer, name=f"{layer.name}{LOW}", weight=low, bias=np.zeros_like(layer.bias)),
    )
    error = target - run_layer(parts[0], [given]) - run_layer(parts[1], [given])
    coarse = _with_bias(parts[0], error, step * scale)
    return [(coarse, scale), (parts[1], fine), (Add(layer.name, (parts[0].name, parts[1].name)), None)]


def _scales(rows: Array, bias: Array, step: float) -> Array:
    """The scale of each output channel (out,), a float32; wide enough that its bias fits int32."""
    scale = np.maximum(np.abs(rows).max(1) / MOST, np.abs(bias) / (step * _MOST_BIAS))
    scale[scale == 0] = 1.0
    return np.asarray(scale.astype(np.float32), np.float64)


def _with_bias(layer: Weighted, error: Tensor, steps: Array) -> Weighted:
    """The layer, its bias moved by its mean error in each channel, in multiples of `steps` (out,)."""
    mean = error.double().mean([axis for axis in range(error.ndim) if axis != 1]).numpy()
    steps = steps.astype(np.float32).astype(np.float64)
    return replace(layer, bias=np.rint((layer.bias + mean) / steps) * steps)


def _channel_axis(layer: Weighted) -> int:
    return 1 if isinstance(layer, ConvTranspose) else 0


def _rows(layer: Weighted) -> Array:
    return np.moveaxis(layer.weight, _channel_axis(layer), 0).reshape(len(layer.bias), -1)


def _fitted(layer: Weighted, given: Tensor, scale: Array) -> Array:
    """Integers (the weight's shape) that make of `given` what the weights make of it, as nearly as they can."""
    integers = np.empty_like(layer.weight)
    for inputs, part in _inputs(layer, given):
        weights = layer.weight[part]
        rows = np.moveaxis(weights, _channel_axis(layer), 0)
        found = _compensated(rows.reshape(len(rows), -1), inputs, scale).reshape(rows.shape)
        integers[part] = np.moveaxis(found, 0, _channel_axis(layer))
    return integers


def _inputs(layer: Weighted, given: Tensor) -> Iterator[tuple[Tensor, tuple[slice, ...]]]:
    """What is multiplied with a layer's weights, a row for a pixel, and with which: a transposed one has four parts."""
    if isinstance(layer, Gemm):
        yield given, ()
    elif isinstance(layer, Conv):
        top, left, bottom, right = layer.pads
        yield _windows(F.pad(given, (left, right, top, bottom)), layer.weight.shape[2]), ()
    else:
        padded, (height, width) = F.pad(given, (1, 1, 1, 1)), given.shape[2:]
        for row in (0, 1):  # output row 2 y + row is made of input rows y - 1 + row and y + row, by kernel rows
            for column in (0, 1):  # 3 - row and 1 - row: so the kernel is turned
                seen = padded[:, :, row : row + height + 1, column : column + width + 1]
                yield (
                    _windows(seen, 2, turned=True),
                    (slice(None), slice(None), slice(1 - row, None, 2), slice(1 - column, None, 2)),
                )


def _windows(padded: Tensor, side: int, turned: bool = False) -> Tensor:
    """Windows (M, C * side * side) of maps (N, C, H, W), evenly spread; turned, each from its last pixel on."""
    windows = padded.unfold(2, side, 1).unfold(3, side, 1)  # (N, C, H', W', side, side)
    windows = windows.flip(4, 5) if turned else windows
    every = 1
    while len(windows) * (windows.shape[2] // every) * (windows.shape[3] // every) > _SAMPLES:
        every += 2  # odd, so that both pixels of an upsampled pair are seen
    return windows[:, :, ::every, ::every].permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1)


def _compensated(rows: Array, inputs: Tensor, scale: Array) -> Array:
    """Integers (out, n) of `rows` over `scale`, the error of each made up for by the weights that come after it."""
    inputs = inputs.double()
    squares = inputs.T @ inputs / len(inputs)  # (n, n)
    damping = _DAMPING * float(squares.diagonal().mean()) or 1.0
    squares += damping * torch.eye(len(squares), dtype=squares.dtype)
    order = torch.argsort(squares.diagonal(), descending=True, stable=True)  # what counts most comes first
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(squares[order][:, order]))
    upper = torch.linalg.cholesky(inverse, upper=True)
    weights, steps = torch.from_numpy(rows)[:, order].clone(), torch.from_numpy(scale)
    integers = torch.zeros_like(weights)
    for start in range(0, weights.shape[1], _BLOCK):
        stop = min(start + _BLOCK, weights.shape[1])
        errors = torch.zeros_like(weights[:, start:stop])
        for column in range(start, stop):
            integers[:, column] = torch.clamp(torch.round(weights[:, column] / steps), -MOST, MOST)
            error = (weights[:, column] - integers[:, column] * steps) / upper[column, column]
            weights[:, column:stop] -= error[:, None] * upper[column, column:stop]
            errors[:, column - start] = error
        weights[:, stop:] -= errors @ upper[start:stop, stop:]
    return np.asarray(integers[:, torch.argsort(order)].numpy())
