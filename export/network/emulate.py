"""A folded generator in emulated FP16, as GPUs of phones compute it: three ways, of which two bracket a third.

hybrid      weights and what lies between layers in FP16, sums in float32: SNPE's GPU_FLOAT32_16_HYBRID
half4       FP16 throughout, four partial sums over the channels: the better end of SNPE's GPU_FLOAT16
sequential  FP16 throughout, one sum: its worse end

An activation behind a layer is computed with it, before anything is stored, as GPU runtimes fuse it.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from bilayer.export.network.emulate_kernel import accumulate
from bilayer.export.network.evaluate import _run as run_layer
from bilayer.export.network.evaluate import evaluate, fused_layers, half_storage
from bilayer.export.network.layers import (
    INPUT,
    Activation,
    Add,
    Conv,
    ConvTranspose,
    FoldedGenerator,
    Gemm,
    Layer,
    LeakyRelu,
    ScaleShift,
)

Arithmetic = Literal["hybrid", "half4", "sequential"]
Floats = NDArray[np.float32]

LANES: dict[Arithmetic, int] = {"half4": 4, "sequential": 1}
_MOVES = ("Reshape", "Upsample", "Concat", "DepthToSpace")  # compute nothing


@dataclass(frozen=True, eq=False)
class Fp16Generator:
    """A generator whose weights are rounded to FP16, ready to be run."""

    generator: FoldedGenerator  # rounded
    arithmetic: Arithmetic
    fused: frozenset[str]  # layers whose output is not stored: an activation alone reads it

    @classmethod
    def of(cls, generator: FoldedGenerator, arithmetic: Arithmetic) -> "Fp16Generator":
        """Round the weights of `generator`. A weight beyond 65504 becomes infinite, as on the phone."""
        layers = tuple(_rounded(layer) for layer in generator.layers)
        return cls(replace(generator, layers=layers), arithmetic, fused_layers(generator))

    def run(self, pose: Floats) -> dict[str, Floats]:
        """The output (1, ...) of every layer for an encoded pose (width,); values that FP16 has, unless fused."""
        given = torch.from_numpy(pose)[None]
        if self.arithmetic == "hybrid":
            stored = evaluate(self.generator, given, half_storage, self.fused)
            return {name: tensor.numpy() for name, tensor in stored.items()}
        results = {INPUT: half_storage(given)}
        for layer in self.generator.layers:
            computed = self._in_half(layer, [results[name] for name in layer.inputs])
            results[layer.name] = computed if layer.name in self.fused else half_storage(computed)
        return {name: tensor.numpy() for name, tensor in results.items()}

    def _in_half(self, layer: Layer, inputs: list[torch.Tensor]) -> torch.Tensor:
        if isinstance(layer, Gemm | Conv | ConvTranspose):
            x = inputs[0][0].numpy()
            sums = _sums(layer, x.reshape(-1, 1, 1) if isinstance(layer, Gemm) else x, LANES[self.arithmetic])
            bias = torch.from_numpy(layer.bias).float()
            result = half_storage(torch.from_numpy(sums) + bias[:, None, None])[None]
            return result.flatten(1) if isinstance(layer, Gemm) else result
        if isinstance(layer, ScaleShift):
            scale, shift = (torch.from_numpy(array).float()[:, None, None] for array in (layer.scale, layer.shift))
            return half_storage(half_storage(inputs[0] * scale) + shift)
        if isinstance(layer, LeakyRelu):
            slope = float(np.float16(layer.slope))
            return half_storage(torch.where(inputs[0] > 0, inputs[0], inputs[0] * slope))
        if isinstance(layer, Add | Activation) or type(layer).__name__ in _MOVES:
            return half_storage(run_layer(layer, inputs, _as_is))
        raise TypeError(f"{layer.name}: no rule to emulate a {type(layer).__name__}")


def _as_is(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _rounded(layer: Layer) -> Layer:
    with np.errstate(over="ignore"):
        arrays: dict[str, Any] = {
            field.name: getattr(layer, field.name).astype(np.float16).astype(np.float64)
            for field in fields(layer)
            if field.name in ("weight", "bias", "scale", "shift")
        }
    return replace(layer, **arrays)


def _sums(layer: Gemm | Conv | ConvTranspose, x: Floats, lanes: int) -> Floats:
    """The layer without its bias, of x (C, H, W)."""
    weight = layer.weight.astype(np.float32)
    if isinstance(layer, Gemm):
        return accumulate(x, weight[None], np.zeros((1, 2), np.int64), (1, 1), lanes)
    _, height, width = x.shape
    if isinstance(layer, Conv):
        top, left, bottom, right = layer.pads
        side = weight.shape[2]
        taps = weight.transpose(2, 3, 0, 1).reshape(-1, *weight.shape[:2])
        offsets = np.array([(i, j) for i in range(side) for j in range(side)], np.int64)
        size = (height + top + bottom - side + 1, width + left + right - side + 1)
        return accumulate(np.pad(x, ((0, 0), (top, bottom), (left, right))), taps, offsets, size, lanes)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    out = np.empty((weight.shape[1], 2 * height, 2 * width), np.float32)
    for row in (0, 1):  # every second row and column of the result is a 2x2 convolution of its own
        for column in (0, 1):
            # Row 2 y takes kernel row 3 from row y - 1 and 1 from y; row 2 y + 1 takes 2 from y and 0 from y + 1
            pairs = [(3 - row - 2 * i, 3 - column - 2 * j, row + i, column + j) for i in (0, 1) for j in (0, 1)]
            taps = np.stack([weight[:, :, ky, kx].T for ky, kx, _, _ in pairs])
            offsets = np.array([(y, x) for _, _, y, x in pairs], np.int64)
            out[:, row::2, column::2] = accumulate(padded, taps, offsets, (height, width), lanes)
    return out
