"""Channels made alike before they are rounded: cross-layer equalisation, which changes no result in exact arithmetic.

Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019: a ReLU hands positive
factors on, so what one layer makes of a channel may be divided by s, and the next one's weights multiplied with it.
Two things differ from the paper. A sum hands factors on as well, where all its summands have them: so whole blocks take
part, and the heads behind them. And the first layer's rows have a scale each, which s costs nothing: what it costs is
the grid between the layers, so r1 of the paper's s = sqrt(r1 r2) / r2 is the channel's range there.
"""

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from bilayer.export.network.evaluate import evaluate
from bilayer.export.network.layers import (
    INPUT,
    Add,
    Adjustment,
    Array,
    ConvTranspose,
    FoldedGenerator,
    LeakyRelu,
    Upsample,
    Weighted,
)

_HANDS_ON = LeakyRelu | Upsample | Add  # f(s x) = s f(x) for a channel's s > 0


@dataclass(frozen=True)
class _Group:
    """Outputs of layers whose channels have one factor, and the layers with weights before and behind them."""

    members: list[str]
    makers: list[str]
    readers: list[str]


def equalized(generator: FoldedGenerator, poses: Tensor) -> FoldedGenerator:
    """Return the same network, hidden channels scaled so that few bits hold its weights; `adjusted` tells by how much.

    Channels that are read by nothing, or 0 in every pose, stay as they are.

    Args:
        generator: with float weights.
        poses: (N, width), encoded, of which ranges between the layers are taken.
    """
    weighted = {one.name: one for one in generator.layers if isinstance(one, Weighted)}
    ranges, adjusted = _ranges(generator, poses), dict(generator.adjusted)
    for group in _groups(generator):
        read = np.max([_read(weighted[name]) for name in group.readers], axis=0)
        made = np.max([ranges[name] for name in group.members], axis=0)
        factors, kept = np.ones_like(read), (made > 0) & (read > 0)
        factors[kept] = np.sqrt(made[kept] / read[kept])
        for name in group.makers:
            weighted[name] = _scaled(weighted[name], 1 / factors, reads=False)
        for name in group.readers:
            weighted[name] = _scaled(weighted[name], factors, reads=True)
        for name in group.members:
            before = adjusted.get(name, Adjustment(np.ones_like(factors), np.zeros_like(factors)))
            adjusted[name] = Adjustment(before.factor / factors, before.shift / factors)
    return replace(
        generator, layers=tuple(weighted.get(layer.name, layer) for layer in generator.layers), adjusted=adjusted
    )


def _groups(generator: FoldedGenerator) -> list[_Group]:
    """All that may be scaled: between layers with weights stands nothing but what hands factors on."""
    tied: dict[str, list[str]] = {INPUT: [INPUT]}  # one list for all that have a factor in common
    for layer in generator.layers:
        before = {id(tied[name]): tied[name] for name in layer.inputs} if isinstance(layer, _HANDS_ON) else {}
        members = [*(name for names in before.values() for name in names), layer.name]
        tied |= dict.fromkeys(members, members)
    groups = []
    for members in {id(names): names for names in tied.values()}.values():
        makers = [layer for layer in generator.layers if layer.name in members and not isinstance(layer, _HANDS_ON)]
        readers = [
            layer
            for layer in generator.layers
            if not isinstance(layer, _HANDS_ON) and not set(members).isdisjoint(layer.inputs)
        ]
        ends = not {INPUT, *generator.output_tensors}.isdisjoint(members)
        if readers and not ends and all(isinstance(layer, Weighted) for layer in (*makers, *readers)):
            groups.append(_Group(members, [one.name for one in makers], [one.name for one in readers]))
    return groups


def _scaled(layer: Weighted, factors: Array, reads: bool) -> Weighted:
    """The layer, each channel that it `reads`, or else makes, multiplied by its factor."""
    axis = int(reads) if not isinstance(layer, ConvTranspose) else int(not reads)
    weight = layer.weight * factors.reshape([-1 if place == axis else 1 for place in range(layer.weight.ndim)])
    return replace(layer, weight=weight) if reads else replace(layer, weight=weight, bias=layer.bias * factors)


def _read(layer: Weighted) -> Array:
    """The largest weight (in,) with which a layer reads each channel, as a share of the largest of its row."""
    weight = np.abs(layer.weight if not isinstance(layer, ConvTranspose) else np.swapaxes(layer.weight, 0, 1))
    largest = weight.reshape(*weight.shape[:2], -1).max(2)  # (out, in)
    rows = largest.max(1, keepdims=True)
    return np.asarray((largest / np.where(rows == 0, 1, rows)).max(0))


def _ranges(generator: FoldedGenerator, poses: Tensor) -> dict[str, Array]:
    """The largest number (C,) that each channel of every layer's output has in these poses."""
    ranges: dict[str, Array] = {}
    for pose in poses:  # one by one: memory
        for name, values in evaluate(generator, pose[None]).items():
            found = values[0].flatten(1).abs().amax(1) if values.ndim > 2 else values[0].abs()
            ranges[name] = np.maximum(found.double().numpy(), ranges.get(name, 0))
    return ranges
