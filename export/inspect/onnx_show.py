"""What `bilayer-export --inspect` prints of an ONNX model; of one in QDQ form also what its integers stand for."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto

from bilayer.export.formats.onnx_file import QDQ_OPERATORS, OnnxFile, is_standard, printable, type_name
from bilayer.export.formats.stored import Stored, bytes_by_type, network_tables, quantised, shape_text, told_bytes
from bilayer.runtime.files.reading import size_of

# Types of weights: integers without a scale are shapes
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)


def stored_tensors(model: OnnxFile) -> list[Stored]:
    """Return every constant of weights, and what QuantizeLinear rounds; sizes, shapes, scales and zero points are none.

    What is rounded goes by the name under which the nodes after it read it.
    """
    made, named = _dequantised(model), _readable_names(model)
    ends = {name for node in model.standard_nodes if node.op_type in QDQ_OPERATORS for name in node.input[1:]}
    found = [
        _quantised(model, made.get(name), name, name, "weights")
        for name, tensor in model.constants.items()
        if name not in ends and (tensor.data_type in _FLOATS or name in made)
    ]
    for node in model.standard_nodes:
        if node.op_type == "QuantizeLinear" and node.input and node.input[0] not in model.constants:
            name = named.get(node.output[0], node.input[0])
            found.append(_quantised(model, node, node.output[0], name, "computed"))
    return [tensor for tensor in found if tensor is not None]


def describe(model: OnnxFile, path: Path) -> dict[str, Any]:
    """Return everything but the numbers, fit for JSON."""
    tensors, behind = stored_tensors(model), _behind(model)
    return {
        "file": str(path),
        "bytes": size_of(path),
        "opset": model.opset,
        "ir_version": model.proto.ir_version,
        "producer": printable(model.proto.producer_name),
        "parameters": _parameters(tensors),
        "bytes_by_type": bytes_by_type(tensors),
        "inputs": [_end(model, value) for value in model.inputs],
        "outputs": [_end(model, value) for value in model.proto.graph.output],
        "nodes": [
            {
                "name": model.where(node),
                "operator": _operator(node),
                "outputs": [{"name": name, "shape": list(model.shapes.get(name, ()))} for name in node.output],
                "constants": _constants(model, node, behind),
            }
            for node in model.nodes
        ],
        "integers": [tensor.describe() for tensor in quantised(tensors)],
        "metadata": {entry.key: entry.value for entry in model.proto.metadata_props},
    }


def as_text(model: OnnxFile, path: Path) -> str:
    """Return tables for a terminal: the file, its ends, its layers, and what is in integers."""
    tensors, behind = stored_tensors(model), _behind(model)
    kinds = {_operator(node) for node in model.nodes}
    facts = [
        ("size", f"{size_of(path) / 1e6:.2f} MB"),
        ("written by", printable(model.proto.producer_name) or "not recorded"),
        ("opset", f"{model.opset}, IR version {model.proto.ir_version}"),
        ("nodes", f"{len(model.nodes)} of {len(kinds)} operators"),
        ("parameters", f"{_parameters(tensors):,}"),
        ("weights", told_bytes(bytes_by_type(tensors))),
        ("in integers", _counted(quantised(tensors))),
    ]
    ends = [("input", value) for value in model.inputs] + [("output", value) for value in model.proto.graph.output]
    rows = [
        (
            model.where(node),
            _operator(node),
            " ".join(shape_text(model.shapes.get(name, ())) for name in node.output),
            " ".join(shape_text(model.shapes.get(name, ())) for name in _constants(model, node, behind)) or "-",
        )
        for node in model.nodes
        if node.op_type not in (*QDQ_OPERATORS, "Constant")
    ]
    told = [
        (end, printable(one.name), model.shapes.get(one.name, ()), type_name(one.type.tensor_type.elem_type))
        for end, one in ends
    ]
    return network_tables(str(path), facts, told, ["layer", "operator", "output", "constants"], rows, tensors)


def _counted(integers: list[Stored]) -> str:
    """What is in integers, in one cell."""
    if not integers:
        return "nothing"
    weights, computed = ([one for one in integers if one.what == what] for what in ("weights", "computed"))
    kinds = " and ".join(sorted({one.dtype for one in computed}))
    return f"{len(weights)} constants, and {len(computed)} tensors between layers" + (f" ({kinds})" if kinds else "")


def _quantised(
    model: OnnxFile, node: onnx.NodeProto | None, numbers: str, name: str, what: Literal["weights", "computed"]
) -> Stored | None:
    """The tensor with the scale that `node` gives it, if any; None where the scale is computed."""
    constant = model.constants.get(numbers)
    shape = model.shapes.get(numbers, ())
    array = model.array(numbers)
    if node is None:
        kind = "" if constant is None else type_name(constant.data_type)
        size = 0 if constant is None else array.nbytes if array is not None else 2 * math.prod(shape)
        bits = 8 * size // max(1, math.prod(shape))
        return Stored(
            printable(name), what, shape, {"float": "float32", "double": "float64"}.get(kind, kind), bits, size
        )
    scale = model.array(node.input[1]) if len(node.input) > 1 else None
    zero = model.array(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if scale is None or not scale.size:
        return None
    if zero is None or not zero.size:  # ONNX's default
        zero = np.zeros(1, array.dtype if array is not None else np.uint8)
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    with np.errstate(invalid="ignore"):  # zero points in floats may be none
        scales = tuple(map(float, scale.astype(np.float64).ravel()))
        zeros = tuple(int(one) for one in zero.astype(np.int64).ravel())
    zeros = zeros if len(zeros) == len(scales) else zeros[:1] * len(scales)
    size = 0 if constant is None or array is None else array.nbytes
    per_channel = axis if len(scales) > 1 else None
    kind = zero.dtype.name
    narrow = re.fullmatch(r"u?int(\d)", kind)  # of int4 numpy takes a byte
    bits = int(narrow[1]) if narrow else 8 * zero.dtype.itemsize
    return Stored(printable(name), what, shape, kind, bits, size, scales, zeros, per_channel)


def _dequantised(model: OnnxFile) -> dict[str, onnx.NodeProto]:
    """The DequantizeLinear that reads each constant, by its name."""
    nodes = [node for node in model.standard_nodes if node.op_type == "DequantizeLinear" and node.input]
    return {node.input[0]: node for node in nodes if node.input[0] in model.constants}


def _readable_names(model: OnnxFile) -> dict[str, str]:
    """What DequantizeLinear calls each tensor of integers that is computed."""
    nodes = [node for node in model.standard_nodes if node.op_type == "DequantizeLinear" and node.input and node.output]
    return {node.input[0]: node.output[0] for node in nodes}


def _behind(model: OnnxFile) -> dict[str, str]:
    """The constant that each DequantizeLinear of one reads, by what it gives."""
    return {node.output[0]: name for name, node in _dequantised(model).items() if node.output}


def _constants(model: OnnxFile, node: onnx.NodeProto, behind: Mapping[str, str]) -> list[str]:
    """The constants that a node reads, those behind a DequantizeLinear included."""
    return [name for name in (behind.get(name, name) for name in node.input) if name in model.constants]


def _parameters(tensors: Sequence[Stored]) -> int:
    return sum(math.prod(tensor.shape) for tensor in tensors if tensor.what == "weights")


def _operator(node: onnx.NodeProto) -> str:
    return printable(node.op_type if is_standard(node) else f"{node.domain}.{node.op_type}")


def _end(model: OnnxFile, value: onnx.ValueInfoProto) -> dict[str, Any]:
    kind = type_name(value.type.tensor_type.elem_type)
    return {"name": printable(value.name), "shape": list(model.shapes.get(value.name, ())), "dtype": kind}
