"""What runs an avatar's ONNX network on this machine: ONNX Runtime, or OpenVINO where it is installed.

An engine owns its input and output arrays and reuses them, so that a frame allocates nothing.
"""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.bundle import Contract, PoseInput
from bilayer.runtime.errors import BundleError, InputError, ToolMissingError
from bilayer.runtime.sampler_engine import checked

EngineName = Literal["auto", "onnxruntime", "openvino"]
Precision = Literal["f32", "bf16"]

Floats = NDArray[np.float32]
Shapes = dict[str, tuple[int, ...]]

FASTEST_FIRST: tuple[EngineName, ...] = ("openvino", "onnxruntime")  # in f32; benchmarks/player.py measures it
CPU = ("CPUExecutionProvider",)
_PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino"}  # engine -> module
_INSTALL = {"onnxruntime": "pip install onnxruntime", "openvino": "pip install 'bilayer[openvino]'"}


class NetworkEngine(Protocol):
    """One avatar's network, loaded. Not for use by several threads at once."""

    name: str
    precision: str

    def run(self, pose: Floats) -> dict[str, Floats]:
        """The outputs (1, C, S, S) by tensor name for an encoded pose (width,): the same arrays in every call."""
        ...


def load_engine(
    path: Path,
    contract: Contract,
    name: EngineName = "auto",
    precision: Precision = "f32",
    *,
    threads: int | None = None,
    providers: Sequence[str] = CPU,
) -> NetworkEngine:
    """Load an avatar's network, and check it against its contract.

    Args:
        path: the .onnx.
        contract: of its bundle.
        name: "auto" is the quickest installed one, or ONNX Runtime where `providers` are given.
        precision: of the arithmetic. "bf16" is OpenVINO's, on processors that compute in it.
        threads: for one frame; None lets the engine choose, usually all cores.
        providers: ONNX Runtime's execution providers, the preferred one first.

    Raises:
        BundleError: no network, or not the one of the contract.
        InputError: the engine does not have the precision, or not on this processor; no such provider.
        ToolMissingError: the engine is not installed.
    """
    checked(name, EngineName, "engine")
    checked(precision, Precision, "precision")
    if threads is not None and threads < 1:
        raise InputError(f"threads: expected 1 or more, found {threads}")
    chosen = choose_engine(precision) if name == "auto" else name
    if name == "auto" and tuple(providers) != CPU:
        chosen = "onnxruntime"  # whose providers they are
    if not installed(chosen):
        raise ToolMissingError(f"engine {chosen}: not installed; {_INSTALL[chosen]}, or leave --engine out")
    if chosen == "openvino":
        return OpenVino(path, contract, precision, threads)
    if precision != "f32":
        raise InputError(f"precision {precision}: engine onnxruntime computes in f32 only; --engine openvino has it")
    return OnnxRuntime(path, contract, threads, providers)


def choose_engine(precision: Precision = "f32") -> EngineName:
    """The quickest engine that is installed; for bf16 the one that has it, installed or not."""
    if precision == "bf16":
        return "openvino"
    return next((name for name in FASTEST_FIRST if installed(name)), "onnxruntime")


def installed(name: EngineName) -> bool:
    """Whether the engine's package is there, without loading it."""
    return importlib.util.find_spec(_PACKAGES[name]) is not None


class OnnxRuntime:
    """ONNX Runtime with bound arrays, telemetry off."""

    name, precision = "onnxruntime", "f32"

    def __init__(self, path: Path, contract: Contract, threads: int | None, providers: Sequence[str]) -> None:
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        missing = [provider for provider in providers if provider not in onnxruntime.get_available_providers()]
        if missing:
            have = ", ".join(onnxruntime.get_available_providers())
            raise InputError(f"provider {missing[0]}: this ONNX Runtime has {have}")
        options = onnxruntime.SessionOptions()
        # Threads that spin while they wait for the next frame take the cores from sampler and encoder
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # its advice on old opsets is not for the user
        if threads is not None:
            options.intra_op_num_threads = threads
        self._session = _read(path, lambda: onnxruntime.InferenceSession(str(path), options, providers=list(providers)))
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shapes = {end.name: tuple(end.shape) if end.type == "tensor(float)" else () for end in [*inputs, *outputs]}
        names = {end.name for end in inputs}
        self._pose, self._outputs = _allocate(path, contract, shapes, names)
        self._binding: Any = self._session.io_binding()
        self._binding.bind_cpu_input(contract.input.tensor, self._pose)
        for tensor, array in self._outputs.items():
            self._binding.bind_output(tensor, "cpu", 0, np.float32, array.shape, array.ctypes.data)

    def run(self, pose: Floats) -> dict[str, Floats]:
        """See NetworkEngine."""
        self._pose[0] = pose
        self._session.run_with_iobinding(self._binding)
        return self._outputs


class OpenVino:
    """OpenVINO on the CPU with shared arrays."""

    name = "openvino"

    def __init__(self, path: Path, contract: Contract, precision: Precision, threads: int | None) -> None:
        import openvino

        core = openvino.Core()
        if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise InputError("precision bf16: this processor does not compute in it; --precision f32")
        self.precision: str = precision
        settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        model = _read(path, lambda: core.read_model(path.read_bytes()))
        shapes = {end.get_any_name(): _static_shape(end) for end in [*model.inputs, *model.outputs]}
        names = {end.get_any_name() for end in model.inputs}
        self._pose, self._outputs = _allocate(path, contract, shapes, names)
        compiled = _read(path, lambda: core.compile_model(model, "CPU", settings))
        self._request = compiled.create_infer_request()
        for tensor, array in {contract.input.tensor: self._pose, **self._outputs}.items():
            self._request.set_tensor(tensor, openvino.Tensor(array, shared_memory=True))

    def run(self, pose: Floats) -> dict[str, Floats]:
        """See NetworkEngine."""
        self._pose[0] = pose
        self._request.start_async()  # `infer` would gather the results in new arrays
        self._request.wait()
        return self._outputs


def _static_shape(end: Any) -> tuple[int, ...]:
    """Of an OpenVINO input or output; empty where it is not static or not float32."""
    shape = end.get_partial_shape()
    fits = shape.is_static and end.get_element_type().get_type_name() == "f32"
    return tuple(shape.to_shape()) if fits else ()


def _read(path: Path, load: Callable[[], Any]) -> Any:
    """`load()`, whose errors are about the file: the engines raise many kinds."""
    try:
        return load()
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BundleError(f"{path}: not a network that can be run ({reason}); export the avatar again") from error


def _allocate(path: Path, contract: Contract, shapes: Shapes, inputs: set[str]) -> tuple[Floats, dict[str, Floats]]:
    """The input (1, width) and the outputs (1, C, S, S) of a network with these float32 shapes, by tensor name.

    Raises:
        BundleError: they are not the contract's.
    """
    given: PoseInput = contract.input
    if inputs != {given.tensor} or shapes[given.tensor] != (1, given.width):
        found = ", ".join(f"{name} {list(shapes[name])}" for name in sorted(inputs)) or "none"
        raise BundleError(f"{path}: input: expected {given.tensor} [1, {given.width}] in float32, found {found}")
    size = contract.image_size
    for result in (contract.outputs.delta_uv, contract.outputs.lf_rgb, contract.outputs.seg):
        if result is None:
            continue
        shape = shapes.get(result.tensor, ()) if result.tensor not in inputs else ()
        if len(shape) != 4 or shape[0] != 1 or shape[1] < result.stop or shape[2:] != (size, size):
            expected = f"[1, at least {result.stop}, {size}, {size}] in float32"
            raise BundleError(f"{path}: output {result.tensor}: expected {expected}, found {list(shape) or 'none'}")
    outputs = {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if name not in inputs}
    return np.zeros((1, given.width), np.float32), outputs
