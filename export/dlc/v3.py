"""The graph of a DLC v3, the kind of SNPE 1.25 to 1.x, from Netron's description of it.

The description is github.com/lutzroeder/netron, source/dlc-schema.js and dlc.js. No SDK of that age is at hand, so this
was never read from a real file, only from files that the tests write after the same description.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bilayer.export.dlc.graph import DlcGraph, DlcNode, DlcTensor, Setting, as_array, check_shape
from bilayer.export.formats.flatbuffer import FlatBuffer, Table
from bilayer.runtime.errors import DlcError

_UINT8, _FLOAT32 = 6, 9  # TensorData.dtype
_LIST = 11  # Attribute.type of one that holds others
_REFERENCE_COST = 8  # bytes of a name that stands elsewhere


def read_graph(model: memoryview, params: memoryview | None) -> DlcGraph:
    """Return the graph of members `model` and `model.params`, without their headers.

    A layer's weights are named `<layer>.<weight>`.

    Raises:
        DlcError: damaged.
    """
    buffer = FlatBuffer(model, "member model", "NETD")
    weights = {} if params is None else _weights(FlatBuffer(params, "member model.params", "NETP"))
    tensors: dict[str, DlcTensor] = {}
    inputs: list[str] = []
    nodes: list[DlcNode] = []
    for table in buffer.root().tables(1):
        name, kind, sources, results = table.string(1), table.string(2), table.strings(3), table.strings(4)
        if kind == "Input":
            results = results or sources
            inputs += results
        else:
            buffer.spend(_REFERENCE_COST * len(weights.get(name, {})))
            nodes.append(DlcNode(name, kind, sources, results, tuple(weights.get(name, {})), _settings(table)))
        shapes = _output_shapes(table)
        tensors.update((source, DlcTensor(source, (), "")) for source in sources if source not in tensors)
        for i, result in enumerate(results):
            tensors[result] = DlcTensor(result, shapes[i] if i < len(shapes) else (), "")
            check_shape(tensors[result])
    used = {source for node in nodes for source in node.inputs}
    outputs = [result for node in nodes for result in node.outputs if result not in used]
    constants = {key: array for layer in weights.values() for key, array in layer.items()}
    tensors.update((key, DlcTensor(key, array.shape, array.dtype.name)) for key, array in constants.items())
    return DlcGraph(_pick(tensors, inputs), _pick(tensors, outputs), tuple(nodes), tensors, constants)


def _pick(tensors: dict[str, DlcTensor], names: Sequence[str]) -> tuple[DlcTensor, ...]:
    return tuple(tensors[name] for name in names)


def _output_shapes(node: Table) -> list[tuple[int, ...]]:
    for attribute in node.tables(5):
        if attribute.string(0) == "OutputDims" and attribute.number("<B", 1) == _LIST:
            return [shape.int32s(9) for shape in attribute.tables(12)]
    return []


def _settings(node: Table) -> dict[str, Setting]:
    """A layer's attributes by name, but for those that hold others. Which field counts is seen by what is there."""
    settings: dict[str, Setting] = {}
    for attribute in node.tables(5):
        key = attribute.string(0)
        if attribute.has(9):
            settings[key] = np.array(attribute.int32s(9))
        elif attribute.has(10):
            settings[key] = np.frombuffer(attribute.raw(10, 4), "<f4")
        elif attribute.has(6):
            settings[key] = attribute.string(6)
        elif attribute.has(5):
            settings[key] = attribute.float32(5)
        elif not attribute.has(12):
            settings[key] = attribute.number("<i", 3) or attribute.number("<I", 4) or bool(attribute.number("<B", 2))
    return settings


def _weights(params: FlatBuffer) -> dict[str, dict[str, NDArray[np.generic]]]:
    """Every layer's constants by their name."""
    layers: dict[str, dict[str, NDArray[np.generic]]] = {}
    for table in params.root().tables(0):
        layer = layers.setdefault(table.string(0), {})
        for weight in table.tables(1):
            key = f"{table.string(0)}.{weight.string(0)}"
            data = weight.table(2)
            if data is None or key in layer:
                raise DlcError(f"tensor {key}: {'has no data' if data is None else 'stands there twice'}")
            layer[key] = _array(key, weight.int32s(1), data)
    return layers


def _array(key: str, shape: tuple[int, ...], data: Table) -> NDArray[np.generic]:
    dtype = data.number("<B", 0)
    if dtype == _FLOAT32:
        return as_array(DlcTensor(key, shape, "float32"), data.raw(2, 4), "<f4")
    if dtype == _UINT8:  # an 8-bit quantized file; the ranges are in attributes that nothing here needs
        return as_array(DlcTensor(key, shape, "uint8"), data.raw(1), "<u1")
    raise DlcError(f"tensor {key}: expected dtype {_UINT8} (uint8) or {_FLOAT32} (float32), found {dtype}")
