"""LiteRT on the CPU, for a bundle's .tflite: TensorFlow Lite's runtime with XNNPACK."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bilayer.runtime.arrays import Floats
from bilayer.runtime.bundle import Contract
from bilayer.runtime.engines.base import IoSpec, TensorEngine, reading
from bilayer.runtime.engines.choice import network_file
from bilayer.runtime.errors import BundleError
from bilayer.runtime.files.reading import FileKind, read_bytes
from bilayer.runtime.process.native_stderr import sifting
from bilayer.runtime.vocabulary import Precision

# How many inputs each operator of an avatar has, 0: any. XNNPACK looks at as many without asking how many there are,
# and reads before the first tensor for one that is left out: a file of anybody's must not get there
_INPUTS = {
    "ADD": 2, "CONCATENATION": 0, "CONV_2D": 3, "DEPTH_TO_SPACE": 1, "DEQUANTIZE": 1, "FULLY_CONNECTED": 3,
    "LEAKY_RELU": 1, "LOGISTIC": 1, "MUL": 2, "PAD": 2, "RESHAPE": 2, "RESIZE_NEAREST_NEIGHBOR": 2, "TANH": 1,
    "TRANSPOSE_CONV": 4,
}  # fmt: skip


class LiteRt(TensorEngine):
    """LiteRT, whose maps (1, H, W, C) become the contract's (1, C, H, W).

    Raises:
        BundleError: the bundle has no .tflite of that precision, or it is not the one of the contract.
    """

    name = "litert"

    def __init__(
        self, path: Path, contract: Contract, precision: Precision = "fp32", threads: int | None = None
    ) -> None:
        path = network_file(path, contract, "litert", precision)
        self.precision = precision
        interpreter = reading(path, lambda: open_interpreter(read_bytes(path, FileKind.TFLITE, BundleError), threads))
        given, results = interpreter.get_input_details(), interpreter.get_output_details()
        ends = IoSpec({one["name"]: _shape(one) for one in given}, {one["name"]: _shape(one) for one in results})
        super().__init__(path, contract, ends)
        self._interpreter = interpreter
        self._input = interpreter.tensor(given[0]["index"])  # functions: a view that is kept would forbid to run
        self._results = [(self.tensors[one["name"]], interpreter.tensor(one["index"])) for one in results]

    def _compute(self) -> None:
        np.copyto(self._input(), self._pose)
        self._interpreter.invoke()
        for array, result in self._results:
            np.copyto(array, np.moveaxis(result(), -1, 1))


def open_interpreter(content: bytes, threads: int | None = None, **options: Any) -> Any:
    """Return an ai_edge_litert.interpreter.Interpreter of a .tflite's content, its memory allocated.

    Raises:
        ValueError, RuntimeError: LiteRT cannot run it, or it is of other operators than bilayer's are.
    """
    from ai_edge_litert.interpreter import Interpreter

    with sifting(lambda line: line.startswith(b"INFO: ")):  # "Created TensorFlow Lite XNNPACK delegate"
        interpreter = Interpreter(model_content=content, num_threads=threads, **options)
        for node in interpreter._get_ops_details():
            _check_node(node["op_name"], list(node["inputs"]))
        interpreter.allocate_tensors()
    return interpreter


def litert_tensors(content: bytes, threads: int | None = None) -> Callable[[Floats], dict[str, Floats]]:
    """Return a function from an encoded pose (width,) to every output (1, C, H, W) by its name, in new arrays."""
    interpreter = open_interpreter(content, threads)
    (given,), results = interpreter.get_input_details(), interpreter.get_output_details()

    def infer(encoded: Floats) -> dict[str, Floats]:
        interpreter.set_tensor(given["index"], encoded[None])
        interpreter.invoke()
        found = {one["name"]: interpreter.get_tensor(one["index"]) for one in results}
        return {name: np.ascontiguousarray(np.moveaxis(values, -1, 1)) for name, values in found.items()}

    return infer


def _check_node(kind: str, inputs: list[int]) -> None:
    if kind not in _INPUTS:
        raise ValueError(f"its {kind[:60]} is no operator of an avatar")
    if len(inputs) != (_INPUTS[kind] or len(inputs)) or min(inputs, default=-1) < 0:
        raise ValueError(f"its {kind} lacks an input, or has one too many")


def _shape(end: dict[str, Any]) -> tuple[int, ...]:
    """The shape in the contract's order; empty where it is not float32, or has sides that are not known."""
    shape = tuple(int(side) for side in end["shape"])
    if end["dtype"] is not np.float32 or (end["shape_signature"] < 1).any():
        return ()
    return (shape[0], shape[-1], *shape[1:-1]) if len(shape) > 2 else shape
