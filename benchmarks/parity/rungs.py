"""The rungs of the parity ladder that need nothing but the bundle: float64, ONNX Runtime, emulated FP16."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bilayer.benchmarks.parity.subject import Subject
from bilayer.export.network.emulate import Arithmetic, emulate
from bilayer.export.network.layers import INPUT
from bilayer.runtime.agreement import Kind
from bilayer.runtime.engines.onnx_runtime import onnx_tensors
from bilayer.runtime.engines.pose_encoding import TensorNetwork
from bilayer.runtime.frame import NetworkOutputs, Values

if TYPE_CHECKING:
    import onnx

THREADS = 2


class Rung(Protocol):
    """One way to compute the avatar's network."""

    @property
    def name(self) -> str:
        """Short, for options and JSON."""
        ...

    @property
    def label(self) -> str:
        """In words."""
        ...

    @property
    def kind(self) -> Kind:
        """What it is held to."""
        ...

    @property
    def emulated(self) -> bool:
        """Computed here in imitation of another machine."""
        ...

    @property
    def align_corners(self) -> bool:
        """Of the warp that its frames are composed with."""
        ...

    @property
    def slow(self) -> bool:
        """It takes seconds a frame, and is compared on fewer poses."""
        ...

    def results(self, indices: list[int]) -> list[NetworkOutputs]:
        """What it gives for these poses of the subject."""
        ...

    def layers(self, index: int) -> dict[str, Values] | None:
        """The output (1, ...) of every layer by its name in the ONNX; None where it cannot be seen."""
        ...


@dataclass(frozen=True)
class NotRun:
    """A rung that is missing from the ladder."""

    name: str
    label: str
    reason: str  # and what to do


@dataclass(frozen=True, eq=False)
class Float64:
    """Plain layers in float64: the truth where there is no trained model, else the rung that shows the folding."""

    subject: Subject
    label: str
    name: str = "float64"
    kind: Kind = "fp32"
    emulated = False
    slow = False

    @property
    def align_corners(self) -> bool:
        """What the network was made for."""
        return self.subject.align_corners

    def results(self, indices: list[int]) -> list[NetworkOutputs]:
        """See Rung."""
        return [NetworkOutputs.read(self.subject.generator.outputs, self.layers(index)) for index in indices]

    def layers(self, index: int) -> dict[str, Values]:
        """See Rung."""
        import torch

        from bilayer.export.network.evaluate import evaluate

        pose = torch.from_numpy(self.subject.encoded()[index]).double()[None]
        return {name: tensor.numpy() for name, tensor in evaluate(self.subject.generator, pose).items()}


@dataclass(frozen=True, eq=False)
class BundleRung(ABC):
    """A rung that a player could be: it reads the bundle's network as avatar.json says."""

    subject: Subject
    emulated = False
    slow = False

    @property
    def align_corners(self) -> bool:
        """What avatar.json says."""
        return self.subject.bundle.contract.align_corners

    def results(self, indices: list[int]) -> list[NetworkOutputs]:
        """See Rung."""
        return [NetworkOutputs.read(self.subject.bundle.contract.outputs, self.layers(index)) for index in indices]

    @abstractmethod
    def layers(self, index: int) -> dict[str, Values]:
        """See Rung; the output tensors at least."""


@dataclass(frozen=True, eq=False)
class OnnxRung(BundleRung):
    """The ONNX file in ONNX Runtime, as the player runs it."""

    name = "onnx"
    label = "ONNX in ONNX Runtime, float32, CPU"
    kind: Kind = "fp32"

    def results(self, indices: list[int]) -> list[NetworkOutputs]:
        """See Rung."""
        contract, infer = self.subject.bundle.contract, onnx_tensors(self.subject.model.SerializeToString(), THREADS)
        network = TensorNetwork(contract.input, contract.outputs, infer, str(self.subject.onnx_path))
        return [network.run(self.subject.poses[index]) for index in indices]

    def layers(self, index: int) -> dict[str, Values]:
        """See Rung: nothing optimised away."""
        pose = self.subject.encoded()[index]
        infer = onnx_tensors(with_all_outputs(self.subject).SerializeToString(), THREADS, optimised=False)
        return {INPUT: pose[None], **infer(pose)}


@dataclass(frozen=True, eq=False)
class EmulatedRung(BundleRung):
    """FP16 by emulation of the ONNX file's weights: how a phone rounds, computed here."""

    arithmetic: Arithmetic
    emulated = True

    @property
    def name(self) -> str:
        """See Rung."""
        return f"fp16-{self.arithmetic}"

    @property
    def label(self) -> str:
        """See Rung."""
        return {
            "hybrid": "emulated FP16 storage, float32 sums (GPU_FLOAT32_16_HYBRID)",
            "half4": "emulated FP16 arithmetic, 4 partial sums (GPU_FLOAT16, better end)",
            "sequential": "emulated FP16 arithmetic, one sum (GPU_FLOAT16, worse end)",
        }[self.arithmetic]

    @property
    def kind(self) -> Kind:
        """See Rung."""
        return "fp16-hybrid" if self.arithmetic == "hybrid" else "fp16"

    def layers(self, index: int) -> dict[str, Values]:
        """See Rung."""
        return dict(emulate(self.subject.own, self.subject.encoded()[index], self.arithmetic))


@dataclass(frozen=True, eq=False)
class EmulatedBfloat16(BundleRung):
    """What bfloat16 between the layers costs: what the engine that has it is held against."""

    name = "bf16-storage"
    label = "emulated bfloat16 storage, float32 sums"
    kind: Kind = "bf16"
    emulated = True

    def layers(self, index: int) -> dict[str, Values]:
        """See Rung."""
        import torch

        from bilayer.export.network.evaluate import evaluate

        pose = torch.from_numpy(self.subject.encoded()[index])[None]
        found = evaluate(self.subject.own, pose, lambda tensor: tensor.bfloat16().to(tensor.dtype))
        return {name: tensor.numpy() for name, tensor in found.items()}


def with_all_outputs(subject: Subject) -> "onnx.ModelProto":
    """The network with every node's output made an output of it."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(subject.model)
    known, shapes = {value.name for value in model.graph.output}, subject.own.shapes()
    for node in model.graph.node:
        name = node.output[0]
        if name not in known:
            value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, *shapes[name]])
            model.graph.output.append(value)
    return model
