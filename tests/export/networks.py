"""Small ONNX networks in the dialect that avatars are exported in, with random weights."""

import itertools

import numpy as np
import onnx
from onnx import helper, numpy_helper


class _Builder:
    def __init__(self, seed, dtype):
        self.random = np.random.default_rng(seed)
        self.dtype = dtype
        self.nodes, self.weights = [], []

    def weight(self, name, *shape, offset=0.0):
        array = (self.random.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:]))) + offset).astype(self.dtype)
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def node(self, operator, name, *inputs, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def conv(self, name, x, outputs, inputs, kernel=3):
        constants = self.weight(f"{name}.weight", outputs, inputs, kernel, kernel), self.weight(f"{name}.bias", outputs)
        pads = [kernel // 2] * 4
        return self.node("Conv", name, x, *constants, kernel_shape=[kernel] * 2, pads=pads, strides=[1, 1])

    def deconv(self, name, x, inputs, outputs):
        constants = self.weight(f"{name}.weight", inputs, outputs, 4, 4), self.weight(f"{name}.bias", outputs)
        return self.node("ConvTranspose", name, x, *constants, kernel_shape=[4, 4], pads=[1] * 4, strides=[2, 2])

    def norm(self, name, x, channels):
        kinds = {"scale": 1.0, "shift": 0.0, "mean": 0.0, "var": 4.0}
        constants = [self.weight(f"{name}.{kind}", channels, offset=offset) for kind, offset in kinds.items()]
        return self.node("BatchNormalization", name, x, *constants, epsilon=1e-5)

    def up(self, name, x):
        return self.node("Upsample", name, x, mode="nearest", scales=[1.0, 1.0, 2.0, 2.0])


def avatar_like(widths=(12, 8, 6), *, deconv=True, norms=False, heads=True, dtype=np.float32, seed=0):
    """Pose vector -> residual blocks that double the size -> three heads, or one output named `layers`.

    `widths`: channels of the 4x4 grid and of each block, so the picture has side 4 * 2 ** (len(widths) - 1).
    """
    build = _Builder(seed, dtype)
    first = widths[0]
    constants = build.weight("pose_fc0.weight", 16, 136), build.weight("pose_fc0.bias", 16)
    x = build.node("Gemm", "pose_fc0", "pose", *constants, transB=1)
    x = build.node("LeakyRelu", "pose_fc0_act", x, alpha=0.2)
    constants = build.weight("pose_fc1.weight", first * 16, 16), build.weight("pose_fc1.bias", first * 16)
    x = build.node("Gemm", "pose_fc1", x, *constants, transB=1)
    build.weights.append(numpy_helper.from_array(np.array([1, first, 4, 4]), "pose_grid.shape"))
    x = build.node("Reshape", "pose_grid", x, "pose_grid.shape")
    for k, (before, after) in enumerate(itertools.pairwise(widths)):
        name = f"block{k}"
        y = build.norm(f"{name}_norm1", x, before) if norms else x
        y = build.conv(f"{name}_conv1", build.node("LeakyRelu", f"{name}_act1", y, alpha=0.2), after, before)
        y = build.norm(f"{name}_norm2", y, after) if norms else y
        y = build.node("LeakyRelu", f"{name}_act2", y, alpha=0.2)
        if deconv:
            y = build.deconv(f"{name}_conv2", y, after, after)
        else:
            y = build.conv(f"{name}_conv2", build.up(f"{name}_up", y), after, after)
        skip = build.up(f"{name}_skip_up", build.conv(f"{name}_skip", x, after, before, kernel=1))
        x = build.node("Add", f"{name}_out", y, skip)
    x = build.node("LeakyRelu", "final_act", x, alpha=0.2)
    outputs = {"delta_uv": 2, "lf_rgb": 3, "seg": 1} if heads else {"layers": 6}
    for name, channels in outputs.items():
        z = build.conv(f"head_{name}", x, channels, widths[-1])
        build.node("Sigmoid" if name == "seg" else "Tanh", name, z)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    side = 4 * 2 ** (len(widths) - 1)
    inputs = [helper.make_tensor_value_info("pose", kind, [1, 136])]
    inputs += [helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in build.weights]
    results = [helper.make_tensor_value_info(n, kind, [1, c, side, side]) for n, c in outputs.items()]
    graph = helper.make_graph(build.nodes, "avatar", inputs, results, build.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=3)
    onnx.checker.check_model(model, full_check=True)
    return model


def constants(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def with_constant(model, name, array):
    """A copy of `model` with another constant of that name."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name == name:
            assert tuple(tensor.dims) == array.shape
            tensor.CopyFrom(numpy_helper.from_array(array, name))
    return changed


def shapes(model):
    """Shape of every tensor."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = [*inferred.input, *inferred.value_info, *inferred.output]
    return {value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in values}
