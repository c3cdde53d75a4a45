"""Where two rungs part: the error of every layer that both show, and the first over a threshold."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bilayer.benchmarks.compare import MOST_PSNR, decibels
from bilayer.benchmarks.diagnosis import explain
from bilayer.benchmarks.rungs import Kind, Rung
from bilayer.export.evaluate import _run as run_layer
from bilayer.export.layers import INPUT, Conv, ConvTranspose, FoldedGenerator, Gemm, Layer
from bilayer.runtime.errors import InputError

# dB of a layer's signal over its error, by what the second rung is held to
THRESHOLDS: dict[Kind, float] = {"float32": 100.0, "hybrid": 60.0, "arithmetic": 45.0, "reported": 45.0}


@dataclass(frozen=True)
class LayerError:
    """Of one layer, for one pose."""

    layer: str
    kind: str  # Conv, Add, ...
    sqnr_db: float  # signal over all the error that it has
    own_db: float | None  # signal over what it adds itself, given the second rung's inputs; None where they are hidden
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
    """Of two rungs."""

    first: str
    second: str
    threshold_db: float
    layers: tuple[LayerError, ...]  # the worst first
    over: FirstOver | None


def compare_layers(
    generator: FoldedGenerator, first: Rung, second: Rung, index: int = 0, threshold: float | None = None
) -> LayerReport:
    """Layer by layer, for the pose of that index.

    Args:
        generator: the truth, whose layers they are.
        first: what is right.
        second: what is looked into.
        index: of the pose.
        threshold: in dB; None is that of the second rung's kind.

    Raises:
        InputError: a rung that does not show its layers.
    """
    shown = []
    for rung in (first, second):
        layers = rung.layers(index)
        if layers is None:
            raise InputError(f"--between: {rung.name} does not show its layers; float64, onnx, fp16-... and device do")
        shown.append(layers)
    limit = THRESHOLDS[second.kind] if threshold is None else threshold
    expected, found = shown
    pose = next((layers[INPUT] for layers in shown if INPUT in layers), None)
    if pose is not None:
        found, expected = {INPUT: pose, **found}, {INPUT: pose, **expected}
    both = [layer for layer in generator.layers if layer.name in expected and layer.name in found]
    errors = [_error(layer, expected, found) for layer in both]
    over = next(((layer, e) for layer, e in zip(both, errors, strict=True) if not e.sqnr_db >= limit), None)
    named = None
    if over is not None:
        layer, error = over
        right = _computed(layer, found)
        inherited = [_sqnr(expected[name], found[name]) for name in layer.inputs if name in found]
        suggestion = explain(
            layer,
            expected[layer.name] if right is None else right,
            found[layer.name],
            own_db=error.own_db,
            inherited_db=min(inherited, default=MOST_PSNR),
            terms=error.terms,
        )
        named = FirstOver(layer.name, suggestion)
    ranked = tuple(sorted(errors, key=lambda e: e.sqnr_db))
    return LayerReport(first.name, second.name, limit, ranked, named)


def _error(layer: Layer, expected: dict[str, Any], found: dict[str, Any]) -> LayerError:
    right, given = expected[layer.name], found[layer.name]
    with np.errstate(invalid="ignore"):
        apart = np.abs(given.astype(np.float64) - right)
    computed = _computed(layer, found)
    return LayerError(
        layer=layer.name,
        kind=type(layer).__name__,
        sqnr_db=_sqnr(right, given),
        own_db=None if computed is None else _sqnr(computed, given),
        max_abs=float(apart.max()),
        peak=float(np.abs(right).max()),
        terms=_terms(layer),
    )


def _computed(layer: Layer, found: dict[str, Any]) -> NDArray[np.float64] | None:
    """What the layer makes of the second rung's inputs in float64."""
    if any(name not in found for name in layer.inputs):
        return None
    inputs = [torch.from_numpy(found[name].astype(np.float64)) for name in layer.inputs]
    result: NDArray[np.float64] = run_layer(layer, inputs, lambda tensor: tensor).numpy()
    return result


def _sqnr(expected: NDArray[Any], found: NDArray[Any]) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        signal = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64))))
        error = float(np.mean(np.square(found.astype(np.float64) - expected)))
    return decibels(error, signal) if signal or error else MOST_PSNR


def _terms(layer: Layer) -> int:
    match layer:
        case Gemm():
            return int(layer.weight.shape[1])
        case Conv():
            return int(np.prod(layer.weight.shape[1:]))
        case ConvTranspose():
            return int(layer.weight.shape[0]) * 4  # of the 16 taps, four meet each pixel
    return len(layer.inputs)
