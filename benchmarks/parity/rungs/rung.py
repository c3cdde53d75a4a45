"""The rungs of the parity ladder that need nothing but the bundle: float64, ONNX Runtime, emulated FP16."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor

from bilayer.benchmarks.parity.subject import Subject
from bilayer.export.network.emulate import Arithmetic, emulate
from bilayer.export.network.evaluate import evaluate
from bilayer.export.network.layers import INPUT, FoldedGenerator
from bilayer.model.threads import THREADS
from bilayer.runtime.agreement import Kind
from bilayer.runtime.engines.onnx_runtime import onnx_tensors
from bilayer.runtime.engines.pose_encoding import TensorNetwork
from bilayer.runtime.frame import NetworkOutputs, Values


class Rung(ABC):
    """One way to compute the avatar's network, read as avatar.json says, as a player would, unless it is a truth."""

    subject: Subject
    name: str  # short, for options and JSON
    label: str  # what it is, for people
    kind: Kind  # what it is held to
    emulated = False  # computed here in imitation of another machine
    rounded = False  # its weights and biases are integers: others than the truth's on purpose
    by_generator = False  # read as the subject's generator is made, whatever avatar.json says
    slow = False  # it takes seconds a frame, and is compared on fewer poses
    made_of = ""  # the rung that it is compared with beside the truth; by default the one above it

    @property
    def align_corners(self) -> bool:
        """Whether the warp that its frames are composed with aligns corners."""
        return (self.subject if self.by_generator else self.subject.bundle.contract).align_corners

    def results(self, indices: list[int]) -> list[NetworkOutputs]:
        """Return the network's results for these poses of the subject, one after the other."""
        outputs = (self.subject.generator if self.by_generator else self.subject.bundle.contract).outputs
        return [NetworkOutputs.read(outputs, self.layers(index)) for index in indices]

    @abstractmethod
    def layers(self, index: int) -> dict[str, Values]:
        """Return the output (1, ...) of every layer that can be seen by its ONNX name, at least the output tensors."""


@dataclass(frozen=True)
class NotRun:
    """A rung that is missing from the ladder."""

    name: str
    label: str
    reason: str  # and what to do


@dataclass(frozen=True, eq=False)
class Float64(Rung):
    """Plain layers in float64: the truth where there is no trained model, else the rung that shows the folding."""

    subject: Subject
    label: str
    name: str = "float64"
    kind = "fp32"
    by_generator = True

    def layers(self, index: int) -> dict[str, Values]:
        """Return the output (1, ...) of every layer of the subject's generator, in float64."""
        return _evaluated(self.subject.generator, self.subject.encoded()[index].astype(np.float64), lambda x: x)


@dataclass(frozen=True, eq=False)
class OnnxRung(Rung):
    """The ONNX file in ONNX Runtime, as the player runs it."""

    subject: Subject
    name = "onnx"
    label = "ONNX in ONNX Runtime, float32, CPU"
    kind = "fp32"

    def results(self, indices: list[int]) -> list[NetworkOutputs]:
        """Return the results for these poses, of the network as ONNX Runtime optimises it."""
        contract, infer = self.subject.bundle.contract, onnx_tensors(self.subject.model.SerializeToString(), THREADS)
        network = TensorNetwork(contract.input, contract.outputs, infer, str(self.subject.onnx_path))
        return [network.run(self.subject.poses[index]) for index in indices]

    def layers(self, index: int) -> dict[str, Values]:
        """Return the output (1, ...) of every node, none of which is optimised away."""
        pose = self.subject.encoded()[index]
        infer = onnx_tensors(
            with_all_outputs(self.subject.model, self.subject.own).SerializeToString(), THREADS, optimised=False
        )
        return {INPUT: pose[None], **infer(pose)}


class EmulatedRung(Rung):
    """FP16 by emulation of the ONNX file's weights: how a phone rounds, computed here."""

    emulated = True

    def __init__(self, subject: Subject, arithmetic: Arithmetic) -> None:
        self.subject, self.arithmetic, self.name = subject, arithmetic, f"fp16-{arithmetic}"
        self.kind = "fp16-hybrid" if arithmetic == "hybrid" else "fp16"
        self.label = {
            "hybrid": "emulated FP16 storage, float32 sums (GPU_FLOAT32_16_HYBRID)",
            "half4": "emulated FP16 arithmetic, 4 partial sums (GPU_FLOAT16, better end)",
            "sequential": "emulated FP16 arithmetic, one sum (GPU_FLOAT16, worse end)",
        }[arithmetic]

    def layers(self, index: int) -> dict[str, Values]:
        """Return the output (1, ...) of every layer, rounded as that arithmetic does."""
        return dict(emulate(self.subject.own, self.subject.encoded()[index], self.arithmetic))


@dataclass(frozen=True, eq=False)
class EmulatedBfloat16(Rung):
    """What bfloat16 between the layers costs: what the engine that has it is held against."""

    subject: Subject
    name = "bf16-storage"
    label = "emulated bfloat16 storage, float32 sums"
    kind = "bf16"
    emulated = True

    def layers(self, index: int) -> dict[str, Values]:
        """Return the output (1, ...) of every layer, each stored in bfloat16."""
        return _evaluated(self.subject.own, self.subject.encoded()[index], lambda x: x.bfloat16().to(x.dtype))


def _evaluated(generator: FoldedGenerator, pose: Values, store: Callable[[Tensor], Tensor]) -> dict[str, Values]:
    """Every layer's output (1, ...) for an encoded pose (width,), in its precision."""
    found = evaluate(generator, torch.from_numpy(pose)[None], store)
    return {name: tensor.numpy() for name, tensor in found.items()}


def with_all_outputs(network: onnx.ModelProto, generator: FoldedGenerator) -> onnx.ModelProto:
    """Return the network with the output of every layer of `generator`, which it is, made an output of it."""
    model = onnx.ModelProto()
    model.CopyFrom(network)
    known, shapes = {value.name for value in model.graph.output}, generator.shapes()
    for node in model.graph.node:
        name = node.output[0]
        if name in shapes and name not in known:
            value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, *shapes[name]])
            model.graph.output.append(value)
    return model
