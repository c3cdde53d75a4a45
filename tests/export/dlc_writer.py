"""Files written after Netron's description of the .dlc formats, to test the reader with: no runtime ever saw one.

A real DLC v3 comes from SNPE 1.x's own tools, which are not at hand; so do the v4 kinds `inline` and `NR64`.
Fields are given by their number in the schema: table(builder, {0: ..., 3: ...}).
"""

import io
import zipfile

import flatbuffers
import numpy as np
from flatbuffers.number_types import Float32Flags, Int32Flags, Uint8Flags, Uint64Flags

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
V4_TYPES = {**V3_TYPES, "Conv": "Conv2d", "ConvTranspose": "TransposeConv2d", "Upsample": "ResizeNearestNeighbor"}
V4_TYPES |= {"Add": "Eltwise_Binary"}
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
        kind, outputs = V3_TYPES[node.op_type], list(node.output)
        settings = {"LeakyRelu": {"alpha": 0.2}, "Tanh": {"type": 4}, "Sigmoid": {"type": 3}}.get(node.op_type, {})
        if kind == "Reshape":  # to NCHW, and then turned
            turned = f"{name(node.name)}.nchw"
            dims = shapes[outputs[0]]
            tables.append(_v3_node(graph, i + 1, turned, kind, sources, [turned], {turned: dims}, nhwc=False))
            sources, kind, settings = [turned], "Permute", {"order": [0, 2, 3, 1]}
        tables.append(_v3_node(graph, i + 1, name(node.name), kind, sources, outputs, shapes, settings))
        if arrays := layer_weights(node, constants, axes):
            tensors = [_v3_tensor(weights, kind, array) for kind, array in zip(WEIGHT_NAMES, arrays, strict=True)]
            layers.append(weights.table({0: name(node.name), 1: tensors}))
    return {
        "model": header(3) + graph.finish(graph.table({1: tables}), b"NETD"),
        "model.params": header(3) + weights.finish(weights.table({0: layers}), b"NETP"),
    }


def _v3_node(writer, index, name, kind, sources, outputs, shapes, settings=None, nhwc=True):
    # SNPE 1.x is NHWC
    turn = (0, 2, 3, 1) if nhwc else (0, 1, 2, 3)
    turned = [shape if len(shape) != 4 else tuple(shape[i] for i in turn) for shape in map(shapes.get, outputs)]
    dims = [writer.table({0: str(i), 1: uint8(8), 9: ints(shape)}) for i, shape in enumerate(turned)]
    attributes = [_v3_attribute(writer, key, value) for key, value in (settings or {}).items()]
    attributes.append(writer.table({0: "OutputDims", 1: uint8(11), 12: dims}))
    return writer.table({0: int32(index), 1: name, 2: kind, 3: list(sources), 4: list(outputs), 5: attributes})


def _v3_attribute(writer, key, value):
    match value:
        case float():
            return writer.table({0: key, 1: uint8(4), 5: float32(value)})
        case list():
            return writer.table({0: key, 1: uint8(8), 9: ints(value)})
    return writer.table({0: key, 1: uint8(2), 3: int32(value)})


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
    writer = _V4Writer(model, inline=kind == "inline")
    for node in model.graph.node:
        writer.add(node)
    return writer.pack()


# What QAIRT 2.51 writes of each layer: QNN's operator parameters
V4_SETTINGS = {
    "ConvTranspose": {"group": 1, "output_padding": [0, 0], "pad_amount": [[1, 1], [1, 1]], "stride": [2, 2]},
    "Upsample": {"align_corners": False, "half_pixel_centers": False},
    "Add": {"operation": 0},
    "Tanh": {"operation": 8},
    "Sigmoid": {"operation": 6},
}


class _V4Writer:
    """Pictures are NHWC within, as QNN wants them: turned after the reshape, and back before each output."""

    def __init__(self, model, inline):
        self.inline = inline
        self.shapes, self.constants = networks.shapes(model), networks.constants(model)
        self.ends = {value.name for value in model.graph.output}
        self.graph, self.params = Writer(), Writer()
        self.tensors, self.nodes, self.settings = [_v4_tensor(self.graph, "pose", self.shapes["pose"], 0)], [], []
        self.weights, self.names = {}, {"pose": "pose"}  # the .dlc's tensor of each ONNX tensor

    def add(self, node):
        arrays = layer_weights(node, self.constants, HWIO)
        names = [f"{node.name}.{kind}" for kind in WEIGHT_NAMES[: len(arrays)]]
        settings, (result,) = V4_SETTINGS.get(node.op_type, {}), node.output
        if node.op_type == "Conv":
            (top, left, bottom, right), *_ = ([*a.ints] for a in node.attribute if a.name == "pads")
            settings = {"dilation": [1, 1], "group": 1, "pad_amount": [[top, bottom], [left, right]], "stride": [1, 1]}
        if node.op_type == "LeakyRelu":
            names, arrays = [f"{node.name}_alpha"], [np.array([0.2], np.float32)]
        for name, array in zip(names, arrays, strict=True):
            self.weights[name] = array
            self.tensors.append(_v4_tensor(self.graph, name, array.shape, 4))
        sources = [self.names[source] for source in node.input if source not in self.constants] + names
        shape = self.shapes[result]
        nhwc = len(shape) == 4 and node.op_type != "Reshape"
        inner = f"{result}.nhwc" if result in self.ends and nhwc else result
        self.node(node.name, V4_TYPES[node.op_type], sources, inner, turn(shape) if nhwc else shape, settings)
        self.names[result] = inner
        if node.op_type == "Reshape":
            self.node(f"{node.name}_turn", "Transpose", [result], f"{result}.nhwc", turn(shape), {"perm": [0, 2, 3, 1]})
            self.names[result] = f"{result}.nhwc"
        elif result in self.ends and nhwc:
            self.node(f"{node.name}_turn", "Transpose", [inner], result, shape, {"perm": [0, 3, 1, 2]})

    def node(self, name, kind, sources, result, shape, settings):
        self.tensors.append(_v4_tensor(self.graph, result, shape, 1 if result in self.ends else 3))
        attributes, stored = [], []
        for key, value in settings.items():
            if isinstance(value, list):
                array = np.array(value, np.uint32)
                tensor = _v4_tensor(self.graph, f"{name}_{key}", array.shape, 4, 0x0132)
                attributes.append(self.graph.table({0: key, 1: int32(1), 4: tensor}))
                own = {0: f"{name}_{key}", **({1: array.tobytes()} if self.inline else {})}
                stored.append(self.params.table(own))
            else:
                scalar = {0: int32(0x0508 if isinstance(value, bool) else 0x0132), 1: int32(int(value))}
                attributes.append(self.graph.table({0: key, 1: int32(0), 3: self.graph.table(scalar)}))
        fields = {0: name, 1: kind, 2: list(sources), 3: [result], 4: attributes}
        self.nodes.append(self.graph.table(fields))
        self.settings.append(self.params.table({0: stored}))

    def pack(self):
        model = self.graph.finish(
            self.graph.table({0: [self.graph.table({0: "avatar", 1: self.nodes, 2: self.tensors})]}), b"NETD"
        )
        stored = [
            self.params.table({0: key, **({1: array.tobytes()} if self.inline else {})})
            for key, array in self.weights.items()
        ]
        graphs = [self.params.table({0: "avatar", 1: stored, 2: self.settings})]
        params = self.params.finish(self.params.table({0: graphs}), b"NETP")
        if not self.inline:
            outer = Writer()
            buffers = [outer.table({0: self.weights[key].tobytes()}) for key in sorted(self.weights)]
            params = outer.finish(outer.table({0: buffers, 1: params}), b"NR64")
        return pack({"model": header(4) + model, "model.params": header(4) + params})


def turn(shape):
    """NCHW -> NHWC."""
    return tuple(shape[i] for i in (0, 2, 3, 1))


def _v4_tensor(writer, name, shape, location, dtype=0x0232):
    return writer.table(
        {1: name, 2: int32(location), 3: ints(shape), 6: int32(dtype), 7: int32(dtype)},
    )
