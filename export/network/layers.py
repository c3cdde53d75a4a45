"""A folded generator: a short list of plain layers, and nothing of spectral norm, adaptive layers or torch.

What the ONNX builder, the FP16 emulator, the cost counter and the tests all read. Weights are float64.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.bundle import Outputs

Array = NDArray[np.float64]
Shape = tuple[int, ...]  # without the batch: (features,) or (channels, height, width)

INPUT = "pose"


@dataclass(frozen=True, eq=False)
class Layer:
    """One step of the network: reads the outputs of the layers named in `inputs`; its own has its `name`."""

    name: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Gemm(Layer):
    """A linear layer: weight (out, in) times a vector, plus bias (out,)."""

    weight: Array
    bias: Array


@dataclass(frozen=True, eq=False)
class Reshape(Layer):
    """A vector laid out as a map (channels, height, width)."""

    shape: Shape


@dataclass(frozen=True, eq=False)
class ScaleShift(Layer):
    """A norm that could not be folded away: per channel, x * scale + shift."""

    scale: Array
    shift: Array


@dataclass(frozen=True, eq=False)
class Conv(Layer):
    """A convolution of stride 1: weight (out, in, k, k), bias (out,); `pads` are top, left, bottom, right."""

    weight: Array
    bias: Array
    pads: tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class ConvTranspose(Layer):
    """A convolution that doubles the size: weight (in, out, 4, 4), bias (out,), stride 2, padding 1."""

    weight: Array
    bias: Array


@dataclass(frozen=True, eq=False)
class Upsample(Layer):
    """Every pixel four times: the nearest upsampling to twice the size."""


@dataclass(frozen=True, eq=False)
class LeakyRelu(Layer):
    """An activation: x where positive, slope * x elsewhere."""

    slope: float


@dataclass(frozen=True, eq=False)
class Activation(Layer):
    """An activation: tanh or sigmoid."""

    function: Literal["tanh", "sigmoid"]


@dataclass(frozen=True, eq=False)
class Add(Layer):
    """The sum of two maps."""


@dataclass(frozen=True, eq=False)
class Concat(Layer):
    """Maps one behind the other along the channels."""


@dataclass(frozen=True, eq=False)
class DepthToSpace(Layer):
    """(4 C, H, W) to (C, 2 H, 2 W): channel (2 a + b) C + c goes to row offset a, column offset b (ONNX: DCR)."""


@dataclass(frozen=True, eq=False)
class Adjustment:
    """A layer's output is what it would be of the folded model, per channel times `factor`, plus `shift`."""

    factor: Array
    shift: Array


@dataclass(frozen=True, eq=False)
class FoldedGenerator:
    """The layers in order, what their results mean, and what comes in."""

    input_width: int  # numbers of the pose vector
    layers: tuple[Layer, ...]
    outputs: Outputs
    adjusted: Mapping[str, Adjustment] = field(default_factory=dict)  # by layer: see equalize.py; never the results

    @property
    def output_tensors(self) -> tuple[str, ...]:
        """The names of the output tensors, each once."""
        return tuple(dict.fromkeys(result.tensor for result in self.outputs.by_name.values()))

    def shapes(self) -> dict[str, Shape]:
        """Return the shape of the input and of each layer's output, by name, without the batch.

        Raises:
            ValueError: a layer does not fit what it reads; names it.
        """
        shapes: dict[str, Shape] = {INPUT: (self.input_width,)}
        for layer in self.layers:
            inputs = [shapes[name] for name in layer.inputs]
            if not _fits(layer, inputs):
                raise ValueError(f"layer {layer.name} ({type(layer).__name__}) cannot read {inputs}")
            shapes[layer.name] = _shape(layer, inputs)
        return shapes

    def macs(self) -> dict[str, int]:
        """Return the multiply-accumulates a frame of each layer that has weights, by name."""
        shapes = self.shapes()
        return {layer.name: _macs(layer, shapes) for layer in self.layers if isinstance(layer, Weighted)}

    def weights(self) -> Iterator[tuple[str, Array]]:
        """Yield every array of numbers with its name, `<layer>.<field>`."""
        for layer in self.layers:
            for name in ("weight", "bias", "scale", "shift"):
                if hasattr(layer, name):
                    yield f"{layer.name}.{name}", getattr(layer, name)


Weighted = Gemm | Conv | ConvTranspose


def _fits(layer: Layer, inputs: list[Shape]) -> bool:
    match layer:
        case Gemm():
            return inputs == [layer.weight.shape[1:]]
        case Reshape():
            return [math.prod(shape) for shape in inputs] == [math.prod(layer.shape)]
        case Conv():
            return len(inputs[0]) == 3 and inputs[0][0] == layer.weight.shape[1]
        case ConvTranspose():
            return len(inputs[0]) == 3 and inputs[0][0] == layer.weight.shape[0]
        case Add():
            return len(inputs) == 2 and inputs[0] == inputs[1]
        case Concat():
            return len({shape[1:] for shape in inputs}) == 1
    return len(inputs) == 1


def _shape(layer: Layer, inputs: list[Shape]) -> Shape:
    match layer:
        case Gemm():
            return (len(layer.bias),)
        case Reshape():
            return layer.shape
        case Conv():
            (_, height, width), (top, left, bottom, right) = inputs[0], layer.pads
            kernel = layer.weight.shape[2]
            return (len(layer.bias), height + top + bottom - kernel + 1, width + left + right - kernel + 1)
        case ConvTranspose() | Upsample():
            channels, height, width = inputs[0]
            return (len(layer.bias) if isinstance(layer, ConvTranspose) else channels, 2 * height, 2 * width)
        case Concat():
            return (sum(shape[0] for shape in inputs), *inputs[0][1:])
        case DepthToSpace():
            channels, height, width = inputs[0]
            return (channels // 4, 2 * height, 2 * width)
    return inputs[0]


def _macs(layer: Weighted, shapes: dict[str, Shape]) -> int:
    # A transposed convolution multiplies once per input pixel, a convolution once per output pixel
    at = layer.inputs[0] if isinstance(layer, ConvTranspose) else layer.name
    return layer.weight.size * int(np.prod(shapes[at][1:]))
