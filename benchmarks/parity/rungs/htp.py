"""Qualcomm's own FP16: the x86 simulator of the Hexagon HTP, through the onnxruntime-qnn package."""

import importlib.util
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bilayer.benchmarks.parity.rungs.rung import NotRun, Rung, with_all_outputs
from bilayer.benchmarks.parity.subject import Subject
from bilayer.export.convert.qairt_worker import NOT_LOADED
from bilayer.export.network.layers import FoldedGenerator
from bilayer.runtime.errors import ToolMissingError
from bilayer.runtime.frame import NetworkOutputs, Values
from bilayer.runtime.process.subprocesses import run

if TYPE_CHECKING:
    import onnx

# v69, the oldest whose HTP computes in FP16. The Snapdragon 855 has no HTP: this stands for "FP16 by the vendor"
SOC = "36"
WORKER = "bilayer.benchmarks.parity.rungs.htp_worker"
FP16 = "htp-fp16"
FP16_LABEL = "the ONNX in Qualcomm's FP16, on its x86 HTP simulator, onnxruntime-qnn (a proxy for Adreno)"
NO_PACKAGE = "onnxruntime-qnn is not installed; pip install 'bilayer[qairt]' (Linux x86-64)"
SECONDS_A_FRAME = 120  # then it is stopped; 5 to 18 were measured at 256 px


@dataclass(frozen=True, eq=False)
class HtpRung(Rung):
    """An ONNX file of the bundle on the simulator; each call is a process of its own."""

    subject: Subject
    network: "onnx.ModelProto"
    generator: FoldedGenerator  # that it is: its layers and their shapes
    name: str = FP16
    label: str = FP16_LABEL
    rounded: bool = False
    kind = "fp16"  # measured arithmetic; of integers, too, which may be no worse
    slow = True

    def results(self, indices: list[int]) -> list[NetworkOutputs]:
        """Return the simulator's results for these poses, by one process; a ToolMissingError where it runs none."""
        outputs = self.subject.bundle.contract.outputs
        return [NetworkOutputs.read(outputs, frame) for frame in self._run(self.network, indices)]

    def layers(self, index: int) -> dict[str, Values]:
        """Return the output (1, ...) of every node, or a ToolMissingError; asked for all, the simulator fuses less."""
        (frame,) = self._run(with_all_outputs(self.network, self.generator), [index])
        return frame

    def _run(self, network: "onnx.ModelProto", indices: list[int]) -> list[dict[str, Values]]:
        """The output tensors (1, ...) for each pose."""
        with tempfile.TemporaryDirectory(prefix="bilayer-htp-") as name:
            folder = Path(name)
            path, poses, found = folder / "network.onnx", folder / "poses.npy", folder / "results.npz"
            path.write_bytes(network.SerializeToString())
            np.save(poses, self.subject.encoded()[indices])
            done = run(
                [sys.executable, "-m", WORKER, str(path), str(poses), str(found), SOC],
                folder=folder,
                environment={**os.environ, "PYTHONSAFEPATH": "1"},
                log=folder / "log",
                timeout=SECONDS_A_FRAME * (1 + len(indices)),
            )
            if done.code != 0:
                how = "cannot be loaded" if done.code == NOT_LOADED else done.how
                raise ToolMissingError(f"HTP simulator: {how}: {done.last_line}")
            with np.load(found) as tensors:
                arrays = dict(tensors)
        return [{tensor: array[k : k + 1] for tensor, array in arrays.items()} for k in range(len(indices))]


def simulator(subject: Subject) -> HtpRung | NotRun:
    """Return the rung of Qualcomm's FP16, or what to do where its package is not installed."""
    if importlib.util.find_spec("onnxruntime_qnn") is None:
        return NotRun(FP16, FP16_LABEL, NO_PACKAGE)
    return HtpRung(subject, subject.model, subject.own)
