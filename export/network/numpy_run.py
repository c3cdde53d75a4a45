"""Plain layers computed in numpy alone: a second opinion beside ONNX Runtime and torch, a few seconds a frame."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bilayer.export.network import layers as plain
from bilayer.export.network.layers import INPUT, Layer
from bilayer.runtime.arrays import Floats


def run_layers(
    layers: Sequence[Layer], pose: Floats, stored: Callable[[str, Floats], Floats] = lambda name, values: values
) -> dict[str, Floats]:
    """Return every layer's output in float32, (C, H, W) or (features,), for a pose as the network takes it, (width,).

    `stored` is what becomes of an output by its name before it is read.
    """
    values: dict[str, Floats] = {INPUT: stored(INPUT, pose)}
    for layer in layers:
        values[layer.name] = stored(layer.name, _run(layer, [values[name] for name in layer.inputs]))
    return values


def _run(layer: Layer, inputs: list[Floats]) -> Floats:
    x = inputs[0]
    match layer:
        case plain.Gemm():
            return _f32(layer.weight) @ x + _f32(layer.bias)
        case plain.Reshape():
            return x.reshape(layer.shape)
        case plain.ScaleShift():
            return x * _f32(layer.scale)[:, None, None] + _f32(layer.shift)[:, None, None]
        case plain.Conv():
            return _conv(x, layer)
        case plain.ConvTranspose():
            return _conv_transpose(x, layer)
        case plain.Upsample():
            return x.repeat(2, axis=1).repeat(2, axis=2)
        case plain.LeakyRelu():
            return np.where(x > 0, x, x * np.float32(layer.slope))
        case plain.Activation():
            return np.tanh(x) if layer.function == "tanh" else _sigmoid(x)
        case plain.Add():
            return x + inputs[1]
        case plain.Concat():
            return np.concatenate(inputs)
        case plain.DepthToSpace():
            channels, height, width = x.shape
            grid = x.reshape(2, 2, channels // 4, height, width).transpose(2, 3, 0, 4, 1)
            return grid.reshape(channels // 4, 2 * height, 2 * width)
    raise TypeError(f"{layer.name}: no rule to compute a {type(layer).__name__}")


def _conv(x: Floats, layer: plain.Conv) -> Floats:
    """A sum over the kernel's taps, each a matrix product over the channels."""
    top, left, bottom, right = layer.pads
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right)))
    side = layer.weight.shape[2]
    height, width = padded.shape[1] - side + 1, padded.shape[2] - side + 1
    total = np.repeat(_f32(layer.bias)[:, None], height * width, axis=1)
    for i in range(side):
        for j in range(side):
            tap = padded[:, i : i + height, j : j + width].reshape(len(x), -1)
            total += _f32(layer.weight[:, :, i, j]) @ tap
    return total.reshape(-1, height, width)


def _conv_transpose(x: Floats, layer: plain.ConvTranspose) -> Floats:
    """Each input pixel adds its 4x4 kernel at twice its place; the border of one pixel is cut off."""
    _, height, width = x.shape
    total = np.zeros((len(layer.bias), 2 * height + 2, 2 * width + 2), np.float32)
    flat = x.reshape(len(x), -1)
    for i in range(4):
        for j in range(4):
            product = (_f32(layer.weight[:, :, i, j]).T @ flat).reshape(-1, height, width)
            total[:, i : i + 2 * height : 2, j : j + 2 * width : 2] += product
    return total[:, 1:-1, 1:-1] + _f32(layer.bias)[:, None, None]


def _sigmoid(x: Floats) -> Floats:
    """The sigmoid by way of tanh, which does not overflow."""
    return np.asarray(np.tanh(x * np.float32(0.5)) * np.float32(0.5) + np.float32(0.5), np.float32)


def _f32(array: NDArray[np.float64]) -> Floats:
    return array.astype(np.float32)
