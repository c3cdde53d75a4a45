"""Qualcomm's own FP16: the x86 simulator of the Hexagon HTP, through the onnxruntime-qnn package."""

import importlib.util
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bilayer.benchmarks.htp_worker import NOT_LOADED
from bilayer.benchmarks.rungs import Kind, NotRun
from bilayer.benchmarks.subject import Results, Subject, Values, read_results
from bilayer.export.subprocesses import run
from bilayer.runtime.errors import ToolMissingError

# v69, the oldest whose HTP computes in FP16. The Snapdragon 855 has no HTP: this stands for "FP16 by the vendor"
SOC = "36"
SECONDS_A_FRAME = 120  # then it is stopped; 5 to 18 were measured at 256 px


@dataclass(frozen=True, eq=False)
class HtpRung:
    """Each call is a process of its own."""

    subject: Subject
    name = "htp-fp16"
    label = "Qualcomm's FP16 on its x86 HTP simulator, onnxruntime-qnn (a proxy for Adreno)"
    kind: Kind = "arithmetic"
    emulated = False
    slow = True

    @property
    def align_corners(self) -> bool:
        """What avatar.json says."""
        return self.subject.bundle.contract.align_corners

    def results(self, indices: list[int]) -> list[Results]:
        """See Rung.

        Raises:
            ToolMissingError: the simulator does not load, refuses the network, or does not end.
        """
        outputs = self.subject.bundle.contract.outputs
        with tempfile.TemporaryDirectory(prefix="bilayer-htp-") as name:
            folder = Path(name)
            np.save(folder / "poses.npy", self.subject.encoded()[indices])
            found = folder / "results.npz"
            module = "bilayer.benchmarks.htp_worker"
            done = run(
                [
                    sys.executable,
                    "-m",
                    module,
                    str(self.subject.onnx_path.resolve()),
                    str(folder / "poses.npy"),
                    str(found),
                    SOC,
                ],
                folder=folder,
                environment=self._environment,
                log=folder / "log",
                timeout=SECONDS_A_FRAME * (1 + len(indices)),
            )
            if done.code != 0:
                how = "cannot be loaded" if done.code == NOT_LOADED else done.how
                raise ToolMissingError(f"HTP simulator: {how}: {done.last_line}")
            with np.load(found) as tensors:
                arrays = dict(tensors)
        count = len(indices)
        frames = [{tensor: array[k : k + 1] for tensor, array in arrays.items()} for k in range(count)]
        return [read_results(outputs, frame) for frame in frames]

    def layers(self, index: int) -> dict[str, Values] | None:
        """None: the vendor's graph is closed."""
        return None

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONSAFEPATH": "1"}


def simulator(subject: Subject) -> HtpRung | NotRun:
    """The simulator, where its package is installed."""
    if importlib.util.find_spec("onnxruntime_qnn") is None:
        return NotRun(
            HtpRung.name, HtpRung.label, "onnxruntime-qnn is not installed; pip install 'bilayer[qairt]' (Linux x86-64)"
        )
    return HtpRung(subject)
