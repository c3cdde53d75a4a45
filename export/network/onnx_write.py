"""A folded generator -> ONNX, built node by node: static shapes, names of our choosing, the same bytes every time.

The default, opset 8 and IR 3, is the dialect of SNPE 1.32's converter: upsampling with `scales` as an attribute, no
Constant nodes, initializers listed as inputs. Kept by hand: torch's own exporter cannot write
it (it starts at opset 9).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bilayer.export.network import layers as plain
from bilayer.export.network.layers import INPUT, FoldedGenerator, Layer, Shape
from bilayer.export.options import NEWEST_OPSET, SNPE_OPSET
from bilayer.runtime.errors import InputError

OPSETS = range(SNPE_OPSET, NEWEST_OPSET + 1)


class _Graph:
    """Nodes and initializers while they are collected."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        if not any(known.name == name for known in self.initializers):
            self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str, array: NDArray[np.float64]) -> str:
        return self.constant(name, array.astype(np.float32))

    def node(self, operator: str, layer: Layer, *constants: str, **attributes: Any) -> None:
        inputs = [*layer.inputs, *constants]
        self.nodes.append(helper.make_node(operator, inputs, [layer.name], name=layer.name, **attributes))


def build_onnx(
    generator: FoldedGenerator, metadata: Mapping[str, str] | None = None, opset: int = SNPE_OPSET
) -> onnx.ModelProto:
    """Return the ONNX model of one avatar: input `pose` (1, width), batch of one, float32.

    Args:
        generator: what to build.
        metadata: goes to metadata_props, sorted.
        opset: 8 is what SNPE 1.32 reads; later ones are for other runtimes.

    Raises:
        InputError: an opset outside of OPSETS.
    """
    if opset not in OPSETS:
        raise InputError(f"opset: expected {OPSETS[0]} to {OPSETS[-1]}, found {opset}")
    graph = _Graph(opset)
    for layer in generator.layers:
        _add(graph, layer)
    shapes = generator.shapes()
    inputs = [_value(INPUT, shapes[INPUT])]
    if opset <= SNPE_OPSET:  # IR 3 wants every initializer among the inputs
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in graph.initializers]
    outputs = [_value(name, shapes[name]) for name in generator.output_tensors]
    proto = helper.make_graph(graph.nodes, "bilayer_avatar", inputs, outputs, graph.initializers)
    opset_id = helper.make_opsetid("", opset)
    ir_version = 3 if opset <= SNPE_OPSET else helper.find_min_ir_version_for([opset_id])
    model = helper.make_model(proto, opset_imports=[opset_id], ir_version=ir_version, producer_name="bilayer")
    for key in sorted(metadata or {}):
        model.metadata_props.add(key=key, value=(metadata or {})[key])
    onnx.checker.check_model(model, full_check=True)
    return model


def _value(name: str, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *shape])


def _add(graph: _Graph, layer: Layer) -> None:
    name = layer.name
    match layer:
        case plain.Gemm() | plain.Conv() | plain.ConvTranspose():
            weights = graph.weight(f"{name}.weight", layer.weight), graph.weight(f"{name}.bias", layer.bias)
            settings: dict[str, Any] = {"transB": 1}
            if isinstance(layer, plain.Conv):
                settings = {"kernel_shape": layer.weight.shape[2:], "pads": layer.pads, "strides": [1, 1]}
            elif isinstance(layer, plain.ConvTranspose):
                settings = {"kernel_shape": [4, 4], "pads": [1, 1, 1, 1], "strides": [2, 2]}
            graph.node(type(layer).__name__, layer, *weights, **settings)
        case plain.ScaleShift():
            ones, zeros = np.ones_like(layer.scale), np.zeros_like(layer.scale)
            statistics = graph.weight(f"{name}.mean", zeros), graph.weight(f"{name}.var", ones)
            affine = graph.weight(f"{name}.scale", layer.scale), graph.weight(f"{name}.shift", layer.shift)
            graph.node("BatchNormalization", layer, *affine, *statistics, epsilon=0.0)
        case plain.Reshape():
            shape = np.array([1, *layer.shape], np.int64)
            graph.node("Reshape", layer, graph.constant(f"{name}.shape", shape))
        case plain.Upsample():
            _add_upsample(graph, layer)
        case plain.LeakyRelu():
            graph.node("LeakyRelu", layer, alpha=layer.slope)
        case plain.Activation():
            graph.node(layer.function.capitalize(), layer)
        case plain.Add():
            graph.node("Add", layer)
        case plain.Concat():
            graph.node("Concat", layer, axis=1)
        case plain.DepthToSpace():
            graph.node("DepthToSpace", layer, blocksize=2)
        case _:
            raise TypeError(f"{name}: no rule to export a {type(layer).__name__}")


def _add_upsample(graph: _Graph, layer: plain.Upsample) -> None:
    scales = np.array([1, 1, 2, 2], np.float32)
    if graph.opset <= 8:
        graph.node("Upsample", layer, mode="nearest", scales=scales.tolist())
    elif graph.opset == 9:
        graph.node("Upsample", layer, graph.constant("upsample.scales", scales), mode="nearest")
    elif graph.opset == 10:
        graph.node("Resize", layer, graph.constant("upsample.scales", scales), mode="nearest")
    else:
        region = graph.constant("upsample.roi", np.zeros(0, np.float32)) if graph.opset < 13 else ""
        graph.node(
            "Resize",
            layer,
            region,
            graph.constant("upsample.scales", scales),
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
