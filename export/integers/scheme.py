"""What integers stand for: the grid of every tensor, and a network whose weights lie on theirs.

Weights are int8, symmetric, with a scale for each output channel; biases int32; what lies between layers is unsigned
with a zero point, of 16 bits (w8a16) or 8 (w8a8). That is what Qualcomm's HTP takes from Hexagon v68 on, and LiteRT
(https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec). A weight that 8 bits are too
few for is kept in 16, as two layers of int8 whose sum it is: HTPs before v73 refuse int16 weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from bilayer.export.network.layers import Array, FoldedGenerator
from bilayer.runtime.arrays import Floats
from bilayer.runtime.vocabulary import IntegerPrecision

ACTIVATION_BITS: dict[IntegerPrecision, int] = {"w8a16": 16, "w8a8": 8}
MOST = 127  # of an int8 weight: symmetric
HIGH, LOW = ".high", ".low"  # ends of the names of the two layers that are one of 16 bits


@dataclass(frozen=True)
class Grid:
    """The numbers that a tensor of unsigned integers can hold: (integer - zero) * scale."""

    bits: int
    scale: float  # a float32
    zero: int

    def rounded(self, values: Tensor) -> Tensor:
        """Return the grid's nearest numbers, in float32 as ONNX's QuantizeLinear and DequantizeLinear compute them."""
        steps = (values / self.scale).round_().add_(self.zero).clamp_(0, 2**self.bits - 1)
        return steps.sub_(self.zero).mul_(self.scale)

    def nearest(self, values: Floats) -> Floats:
        """Return the same for numpy's arrays."""
        steps = np.clip(np.rint(values / np.float32(self.scale)) + np.float32(self.zero), 0, 2**self.bits - 1)
        return np.asarray((steps - np.float32(self.zero)) * np.float32(self.scale), np.float32)


def make_grid(low: float, high: float, bits: int) -> Grid:
    """Return a grid over low..high that holds zero exactly; `low` < `high`, widened to hold it."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / (2**bits - 1)))
    return Grid(bits, scale, int(np.clip(round(-low / scale), 0, 2**bits - 1)))


def activation_grid(function: Literal["tanh", "sigmoid"], bits: int) -> Grid:
    """Return the grid of an activation's output: -1..1 or 0..1. Others are replaced by it in Qualcomm's runtimes."""
    return Grid(bits, 2.0 ** (1 - bits), 2 ** (bits - 1)) if function == "tanh" else Grid(bits, 2.0**-bits, 0)


@dataclass(frozen=True, eq=False)
class IntegerGenerator:
    """A network in integers: the float network that they stand for, with the steps of weights and layers' outputs."""

    precision: IntegerPrecision
    generator: FoldedGenerator  # its weights and biases are what their integers stand for
    grids: Mapping[str, Grid]  # of the input and of every layer's output, by name
    scales: Mapping[str, Array]  # (out,) of each layer with weights: weight = int8 * scale
    equalized: bool = False  # made of a network whose channels were scaled: equalize.py

    @property
    def wide(self) -> tuple[str, ...]:
        """The layers whose weights have 16 bits, by the names that they have in the float network."""
        return tuple(layer.name for layer in self.generator.layers if f"{layer.name}{HIGH}" in self.scales)
