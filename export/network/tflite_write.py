"""A folded generator -> TensorFlow Lite, operator by operator: NHWC without a single Transpose, the same bytes always.

TensorFlow Lite's maps are (1, H, W, C). The rows of the layer before the Reshape are put into that order once, here;
from there on nothing needs to be moved. Input and outputs keep their names; the outputs are NHWC.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from bilayer.export.network import layers as plain
from bilayer.export.network.layers import INPUT, Array, FoldedGenerator, Layer, Shape
from bilayer.export.tflite.build import TfliteBuilder
from bilayer.runtime.errors import InputError

Storage = Literal["float32", "float16"]  # of the weights

SAME, VALID = schema.Padding.SAME, schema.Padding.VALID


def build_tflite(
    generator: FoldedGenerator, metadata: Mapping[str, str] | None = None, storage: Storage = "float32"
) -> bytes:
    """Return the .tflite file of one avatar: input `pose` (1, width), outputs (1, H, W, C), all in float32.

    Args:
        generator: what to build.
        metadata: goes into the file, sorted.
        storage: of the weights. In float16 a DEQUANTIZE stands behind each, which the GPU delegate and XNNPACK do once,
            as they load the file (https://ai.google.dev/edge/litert/models/post_training_float16_quant).

    Raises:
        InputError: a weight is beyond what float16 holds, or a Reshape reads something else than a linear layer.
    """
    writer = _Writer(generator, storage)
    for layer in generator.layers:
        writer.write(layer)
    outputs = {name: writer.numbers[name] for name in generator.output_tensors}
    return writer.graph.finish({INPUT: writer.numbers[INPUT]}, outputs, metadata or {})


def nhwc(shape: Shape) -> Shape:
    """Return a tensor's shape as TensorFlow Lite has it, with the batch: (1, H, W, C), or (1, features)."""
    return (1, *shape[1:], shape[0])


def pixel_order(shape: Shape) -> NDArray[np.intp]:
    """Return for each number of a map (C, H, W) in NHWC order where it stands in NCHW order."""
    return np.arange(np.prod(shape)).reshape(shape).transpose(1, 2, 0).ravel()


def reordered_rows(generator: FoldedGenerator) -> dict[str, Shape]:
    """Return the linear layers whose rows are written in NHWC order, by name, with the map (C, H, W) that they become.

    Raises:
        InputError: a Reshape reads something else than a linear layer, or not alone.
    """
    kinds = {layer.name: layer for layer in generator.layers}
    grids = {layer.inputs[0]: layer.shape for layer in generator.layers if isinstance(layer, plain.Reshape)}
    for name in grids:
        readers = [layer.name for layer in generator.layers if name in layer.inputs]
        if not isinstance(kinds.get(name), plain.Gemm) or len(readers) != 1:
            raise InputError(f"{name}: expected a linear layer that only a Reshape reads, for its rows to be reordered")
    return grids


class _Writer:
    """Writes layers one by one; `numbers` are their tensors' in the file."""

    def __init__(self, generator: FoldedGenerator, storage: Storage) -> None:
        self.graph = TfliteBuilder()
        self._shapes, self._half, self._rows = generator.shapes(), storage == "float16", reordered_rows(generator)
        self.numbers = {INPUT: self.graph.tensor(INPUT, nhwc(self._shapes[INPUT]))}

    def write(self, layer: Layer) -> None:
        inputs = [self.numbers[name] for name in layer.inputs]
        match layer:
            case plain.Gemm():
                order = pixel_order(self._rows.get(layer.name, (*layer.bias.shape, 1, 1)))
                given = [*inputs, *self._parameters(layer, layer.weight[order], layer.bias[order])]
                self._emit(layer, "FULLY_CONNECTED", given, "FullyConnectedOptions")
            case plain.Reshape():
                shape = np.array(nhwc(layer.shape), np.int32)
                given = [*inputs, self.graph.constant(f"{layer.name}.shape", shape)]
                self._emit(layer, "RESHAPE", given, "ReshapeOptions", newShape=shape)
            case plain.ScaleShift():
                scaled = self.graph.tensor(f"{layer.name}.scaled", nhwc(self._shapes[layer.name]))
                scale, shift = self._weight(layer, "scale", layer.scale), self._weight(layer, "shift", layer.shift)
                self.graph.operator("MUL", [*inputs, scale], scaled, "MulOptions")
                self._emit(layer, "ADD", [scaled, shift], "AddOptions")
            case plain.Conv():
                padding, padded = self._padded(layer, inputs[0])
                given = [padded, *self._parameters(layer, layer.weight.transpose(0, 2, 3, 1), layer.bias)]
                self._emit(layer, "CONV_2D", given, "Conv2DOptions", padding=padding, strideW=1, strideH=1)
            case plain.ConvTranspose():
                weight, bias = self._parameters(layer, layer.weight.transpose(1, 2, 3, 0), layer.bias)
                given = [self._size(layer, nhwc(self._shapes[layer.name])), weight, *inputs, bias]
                # SAME cuts a row and a column off on each side of what a 4x4 kernel reaches at stride 2: ONNX's pads 1
                settings = {"padding": SAME, "strideW": 2, "strideH": 2}
                self._emit(layer, "TRANSPOSE_CONV", given, "TransposeConvOptions", version=3, **settings)
            case plain.Upsample():
                given = [*inputs, self._size(layer, self._shapes[layer.name][1:])]
                self._emit(layer, "RESIZE_NEAREST_NEIGHBOR", given, "ResizeNearestNeighborOptions")
            case plain.LeakyRelu():
                self._emit(layer, "LEAKY_RELU", inputs, "LeakyReluOptions", alpha=layer.slope)
            case plain.Activation():
                self._emit(layer, "TANH" if layer.function == "tanh" else "LOGISTIC", inputs)
            case plain.Add():
                self._emit(layer, "ADD", inputs, "AddOptions")
            case plain.Concat():
                self._emit(layer, "CONCATENATION", inputs, "ConcatenationOptions", axis=3)
            case plain.DepthToSpace():
                self._emit(layer, "DEPTH_TO_SPACE", inputs, "DepthToSpaceOptions", blockSize=2)
            case _:
                raise TypeError(f"{layer.name}: no rule to export a {type(layer).__name__}")

    def _emit(self, layer: Layer, kind: str, inputs: list[int], options: str = "", **fields: Any) -> None:
        """Add an operator whose output is the layer's."""
        self.numbers[layer.name] = output = self.graph.tensor(layer.name, nhwc(self._shapes[layer.name]))
        self.graph.operator(kind, inputs, output, options, **fields)

    def _padded(self, layer: plain.Conv, source: int) -> tuple[int, int]:
        """Return the padding's kind, and what to convolve: `source`, padded here where neither kind does it."""
        total = layer.weight.shape[2] - 1
        if layer.pads in ((0, 0, 0, 0), (total // 2, total // 2, total - total // 2, total - total // 2)):
            return (VALID if not any(layer.pads) else SAME), source
        top, left, bottom, right = layer.pads
        channels, height, width = self._shapes[layer.inputs[0]]
        shape = (1, height + top + bottom, width + left + right, channels)
        padded = self.graph.tensor(f"{layer.name}.padded", shape)
        borders = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        self.graph.operator("PAD", [source, self.graph.constant(f"{layer.name}.pads", borders)], padded, "PadOptions")
        return VALID, padded

    def _size(self, layer: Layer, size: tuple[int, ...]) -> int:
        return self.graph.constant(f"{layer.name}.size", np.array(size, np.int32))

    def _parameters(self, layer: Layer, weight: Array, bias: Array) -> tuple[int, int]:
        return self._weight(layer, "weight", weight), self._weight(layer, "bias", bias)

    def _weight(self, layer: Layer, field: str, array: Array) -> int:
        name = f"{layer.name}.{field}"
        if not self._half:
            return self.graph.constant(name, array.astype(np.float32))
        with np.errstate(over="ignore"):
            half = array.astype(np.float32).astype(np.float16)  # of the ONNX's numbers, as `half_storage` rounds
        if not np.isfinite(half).all():
            raise InputError(f"{name}: values up to {np.abs(array).max():.3g}, float16 holds 65504; write float32")
        stored, used = self.graph.constant(f"{name}.float16", half), self.graph.tensor(name, half.shape)
        self.graph.operator("DEQUANTIZE", [stored], used, "DequantizeOptions", version=3)  # of float16: since version 3
        return used
