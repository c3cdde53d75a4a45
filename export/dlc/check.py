"""Whether a .dlc is the ONNX model that it was made from: weights to the bit, and the contract at both ends."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bilayer.export.dlc.graph import DlcNode, DlcTensor, base_name
from bilayer.export.dlc.read import Dlc
from bilayer.export.formats.onnx_file import read_model
from bilayer.runtime.errors import InputError, ParityError

Array = NDArray[np.generic]

# What a layer is called in v4 (QNN's operators) and in v3 (Netron's dlc-metadata.json)
_TYPES = {
    "Conv": ("Conv2d", "DepthWiseConv2d", "Convolutional"),
    "ConvTranspose": ("TransposeConv2d", "Deconvolution"),
    "Gemm": ("FullyConnected",),
    "BatchNormalization": ("Batchnorm", "BatchNorm"),
}
_ONNX_LAYOUT = {"Conv": "OIHW", "ConvTranspose": "IOHW", "Gemm": "OI", "BatchNormalization": "C"}
# Measured on files of QAIRT 2.51, where these are the layouts that QNN's operator definitions ask for
_V4_LAYOUT = {"Conv": "HWIO", "ConvTranspose": "HWIO", "Gemm": "OI", "BatchNormalization": "C"}

# Converters compute scale and shift of a norm from four constants, each in its own precision: measured 0 off the
# float64 result, allowed this much of the magnitude of the terms
_NORM_TOLERANCE = {"float32": 1e-6, "float16": 1e-3}


@dataclass(frozen=True)
class LayerMatch:
    """A layer of the ONNX model that was found in the .dlc with the same weights."""

    node: str  # of the ONNX model
    operator: str
    layer: str  # of the .dlc
    layout: str  # of the weight there, such as HWIO
    dtype: str
    parameters: int


@dataclass(frozen=True)
class WeightReport:
    """The layers of a .dlc that `compare_weights` found in the ONNX model, and what it did not."""

    layers: tuple[LayerMatch, ...]
    unchecked: tuple[str, ...]  # floating-point constants of the ONNX model that belong to no layer compared

    @property
    def parameters(self) -> int:
        """How many numbers were compared."""
        return sum(match.parameters for match in self.layers)


@dataclass(frozen=True)
class EndMatch:
    """An input or output that the .dlc has as the ONNX model has it."""

    name: str
    layout: str  # NCHW or NHWC; of fewer than four dimensions, empty
    dlc_shape: tuple[int, ...]
    dtype: str  # empty where a v3 file does not record it


@dataclass(frozen=True, eq=False)
class _Layer:
    """What an ONNX node's constants must be in the .dlc."""

    node: onnx.NodeProto
    weight: Array  # laid out as in _ONNX_LAYOUT; of a norm, its scale
    bias: Array | None
    magnitude: Array | None = None  # of a norm: of the terms that its shift is the sum of

    @property
    def name(self) -> str:
        return self.node.name or self.node.output[0]

    @cached_property
    def names(self) -> set[str]:
        """What the layer or its weight may be called in the .dlc."""
        return {name for name in (self.node.name, *self.node.output, self.node.input[1]) if name}


def compare_weights(dlc: Dlc, model: onnx.ModelProto | str | Path) -> WeightReport:
    """Find every Conv, ConvTranspose, Gemm and BatchNormalization of `model` in `dlc` with the same constants.

    Weights and biases must be equal to the bit, in a float16 file after rounding to it; a norm's scale and shift, which
    the converter computes, within 1e-6 (float16: 1e-3). Layers are found by name, or else by their content. A v4
    file's layouts are known; in a v3 file any order of the axes passes.

    Raises:
        ParityError: a layer is missing or differs, or there is one more of these kinds; the message names it and the
            largest difference.
        InputError: `model` is a path to no ONNX model, or has a weight that is computed or stands in another file.
    """
    model = _load(model)
    constants = _constants(model)
    free = [node for node in dlc.nodes if node.weights]
    matches: list[LayerMatch] = []
    seen: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Resize":
            seen.update(node.input)  # its scales show in the shapes that read_layers checks
        if node.op_type not in _TYPES:
            continue
        layer = _expected(node, constants)
        seen.update(node.input)
        match, used = _find(layer, dlc, free)
        free = [other for other in free if other is not used]
        matches.append(match)
    extra = [node.name for node in free if any(node.type in types for types in _TYPES.values())]
    if extra:
        raise ParityError(f"{dlc.name}: has {len(extra)} layers more than the ONNX model: {', '.join(extra[:5])}")
    floats = {name for name, array in constants.items() if array.dtype.kind == "f"}
    return WeightReport(tuple(matches), tuple(sorted(floats - seen)))


def check_io(dlc: Dlc, model: onnx.ModelProto | str | Path) -> tuple[EndMatch, ...]:
    """Compare inputs and outputs of `dlc`, which must have the names, shapes and types of `model`'s.

    A 4-D tensor may stand in NHWC: SNPE 1.x converters always turn it so.

    Raises:
        ParityError: they differ.
        InputError: `model` is a path to no ONNX model.
    """
    model = _load(model)
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initializers]
    return (
        *_check_ends("inputs", dlc, dlc.inputs, inputs),
        *_check_ends("outputs", dlc, dlc.outputs, list(model.graph.output)),
    )


def _load(model: onnx.ModelProto | str | Path) -> onnx.ModelProto:
    return read_model(model).proto if isinstance(model, str | Path) else model


def _constants(model: onnx.ModelProto) -> dict[str, Array]:
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            tensors.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    for name, tensor in tensors.items():
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise InputError(f"constant {name}: stands in another file; save the ONNX model as one file")
    return {name: numpy_helper.to_array(tensor) for name, tensor in tensors.items()}


def _expected(node: onnx.NodeProto, constants: Mapping[str, Array]) -> _Layer:
    name = node.name or node.output[0]
    given: list[Any] = []
    for source in node.input[1:]:
        if source and source not in constants:
            raise InputError(f"node {name}: its input {source} is computed; only constant weights can be compared")
        given.append(constants.get(source))
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "BatchNormalization":
        gamma, beta, mean, variance = (array.astype(np.float64) for array in given)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = gamma / np.sqrt(variance + attributes.get("epsilon", 1e-5))
            return _Layer(node, scale, beta - mean * scale, np.abs(beta) + np.abs(mean * scale))
    weight, bias = given[0], given[1] if len(given) > 1 else None
    if node.op_type == "Gemm":
        weight = (weight if attributes.get("transB") else weight.T) * weight.dtype.type(attributes.get("alpha", 1))
        if bias is not None:
            bias = np.broadcast_to(bias.reshape(-1), weight.shape[:1]) * bias.dtype.type(attributes.get("beta", 1))
    return _Layer(node, weight, bias)


def _find(layer: _Layer, dlc: Dlc, free: list[DlcNode]) -> tuple[LayerMatch, DlcNode]:
    """The .dlc's layer with these constants."""
    operator = layer.node.op_type
    alike = [node for node in free if node.type in _TYPES[operator]]
    named = [node for node in alike if layer.names & {base_name(node.name), *node.weights}]
    reason = f"none of its {len(alike)} layers of that kind has this weight {layer.weight.shape}"
    for node in named or alike:
        layout, difference = _compare(layer, dlc, node)
        if not difference:
            arrays = [dlc.weights[name] for name in node.weights]
            size = sum(array.size for array in arrays)
            return LayerMatch(layer.name, operator, node.name, layout, arrays[0].dtype.name, size), node
        if named:
            reason = difference
    raise ParityError(f"{dlc.name}: {operator} {layer.name}: {reason}")


def _compare(layer: _Layer, dlc: Dlc, node: DlcNode) -> tuple[str, str]:
    """The layout that fits, and the difference, empty if there is none."""
    arrays = [dlc.weights[name] for name in node.weights]
    if any(array.dtype.name not in _NORM_TOLERANCE for array in arrays):
        return "", f"expected float32 or float16 weights, found {', '.join(array.dtype.name for array in arrays)}"
    if layer.magnitude is not None:
        return "C", _norm_difference(layer, arrays)
    weights = [array for array in arrays if array.ndim == layer.weight.ndim]
    biases = [array for array in arrays if array.ndim == 1]
    if len(weights) != 1 or len(biases) > 1:
        return "", f"expected one weight and at most one bias, found shapes {[array.shape for array in arrays]}"
    layout, difference = _weight_difference(layer, weights[0], dlc.version)
    if not difference and (biases or layer.bias is not None):
        found = biases[0] if biases else np.zeros(0, np.float32)
        expected = np.zeros(found.shape, np.float32) if layer.bias is None else layer.bias
        difference = _difference("bias", expected, found)
    return layout, difference


def _weight_difference(layer: _Layer, found: Array, version: int) -> tuple[str, str]:
    differences: dict[str, str] = {}
    for layout, axes in _layouts(layer.node.op_type, version):
        turned = layer.weight.transpose(axes)
        differences[layout] = _difference(f"weight ({layout})", turned, found)
        if not differences[layout]:
            return layout, ""
    return "", min(differences.values(), key=lambda difference: "expected shape" in difference)  # the telling one


def _layouts(operator: str, version: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Orders of the axes that a weight may have, the usual one first."""
    axes, usual = _ONNX_LAYOUT[operator], _V4_LAYOUT[operator]
    yield usual, tuple(axes.index(axis) for axis in usual)
    if version == 3:  # nothing public says which
        for order in itertools.permutations(axes):
            if "".join(order) != usual:
                yield "".join(order), tuple(axes.index(axis) for axis in order)


def _difference(what: str, expected: Array, found: Array) -> str:
    """How `found` differs from `expected` rounded to its type; empty if it does not, to the bit."""
    if expected.shape != found.shape:
        return f"{what}: expected shape {expected.shape}, found {found.shape}"
    with np.errstate(over="ignore"):  # a weight beyond float16's range is infinite there, as in the converter
        rounded = expected.astype(found.dtype)
    bits = np.dtype(f"u{found.dtype.itemsize}")
    if np.array_equal(rounded.view(bits), found.view(bits)):
        return ""
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(rounded.astype(np.float64) - found.astype(np.float64))
    count = np.count_nonzero(rounded.view(bits) != found.view(bits))
    return f"{what}: differs in {count} of {found.size} values, by up to {np.max(apart):.3g}"


def _norm_difference(layer: _Layer, arrays: list[Array]) -> str:
    """How scale and shift differ by more than the converter's rounding; empty if they do not."""
    if [array.shape for array in arrays] != [layer.weight.shape] * 2:
        return f"expected two arrays of shape {layer.weight.shape}, found {[array.shape for array in arrays]}"
    assert layer.bias is not None
    assert layer.magnitude is not None
    expected = {"scale": (layer.weight, np.abs(layer.weight)), "shift": (layer.bias, layer.magnitude)}
    for (what, (wanted, magnitude)), found in zip(expected.items(), arrays, strict=True):
        tolerance = _NORM_TOLERANCE[found.dtype.name]
        apart = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
        allowed = tolerance * magnitude.astype(np.float64) + np.finfo(found.dtype.name).smallest_subnormal
        if not np.all(apart <= allowed):
            return f"{what}: differs by up to {np.max(apart):.3g}"
    return ""


def _check_ends(
    side: str, dlc: Dlc, found: tuple[DlcTensor, ...], expected: list[onnx.ValueInfoProto]
) -> Iterator[EndMatch]:
    names = [value.name for value in expected]
    if {tensor.name for tensor in found} != set(names):
        there = ", ".join(tensor.name for tensor in found) or "none"
        raise ParityError(f"{dlc.name}: {side}: expected {', '.join(names)}, found {there}")
    by_name = {tensor.name: tensor for tensor in found}
    for value in expected:
        yield _check_end(dlc, by_name[value.name], value)


def _check_end(dlc: Dlc, found: DlcTensor, value: onnx.ValueInfoProto) -> EndMatch:
    kind = value.type.tensor_type
    shape = tuple(dim.dim_value for dim in kind.shape.dim)
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    shapes = {"": shape}
    if len(shape) == 4:
        batch, channels, height, width = shape
        shapes = {"NCHW": shape, "NHWC": (batch, height, width, channels)}
    # where both are equal, the converter's habit decides
    fits = [layout for layout, size in shapes.items() if size == found.shape]
    if not fits:
        wanted = " or ".join(map(str, shapes.values()))
        raise ParityError(f"{dlc.name}: {found.name}: expected shape {wanted}, found {found.shape}")
    if found.dtype not in ("", dtype):
        raise ParityError(f"{dlc.name}: {found.name}: expected {dtype}, found {found.dtype}")
    return EndMatch(found.name, fits[-1] if dlc.version == 3 else fits[0], found.shape, found.dtype)
