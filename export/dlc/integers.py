"""A .dlc in integers as one in float32: constants are what their integers stand for; nothing between is rounded."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bilayer.export.dlc.graph import DlcNode, DlcTensor, Steps
from bilayer.export.dlc.read import Dlc
from bilayer.export.integers.scheme import Grid
from bilayer.runtime.errors import DlcError, ParityError

_ROUNDING = ("Quantize", "Dequantize")  # nodes that change no number but by rounding it


def dequantised(dlc: Dlc) -> Dlc:
    """Return a .dlc's graph with float32 constants and without Quantize and Dequantize; tensors keep their `steps`.

    Raises:
        DlcError: integers whose steps do not fit them.
    """
    names: dict[str, str] = {}
    tensors = dict(dlc.tensors)
    ends = {tensor.name for tensor in dlc.outputs}
    for node in dlc.nodes:
        if node.type in _ROUNDING and len(node.inputs) == len(node.outputs) == 1:
            given, made = node.inputs[0], node.outputs[0]
            kept, gone = (made, given) if made in ends else (names.get(given, given), made)
            names[gone] = kept
            tensors[kept] = replace(tensors[kept], steps=tensors[kept].steps or tensors[gone].steps)
    nodes = tuple(_renamed(node, names) for node in dlc.nodes if node.type not in _ROUNDING)
    weights = {name: _numbers(tensors[name], array) for name, array in dlc.weights.items()}
    return replace(dlc, nodes=nodes, tensors=tensors, weights=weights)


def check_grids(where: str, found: Mapping[str, Steps | None], expected: Mapping[str, Grid]) -> None:
    """Raise a ParityError that names the layer unless every layer's output has the ONNX model's grid."""
    for name, grid in expected.items():
        steps = found.get(name)
        made = None if steps is None else grid_of(steps)
        if made != grid:
            raise ParityError(f"{where}: layer {name}: expected its output on {grid}, found {made or 'none'}")


def grid_of(steps: Steps) -> Grid:
    """Return the grid of a tensor between layers."""
    return Grid(steps.bits, steps.scales[0], -steps.offset)


def _renamed(node: DlcNode, names: Mapping[str, str]) -> DlcNode:
    inputs, outputs = (tuple(names.get(name, name) for name in ends) for ends in (node.inputs, node.outputs))
    return replace(node, inputs=inputs, outputs=outputs)


def _numbers(tensor: DlcTensor, array: NDArray[np.generic]) -> NDArray[np.generic]:
    """What a constant's integers stand for, rounded once to float32."""
    steps = tensor.steps
    if steps is None or array.dtype.kind not in "iu":
        return array
    shape = [1] * array.ndim
    if len(steps.scales) > 1:
        if not (0 <= steps.axis < array.ndim and array.shape[steps.axis] == len(steps.scales)):
            raise DlcError(f"tensor {tensor.name}: {len(steps.scales)} scales do not fit {array.shape}")
        shape[steps.axis] = -1
    scales = np.asarray(steps.scales, np.float64).reshape(shape)
    return np.asarray(((array.astype(np.float64) + steps.offset) * scales).astype(np.float32))
