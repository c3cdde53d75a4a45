"""A folded generator in emulated FP16, as GPUs of phones compute it: three ways, of which two bracket a third.

hybrid      weights and what lies between layers in FP16, sums in float32: SNPE's GPU_FLOAT32_16_HYBRID
half4       FP16 throughout, four partial sums over the channels: the better end of SNPE's GPU_FLOAT16
sequential  FP16 throughout, one sum: its worse end

An activation behind a layer is computed with it, before anything is stored, as GPU runtimes fuse it.

Kept by hand: no runtime on a PC rounds to FP16 within a sum, as a phone's GPU does.
"""

from collections import Counter
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bilayer.export.network.emulate_kernel import accumulate
from bilayer.export.network.evaluate import Store, evaluate, run_layer
from bilayer.export.network.layers import (
    Activation,
    Add,
    Array,
    Conv,
    ConvTranspose,
    FoldedGenerator,
    Gemm,
    Layer,
    LeakyRelu,
    ScaleShift,
)
from bilayer.runtime.arrays import Floats

Arithmetic = Literal["hybrid", "half4", "sequential"]

LANES: dict[Arithmetic, int] = {"half4": 4, "sequential": 1}


def emulate(generator: FoldedGenerator, pose: Floats, arithmetic: Arithmetic) -> dict[str, Floats]:
    """Return every layer's output (1, ...) for an encoded pose (input_width,): numbers that FP16 has, unless fused.

    A weight or a result beyond 65504 becomes infinite, as on the phone.

    Raises:
        ToolMissingError: all but `hybrid` needs Numba and a processor that converts FP16.
    """
    run = run_layer if arithmetic == "hybrid" else partial(_run_in_half, lanes=LANES[arithmetic])
    given = torch.from_numpy(pose)[None].float()
    results = evaluate(generator, given, half_storage, fused_layers(generator), run)
    return {name: tensor.numpy() for name, tensor in results.items()}


def half_storage(tensor: Tensor) -> Tensor:
    """Return the nearest numbers that FP16 has, in the tensor's own precision; infinite beyond 65504."""
    return tensor.half().to(tensor.dtype)


def fused_layers(generator: FoldedGenerator) -> frozenset[str]:
    """Return the layers that compute and whose only reader is an activation: their output is never stored."""
    readers = Counter(name for layer in generator.layers for name in layer.inputs)
    kinds = {layer.name: layer for layer in generator.layers}
    return frozenset(
        layer.inputs[0]
        for layer in generator.layers
        if isinstance(layer, LeakyRelu | Activation)
        and readers[layer.inputs[0]] == 1
        and isinstance(kinds.get(layer.inputs[0]), Gemm | Conv | ConvTranspose | ScaleShift | Add)
    )


def _run_in_half(layer: Layer, inputs: list[Tensor], store: Store, lanes: int) -> Tensor:
    """Do what `run_layer` does to a batch of one, every sum and product rounded to FP16."""

    def per_channel(array: Array) -> Tensor:
        return store(torch.from_numpy(array).float())[:, None, None]

    match layer:
        case Gemm() | Conv() | ConvTranspose():
            x = inputs[0][0].numpy()
            weight = store(torch.from_numpy(layer.weight).float()).numpy()
            sums = _sums(layer, weight, x.reshape(-1, 1, 1) if isinstance(layer, Gemm) else x, lanes)
            result = store(torch.from_numpy(sums) + per_channel(layer.bias))[None]
            return result.flatten(1) if isinstance(layer, Gemm) else result
        case ScaleShift():
            return store(store(inputs[0] * per_channel(layer.scale)) + per_channel(layer.shift))
        case LeakyRelu():
            return store(torch.where(inputs[0] > 0, inputs[0], inputs[0] * float(np.float16(layer.slope))))
    return store(run_layer(layer, inputs))  # adds, moves, or computes each number by itself


def _sums(layer: Gemm | Conv | ConvTranspose, weight: Floats, x: Floats, lanes: int) -> Floats:
    """Return the layer's output (C', H', W') for x (C, H, W), without its bias."""
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
