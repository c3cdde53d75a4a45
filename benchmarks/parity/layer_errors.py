"""Where two rungs part: the error of every layer that both show, and the first over a threshold."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bilayer.benchmarks.parity.diagnosis import explain, recognise
from bilayer.benchmarks.parity.rungs.integers import float_layers
from bilayer.benchmarks.parity.rungs.rung import Rung
from bilayer.export.network.evaluate import run_layer
from bilayer.export.network.layers import INPUT, Conv, ConvTranspose, FoldedGenerator, Gemm, Layer
from bilayer.runtime.agreement import MOST_DB, Kind, decibels

# dB of a layer's signal over its error, by what the second rung is held to
THRESHOLDS: dict[Kind, float] = {"fp32": 100.0, "fp16-hybrid": 60.0, "fp16": 45.0, "bf16": 45.0}
THRESHOLDS |= {"w8a16": 40.0, "w8a8": 20.0}
# Relative rounding of a stored number, at most
STEPS: dict[Kind, float] = {"fp32": 2.0**-24, "fp16-hybrid": 2.0**-11, "fp16": 2.0**-11, "bf16": 2.0**-8}
STEPS |= {"w8a16": 2.0**-8, "w8a8": 2.0**-8}
SURELY_ROUNDING = 100.0  # dB of what a layer adds itself: nothing is looked for beyond


@dataclass(frozen=True)
class LayerError:
    """How far one layer's output is off, for one pose."""

    layer: str
    kind: str  # Conv, Add, ...
    sqnr_db: float  # signal over all the error that it has
    # Signal over what it adds itself. Computed anew in float64 from the second rung's inputs: its rounding, its other
    # weights; or from the first one's: that this layer is not the first one's. The worse. None: inputs are hidden
    own_db: float | None
    max_abs: float
    peak: float  # of the first rung's output: FP16 ends at 65504
    terms: int  # products in each of its sums


@dataclass(frozen=True)
class FirstOver:
    """The first layer under the threshold, in running order."""

    layer: str
    suggestion: str


@dataclass(frozen=True)
class LayerReport:
    """The layers that two rungs show, compared."""

    first: str
    second: str
    threshold_db: float
    layers: tuple[LayerError, ...]  # the worst first
    over: FirstOver | None
    fault: FirstOver | None  # the first with a fault that is no rounding, however small


def compare_layers(
    generator: FoldedGenerator, first: Rung, second: Rung, threshold: float | None = None
) -> LayerReport:
    """Compare two rungs layer by layer, for the first pose.

    Args:
        generator: the truth, whose layers they are.
        first: what is right.
        second: what is looked into.
        threshold: in dB; None is that of the second rung's kind.
    """
    limit = THRESHOLDS[second.kind] if threshold is None else threshold
    expected, found = float_layers(first), float_layers(second)
    pose = next((layers[INPUT] for layers in (expected, found) if INPUT in layers), None)
    if pose is not None:
        found, expected = {INPUT: pose, **found}, {INPUT: pose, **expected}
    both = [layer for layer in generator.layers if layer.name in expected and layer.name in found]
    errors = [_error(layer, expected, found) for layer in both]
    # Integers are other numbers than the truth's on purpose: no fault where no layer is under the threshold
    integers = first.rounded or second.rounded
    fault = None if integers else next(_faults(both, errors, expected, found, STEPS[second.kind]), None)
    over = next((pair for pair in zip(both, errors, strict=True) if not pair[1].sqnr_db >= limit), None)
    named = None
    if over is not None:
        layer, error = over
        inherited = [_sqnr(expected[name], found[name]) for name in layer.inputs if name in found and name in expected]
        cause = explain(
            layer,
            own_db=error.own_db,
            inherited_db=min(inherited, default=MOST_DB),
            terms=error.terms,
            rounds=second.kind != "fp32",
            integers=integers,
        )
        if integers:
            fault = next(_faults([layer], [error], expected, found, STEPS[second.kind]), None)
        named = fault if fault is not None and fault.layer == layer.name else FirstOver(layer.name, cause)
    ranked = tuple(sorted(errors, key=lambda e: e.sqnr_db))
    return LayerReport(first.name, second.name, limit, ranked, named, fault)


def _faults(
    layers: list[Layer], errors: list[LayerError], expected: dict[str, Any], found: dict[str, Any], step: float
) -> Iterator[FirstOver]:
    for layer, error in zip(layers, errors, strict=True):
        if error.own_db is not None and error.own_db >= SURELY_ROUNDING:
            continue
        hidden = any(name not in found for name in layer.inputs)
        if hidden and error.sqnr_db >= SURELY_ROUNDING:
            continue
        inputs = None if hidden else [found[name] for name in layer.inputs]
        text = recognise(layer, _right(layer, expected, found), found[layer.name], inputs, step)
        if text:
            yield FirstOver(layer.name, text)


def _error(layer: Layer, expected: dict[str, Any], found: dict[str, Any]) -> LayerError:
    right, given = expected[layer.name], found[layer.name]
    with np.errstate(invalid="ignore"):
        apart = np.abs(given.astype(np.float64) - right)
    hidden = _computed(layer, found) is None
    return LayerError(
        layer=layer.name,
        kind=type(layer).__name__,
        sqnr_db=_sqnr(right, given),
        own_db=None if hidden else _sqnr(_right(layer, expected, found), given),
        max_abs=float(apart.max()),
        peak=float(np.abs(right).max()),
        terms=_terms(layer),
    )


def _right(layer: Layer, expected: dict[str, Any], found: dict[str, Any]) -> NDArray[Any]:
    """What the second rung's output should be, as LayerError.own_db has it."""
    from_found, from_expected = _computed(layer, found), _computed(layer, expected)
    right: NDArray[Any] = expected[layer.name]
    if from_found is None:
        return right
    other = from_expected is not None and _sqnr(right, from_expected) < _sqnr(from_found, found[layer.name])
    return right if other else from_found


def _computed(layer: Layer, found: dict[str, Any]) -> NDArray[np.float64] | None:
    """What the layer makes of a rung's inputs in float64."""
    if any(name not in found for name in layer.inputs):
        return None
    inputs = [torch.from_numpy(found[name].astype(np.float64)) for name in layer.inputs]
    result: NDArray[np.float64] = run_layer(layer, inputs, lambda tensor: tensor).numpy()
    return result


def _sqnr(expected: NDArray[Any], found: NDArray[Any]) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        signal = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64))))
        error = float(np.mean(np.square(found.astype(np.float64) - expected)))
    return decibels(error, signal)


def _terms(layer: Layer) -> int:
    match layer:
        case Gemm():
            return int(layer.weight.shape[1])
        case Conv():
            return int(np.prod(layer.weight.shape[1:]))
        case ConvTranspose():
            return int(layer.weight.shape[0]) * 4  # of the 16 taps, four meet each pixel
    return len(layer.inputs)
