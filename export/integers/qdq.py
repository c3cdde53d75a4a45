"""A network in integers as ONNX: between float layers stand QuantizeLinear and DequantizeLinear, and the reverse.

Every runtime for NPUs reads this form, and ONNX Runtime computes it on a CPU
(https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, QDQ). Kept by hand: onnxruntime's own
`quantize` rounds to the nearest, and has neither biases corrected nor weights of 16 bits in two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bilayer.export.integers.scheme import Grid, IntegerGenerator
from bilayer.export.network.layers import INPUT, Array, ConvTranspose, Weighted
from bilayer.export.network.onnx_write import build_onnx
from bilayer.runtime.arrays import Floats
from bilayer.runtime.errors import BundleError

OPSET = 21  # the first whose QuantizeLinear knows uint16
# Ends of the names beside a layer's own, which is its rounded output's
_FLOAT, _INTEGERS, _SCALE, _ZERO, _READ = ".float", ".integers", ".scale", ".zero", ".rounded"
_UNSIGNED = {8: np.uint8, 16: np.uint16}


def build_qdq(integers: IntegerGenerator, metadata: Mapping[str, str] | None = None) -> onnx.ModelProto:
    """Return the ONNX model of a network in integers: float32 input and outputs, with the float network's names."""
    model = build_onnx(integers.generator, metadata, OPSET)
    layers = {layer.name: layer for layer in integers.generator.layers}
    floats = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = _rounding(INPUT, integers.grids[INPUT], INPUT, f"{INPUT}{_READ}", floats)
    for node in model.graph.node:
        layer = layers[node.name]
        for place, name in enumerate(node.input):
            node.input[place] = f"{INPUT}{_READ}" if name == INPUT else name
        if isinstance(layer, Weighted):
            scale, step = integers.scales[layer.name], integers.grids[layer.inputs[0]].scale
            axis = 1 if isinstance(layer, ConvTranspose) else 0
            nodes.append(_stored(f"{layer.name}.weight", layer.weight, scale, axis, np.int8, floats))
            nodes.append(_stored(f"{layer.name}.bias", layer.bias, step * scale, 0, np.int32, floats))
            for place in (1, 2):
                node.input[place] += _READ
        node.output[0] += _FLOAT
        nodes += [node, *_rounding(layer.name, integers.grids[layer.name], node.output[0], layer.name, floats)]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(floats.values())
    onnx.checker.check_model(model, full_check=True)
    return model


def _rounding(
    name: str, grid: Grid, given: str, result: str, constants: dict[str, onnx.TensorProto]
) -> list[onnx.NodeProto]:
    """Nodes that round `given` to the grid; the constants that they read are added."""
    ends = f"{name}{_SCALE}", f"{name}{_ZERO}"
    values = np.float32(grid.scale), _UNSIGNED[grid.bits](grid.zero)
    for end, value in zip(ends, values, strict=True):
        constants[end] = numpy_helper.from_array(np.asarray(value), end)
    integers = f"{name}{_INTEGERS}"
    return [
        helper.make_node("QuantizeLinear", [given, *ends], [integers], name=f"{name}.quantize"),
        helper.make_node("DequantizeLinear", [integers, *ends], [result], name=f"{name}.dequantize"),
    ]


def _stored(
    name: str, values: Array, scale: Array, axis: int, dtype: type[Any], constants: dict[str, onnx.TensorProto]
) -> onnx.NodeProto:
    """A node that gives `values` from integers, which take the place of the float constant `name`."""
    scale = scale.astype(np.float32).astype(np.float64)
    shape = [-1 if place == axis else 1 for place in range(values.ndim)]
    integers = np.rint(values / scale.reshape(shape)).astype(dtype)
    constants[name] = numpy_helper.from_array(integers, name)
    for end, array in ((_SCALE, scale.astype(np.float32)), (_ZERO, np.zeros(len(scale), dtype))):
        constants[f"{name}{end}"] = numpy_helper.from_array(array, f"{name}{end}")
    inputs = [name, f"{name}{_SCALE}", f"{name}{_ZERO}"]
    return helper.make_node("DequantizeLinear", inputs, [f"{name}{_READ}"], name=f"{name}.dequantize", axis=axis)


@dataclass(frozen=True, eq=False)
class Qdq:
    """What a QDQ model says: its layers with the numbers that their integers stand for, and every grid."""

    plain: onnx.ModelProto  # without QuantizeLinear and DequantizeLinear, in float32
    grids: Mapping[str, Grid]  # of the input and every layer's output
    scales: Mapping[str, Floats]  # (out,) of each constant that is stored in integers, by its name


def is_qdq(model: onnx.ModelProto) -> bool:
    """Return whether a model computes in integers."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def read_qdq(model: onnx.ModelProto, where: str) -> Qdq:
    """Read what `build_qdq` wrote, or raise a BundleError where it has another form; `where` names the file."""
    try:
        return _read(model)
    except (KeyError, IndexError, ValueError) as error:
        raise BundleError(f"{where}: not a network in integers as bilayer-export writes it ({error})") from error


def _read(model: onnx.ModelProto) -> Qdq:
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    grids: dict[str, Grid] = {}
    scales: dict[str, Floats] = {}
    constants: dict[str, NDArray[Any]] = {}
    nodes: list[onnx.NodeProto] = []
    alias = {f"{INPUT}{_READ}": INPUT}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            scale, zero = (arrays[name] for name in node.input[1:])
            grids[node.name.removesuffix(".quantize")] = Grid(8 * zero.itemsize, float(scale), int(zero))
        elif node.op_type == "DequantizeLinear":
            name = node.input[0]
            if name in arrays:
                scale, integers = arrays[node.input[1]], arrays[name]
                axis = next(attribute.i for attribute in node.attribute if attribute.name == "axis")
                shape = [-1 if place == axis else 1 for place in range(integers.ndim)]
                constants[name] = (integers.astype(np.float64) * scale.reshape(shape)).astype(np.float32)
                scales[name], alias[node.output[0]] = scale, name
        else:
            made = onnx.NodeProto()
            made.CopyFrom(node)
            made.input[:] = [alias.get(name, name) for name in node.input]
            made.output[:] = [node.output[0].removesuffix(_FLOAT)]
            constants |= {name: arrays[name] for name in made.input if name in arrays and name not in constants}
            nodes.append(made)
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, model.graph.name, model.graph.input, model.graph.output, tensors)
    return Qdq(helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version), grids, scales)
