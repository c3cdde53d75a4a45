"""Rungs of the network in integers: its QDQ ONNX in ONNX Runtime, and on Qualcomm's simulator."""

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bilayer.benchmarks.parity.rungs.dlc import open_dlc
from bilayer.benchmarks.parity.rungs.htp import NO_PACKAGE, HtpRung
from bilayer.benchmarks.parity.rungs.rung import NotRun, Rung, with_all_outputs
from bilayer.benchmarks.parity.subject import Subject
from bilayer.export.integers.calibrate import calibration_poses
from bilayer.export.integers.equalize import equalized
from bilayer.export.integers.qdq import read_qdq
from bilayer.export.network.layers import INPUT, FoldedGenerator
from bilayer.export.network.onnx_read import read_generator
from bilayer.model.threads import THREADS
from bilayer.runtime.agreement import Kind
from bilayer.runtime.engines.onnx_runtime import onnx_tensors
from bilayer.runtime.frame import NetworkOutputs, Values

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, eq=False)
class IntegerRung(Rung):
    """The network in integers as ONNX Runtime computes it on a CPU: every layer in float32, every output rounded."""

    subject: Subject
    network: "onnx.ModelProto"
    generator: FoldedGenerator  # that it is, with the numbers that its integers stand for
    name: str
    label: str
    kind: Kind
    rounded = True
    made_of = "onnx"

    def results(self, indices: list[int]) -> list[NetworkOutputs]:
        """Return the results for these poses, of the network as ONNX Runtime optimises it."""
        outputs, infer = self.subject.bundle.contract.outputs, onnx_tensors(self.network.SerializeToString(), THREADS)
        poses = self.subject.encoded()
        return [NetworkOutputs.read(outputs, infer(poses[index])) for index in indices]

    def layers(self, index: int) -> dict[str, Values]:
        """Return the output (1, ...) of every layer, rounded, by the name that it has in the float network."""
        pose = self.subject.encoded()[index]
        network = with_all_outputs(self.network, self.generator)
        return {INPUT: pose[None], **onnx_tensors(network.SerializeToString(), THREADS, optimised=False)(pose)}


def float_layers(rung: Rung) -> dict[str, Values]:
    """Return every layer's output (1, ...) for the first pose as the float network has it: integers' scaling undone.

    The factors are those of the ONNX file's weights: the export's, but for float32's rounding.
    """
    layers, contract = rung.layers(0), rung.subject.bundle.contract
    made = contract.quantization
    if not rung.rounded or made is None or not made.equalized:
        return layers
    poses = calibration_poses(np.array(contract.source.pose, np.float32), contract.input)
    adjusted = equalized(rung.subject.own, poses).adjusted
    for name in adjusted.keys() & layers.keys():
        layers[name] = layers[name] / adjusted[name].factor.reshape(1, -1, *[1] * (layers[name].ndim - 2))
    return layers


def integer_rungs(subject: Subject, simulated: bool = True) -> list[Rung | NotRun]:
    """Return the rungs of a bundle with a network in integers, the .dlc among them, quick and slow; else none.

    Args:
        subject: the avatar.
        simulated: whether Qualcomm's simulator is wanted.

    Raises:
        BundleError: its network in integers is none of bilayer-export's.
    """
    contract, network = subject.bundle.contract, subject.integers
    if network is None or contract.quantization is None or contract.files.integers is None:
        return []
    where, precision = contract.files.integers.name, contract.quantization.precision
    generator = read_generator(read_qdq(network, where).plain, contract, where)
    label = f"the .dlc's ONNX in {precision}, in ONNX Runtime, CPU"
    top = IntegerRung(subject, network, generator, f"{precision}-ort", label, precision)
    rungs: list[Rung | NotRun] = [top, open_dlc(subject)]
    name, label = f"htp-{precision}", f"the .dlc's ONNX in {precision}, on Qualcomm's x86 HTP simulator"
    if not simulated:
        return rungs
    if importlib.util.find_spec("onnxruntime_qnn") is None:
        return [*rungs, NotRun(name, label, NO_PACKAGE)]
    return [*rungs, HtpRung(subject, network, generator, name, label, rounded=True)]
