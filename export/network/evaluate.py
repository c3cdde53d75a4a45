"""A folded generator evaluated as it stands, in any precision that torch has: the oracle of the exported graph."""

from collections import Counter
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bilayer.export.network.layers import (
    INPUT,
    Activation,
    Add,
    Array,
    Concat,
    Conv,
    ConvTranspose,
    DepthToSpace,
    FoldedGenerator,
    Gemm,
    Layer,
    LeakyRelu,
    Reshape,
    ScaleShift,
    Upsample,
)


def evaluate(
    generator: FoldedGenerator,
    poses: Tensor,
    store: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    fused: frozenset[str] = frozenset(),
) -> dict[str, Tensor]:
    """The output of every layer for poses (B, input_width), in the poses' precision.

    `store` is what becomes of every weight and every layer's output in memory: `half_storage` rounds as a GPU does
    that stores in FP16 and computes in float32. The outputs of layers in `fused` stay in registers: `fused_layers`.
    """
    results = {INPUT: store(poses)}
    for layer in generator.layers:
        computed = _run(layer, [results[name] for name in layer.inputs], store)
        results[layer.name] = computed if layer.name in fused else store(computed)
    return results


def evaluate_hybrid(generator: FoldedGenerator, poses: Tensor) -> dict[str, Tensor]:
    """As GPU_FLOAT32_16_HYBRID rounds: storage in FP16, sums in float32, activations computed with what they follow."""
    return evaluate(generator, poses.float(), half_storage, fused_layers(generator))


def fused_layers(generator: FoldedGenerator) -> frozenset[str]:
    """Layers that compute, and whose only reader is an activation."""
    readers = Counter(name for layer in generator.layers for name in layer.inputs)
    kinds = {layer.name: layer for layer in generator.layers}
    return frozenset(
        layer.inputs[0]
        for layer in generator.layers
        if isinstance(layer, LeakyRelu | Activation)
        and readers[layer.inputs[0]] == 1
        and isinstance(kinds.get(layer.inputs[0]), Gemm | Conv | ConvTranspose | ScaleShift | Add)
    )


def half_storage(tensor: Tensor) -> Tensor:
    """Rounded to FP16, in its own precision."""
    return tensor.half().to(tensor.dtype)


def _run(layer: Layer, inputs: list[Tensor], store: Callable[[Tensor], Tensor]) -> Tensor:
    x = inputs[0]

    def like(array: Array) -> Tensor:
        return store(torch.from_numpy(array).to(x.dtype))

    match layer:
        case Gemm():
            return F.linear(x, like(layer.weight), like(layer.bias))
        case Reshape():
            return x.reshape(-1, *layer.shape)
        case ScaleShift():
            return x * like(layer.scale)[:, None, None] + like(layer.shift)[:, None, None]
        case Conv():
            top, left, bottom, right = layer.pads
            return F.conv2d(F.pad(x, (left, right, top, bottom)), like(layer.weight), like(layer.bias))
        case ConvTranspose():
            return F.conv_transpose2d(x, like(layer.weight), like(layer.bias), stride=2, padding=1)
        case Upsample():
            return F.interpolate(x, scale_factor=2, mode="nearest")
        case LeakyRelu():
            return F.leaky_relu(x, layer.slope)
        case Activation():
            return torch.tanh(x) if layer.function == "tanh" else torch.sigmoid(x)
        case Add():
            return x + inputs[1]
        case Concat():
            return torch.cat(inputs, dim=1)
        case DepthToSpace():
            batch, channels, height, width = x.shape
            grid = x.view(batch, 2, 2, channels // 4, height, width).permute(0, 3, 4, 1, 5, 2)
            return grid.reshape(batch, channels // 4, 2 * height, 2 * width)
    raise TypeError(f"{layer.name}: no rule to evaluate a {type(layer).__name__}")
