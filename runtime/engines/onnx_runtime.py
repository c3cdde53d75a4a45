"""ONNX Runtime, the engine that reads every avatar."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bilayer.runtime.arrays import Floats
from bilayer.runtime.bundle import Contract
from bilayer.runtime.engines.base import IoSpec, Shapes, TensorEngine, reading
from bilayer.runtime.engines.choice import network_file
from bilayer.runtime.errors import InputError
from bilayer.runtime.files.reading import FileKind, checked
from bilayer.runtime.process.environment import import_onnxruntime
from bilayer.runtime.vocabulary import Precision


class OnnxRuntime(TensorEngine):
    """ONNX Runtime with bound arrays, telemetry off; in integers, by the network in integers beside the given one."""

    name = "onnxruntime"

    def __init__(
        self,
        path: Path,
        contract: Contract,
        threads: int | None,
        providers: Sequence[str],
        precision: Precision = "fp32",
    ) -> None:
        onnxruntime = import_onnxruntime()
        self.precision = precision
        path = network_file(path, contract, "onnxruntime", precision)
        missing = [provider for provider in providers if provider not in onnxruntime.get_available_providers()]
        if missing:
            have = ", ".join(onnxruntime.get_available_providers())
            raise InputError(f"provider {missing[0]}: this ONNX Runtime has {have}")
        self._session = reading(path, lambda: make_session(path, threads, providers))
        super().__init__(path, contract, session_ends(self._session))
        self._binding: Any = self._session.io_binding()
        self._binding.bind_cpu_input(contract.input.tensor, self._pose)
        for tensor, array in self.tensors.items():
            self._binding.bind_output(tensor, "cpu", 0, np.float32, array.shape, array.ctypes.data)

    def _compute(self) -> None:
        self._session.run_with_iobinding(self._binding)


def make_session(
    model: Path | bytes,
    threads: int | None = None,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    *,
    optimised: bool = True,
) -> Any:
    """Return an onnxruntime.InferenceSession of a file, or of a model in memory; telemetry is off.

    Args:
        model: either of them.
        threads: within an operator; None lets ONNX Runtime choose.
        providers: the preferred one first.
        optimised: False keeps every node as it is written.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    # Threads that spin while they wait for the next frame take the cores from sampler and encoder
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # its advice on old opsets is not for the user
    if threads is not None:
        options.intra_op_num_threads = threads
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = model if isinstance(model, bytes) else str(checked(model, FileKind.ONNX))
    return onnxruntime.InferenceSession(source, options, providers=list(providers))


def onnx_tensors(
    model: Path | bytes, threads: int | None = None, *, optimised: bool = True
) -> Callable[[Floats], dict[str, Floats]]:
    """Return a function from an encoded pose (width,) to all the model's outputs (1, ...) by name, in new arrays."""
    session = make_session(model, threads, optimised=optimised)
    given, names = session.get_inputs()[0].name, [output.name for output in session.get_outputs()]
    return lambda encoded: dict(zip(names, session.run(names, {given: encoded[None]}), strict=True))


def session_ends(session: Any) -> IoSpec:
    """Return the inputs and outputs of an ONNX Runtime session, with their shapes."""

    def shapes(ends: Any) -> Shapes:
        return {end.name: tuple(end.shape) if end.type == "tensor(float)" else () for end in ends}

    return IoSpec(shapes(session.get_inputs()), shapes(session.get_outputs()))
