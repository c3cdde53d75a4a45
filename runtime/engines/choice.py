"""Which engine runs an avatar's network, and which of its files: ONNX Runtime, or one of those that are installed."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from bilayer.runtime.bundle import Contract
from bilayer.runtime.errors import BundleError, InputError, ToolMissingError
from bilayer.runtime.vocabulary import EngineName, Precision, checked_word

# Of those that read the .onnx as it is, in fp32: benchmarks/speed/player.py measures it. ncnn converts it first, and
# has no layer for some of the graphs that bilayer-export can make; LiteRT needs the bundle's .tflite
FASTEST_FIRST: tuple[EngineName, ...] = ("openvino", "onnxruntime")
PRECISIONS: dict[EngineName, tuple[Precision, ...]] = {
    "onnxruntime": ("fp32", "w8a16", "w8a8"),
    "openvino": ("fp32", "bf16"),
    "ncnn": ("fp32", "fp16"),
    "ncnn-vulkan": ("fp32", "fp16"),
    "litert": ("fp32", "fp16"),
}
CPU = ("CPUExecutionProvider",)
_PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "ncnn": "ncnn", "ncnn-vulkan": "ncnn"}  # modules
_PACKAGES["litert"] = "ai_edge_litert"
_INSTALL = {"onnxruntime": "pip install onnxruntime", "openvino": "pip install 'bilayer[openvino]'"}
_INSTALL |= dict.fromkeys(("ncnn", "ncnn-vulkan"), "pip install 'bilayer[ncnn]'")
_INSTALL["litert"] = "pip install 'bilayer[litert]'"


def checked_engine(name: EngineName, precision: Precision, providers: Sequence[str] = CPU) -> EngineName:
    """Return the engine of that name; for "auto" the quickest installed one, or ONNX Runtime with other `providers`.

    Raises:
        InputError: another word, or a precision that the engine does not have.
        ToolMissingError: it is not installed.
    """
    checked_word(name, EngineName, "engine")
    checked_word(precision, Precision, "precision")
    chosen = choose_engine(precision) if name == "auto" else name
    if name == "auto" and tuple(providers) != CPU:
        chosen = "onnxruntime"  # whose providers they are
    if not installed(chosen):
        asked = "--engine" if name != "auto" or precision == "fp32" else f"--precision {precision}"
        raise ToolMissingError(f"engine {chosen}: not installed; {_INSTALL[chosen]}, or leave {asked} out")
    if precision not in PRECISIONS[chosen]:
        those = " and ".join(PRECISIONS[chosen])
        raise InputError(f"precision {precision}: engine {chosen} computes in {those} only; {_advice(precision)}")
    return chosen


def choose_engine(precision: Precision = "fp32") -> EngineName:
    """Return the quickest engine that is installed; for bf16 and fp16 the one that has it, installed or not."""
    if precision != "fp32":
        return next(name for name in PRECISIONS if precision in PRECISIONS[name])
    return next((name for name in FASTEST_FIRST if installed(name)), "onnxruntime")


def installed(name: EngineName) -> bool:
    """Return whether the engine's package is there, without loading it."""
    return importlib.util.find_spec(_PACKAGES[name]) is not None


def network_file(onnx: Path, contract: Contract, engine: EngineName, precision: Precision) -> Path:
    """Return the file that an engine reads in place of a bundle's .onnx, or that one.

    Raises:
        BundleError: the bundle does not have it.
    """
    if engine == "litert":
        return _tflite_beside(onnx, contract, precision)
    return _integers_beside(onnx, contract, precision) if precision in ("w8a16", "w8a8") else onnx


def _tflite_beside(onnx: Path, contract: Contract, precision: Precision) -> Path:
    file = contract.files.tflite_fp16 if precision == "fp16" else contract.files.tflite
    if file is None:
        wanted = "tflite-fp16" if precision == "fp16" else "tflite"
        raise BundleError(f"{onnx.parent}: has no .tflite in {precision}; export it again with --also {wanted}")
    return onnx.parent / file.name


def _integers_beside(onnx: Path, contract: Contract, precision: Precision) -> Path:
    file, made = contract.files.integers, contract.quantization
    if file is None or made is None or made.precision != precision:
        found = f"its integers are {made.precision}" if made else "it has no network in integers"
        raise BundleError(
            f"{onnx}: precision {precision}: {found}; bilayer-export --precision {precision} makes one, or take fp32"
        )
    return onnx.with_name(file.name)


def _advice(precision: Precision) -> str:
    return " or ".join(f"--engine {name}" for name in PRECISIONS if precision in PRECISIONS[name]) + " has it"
