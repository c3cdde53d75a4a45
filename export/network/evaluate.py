"""A folded generator evaluated as it stands, in any precision that torch has: the oracle of the exported graph."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bilayer.export.network import layers as plain
from bilayer.export.network.layers import INPUT, Array, FoldedGenerator, Layer

Store = Callable[[Tensor], Tensor]  # what becomes of a tensor in memory


def as_is(tensor: Tensor) -> Tensor:
    """Return the tensor: a `Store` that rounds nothing."""
    return tensor


def run_layer(layer: Layer, inputs: list[Tensor], store: Store = as_is) -> Tensor:
    """Return one layer's output (B, ...) for its inputs (B, ...), in their precision; `store` is done to its weights.

    Raises:
        TypeError: there is no rule for a layer of this class.
    """
    x = inputs[0]

    def like(array: Array) -> Tensor:
        return store(torch.from_numpy(array).to(x.dtype))

    match layer:
        case plain.Gemm():
            return F.linear(x, like(layer.weight), like(layer.bias))
        case plain.Reshape():
            return x.reshape(-1, *layer.shape)
        case plain.ScaleShift():
            return x * like(layer.scale)[:, None, None] + like(layer.shift)[:, None, None]
        case plain.Conv():
            top, left, bottom, right = layer.pads
            return F.conv2d(F.pad(x, (left, right, top, bottom)), like(layer.weight), like(layer.bias))
        case plain.ConvTranspose():
            return F.conv_transpose2d(x, like(layer.weight), like(layer.bias), stride=2, padding=1)
        case plain.Upsample():
            return F.interpolate(x, scale_factor=2, mode="nearest")
        case plain.LeakyRelu():
            return F.leaky_relu(x, layer.slope)
        case plain.Activation():
            return torch.tanh(x) if layer.function == "tanh" else torch.sigmoid(x)
        case plain.Add():
            return x + inputs[1]
        case plain.Concat():
            return torch.cat(inputs, dim=1)
        case plain.DepthToSpace():
            batch, channels, height, width = x.shape
            grid = x.view(batch, 2, 2, channels // 4, height, width).permute(0, 3, 4, 1, 5, 2)
            return grid.reshape(batch, channels // 4, 2 * height, 2 * width)
    raise TypeError(f"{layer.name}: no rule to evaluate a {type(layer).__name__}")


def evaluate(
    generator: FoldedGenerator,
    poses: Tensor,
    store: Store = as_is,
    fused: frozenset[str] = frozenset(),
    run: Callable[[Layer, list[Tensor], Store], Tensor] = run_layer,
) -> dict[str, Tensor]:
    """Return every layer's output (B, ...), by its name, for encoded poses (B, input_width), in the poses' precision.

    Args:
        generator: the layers.
        poses: what goes in.
        store: what becomes of every weight and every layer's output in memory: `half_storage` rounds as a GPU does
            that stores in FP16 and computes in float32.
        fused: layers whose output stays in registers, so that `store` does not see it; see `fused_layers`.
        run: how a layer is computed.
    """
    results = {INPUT: store(poses)}
    for layer in generator.layers:
        computed = run(layer, [results[name] for name in layer.inputs], store)
        results[layer.name] = computed if layer.name in fused else store(computed)
    return results
