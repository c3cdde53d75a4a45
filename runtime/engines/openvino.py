"""OpenVINO on the CPU, quicker than ONNX Runtime where it is installed."""

from pathlib import Path
from typing import Any

from bilayer.runtime.bundle import Contract
from bilayer.runtime.engines.base import IoSpec, TensorEngine, reading
from bilayer.runtime.errors import InputError
from bilayer.runtime.files.reading import FileKind, read_bytes
from bilayer.runtime.process.environment import import_openvino
from bilayer.runtime.vocabulary import Precision


class OpenVino(TensorEngine):
    """OpenVINO on the CPU with shared arrays."""

    name = "openvino"

    def __init__(self, path: Path, contract: Contract, precision: Precision, threads: int | None) -> None:
        openvino = import_openvino()
        core = openvino.Core()
        if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise InputError("precision bf16: this processor does not compute in it; --precision fp32")
        self.precision = precision
        hint = precision.replace("fp", "f")  # OpenVINO's own words
        settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        model = reading(path, lambda: core.read_model(read_bytes(path, FileKind.ONNX)))
        inputs = {end.get_any_name(): _static_shape(end) for end in model.inputs}
        outputs = {end.get_any_name(): _static_shape(end) for end in model.outputs}
        super().__init__(path, contract, IoSpec(inputs, outputs))
        compiled = reading(path, lambda: core.compile_model(model, "CPU", settings))
        self._request = compiled.create_infer_request()
        for tensor, array in {contract.input.tensor: self._pose, **self.tensors}.items():
            self._request.set_tensor(tensor, openvino.Tensor(array, shared_memory=True))

    def _compute(self) -> None:
        self._request.start_async()  # `infer` would gather the results in new arrays
        self._request.wait()


def _static_shape(end: Any) -> tuple[int, ...]:
    """The shape of an OpenVINO input or output; empty where it is not static or not float32."""
    shape = end.get_partial_shape()
    fits = shape.is_static and end.get_element_type().get_type_name() == "f32"
    return tuple(shape.to_shape()) if fits else ()
