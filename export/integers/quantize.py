"""A folded generator to integers: layer by layer, and in 16 bits where 8 are too few."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from bilayer.export.integers.calibrate import grid_over, network_outputs, run_on
from bilayer.export.integers.rounding import rounded_layer
from bilayer.export.integers.scheme import ACTIVATION_BITS, HIGH, LOW, Grid, IntegerGenerator, activation_grid
from bilayer.export.network.evaluate import run_layer
from bilayer.export.network.layers import (
    INPUT,
    Activation,
    Array,
    Concat,
    FoldedGenerator,
    Layer,
    Reshape,
    ScaleShift,
    Upsample,
    Weighted,
)
from bilayer.runtime.errors import InputError
from bilayer.runtime.vocabulary import IntegerPrecision

MARGIN = 0.05  # of a tensor's range, beyond what the calibration saw on either side

Excess = Callable[[dict[str, Tensor]], float]  # of output tensors (N, ...): how far over the gate; at most 1 passes
Told = Callable[[str], None]  # what is done next, for a progress bar


def untold(what: str) -> None:
    """Do nothing: a `Told` for callers without a progress bar."""


def quantize(
    generator: FoldedGenerator,
    precision: IntegerPrecision,
    poses: Tensor,
    wide: Collection[str] = (),
    known: IntegerGenerator | None = None,
    told: Told = untold,
) -> IntegerGenerator:
    """Return the network in integers, its ranges and roundings learned from encoded poses (N, width).

    Every layer is rounded for what it reads in the integer network, so that it makes up for the layers before it.

    Args:
        generator: with float weights.
        precision: bits of weights and of what lies between the layers.
        poses: float32.
        wide: layers whose weights are kept in 16 bits.
        known: the same network, made of the same poses with others in 16 bits: the result is the same without it,
            and is found sooner with it, for up to the first layer that differs everything is as it was.
        told: hears of every layer with weights.

    Raises:
        InputError: numbers that are not finite, or a layer that gives the same in every pose; names it.
    """
    bits = ACTIVATION_BITS[precision]
    grids: dict[str, Grid] = {INPUT: grid_over(poses, bits, 0.0, f"{precision}: the pose")}
    exact, rounded = {INPUT: poses}, {INPUT: grids[INPUT].rounded(poses)}
    layers: list[Layer] = []
    scales: dict[str, Array] = {}
    last = {name: layer.name for layer in generator.layers for name in layer.inputs}
    before = {} if known is None else {layer.name: layer for layer in known.generator.layers}
    for layer in generator.layers:
        if isinstance(layer, ScaleShift):
            raise InputError(f"{precision}: {layer.name} is a norm that was kept; leave --keep-norms out")
        exact[layer.name] = run_layer(layer, [exact[name] for name in layer.inputs])
        parts: list[tuple[Layer, Array | None]] = [(layer, None)]
        if known is not None and (layer.name in known.wide) != (layer.name in wide):
            known, before = None, {}
        if isinstance(layer, Weighted):
            told(f"rounding {layer.name}")
            read = layer.inputs[0]
            if not torch.isfinite(exact[layer.name]).all():
                raise InputError(f"{precision}: layer {layer.name} gives numbers that are not finite; export again")
            if known is None:
                parts = rounded_layer(layer, rounded[read], exact[layer.name], grids[read].scale, layer.name in wide)
            else:
                names = [f"{layer.name}{end}" for end in ((HIGH, LOW, "") if layer.name in wide else ("",))]
                parts = [(before[name], known.scales.get(name)) for name in names]
        for part, scale in parts:
            made = run_layer(part, [rounded[name] for name in part.inputs])
            given = {grids[name] for name in part.inputs}
            if known is not None:
                grids[part.name] = known.grids[part.name]
            elif isinstance(part, Reshape | Upsample | Concat) and len(given) == 1:  # changes no number
                grids[part.name] = given.pop()
            elif isinstance(part, Activation):
                grids[part.name] = activation_grid(part.function, bits)
            else:
                grids[part.name] = grid_over(made, bits, MARGIN, f"{precision}: layer {part.name}")
            rounded[part.name] = grids[part.name].rounded(made)
            layers.append(part)
            if scale is not None:
                scales[part.name] = scale
        for name in set(layer.inputs):
            if last[name] == layer.name:
                del exact[name], rounded[name]
    whole = FoldedGenerator(generator.input_width, tuple(layers), generator.outputs, generator.adjusted)
    return IntegerGenerator(precision, whole, grids, scales)


def fewest_wide(
    generator: FoldedGenerator,
    precision: IntegerPrecision,
    poses: Tensor,
    judging: Tensor,
    excess: Excess,
    told: Told = untold,
) -> IntegerGenerator:
    """Return the network in integers with the fewest weights in 16 bits that `excess` passes; else with all of them.

    What each layer's rounding alone does to the results says which need 16 bits first; then those are taken back that
    can be, the largest first.

    Args:
        generator: with float weights.
        precision: bits of weights and of what lies between the layers.
        poses: (N, width), that ranges and roundings are learned from.
        judging: other poses, whose results `excess` is asked about.
        excess: how far results are over the gate.
        told: hears of every layer that is rounded or tried.

    Raises:
        InputError: as `quantize` does.
    """
    found = quantize(generator, precision, poses, told=told)
    if excess(network_outputs(found.generator, judging, found.grids)) <= 1:
        return found
    integers = {layer.name: layer for layer in found.generator.layers}
    weighted = [layer for layer in generator.layers if isinstance(layer, Weighted)]

    def over(rounded: Collection[str], grids: Mapping[str, Grid]) -> float:
        """Return the excess with these layers' weights in 8 bits, all others as they are: 16 bits come near to that."""
        told(f"trying {len(rounded)} layers in 8 bits")
        mixed = tuple(integers[layer.name] if layer.name in rounded else layer for layer in generator.layers)
        return excess(network_outputs(replace(generator, layers=mixed), judging, grids))

    harm = _harm_of_each(generator, integers, judging, excess, told)
    narrow = sorted(harm, key=lambda name: (harm[name], name))  # the most harmful last
    while narrow and over(narrow, found.grids) > 1:
        narrow.pop()
    for layer in sorted(weighted, key=lambda layer: (-layer.weight.size, layer.name)):
        if layer.name not in narrow and over([*narrow, layer.name], found.grids) <= 1:
            narrow.append(layer.name)
    narrow.sort(key=lambda name: (harm[name], name))
    while True:
        found = quantize(generator, precision, poses, harm.keys() - set(narrow), found, told)
        if not narrow or excess(network_outputs(found.generator, judging, found.grids)) <= 1:
            return found
        narrow.pop()


def _harm_of_each(
    generator: FoldedGenerator, integers: Mapping[str, Layer], judging: Tensor, excess: Excess, told: Told
) -> dict[str, float]:
    """How far results are over the gate if one layer with weights is rounded and all others are not, by its name."""
    harm: dict[str, float] = {}
    values, last = {INPUT: judging}, {name: layer for layer in generator.layers for name in layer.inputs}
    for number, layer in enumerate(generator.layers):
        if isinstance(layer, Weighted):
            told(f"trying {layer.name} in 8 bits")
            rest = (integers[layer.name], *generator.layers[number + 1 :])
            harm[layer.name] = excess(run_on(rest, values, generator.output_tensors, {}))
        values[layer.name] = run_layer(layer, [values[name] for name in layer.inputs])
        for name in set(layer.inputs):
            if last[name] is layer and name not in generator.output_tensors:
                del values[name]
    return harm
