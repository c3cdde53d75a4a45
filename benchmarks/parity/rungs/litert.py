"""The avatar's .tflite as rungs, in LiteRT: the bundle's own file, or one written now of the ONNX's layers."""

from dataclasses import dataclass, field

import numpy as np

from bilayer.benchmarks.parity.rungs.rung import Rung
from bilayer.benchmarks.parity.subject import Subject
from bilayer.export.network.layers import INPUT
from bilayer.export.network.tflite_write import Storage, build_tflite, pixel_order, reordered_rows
from bilayer.model.threads import THREADS
from bilayer.runtime.agreement import Kind
from bilayer.runtime.engines.litert import litert_tensors, open_interpreter
from bilayer.runtime.engines.pose_encoding import TensorNetwork
from bilayer.runtime.errors import BundleError
from bilayer.runtime.files.reading import FileKind, read_bytes
from bilayer.runtime.frame import NetworkOutputs, Values


@dataclass(frozen=True, eq=False)
class LitertRung(Rung):
    """One .tflite in LiteRT on the CPU, as the player runs it."""

    subject: Subject
    storage: Storage
    content: bytes = field(repr=False)
    name: str
    label: str
    kind: Kind

    def results(self, indices: list[int]) -> list[NetworkOutputs]:
        """Return the results for these poses, by XNNPACK, which fuses layers."""
        contract = self.subject.bundle.contract
        network = TensorNetwork(contract.input, contract.outputs, litert_tensors(self.content, THREADS), self.name)
        return [network.run(self.subject.poses[index]) for index in indices]

    def layers(self, index: int) -> dict[str, Values]:
        """Return the output (1, ...) of the file's layers by ONNX name, in NCHW; LiteRT's own kernels fuse none."""
        from ai_edge_litert.interpreter import OpResolverType

        pose, own = self.subject.encoded()[index], self.subject.own
        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        settings = {"experimental_op_resolver_type": plain, "experimental_preserve_all_tensors": True}
        interpreter = open_interpreter(self.content, THREADS, **settings)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pose[None])
        interpreter.invoke()
        numbers = {tensor["name"]: tensor["index"] for tensor in interpreter.get_tensor_details()}
        rows, found = reordered_rows(own), {INPUT: pose[None]}
        for layer in own.layers:
            if layer.name not in numbers:
                continue
            values = np.moveaxis(interpreter.get_tensor(numbers[layer.name]), -1, 1)
            if layer.name in rows:
                turned = np.empty_like(values)
                turned[:, pixel_order(rows[layer.name])] = values
                values = turned
            found[layer.name] = values
        return found


def litert(subject: Subject, storage: Storage) -> LitertRung:
    """Return the rung of the bundle's .tflite with weights in that storage, or of one that is written now.

    Raises:
        InputError: a weight is beyond what float16 holds.
        BundleError: the file cannot be read.
    """
    half, files = storage == "float16", subject.bundle.contract.files
    file = files.tflite_fp16 if half else files.tflite
    if file is None:
        content, which = build_tflite(subject.own, storage=storage), "a .tflite written of the ONNX's layers"
    else:
        content, which = read_bytes(subject.bundle.path(file), FileKind.TFLITE, BundleError), "the .tflite"
    stored = "weights in FP16, computed in float32" if half else "float32"
    name: str = "litert-fp16-weights" if half else "litert"
    return LitertRung(
        subject, storage, content, name, f"{which} in LiteRT, {stored}, CPU", "fp16-hybrid" if half else "fp32"
    )
