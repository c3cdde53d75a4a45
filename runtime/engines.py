"""What runs an avatar's ONNX network on this machine: ONNX Runtime, or OpenVINO or ncnn where they are installed.

An engine owns its input and output arrays and reuses them, so that a frame allocates nothing.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.bundle import Contract, PoseInput
from bilayer.runtime.errors import BundleError, InputError, ToolMissingError
from bilayer.runtime.sampler_engine import checked

EngineName = Literal["auto", "onnxruntime", "openvino", "ncnn", "ncnn-vulkan"]
Precision = Literal["f32", "bf16", "f16"]

Floats = NDArray[np.float32]
Shapes = dict[str, tuple[int, ...]]

# Of those that read the .onnx as it is, in f32: benchmarks/player.py measures it. ncnn converts it first, and has no
# layer for some of the graphs that bilayer-export can make
FASTEST_FIRST: tuple[EngineName, ...] = ("openvino", "onnxruntime")
PRECISIONS: dict[EngineName, tuple[Precision, ...]] = {
    "onnxruntime": ("f32",),
    "openvino": ("f32", "bf16"),
    "ncnn": ("f32", "f16"),
    "ncnn-vulkan": ("f32", "f16"),
}
CPU = ("CPUExecutionProvider",)
_PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "ncnn": "ncnn", "ncnn-vulkan": "ncnn"}  # modules
_INSTALL = {"onnxruntime": "pip install onnxruntime", "openvino": "pip install 'bilayer[openvino]'"}
_INSTALL |= dict.fromkeys(("ncnn", "ncnn-vulkan"), "pip install 'bilayer[ncnn]'")


@dataclass(frozen=True)
class Ends:
    """Inputs and outputs of a network, their shapes by tensor name, in order; () where not static or not float32."""

    inputs: Shapes
    outputs: Shapes


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
        precision: of the arithmetic. "bf16" is OpenVINO's, on processors that compute in it; "f16" is ncnn's, which
            computes in f32 on processors that have no such arithmetic, and rounds what lies between the layers.
        threads: for one frame; None lets the engine choose, usually all cores.
        providers: ONNX Runtime's execution providers, the preferred one first.

    Raises:
        BundleError: no network, or not the one of the contract.
        InputError: the engine does not have the precision, or not on this processor; no such provider.
        ConversionError: ncnn's converter cannot make a file of the network, or ncnn has no layer that it needs.
        ToolMissingError: the engine is not installed, or there is no Vulkan device.
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
    if precision not in PRECISIONS[chosen]:
        those = " and ".join(PRECISIONS[chosen])
        raise InputError(f"precision {precision}: engine {chosen} computes in {those} only; {_advice(precision)}")
    if chosen == "openvino":
        return OpenVino(path, contract, precision, threads)
    if chosen == "onnxruntime":
        return OnnxRuntime(path, contract, threads, providers)
    from bilayer.runtime.ncnn_engine import Ncnn, NcnnSettings

    settings = NcnnSettings("compute" if precision == "f16" else "no", chosen == "ncnn-vulkan", threads)
    return Ncnn(path, contract, settings)


def choose_engine(precision: Precision = "f32") -> EngineName:
    """The quickest engine that is installed; for bf16 and f16 the one that has it, installed or not."""
    if precision != "f32":
        return next(name for name in PRECISIONS if precision in PRECISIONS[name])
    return next((name for name in FASTEST_FIRST if installed(name)), "onnxruntime")


def installed(name: EngineName) -> bool:
    """Whether the engine's package is there, without loading it."""
    return importlib.util.find_spec(_PACKAGES[name]) is not None


def _advice(precision: Precision) -> str:
    return " or ".join(f"--engine {name}" for name in PRECISIONS if precision in PRECISIONS[name]) + " has it"


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
        self._session = reading(
            path, lambda: onnxruntime.InferenceSession(str(path), options, providers=list(providers))
        )
        self._pose, self._outputs = allocate(path, contract, session_ends(self._session))
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
        model = reading(path, lambda: core.read_model(path.read_bytes()))
        inputs = {end.get_any_name(): _static_shape(end) for end in model.inputs}
        outputs = {end.get_any_name(): _static_shape(end) for end in model.outputs}
        self._pose, self._outputs = allocate(path, contract, Ends(inputs, outputs))
        compiled = reading(path, lambda: core.compile_model(model, "CPU", settings))
        self._request = compiled.create_infer_request()
        for tensor, array in {contract.input.tensor: self._pose, **self._outputs}.items():
            self._request.set_tensor(tensor, openvino.Tensor(array, shared_memory=True))

    def run(self, pose: Floats) -> dict[str, Floats]:
        """See NetworkEngine."""
        self._pose[0] = pose
        self._request.start_async()  # `infer` would gather the results in new arrays
        self._request.wait()
        return self._outputs


def session_ends(session: Any) -> Ends:
    """Of an ONNX Runtime session."""

    def shapes(ends: Any) -> Shapes:
        return {end.name: tuple(end.shape) if end.type == "tensor(float)" else () for end in ends}

    return Ends(shapes(session.get_inputs()), shapes(session.get_outputs()))


def _static_shape(end: Any) -> tuple[int, ...]:
    """Of an OpenVINO input or output; empty where it is not static or not float32."""
    shape = end.get_partial_shape()
    fits = shape.is_static and end.get_element_type().get_type_name() == "f32"
    return tuple(shape.to_shape()) if fits else ()


def reading(path: Path, load: Callable[[], Any]) -> Any:
    """`load()`, whose errors are about the file: the engines raise many kinds."""
    try:
        return load()
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BundleError(f"{path}: not a network that can be run ({reason}); export the avatar again") from error


def allocate(path: Path, contract: Contract, ends: Ends) -> tuple[Floats, dict[str, Floats]]:
    """The input (1, width) and the outputs (1, C, S, S) of the network in `path`, by tensor name.

    Raises:
        BundleError: its ends are not the contract's.
    """
    check_ends(path, contract, ends)
    outputs = {name: np.zeros(shape, np.float32) for name, shape in ends.outputs.items()}
    return np.zeros((1, contract.input.width), np.float32), outputs


def check_ends(path: Path, contract: Contract, ends: Ends) -> None:
    """Raise a BundleError where the ends of the network in `path` are not the contract's."""
    given: PoseInput = contract.input
    if ends.inputs != {given.tensor: (1, given.width)}:
        found = ", ".join(f"{name} {list(shape)}" for name, shape in sorted(ends.inputs.items())) or "none"
        raise BundleError(f"{path}: input: expected {given.tensor} [1, {given.width}] in float32, found {found}")
    size = contract.image_size
    for result in (contract.outputs.delta_uv, contract.outputs.lf_rgb, contract.outputs.seg):
        if result is None:
            continue
        shape = ends.outputs.get(result.tensor, ())
        if len(shape) != 4 or shape[0] != 1 or shape[1] < result.stop or shape[2:] != (size, size):
            expected = f"[1, at least {result.stop}, {size}, {size}] in float32"
            raise BundleError(f"{path}: output {result.tensor}: expected {expected}, found {list(shape) or 'none'}")
