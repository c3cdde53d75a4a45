"""Which engine runs an avatar's network: ONNX Runtime, or OpenVINO, ncnn or LiteRT where they are installed."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from bilayer.runtime.bundle import Contract
from bilayer.runtime.engines.base import TensorEngine
from bilayer.runtime.errors import InputError, ToolMissingError
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


def load_engine(
    path: Path,
    contract: Contract,
    name: EngineName = "auto",
    precision: Precision = "fp32",
    *,
    threads: int | None = None,
    providers: Sequence[str] = CPU,
) -> TensorEngine:
    """Load an avatar's network, and check it against its contract.

    Args:
        path: the .onnx.
        contract: of its bundle.
        name: "auto" is the quickest installed one, or ONNX Runtime where `providers` are given.
        precision: of the arithmetic. "bf16" is OpenVINO's, on processors that compute in it; "fp16" is ncnn's, which
            computes in fp32 on processors that have no such arithmetic, and rounds what lies between the layers; of
            LiteRT it is the file with weights in FP16, computed in fp32. "w8a16" and "w8a8" are the bundle's network
            in integers by ONNX Runtime.
        threads: for one frame; None lets the engine choose, usually all cores.
        providers: ONNX Runtime's execution providers, the preferred one first.

    Raises:
        BundleError: no network, or not the one of the contract; for LiteRT, a bundle without a .tflite; for integers,
            one of another precision.
        InputError: the engine does not have the precision, or not on this processor; no such provider.
        ConversionError: ncnn's converter cannot make a file of the network, or ncnn has no layer that it needs.
        ToolMissingError: the engine is not installed, or there is no Vulkan device.
    """
    checked_word(name, EngineName, "engine")
    checked_word(precision, Precision, "precision")
    if threads is not None and threads < 1:
        raise InputError(f"threads: expected 1 or more, found {threads}")
    chosen = choose_engine(precision) if name == "auto" else name
    if name == "auto" and tuple(providers) != CPU:
        chosen = "onnxruntime"  # whose providers they are
    if not installed(chosen):
        raise ToolMissingError(f"engine {chosen}: not installed; {_INSTALL[chosen]}, or leave --engine out")
    if precision not in PRECISIONS[chosen]:
        those = " and ".join(PRECISIONS[chosen])
        raise InputError(f"precision {precision}: engine {chosen} computes in {those} only; {_advice(precision)}")
    if chosen == "openvino":
        from bilayer.runtime.engines.openvino import OpenVino

        return OpenVino(path, contract, precision, threads)
    if chosen == "onnxruntime":
        from bilayer.runtime.engines.onnx_runtime import OnnxRuntime

        return OnnxRuntime(path, contract, threads, providers, precision)
    if chosen == "litert":
        from bilayer.runtime.engines.litert import LiteRt

        return LiteRt(path, contract, precision, threads)
    from bilayer.runtime.engines.ncnn import Ncnn, NcnnSettings

    settings = NcnnSettings("compute" if precision == "fp16" else "no", chosen == "ncnn-vulkan", threads)
    return Ncnn(path, contract, settings)


def choose_engine(precision: Precision = "fp32") -> EngineName:
    """Return the quickest engine that is installed; for bf16 and fp16 the one that has it, installed or not."""
    if precision != "fp32":
        return next(name for name in PRECISIONS if precision in PRECISIONS[name])
    return next((name for name in FASTEST_FIRST if installed(name)), "onnxruntime")


def installed(name: EngineName) -> bool:
    """Return whether the engine's package is there, without loading it."""
    return importlib.util.find_spec(_PACKAGES[name]) is not None


def _advice(precision: Precision) -> str:
    return " or ".join(f"--engine {name}" for name in PRECISIONS if precision in PRECISIONS[name]) + " has it"
