"""Reading a .tflite file: its tensors, operators and settings, by the schema's field numbers (schema.fbs, version 3).

Files come from anywhere: a damaged one raises InputError and costs bounded memory, which the schema's generated reader
does not promise.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilayer.export.formats.flatbuffer import FlatBuffer, Table
from bilayer.export.tflite.build import IDENTIFIER, METADATA
from bilayer.runtime.errors import DlcError, InputError
from bilayer.runtime.files.reading import FileKind, read_bytes

_NUMPY = {
    "FLOAT32": "<f4",
    "FLOAT16": "<f2",
    "INT32": "<i4",
    "INT8": "i1",
    "UINT8": "u1",
    "INT16": "<i2",
    "INT64": "<i8",
}
_MOST = 100_000  # tensors or operators; an avatar has 160
_MOST_SIDES = 8  # of a shape: schema.fbs has no bound, LiteRT's kernels take at most 8
# Options that matter here: name, field number, struct code, default. Activations are 0 where nothing is fused
_ACTIVATION, _PADDING = ("activation", "b", 0), ("padding", "b", 0)  # padding: 0 SAME, 1 VALID
_CONV = (_PADDING, ("stride_w", "i", 0), ("stride_h", "i", 0))
_DILATION = (("dilation_w", "i", 1), ("dilation_h", "i", 1))
_RESIZE = (("align_corners", "b", 0), ("half_pixel_centers", "b", 0))
_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
_OPTIONS: dict[str, tuple[tuple[str, str, int], ...]] = {
    **dict.fromkeys(("ADD", "MUL", "SUB", "DIV"), (_ACTIVATION,)),
    "CONCATENATION": (("axis", "i", 0), _ACTIVATION),
    "CONV_2D": (*_CONV, _ACTIVATION, *_DILATION),
    "DEPTHWISE_CONV_2D": (*_CONV, ("depth_multiplier", "i", 0), _ACTIVATION, *_DILATION),
    "DEPTH_TO_SPACE": (("block_size", "i", 0),),
    "SPACE_TO_DEPTH": (("block_size", "i", 0),),
    "FULLY_CONNECTED": (_ACTIVATION, ("weights_format", "b", 0), ("keep_num_dims", "b", 0)),
    "LEAKY_RELU": (("alpha", "f", 0),),
    "MIRROR_PAD": (("mode", "b", 0),),
    "RESIZE_BILINEAR": (("", "i", 0), ("", "i", 0), *_RESIZE),
    "RESIZE_NEAREST_NEIGHBOR": _RESIZE,
    "SOFTMAX": (("beta", "f", 0),),
    "STRIDED_SLICE": tuple((name, "i", 0) for name in _MASKS),
    "TRANSPOSE_CONV": (*_CONV, _ACTIVATION),
}


@dataclass(frozen=True, eq=False)
class TfliteTensor:
    """One tensor: `data` are a constant's numbers, None of what is computed or of a type that numpy has not."""

    name: str
    shape: tuple[int, ...]  # a side of -1 is not known before it runs
    dtype: str  # as the schema calls it: FLOAT32, INT8
    constant: bool
    data: NDArray[Any] | None
    scale: tuple[float, ...] = ()  # of integers: one, or one for each index along `axis`
    zero_point: tuple[int, ...] = ()
    axis: int = 0


@dataclass(frozen=True)
class TfliteOperator:
    """One operator; inputs and outputs are numbers of tensors, -1 one that is left out."""

    kind: str  # as the schema calls it: CONV_2D; of a custom one its own name
    version: int
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    settings: Mapping[str, int | float] = field(default_factory=dict)  # those of _OPTIONS


@dataclass(frozen=True, eq=False)
class TfliteFile:
    """What a .tflite holds: its first graph; `subgraphs` says how many there are."""

    name: str  # the file, for messages
    size: int  # bytes
    description: str
    metadata: Mapping[str, str]  # of bilayer's entry
    tensors: tuple[TfliteTensor, ...]
    operators: tuple[TfliteOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int

    def where(self, operator: TfliteOperator) -> str:
        """Return the name that an operator goes by: its first output's."""
        first = next((number for number in operator.outputs if number >= 0), None)
        return operator.kind if first is None else self.tensors[first].name


def read_tflite(path: Path | str) -> TfliteFile:
    """Return the .tflite file at `path`, or an InputError where it cannot be read, is damaged, or is none."""
    return parse_tflite(read_bytes(path, FileKind.TFLITE), str(path))


def parse_tflite(content: bytes, name: str) -> TfliteFile:
    """Return the .tflite file whose bytes are `content`, called `name` in an InputError: damaged, or none."""
    if content[4:8] != IDENTIFIER:
        found = "others" if content else "an empty file"
        raise InputError(
            f"{name}: not a .tflite: expected {IDENTIFIER.decode()} at byte 4, found {found}; convert the model first"
        )
    try:
        return _parse(FlatBuffer(memoryview(content), name), name)
    except DlcError as error:
        raise InputError(f"{error}; convert the model again") from error


def _parse(buffer: FlatBuffer, name: str) -> TfliteFile:
    model = buffer.root()
    graphs, buffers = model.tables(2), model.tables(4)
    if not graphs:
        raise DlcError(f"{name}: expected a graph, found none")
    codes = [_code(table) for table in model.tables(1)]
    tensors = tuple(_tensor(table, buffers, name) for table in _few(graphs[0], 0, name))
    operators = tuple(_operator(table, codes, len(tensors), name) for table in _few(graphs[0], 3, name))
    inputs, outputs = (_numbers(graphs[0], place, len(tensors), name) for place in (1, 2))
    own = [table.number("<I", 1) for table in model.tables(6) if table.string(0) == METADATA]
    described = str(_buffer(buffers, own[0], name), "utf-8", "replace") if own else ""
    metadata = dict(line.split("=", 1) for line in described.splitlines()[:1000] if "=" in line and line.isprintable())
    return TfliteFile(
        name, len(buffer.data), model.string(3), metadata, tensors, operators, inputs, outputs, len(graphs)
    )


def _few(table: Table, place: int, name: str) -> list[Table]:
    found = table.tables(place)
    if len(found) > _MOST:
        raise DlcError(f"{name}: expected at most {_MOST} tensors and operators, found {len(found)}")
    return found


def _numbers(table: Table, place: int, count: int, name: str) -> tuple[int, ...]:
    found = table.int32s(place)
    if any(not -1 <= number < count for number in found):
        raise DlcError(f"{name}: damaged: names tensor {max(found)} of {count}")
    return found


@cache
def _names(kind: str) -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {value: name for name, value in vars(getattr(schema, kind)).items() if not name.startswith("_")}


def _code(table: Table) -> tuple[str, int, bool]:
    number = max(table.number("<b", 0), table.number("<i", 3))
    kind = _names("BuiltinOperator").get(number, f"operator {number}")
    custom = kind == "CUSTOM"
    return (table.string(1) or kind) if custom else kind, table.number("<i", 2, 1), custom


def _tensor(table: Table, buffers: list[Table], name: str) -> TfliteTensor:
    number = table.number("<b", 1)
    kind, title = _names("TensorType").get(number, f"type {number}"), table.string(3)
    shape, signature = table.int32s(0), table.int32s(7)
    if len(shape) > _MOST_SIDES:  # numpy has no more than 64, and their product no end
        raise DlcError(f"{name}: {title}: expected at most {_MOST_SIDES} dimensions, found {len(shape)}")
    data = _buffer(buffers, table.number("<I", 2), name)
    numbers = None
    if len(data) and kind in _NUMPY:
        numbers = np.frombuffer(data, _NUMPY[kind]) if len(data) % np.dtype(_NUMPY[kind]).itemsize == 0 else None
        if numbers is None or numbers.size != int(np.prod(shape, dtype=np.float64)) or min(shape, default=1) < 0:
            raise DlcError(f"{name}: {title}: {len(data)} bytes are not {kind} of shape {shape[:8]}")
        numbers = numbers.reshape(shape)
    scales = table.table(4)
    scale, zero, axis = _quantisation(scales) if scales else ((), (), 0)
    return TfliteTensor(title, signature or shape, kind, len(data) > 0, numbers, scale, zero, axis)


def _quantisation(table: Table) -> tuple[tuple[float, ...], tuple[int, ...], int]:
    scale = np.frombuffer(table.raw(2, 4), "<f4")
    zero = np.frombuffer(table.raw(3, 8), "<i8")
    table.buffer.spend(40 * (scale.size + zero.size))
    return tuple(map(float, scale)), tuple(map(int, zero)), table.number("<i", 6)


def _buffer(buffers: list[Table], number: int, name: str) -> memoryview:
    if number >= len(buffers):
        raise DlcError(f"{name}: damaged: names buffer {number} of {len(buffers)}")
    return buffers[number].raw(0)


def _operator(table: Table, codes: list[tuple[str, int, bool]], count: int, name: str) -> TfliteOperator:
    number = table.number("<I", 0)
    if number >= len(codes):
        raise DlcError(f"{name}: damaged: names operator code {number} of {len(codes)}")
    kind, version, custom = codes[number]
    inputs, outputs = (_numbers(table, place, count, name) for place in (1, 2))
    options = table.table(4)
    settings = {} if custom or options is None else _settings(kind, options)
    return TfliteOperator(kind, version, custom, inputs, outputs, settings)


def _settings(kind: str, options: Table) -> dict[str, int | float]:
    found: dict[str, int | float] = {}
    for place, (name, code, default) in enumerate(_OPTIONS.get(kind, ())):
        bits = options.number("<I" if code == "f" else f"<{code}", place, default)
        if name:
            found[name] = struct.unpack("<f", struct.pack("<I", bits))[0] if code == "f" else bits
    return found
