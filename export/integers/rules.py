"""Rules on an ONNX model in integers (QDQ form); those of its target are asked about the floats that it stands for."""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

from bilayer.export.formats.onnx_file import QDQ_OPERATORS, OnnxFile, printable
from bilayer.export.targets import Finding, TargetName, check_target
from bilayer.runtime.arrays import Floats

QDQ = "https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html"
HTP = "https://onnxruntime.ai/docs/execution-providers/QNN-ExecutionProvider.html"
MEASURED = "measured: docs/quantisation.md"
# What each target's own way to integers is, where it does not read QDQ
_OWN_WAY: dict[TargetName, str] = {
    "snpe-1.32": "check the float avatar.onnx, and quantise its .dlc by snpe-dlc-quantize",
    "litert-gpu": "check the float avatar.onnx, or the .tflite that is made of it: the GPU computes in floats",
}


def check_onnx(model: OnnxFile, target: TargetName) -> list[Finding]:
    """Return a finding for each place that breaks a rule of `target`, errors first; a model may be in integers."""
    rounded = [node for node in model.standard_nodes if node.op_type == "QuantizeLinear"]
    if not rounded:
        return check_target(model, target)
    if target in _OWN_WAY:  # whatever else is wrong comes of it
        message = f"computes in integers (QDQ, {len(rounded)} QuantizeLinear), which this target does not read"
        return [Finding("integers", "error", "model", message, _OWN_WAY[target], QDQ)]
    findings = [*check_target(without_rounding(model), target), *_wide_weights(model), *_left_in_float(model)]
    return sorted(findings, key=lambda finding: finding.severity != "error")


def without_rounding(model: OnnxFile) -> OnnxFile:
    """Return the float model that one in integers stands for: no rounding, and constants dequantised."""
    names: dict[str, str] = {}
    constants: dict[str, onnx.TensorProto] = {}
    nodes = []
    for node in model.nodes:
        if node.op_type not in QDQ_OPERATORS:
            kept = onnx.NodeProto()
            kept.CopyFrom(node)
            nodes.append(kept)
        elif node.op_type == "DequantizeLinear" and (values := _dequantised(model, node)) is not None:
            constants[node.output[0]] = numpy_helper.from_array(values, node.output[0])
        else:
            names[node.output[0]] = names.get(node.input[0], node.input[0])
    ends = {value.name for value in model.proto.graph.output}
    makers = {name: node for node in nodes for name in node.output}
    for end in ends & names.keys():  # an output keeps its name: what it is made of takes it
        inner = names.pop(end)
        if inner in makers:
            names = {name: end if to == inner else to for name, to in names.items()} | {inner: end}
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    plain = onnx.ModelProto()
    plain.CopyFrom(model.proto)
    read = {name for node in nodes for name in node.input}
    tensors = [tensor for tensor in model.proto.graph.initializer if tensor.name in read]
    del plain.graph.node[:], plain.graph.initializer[:], plain.graph.value_info[:]
    plain.graph.node.extend(nodes)
    plain.graph.initializer.extend([*tensors, *constants.values()])
    return OnnxFile(plain)


def _dequantised(model: OnnxFile, node: onnx.NodeProto) -> Floats | None:
    """What a constant's integers stand for; None of what is computed, has blocks of scales, or does not fit."""
    arrays = [model.array(name) for name in node.input]
    if arrays[0] is None or len(arrays) < 2 or arrays[1] is None:
        return None
    integers, scale = arrays[0].astype(np.float64), arrays[1].astype(np.float64)
    zero = arrays[2].astype(np.float64) if len(arrays) > 2 and arrays[2] is not None else np.zeros_like(scale)
    if zero.size not in (1, scale.size):
        return None
    if scale.size != 1:
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        shape = [1] * integers.ndim
        if scale.ndim != 1 or not -integers.ndim <= axis < integers.ndim or integers.shape[axis] != scale.size:
            return None
        shape[axis] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is for the rules to tell
        return ((integers - zero) * scale).astype(np.float32).reshape(integers.shape)


def _wide_weights(model: OnnxFile) -> Iterator[Finding]:
    for node in model.standard_nodes:
        tensor = model.constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if tensor is not None and tensor.data_type in (onnx.TensorProto.INT16, onnx.TensorProto.UINT16):
            message = "weights of 16 bits, which the HTPs of Hexagon v68 and v69 refuse"
            fix = "make two layers of int8 of it, as bilayer-export does, or run it from v73 on"
            yield Finding("wide-weights", "warning", printable(node.input[0]), message, fix, MEASURED)


def _left_in_float(model: OnnxFile) -> Iterator[Finding]:
    """Layers whose result is read as it is: they compute in float, which an NPU for integers alone cannot."""
    readers: dict[str, list[str]] = {}
    for node in model.standard_nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node.op_type)
    for node in model.standard_nodes:
        if node.op_type in (*QDQ_OPERATORS, "Constant") or not node.output:
            continue
        if set(readers.get(node.output[0], ["output"])) != {"QuantizeLinear"}:
            message = f"{node.op_type} computes in float between integers: Hexagon v68 has no float"
            fix = "put a QuantizeLinear and a DequantizeLinear behind it"
            yield Finding("left-in-float", "warning", model.where(node), message, fix, HTP)
