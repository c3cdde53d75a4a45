"""What a runtime can take: rules on an ONNX model, each with its source, checked before any conversion.

`bilayer-export --check model.onnx --target snpe-1.32` runs them on anyone's model.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper

from bilayer.export.formats.onnx_file import OnnxFile, is_standard, printable, type_name
from bilayer.export.options import ConversionTarget

TargetName = Literal["snpe-1.32", "qairt-2", "litert-gpu"]

LAYERS = "https://developer.qualcomm.com/docs/snpe/network_layers.html"
LIMITATIONS = "https://docs.qualcomm.com/doc/80-63442-10/topic/limitations.html"
ONNX_OPS = "https://docs.qualcomm.com/doc/80-63442-10/topic/supported_onnx_ops.html"
REVISIONS = "https://developer.qualcomm.com/sites/default/files/docs/snpe/revision_history.html"
GPU_DELEGATE = "https://github.com/google-ai-edge/LiteRT/blob/main/tflite/tools/versioning/gpu_compatibility.cc"
NEMO = "github.com/kaist-ina/nemo, issue 4"
TESTED_ONNX = "SNPE 1.32's setup guide: tested with onnx 1.3.0, which is opset 8 and IR 3"

# Texels along a side of an image in the GPU's memory: LIMITATIONS gives this for the Adreno 430 and 530, and nothing
# for later ones, so it is taken for the 640, too
MAX_PER_GPU_SIZE = 16384
MAX_FLOAT16 = 65504.0
FLOAT16 = "IEEE 754-2008, binary16: the GPU's FP16 mode"
_ANY_VALUES = ("Constant", "Identity", "Clip")  # that hand on, or bounds, which saturate to infinity

# Operators of the dialect that SNPE 1.32 converts and runs on the GPU, with the versions that its converter knows
_SNPE_1_OPS: dict[str, tuple[int, ...]] = {
    "Add": (7,),
    "AveragePool": (7,),
    "BatchNormalization": (6, 7),
    "Concat": (4,),
    "Conv": (1,),
    "ConvTranspose": (1,),
    "DepthToSpace": (1,),
    "Gemm": (7,),
    "LeakyRelu": (6,),
    "MaxPool": (1, 8),
    "Mul": (7,),
    "PRelu": (7,),
    "Relu": (6,),
    "Reshape": (5,),
    "Sigmoid": (6,),
    "Softmax": (1,),
    "Tanh": (6,),
    "Upsample": (7,),
}
_MORE_QAIRT_OPS = (
    "Cast,Clip,Constant,Cos,Div,Elu,Erf,Exp,Expand,Flatten,Gather,Gelu,GlobalAveragePool,GridSample,HardSigmoid,"
    "HardSwish,InstanceNormalization,LayerNormalization,MatMul,Max,Min,Neg,Pad,Pow,ReduceMean,Resize,Sin,Slice,Softplus,"
    "SpaceToDepth,Split,Sqrt,Squeeze,Sub,Transpose,Unsqueeze"
)
_QAIRT_OPS = frozenset([*_SNPE_1_OPS, *_MORE_QAIRT_OPS.split(",")])
# That become operators which the GPU delegate takes; rules on a .tflite itself are those of tflite/rules.py
_NOT_LITERT_OPS = (
    "Cast,Constant,Erf,Expand,Gather,GridSample,HardSigmoid,InstanceNormalization,LayerNormalization,Softplus"
)
_LITERT_OPS = _QAIRT_OPS - frozenset(_NOT_LITERT_OPS.split(",")) | {"Abs", "Log"}


@dataclass(frozen=True)
class Finding:
    """A rule that the model breaks."""

    rule: str
    severity: Literal["error", "warning"]
    where: str  # node, tensor or `model`
    message: str  # expected against found
    fix: str
    source: str

    def describe(self) -> str:
        """Return where it is, what is found, the rule and the fix, in one line."""
        return f"{self.where}: {self.message} [{self.rule}]; {self.fix}"


Rule = Callable[[OnnxFile], Iterator[Finding]]


def check_target(model: OnnxFile, target: TargetName) -> list[Finding]:
    """Return a finding for each place that breaks a rule of `target`, errors first."""
    findings = [finding for rule in RULES[target] for finding in rule(model)]
    return sorted(findings, key=lambda finding: finding.severity != "error")


def fits_deconvolution(channels_in: int, channels_out: int) -> bool:
    """Tell whether SNPE's GPU takes a transposed convolution of that width (LIMITATIONS, Deconvolution)."""
    return math.ceil(channels_in / 4) * channels_out <= MAX_PER_GPU_SIZE


def _opset_8(model: OnnxFile) -> Iterator[Finding]:
    if model.opset != 8:
        fix = "export with --opset 8; down-converting an existing file fails for Upsample and Resize"
        yield Finding("opset", "error", "model", f"expected opset 8, found {model.opset}", fix, TESTED_ONNX)
    if model.proto.ir_version > 3:
        fix = "write ir_version 3 and list the initializers among the inputs"
        found = f"expected IR version 3 or less, found {model.proto.ir_version}"
        yield Finding("ir-version", "error", "model", found, fix, TESTED_ONNX)


def _initializers_are_inputs(model: OnnxFile) -> Iterator[Finding]:
    listed = {value.name for value in model.proto.graph.input}
    for name in model.initializers:
        if name not in listed:
            message, fix = "is not among the graph's inputs, as IR 3 wants it", "add it to graph.input"
            yield Finding("initializer-input", "error", printable(name), message, fix, TESTED_ONNX)
            return


def _snpe_1_operators(model: OnnxFile) -> Iterator[Finding]:
    for node in model.nodes:
        versions = _SNPE_1_OPS.get(node.op_type) if is_standard(node) else None
        if versions is None:
            yield _unknown_operator(model, node, sorted(_SNPE_1_OPS), LAYERS)
            continue
        version = onnx.defs.get_schema(node.op_type, max(model.opset, 1)).since_version
        if version not in versions:
            known = " or ".join(map(str, versions))
            message = f"expected {node.op_type} version {known}, found {version}"
            yield Finding("operator-version", "error", model.where(node), message, "export with --opset 8", REVISIONS)


def _qairt_operators(model: OnnxFile) -> Iterator[Finding]:
    for node in model.nodes:
        constant = node.op_type == "Identity" and node.output and node.output[0] in model.constants
        if not is_standard(node) or (node.op_type not in _QAIRT_OPS and not constant):
            yield _unknown_operator(model, node, sorted(_QAIRT_OPS), ONNX_OPS)
        elif node.op_type == "GridSample":
            message = "converts, but its FP16 coordinates are wrong by pixels"
            fix = "keep the warp outside of the network, on the CPU"
            yield Finding("warp-inside", "warning", model.where(node), message, fix, "measured: docs/export.md")


def _litert_operators(model: OnnxFile) -> Iterator[Finding]:
    for node in model.nodes:
        constant = node.op_type in ("Constant", "Identity") and node.output and node.output[0] in model.constants
        if not constant and (not is_standard(node) or node.op_type not in _LITERT_OPS):
            yield _unknown_operator(model, node, sorted(_LITERT_OPS), GPU_DELEGATE)


def _unknown_operator(model: OnnxFile, node: onnx.NodeProto, known: list[str], source: str) -> Finding:
    fix = (
        f"express it with {', '.join(known)}" if len(known) < 20 else "express it with operators of the source's table"
    )
    if node.op_type == "GridSample":
        fix = "keep the warp outside of the network, on the CPU"
    name = printable(f"{node.domain}.{node.op_type}" if node.domain else node.op_type)
    return Finding("operator", "error", model.where(node), f"{name} is not supported", fix, source)


def _no_constant_nodes(model: OnnxFile) -> Iterator[Finding]:
    for node in model.standard_nodes:
        if node.op_type == "Constant":
            fix = "make it an initializer (onnxsim does)"
            yield Finding("constant-node", "error", model.where(node), "Constant node", fix, REVISIONS)


def _static_shapes(model: OnnxFile) -> Iterator[Finding]:
    for value in [*model.inputs, *model.proto.graph.output]:
        if value.name not in model.shapes:
            fix = "export with fixed sizes, a batch of one included"
            source = "snpe-onnx-to-dlc 1.x has no --input_dim for ONNX"
            yield Finding("static-shape", "error", printable(value.name), "has a dynamic or unknown size", fix, source)
        elif model.shapes[value.name][:1] != (1,):
            message = f"expected a batch of 1, found shape {model.shapes[value.name]}"
            yield Finding("batch", "error", printable(value.name), message, "export with a batch of one", LIMITATIONS)


def _at_most_4d(model: OnnxFile) -> Iterator[Finding]:
    for node in model.standard_nodes:
        for name in node.output:
            if len(model.shapes.get(name, ())) > 4:
                message = f"expected at most 4 dimensions, found {model.shapes[name]}"
                fix = "reshape to batch, channels, height, width"
                yield Finding("rank", "error", model.where(node), message, fix, LIMITATIONS)


def _float32(model: OnnxFile) -> Iterator[Finding]:
    for value in [*model.inputs, *model.proto.graph.output]:
        kind = value.type.tensor_type.elem_type
        if kind != TensorProto.FLOAT:
            message = f"expected float32, found {type_name(kind)}"
            fix = "keep the file in float32; the GPU's FP16 mode is chosen at run time"
            yield Finding("float32", "error", printable(value.name), message, fix, LAYERS)


def _constant_parameters(model: OnnxFile) -> Iterator[Finding]:
    last = {"Reshape": 1, "Conv": 2, "ConvTranspose": 2, "Gemm": 2, "BatchNormalization": 4}  # of inputs from 1 on
    fix = "fold it into an initializer"
    for node in model.standard_nodes:
        for name in node.input[1 : last.get(node.op_type, 0) + 1]:
            if name and name not in model.constants:
                message = f"input {printable(name)} of {node.op_type} is computed, not constant"
                yield Finding("constant-parameter", "error", model.where(node), message, fix, ONNX_OPS)


def _upsample_scales(model: OnnxFile) -> Iterator[Finding]:
    for node in model.standard_nodes:
        if node.op_type == "Upsample" and not any(a.name == "scales" for a in node.attribute):
            message, fix = "Upsample without the attribute", "write `scales` as an attribute (opset 7 or 8)"
            yield Finding("upsample-scales", "error", model.where(node), message, fix, REVISIONS)


def _square_padding(model: OnnxFile) -> Iterator[Finding]:
    for node in model.standard_nodes:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        pads, strides = list(attributes.get("pads", [0])), list(attributes.get("strides", [1]))
        if len(set(pads)) > 1:
            message, fix = f"uneven padding {pads} is a risk on the GPU", "use --upsample nearest or deconv"
            yield Finding("uneven-padding", "warning", model.where(node), message, fix, NEMO)
        if len(set(strides)) > 1:
            message = f"expected equal strides, found {strides}"
            yield Finding("stride", "error", model.where(node), message, "use square strides", LIMITATIONS)


def _depth_to_space(model: OnnxFile) -> Iterator[Finding]:
    for node in model.standard_nodes:
        if node.op_type == "DepthToSpace":
            fix = "use --upsample nearest or deconv"
            source = "github.com/xindongzhang/ECBSR, issue 16"
            yield Finding("depth-to-space", "warning", model.where(node), "a risk on SNPE's GPU", fix, source)


def _gpu_sizes(model: OnnxFile) -> Iterator[Finding]:
    for node in model.standard_nodes:
        for name in node.output:
            shape = model.shapes.get(name, ())
            if len(shape) == 4 and math.ceil(shape[1] / 4) * shape[3] >= MAX_PER_GPU_SIZE:
                message = f"channels / 4 * width must be under {MAX_PER_GPU_SIZE} on the GPU, found shape {shape}"
                fix = "use fewer channels or a smaller image"
                yield Finding("gpu-size", "error", model.where(node), message, fix, LIMITATIONS)
        weight = model.shapes.get(node.input[1], ()) if node.op_type == "ConvTranspose" and len(node.input) > 1 else ()
        if len(weight) == 4 and not fits_deconvolution(*weight[:2]):
            message = (
                f"channels in / 4 * channels out of a deconvolution must be at most {MAX_PER_GPU_SIZE} on the GPU, "
                f"found {weight[0]} to {weight[1]}"
            )
            fix = "use --upsample nearest"
            yield Finding("gpu-deconvolution", "error", model.where(node), message, fix, LIMITATIONS)


def _float16_values(model: OnnxFile) -> Iterator[Finding]:
    for node in model.standard_nodes:
        if node.op_type in _ANY_VALUES:
            continue
        for name, values in model.parameters(node):
            worst = float(np.abs(values).max(initial=0))  # NaN stays NaN
            if not worst <= MAX_FLOAT16:
                what = "NaN" if np.isnan(worst) else f"values up to {worst:.3g}"
                message = f"{what} in {printable(name)}, FP16 holds {MAX_FLOAT16:.0f}"
                fix = "train with weight decay, or scale this layer down and the next one up"
                if not worst < np.inf:
                    fix = "the training diverged: take an earlier epoch"
                yield Finding("float16-value", "error", model.where(node), message, fix, FLOAT16)


def _weights(model: OnnxFile) -> Iterator[Finding]:
    for node in model.standard_nodes:
        for name in node.input[1:2] if node.op_type in ("Conv", "ConvTranspose") else []:
            kind = model.constants[name].data_type if name in model.constants else TensorProto.FLOAT
            rank = len(model.shapes.get(name, (1,) * 4))
            if kind != TensorProto.FLOAT or rank != 4:
                message = f"expected a float32 weight of 4 dimensions, found {type_name(kind)} of {rank}"
                yield Finding("weight", "error", model.where(node), message, "export it in float32, as 2-D", LAYERS)


def _named_nodes(model: OnnxFile) -> Iterator[Finding]:
    unnamed = [node for node in model.nodes if not node.name]
    if unnamed:
        message = f"{len(unnamed)} nodes have no name; the converter invents some, and profiles are unreadable"
        yield Finding("node-name", "warning", model.where(unnamed[0]), message, "name every node", LAYERS)


RULES_FOR: dict[ConversionTarget, TargetName] = {
    "qairt": "qairt-2",
    "qairt-sdk": "qairt-2",
    "snpe-1.32": "snpe-1.32",
    "litert": "litert-gpu",
}

# What holds for all of Qualcomm's GPUs
_ADRENO: tuple[Rule, ...] = (_square_padding, _depth_to_space, _gpu_sizes, _float16_values, _weights, _named_nodes)

RULES: dict[TargetName, tuple[Rule, ...]] = {
    "snpe-1.32": (
        _opset_8,
        _initializers_are_inputs,
        _snpe_1_operators,
        _no_constant_nodes,
        _static_shapes,
        _at_most_4d,
        _float32,
        _constant_parameters,
        _upsample_scales,
        *_ADRENO,
    ),
    "qairt-2": (_qairt_operators, _static_shapes, _float32, _constant_parameters, *_ADRENO),
    "litert-gpu": (_litert_operators, _static_shapes, _at_most_4d, _float32, _constant_parameters, _float16_values),
}
