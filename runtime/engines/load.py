"""The engine that runs an avatar's network, loaded: ONNX Runtime, OpenVINO, ncnn or LiteRT."""

from collections.abc import Sequence
from pathlib import Path

from bilayer.runtime.bundle import Contract
from bilayer.runtime.engines.base import TensorEngine
from bilayer.runtime.engines.choice import CPU, checked_engine
from bilayer.runtime.errors import InputError
from bilayer.runtime.vocabulary import EngineName, Precision


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
    if threads is not None and threads < 1:
        raise InputError(f"threads: expected 1 or more, found {threads}")
    chosen = checked_engine(name, precision, providers)
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
