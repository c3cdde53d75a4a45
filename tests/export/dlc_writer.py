"""Files written after Netron's description of the .dlc formats, to test the reader with: no runtime ever saw one.

A real DLC v3 comes from SNPE 1.x's own tools, which are not at hand; so do the v4 kinds `inline` and `NR64`.
Fields are given by their number in the schema: table(builder, {0: ..., 3: ...}).
"""

import io
import zipfile

import flatbuffers
import numpy as np
from flatbuffers.number_types import (
    Float32Flags,
    Int32Flags,
    Uint8Flags,
    Uint64Flags,
)

from tests.export import networks

V3_TYPES = {
    "Conv": "Convolutional",
    "ConvTranspose": "Deconvolution",
    "Gemm": "FullyConnected",
    "BatchNormalization": "Batchnorm",
    "LeakyRelu": "Prelu",
    "Tanh": "Neuron",
    "Sigmoid": "Neuron",
    "Add": "ElementWise",
    "Upsample": "Resize",
    "Reshape": "Reshape",
}
V4_TYPES = {**V3_TYPES, "Conv": "Conv2d", "ConvTranspose": "TransposeConv2d"}
HWIO = {"Conv": (2, 3, 1, 0), "ConvTranspose": (2, 3, 0, 1), "Gemm": (0, 1)}
WEIGHT_NAMES = ("weights", "biases")


class Writer:
    """A FlatBuffer under construction. A field is a string, a list (of strings or of tables), an array or a number."""

    def __init__(self):
        self.builder = flatbuffers.Builder(1 << 16)

    def table(self, fields):
        """The offset of a table; strings, lists and arrays among its fields are written first."""
        ready = {slot: self._prepare(value) for slot, value in fields.items()}
        self.builder.StartObject(max(fields, default=-1) + 1)
        for slot, value in ready.items():
            if isinstance(value, tuple):
                self.builder.PrependSlot(value[0], slot, value[1], 0)
            else:
                self.builder.PrependUOffsetTRelativeSlot(slot, value, 0)
        return Offset(self.builder.EndObject())

    def finish(self, root, identifier):
        self.builder.Finish(root.value, file_identifier=identifier)
        return bytes(self.builder.Output())

    def string(self, text):
        return self.builder.CreateString(text)

    def _prepare(self, value):
        match value:
            case Offset():
                return value.value
            case str():
                return self.string(value)
            case bytes():
                return self.builder.CreateByteVector(value)
            case np.ndarray():
                return self.builder.CreateNumpyVector(value.reshape(-1))
            case list():
                offsets = [item.value if isinstance(item, Offset) else self.string(item) for item in value]
                self.builder.StartVector(4, len(offsets), 4)
                for offset in reversed(offsets):
                    self.builder.PrependUOffsetTRelative(offset)
                return self.builder.EndVector()
            case _:
                return value


class Offset:
    def __init__(self, value):
        self.value = value


def int32(value):
    return Int32Flags, value


def uint8(value):
    return Uint8Flags, value


def uint64(value):
    return Uint64Flags, value


def float32(value):
    return Float32Flags, value


def ints(values):
    return np.array(values, np.int32)


def header(major, minor=0):
    return np.array([0x0AD5, major, minor, 0], "<u2").tobytes()


def pack(members):
    """A stored zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def v3(model, *, axes=HWIO, name=lambda name: name, metadata="converter-command=snpe-onnx-to-dlc\n"):
    """`model` as the bytes of a DLC v3, with weights laid out by `axes` and layers named by `name`."""
    return pack({"dlc.metadata": metadata, **v3_members(model, axes=axes, name=name)})


def v3_members(model, *, axes=HWIO, name=lambda name: name):
    graph, weights = Writer(), Writer()
    shapes, constants = networks.shapes(model), networks.constants(model)
    tables = [_v3_node(graph, 0, "pose", "Input", [], ["pose"], shapes)]
    layers = []
    for i, node in enumerate(model.graph.node):
        sources = [source for source in node.input if source not in constants]
        tables.append(_v3_node(graph, i + 1, name(node.name), V3_TYPES[node.op_type], sources, node.output, shapes))
        if arrays := layer_weights(node, constants, axes):
            tensors = [_v3_tensor(weights, kind, array) for kind, array in zip(WEIGHT_NAMES, arrays, strict=True)]
            layers.append(weights.table({0: name(node.name), 1: tensors}))
    return {
        "model": header(3) + graph.finish(graph.table({1: tables}), b"NETD"),
        "model.params": header(3) + weights.finish(weights.table({0: layers}), b"NETP"),
    }


def _v3_node(writer, index, name, kind, sources, outputs, shapes):
    # SNPE 1.x is NHWC
    turned = [shape if len(shape) != 4 else tuple(shape[i] for i in (0, 2, 3, 1)) for shape in map(shapes.get, outputs)]
    dims = [writer.table({0: str(i), 1: uint8(8), 9: ints(shape)}) for i, shape in enumerate(turned)]
    attributes = [writer.table({0: "alpha", 1: uint8(4), 5: float32(0.2)})]
    attributes.append(writer.table({0: "OutputDims", 1: uint8(11), 12: dims}))
    return writer.table({0: int32(index), 1: name, 2: kind, 3: list(sources), 4: list(outputs), 5: attributes})


def _v3_tensor(writer, name, array):
    if array.dtype == np.uint8:
        data = writer.table({0: uint8(6), 1: array})
    else:
        data = writer.table({0: uint8(9), 2: array.astype(np.float32)})
    return writer.table({0: name, 1: ints(array.shape), 2: data})


def layer_weights(node, constants, axes):
    """Weight and bias of an ONNX node as the .dlc has them; for a norm, scale and shift."""
    if node.op_type == "BatchNormalization":
        gamma, beta, mean, var = (constants[name] for name in node.input[1:])
        scale = gamma / np.sqrt(var + np.float32(1e-5))
        return [scale, beta - mean * scale]
    if node.op_type not in axes:
        return []
    return [constants[node.input[1]].transpose(axes[node.op_type]), constants[node.input[2]]]


def v4(model, kind):
    """`model` as the bytes of a DLC v4 with its weights `inline` in model.params, or as `NR64` has them."""
    graph, params = Writer(), Writer()
    shapes, constants = networks.shapes(model), networks.constants(model)
    outputs = {value.name for value in model.graph.output}
    tensors, nodes, weights = [_v4_tensor(graph, "pose", shapes["pose"], 0)], [], {}
    for node in model.graph.node:
        arrays = layer_weights(node, constants, HWIO)
        names = [f"{node.name}.{kind}" for kind in WEIGHT_NAMES[: len(arrays)]]
        weights.update(zip(names, arrays, strict=True))
        tensors += [_v4_tensor(graph, key, weights[key].shape, 4) for key in names]
        tensors += [_v4_tensor(graph, out, shapes[out], 1 if out in outputs else 3) for out in node.output]
        sources = [source for source in node.input if source not in constants] + names
        nodes.append(graph.table({0: node.name, 1: V4_TYPES[node.op_type], 2: sources, 3: list(node.output), 4: []}))
    model_bytes = graph.finish(
        graph.table({0: [graph.table({0: "avatar", 1: nodes, 2: tensors})]}),
        b"NETD",
    )
    inline = kind == "inline"
    entries = [params.table({0: key, 1: array.tobytes()} if inline else {0: key}) for key, array in weights.items()]
    per_node = [params.table({0: []}) for _ in nodes]
    params_bytes = params.finish(
        params.table({0: [params.table({0: "avatar", 1: entries, 2: per_node})]}),
        b"NETP",
    )
    if not inline:
        outer = Writer()
        buffers = [outer.table({0: weights[key].tobytes()}) for key in sorted(weights)]
        params_bytes = outer.finish(outer.table({0: buffers, 1: params_bytes}), b"NR64")
    return pack({"model": header(4) + model_bytes, "model.params": header(4) + params_bytes})


def _v4_tensor(writer, name, shape, location):
    return writer.table(
        {1: name, 2: int32(location), 3: ints(shape), 6: int32(0x0232), 7: int32(0x0232)},
    )
