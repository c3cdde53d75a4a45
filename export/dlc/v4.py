"""The graph of a DLC v4, the kind of QAIRT and SNPE 2.x.

The schema is Netron's description (github.com/lutzroeder/netron, source/dlc-schema.js), completed by what files of
QAIRT 2.51 hold. Weights come in three ways:

* version 4.1 (read from real files): `model.params` says where in `model.params.bin` each tensor lies;
* version 4.0, id NETP (from the description only): the bytes stand in `model.params` itself;
* id NR64 (from the description only): a list of buffers, in the order of the tensors' names.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bilayer.export.dlc.graph import DlcGraph, DlcNode, DlcTensor, Setting, Steps, as_array, check_shape
from bilayer.export.formats.flatbuffer import FlatBuffer, Table
from bilayer.runtime.errors import DlcError

Chunks = Mapping[str, memoryview]  # bytes by the tensor's name

# Qnn_TensorType_t of the QNN SDK's public QnnTypes.h
_INPUT, _OUTPUT, _INPUT_AND_OUTPUT, _STATIC = 0, 1, 2, 4

# Of the types below, and of a string: what a scalar attribute can be
_FLOAT16, _FLOAT32, _BOOL, _STRING = 0x0216, 0x0232, 0x0508, 0x0608

# Qnn_DataType_t there: 0xKKBB, kind and decimal bits; with numpy's name. Narrower than a byte: packed, so bytes
_DTYPES: dict[int, tuple[str, str]] = {
    0x0008: ("int8", "<i1"),
    0x0016: ("int16", "<i2"),
    0x0032: ("int32", "<i4"),
    0x0064: ("int64", "<i8"),
    0x0108: ("uint8", "<u1"),
    0x0116: ("uint16", "<u2"),
    0x0132: ("uint32", "<u4"),
    0x0164: ("uint64", "<u8"),
    0x0216: ("float16", "<f2"),
    0x0232: ("float32", "<f4"),
    0x0264: ("float64", "<f8"),
    0x0304: ("sfixed4", ""),
    0x0308: ("sfixed8", "<i1"),
    0x0316: ("sfixed16", "<i2"),
    0x0332: ("sfixed32", "<i4"),
    0x0404: ("ufixed4", ""),
    0x0408: ("ufixed8", "<u1"),
    0x0416: ("ufixed16", "<u2"),
    0x0432: ("ufixed32", "<u4"),
    0x0508: ("bool", "<u1"),
}


def read_graph(model: memoryview, params: memoryview | None, data: memoryview | None) -> DlcGraph:
    """Return the graph of members `model`, `model.params` (both without their headers) and `model.params.bin`.

    Raises:
        DlcError: damaged, or not one graph.
    """
    buffer = FlatBuffer(model, "member model", "NETD")
    graphs = buffer.root().tables(0)
    if len(graphs) != 1:
        raise DlcError(f"expected one graph, found {len(graphs)}")
    name = graphs[0].string(0)
    tensors: dict[str, DlcTensor] = {}
    layouts: dict[str, str] = {}
    kinds: dict[str, int] = {}
    for table in graphs[0].tables(2):
        tensor, layout = _tensor(table)
        if tensor.name in tensors:
            raise DlcError(f"two tensors named {tensor.name}")
        tensors[tensor.name], layouts[tensor.name] = tensor, layout
        kinds[tensor.name] = table.number("<i", 2)
    static = [name for name, kind in kinds.items() if kind == _STATIC]
    stored = _Stored({}, [])
    if params is not None:
        stored = _stored(name, static, FlatBuffer(params, "member model.params", "NETP", "NR64"), data)
    own = itertools.chain(stored.of_layers, itertools.repeat({}))
    return DlcGraph(
        tuple(tensors[name] for name, kind in kinds.items() if kind in (_INPUT, _INPUT_AND_OUTPUT)),
        tuple(tensors[name] for name, kind in kinds.items() if kind in (_OUTPUT, _INPUT_AND_OUTPUT)),
        tuple(_node(table, kinds, chunks) for table, chunks in zip(graphs[0].tables(1), own, strict=False)),
        tensors,
        {name: _weight(tensors[name], layouts[name], stored.of_graph) for name in static},
    )


def _tensor(table: Table) -> tuple[DlcTensor, str]:
    code = table.number("<i", 6)
    dtype, layout = _DTYPES.get(code, (f"unknown-{code & 0xFFFFFFFF:#06x}", ""))
    tensor = DlcTensor(table.string(1), table.int32s(3), dtype, _steps(table.table(5)))
    check_shape(tensor)
    return tensor, layout


def _steps(described: Table | None) -> Steps | None:
    """Field 2: one scale for the tensor; field 3: an axis, and one for each index of it (files of QAIRT 2.51)."""
    if described is None:
        return None
    one, axis = described.table(2), described.table(3)
    if one is not None:
        return Steps(one.number("<i", 0), (one.float32(3),), one.number("<i", 4))
    each = [] if axis is None else axis.tables(1)
    if axis is None or not each:
        return None
    scales = tuple(channel.float32(3) for channel in each)
    if any(channel.number("<i", 4) for channel in each):
        raise DlcError("integers with an offset for each channel: only symmetric ones are known")
    return Steps(each[0].number("<i", 0), scales, axis=axis.number("<i", 0))


def _node(table: Table, kinds: Mapping[str, int], chunks: Chunks) -> DlcNode:
    name, inputs, outputs = table.string(0), table.strings(2), table.strings(3)
    for tensor in (*inputs, *outputs):
        if tensor not in kinds:
            raise DlcError(f"layer {name}: {tensor} is not a tensor of the graph")
    weights = tuple(source for source in inputs if kinds[source] == _STATIC)
    activations = tuple(source for source in inputs if kinds[source] != _STATIC)
    return DlcNode(name, table.string(1), activations, outputs, weights, _settings(name, table, chunks))


def _settings(layer: str, node: Table, chunks: Chunks) -> dict[str, Setting]:
    """A layer's attributes by name: QNN's operator parameters, scalars or small tensors; `chunks` are those' bytes."""
    settings: dict[str, Setting] = {}
    for attribute in node.tables(4):
        key, value, tensor = attribute.string(0), attribute.table(3), attribute.table(4)
        if tensor is not None:
            described, layout = _tensor(tensor)
            chunk = chunks.get(described.name)
            settings[key] = as_array(described, chunk, layout) if layout and chunk is not None else None
        elif value is not None:
            settings[key] = _scalar(value)
    return settings


def _scalar(value: Table) -> Setting:
    code = value.number("<i", 0)
    if code == _STRING:
        return value.string(3)
    if code == _BOOL:
        return bool(value.number("<i", 1))
    return value.float32(2) if code in (_FLOAT16, _FLOAT32) else value.number("<i", 1)


@dataclass(frozen=True)
class _Stored:
    """The bytes of tensors by name."""

    of_graph: Chunks  # its static tensors
    of_layers: list[Chunks]  # the tensors among each layer's settings


def _stored(graph: str, static: list[str], params: FlatBuffer, data: memoryview | None) -> _Stored:
    """What `model.params` stores for the graph. Which buffers of NR64 are settings is not known: none is read."""
    if params.identifier == b"NR64":
        buffers = params.root().tables(0)
        return _Stored(dict(zip(sorted(static), (buffer.raw(0) for buffer in buffers), strict=False)), [])
    stored = _Stored({}, [])
    for table in params.root().tables(0):
        if table.string(0) == graph:
            stored = _Stored(
                _chunks(table.tables(1), data), [_chunks(layer.tables(0), data) for layer in table.tables(2)]
            )
    return stored


def _chunks(tensors: list[Table], data: memoryview | None) -> dict[str, memoryview]:
    return {tensor.string(0): _chunk(tensor, data) for tensor in tensors}


def _chunk(tensor: Table, data: memoryview | None) -> memoryview:
    place = tensor.table(3)
    if place is None:
        return tensor.raw(1)
    if data is None:
        raise DlcError("the member model.params.bin, which has the weights, is missing")
    start, size = place.number("<Q", 0), place.number("<Q", 1)
    if start + size > len(data):
        raise DlcError(f"member model.params.bin: expected {start + size} bytes, found {len(data)}")
    return data[start : start + size]


def _weight(tensor: DlcTensor, layout: str, chunks: Mapping[str, memoryview]) -> NDArray[np.generic]:
    if tensor.name not in chunks:
        raise DlcError(f"tensor {tensor.name}: its data is missing")
    chunk = chunks[tensor.name]
    return as_array(tensor, chunk, layout) if layout else np.frombuffer(chunk, np.uint8)
