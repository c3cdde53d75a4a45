"""What `bilayer-export --inspect` prints of a .tflite."""

from typing import Any

from bilayer.export.formats.stored import Stored, bytes_by_type, network_tables, quantised, shape_text, told_bytes
from bilayer.export.tflite.read import TfliteFile, TfliteOperator, TfliteTensor


def describe(file: TfliteFile) -> dict[str, Any]:
    """Return everything but the numbers, fit for JSON."""
    return {
        "file": file.name,
        "bytes": file.size,
        "description": file.description,
        "parameters": _parameters(file),
        "stored_as": _stored(file),
        "subgraphs": file.subgraphs,
        "inputs": [_tensor(file.tensors[number]) for number in file.inputs if number >= 0],
        "outputs": [_tensor(file.tensors[number]) for number in file.outputs if number >= 0],
        "operators": [
            {
                "name": file.where(operator),
                "kind": operator.kind,
                "version": operator.version,
                "outputs": [_tensor(file.tensors[number]) for number in operator.outputs],
                "constants": [_tensor(tensor) for tensor in _constants(file, operator)],
                "settings": dict(operator.settings),
            }
            for operator in file.operators
        ],
        "bytes_by_type": bytes_by_type(stored_tensors(file)),
        "integers": [tensor.describe() for tensor in quantised(stored_tensors(file))],
        "metadata": dict(file.metadata),
    }


def as_text(file: TfliteFile) -> str:
    """Return tables for a terminal: the file, its ends, its operators but for DEQUANTIZE, and what is in integers."""
    facts = [
        ("size", f"{file.size / 1e6:.2f} MB"),
        ("written by", file.description or "not recorded"),
        ("operators", f"{len(file.operators)} of {len({operator.kind for operator in file.operators})} kinds"),
        ("parameters", f"{_parameters(file):,}"),
        ("stored as", ", ".join(f"{kind} {count:,}" for kind, count in _stored(file).items())),
        ("weights", told_bytes(bytes_by_type(stored_tensors(file)))),
    ]
    ends = [("input", number) for number in file.inputs] + [("output", number) for number in file.outputs]
    rows = [
        (
            file.where(operator),
            operator.kind,
            operator.version,
            " ".join(shape_text(file.tensors[number].shape) for number in operator.outputs),
            " ".join(f"{shape_text(tensor.shape)} {_type(tensor)}" for tensor in _constants(file, operator)) or "-",
        )
        for operator in file.operators
        if operator.kind != "DEQUANTIZE"
    ]
    named = [(end, file.tensors[number]) for end, number in ends if number >= 0]
    told = [(end, one.name, one.shape, _type(one)) for end, one in named]
    headings = ["operator", "kind", "version", "output", "constants"]
    return network_tables(file.name, facts, told, headings, rows, stored_tensors(file))


def stored_tensors(file: TfliteFile) -> list[Stored]:
    """Return every constant of weights, and every tensor in integers that is computed."""
    return [
        _stored_as(tensor) for tensor in file.tensors if _is_parameter(tensor) or (tensor.scale and not tensor.constant)
    ]


def _stored_as(tensor: TfliteTensor) -> Stored:
    kind = tensor.dtype.lower()
    bits = int("".join(filter(str.isdigit, kind)) or 0)
    size = 0 if tensor.data is None else tensor.data.nbytes
    axis = tensor.axis if len(tensor.scale) > 1 else None
    zeros = tensor.zero_point if len(tensor.zero_point) == len(tensor.scale) else (0,) * len(tensor.scale)
    return Stored(
        tensor.name,
        "weights" if tensor.constant else "computed",
        tensor.shape,
        kind,
        bits,
        size,
        tensor.scale,
        zeros,
        axis,
    )


def _constants(file: TfliteFile, operator: TfliteOperator) -> list[TfliteTensor]:
    """The constants that an operator reads, those behind a DEQUANTIZE included."""
    behind = {
        one.outputs[0]: one.inputs[0]
        for one in file.operators
        if one.kind == "DEQUANTIZE" and one.outputs and one.inputs
    }
    tensors = [file.tensors[behind.get(number, number)] for number in operator.inputs if number >= 0]
    return [tensor for tensor in tensors if _is_parameter(tensor)]


def _is_parameter(tensor: TfliteTensor) -> bool:
    """Whether a tensor is a constant of weights, and no shape or size."""
    return tensor.constant and (tensor.dtype not in ("INT32", "INT64") or bool(tensor.scale))


def _parameters(file: TfliteFile) -> int:
    return sum(_stored(file).values())


def _stored(file: TfliteFile) -> dict[str, int]:
    """How many numbers are stored in each type; shapes and sizes are none."""
    found: dict[str, int] = {}
    for tensor in file.tensors:
        if tensor.data is not None and _is_parameter(tensor):
            found[tensor.dtype] = found.get(tensor.dtype, 0) + tensor.data.size
    return found


def _tensor(tensor: TfliteTensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "scales": len(tensor.scale),
    }


def _type(tensor: TfliteTensor) -> str:
    scales = f", {len(tensor.scale)} scales" if len(tensor.scale) > 1 else ", 1 scale" if tensor.scale else ""
    return f"{tensor.dtype.lower()}{scales}"
