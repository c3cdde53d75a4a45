"""What LiteRT's GPU delegate asks of a .tflite: what it leaves to the CPU, or computes wrong in FP16."""

from collections.abc import Callable, Iterator

import numpy as np

from bilayer.export.targets import FLOAT16, GPU_DELEGATE, MAX_FLOAT16, Finding
from bilayer.export.tflite.read import TfliteFile, TfliteOperator, TfliteTensor

HELPER = "https://github.com/google-ai-edge/LiteRT/blob/main/tflite/delegates/gpu/common/model_builder_helper.cc"
_TYPES = ("FLOAT32", "FLOAT16", "INT8", "UINT8", "INT32", "BOOL")  # of what runs; INT8 and UINT8 quantised
_SIGN_BIT = 5  # schema.fbs, ActivationFunctionType
# The cases of GPU_DELEGATE's CheckGpuDelegateCompatibility, StableHLO's operators left out
_NAMES = (
    "ABS ADD ADD_N ATAN2 AVERAGE_POOL_2D BATCH_MATMUL BITCAST CAST CEIL CONCATENATION CONV_2D COS CUMSUM DENSIFY "
    "DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP FLOOR "
    "FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GELU GREATER GREATER_EQUAL HARD_SWISH LEAKY_RELU LESS LESS_EQUAL LOG "
    "LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL "
    "ONE_HOT PACK PAD PADV2 POW PRELU QUANTIZE REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6 "
    "RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 RIGHT_SHIFT ROUND RSQRT SELECT SELECT_V2 "
    "SIGN SIN SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH "
    "TILE TOPK_V2 TRANSPOSE TRANSPOSE_CONV"
)
_TAKEN = frozenset(_NAMES.split())
_CUSTOM = ("Convolution2DTransposeBias", "MaxPoolingWithArgmax2D", "MaxUnpooling2D", "Resampler")

Rule = Callable[[TfliteFile], Iterator[Finding]]


def check_tflite(file: TfliteFile) -> list[Finding]:
    """Return a finding for each place that the GPU delegate does not take, or computes wrong, errors first."""
    findings = [finding for rule in RULES for finding in rule(file)]
    return sorted(findings, key=lambda finding: finding.severity != "error")


def _operators(file: TfliteFile) -> Iterator[Finding]:
    for operator in file.operators:
        if operator.kind not in (_CUSTOM if operator.custom else _TAKEN):
            fix = "express it with operators of the source's list; the graph is split where it stands"
            message = f"{operator.kind} runs on the CPU"
            yield Finding("operator", "error", file.where(operator), message, fix, GPU_DELEGATE)


def _settings(file: TfliteFile) -> Iterator[Finding]:
    for operator in file.operators:
        for message, fix in _unfit(file, operator):
            yield Finding("setting", "error", file.where(operator), f"{operator.kind}: {message}", fix, GPU_DELEGATE)


def _unfit(file: TfliteFile, operator: TfliteOperator) -> Iterator[tuple[str, str]]:
    given, kind = operator.settings, operator.kind
    tensors = [file.tensors[number] for number in operator.inputs if number >= 0]
    if given.get("activation") == _SIGN_BIT:
        yield "fused SIGN_BIT", "make it an operator of its own"
    if any(given.get(name, 1) <= 0 for name in ("stride_w", "stride_h", "dilation_w", "dilation_h")):
        yield "stride or dilation of 0", "write them"
    if given.get("block_size", 2) <= 1:
        yield f"block size {given['block_size']}", "leave it out, or use 2 or more"
    if given.get("align_corners") and given.get("half_pixel_centers"):
        yield "align_corners and half_pixel_centers at once", "set one of them"
    if given.get("weights_format"):
        yield "shuffled weights", "use the default weights format"
    if kind == "SOFTMAX" and given.get("beta", 1) != 1:
        yield f"beta {given['beta']:g}", "scale its input"
    if any(given.get(name) for name in ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask")):
        yield "ellipsis, new axis or shrink axis", "slice, and reshape after it"
    if kind == "DEQUANTIZE" and tensors and tensors[0].dtype == "INT16":
        yield "of INT16", "quantise to INT8, or store FLOAT16"
    if kind in ("PAD", "PADV2", "MIRROR_PAD") and len(tensors) > 1 and tensors[1].shape not in ((3, 2), (4, 2)):
        yield f"paddings of shape {tensors[1].shape}", "pad tensors of 3 or 4 dimensions"
    if kind in ("ADD", "MUL") and len(tensors) != 2:
        yield f"{len(tensors)} inputs", "use two"


def _shapes(file: TfliteFile) -> Iterator[Finding]:
    for tensor in _computed(file):
        if any(side < 0 for side in tensor.shape):
            fix = "convert with fixed sizes"
            yield Finding("static-shape", "error", tensor.name, f"size not known: {tensor.shape}", fix, HELPER)
        elif not 1 <= len(tensor.shape) <= 4:
            message = f"expected 1 to 4 dimensions, found {len(tensor.shape)}"
            yield Finding("rank", "error", tensor.name, message, "reshape it", HELPER)


def _types(file: TfliteFile) -> Iterator[Finding]:
    for tensor in _computed(file):
        if tensor.dtype not in _TYPES:
            message = f"{tensor.dtype} is computed on the CPU"
            yield Finding("type", "error", tensor.name, message, "use FLOAT32, or quantise to INT8", HELPER)


def _transposes(file: TfliteFile) -> Iterator[Finding]:
    for operator in file.operators:
        if operator.kind == "TRANSPOSE":
            fix = "convert to NHWC; bilayer-export --target litert writes none"
            message = "moves a whole tensor on every frame"
            yield Finding("transpose", "warning", file.where(operator), message, fix, GPU_DELEGATE)


def _float16_values(file: TfliteFile) -> Iterator[Finding]:
    for tensor in file.tensors:
        if tensor.data is not None and tensor.dtype in ("FLOAT32", "FLOAT16"):
            worst = float(np.abs(tensor.data).max(initial=0))  # NaN stays NaN
            if not worst <= MAX_FLOAT16:
                what = "NaN" if np.isnan(worst) else f"values up to {worst:.3g}"
                fix = "scale this layer down and the next one up, or forbid FP16 (precision loss) to the delegate"
                message = f"{what}, FP16 holds {MAX_FLOAT16:.0f}"
                yield Finding("float16-value", "error", tensor.name, message, fix, FLOAT16)


def _computed(file: TfliteFile) -> Iterator[TfliteTensor]:
    """What is computed or given, each once; what a DEQUANTIZE makes of a constant is none."""
    constants = {number for number, tensor in enumerate(file.tensors) if tensor.constant}
    constants |= {
        n for o in file.operators if o.kind == "DEQUANTIZE" and set(o.inputs) <= constants for n in o.outputs[:1]
    }
    used = {number for o in file.operators for number in (*o.inputs, *o.outputs)} - constants - {-1}
    yield from (file.tensors[number] for number in sorted(used))


RULES: tuple[Rule, ...] = (_operators, _settings, _shapes, _types, _transposes, _float16_values)
