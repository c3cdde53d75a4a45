"""The .dlc itself as a rung: its own graph and numbers, computed by numpy, since nothing here executes a .dlc."""

from collections.abc import Sequence
from dataclasses import dataclass

from bilayer.benchmarks.parity.rungs import NotRun, Rung
from bilayer.benchmarks.parity.subject import Subject
from bilayer.export.dlc.compare import compare_dlc
from bilayer.export.dlc.read import read_dlc
from bilayer.export.network.layers import INPUT, Layer
from bilayer.export.network.numpy_run import run_layers
from bilayer.runtime.errors import ParityError
from bilayer.runtime.frame import Values

LABEL = ".dlc: the graph and numbers of the file, computed by numpy, float32"


@dataclass(frozen=True, eq=False)
class DlcRung(Rung):
    """What the layers of the .dlc compute, whatever the ONNX beside it says."""

    subject: Subject
    graph: Sequence[Layer]
    name = "dlc"
    label = LABEL
    kind = "fp32"

    def layers(self, index: int) -> dict[str, Values]:
        """Every layer's output (1, ...) by its ONNX name, in NCHW."""
        pose = self.subject.encoded()[index]
        return {INPUT: pose[None], **{name: values[None] for name, values in run_layers(self.graph, pose).items()}}


def open_dlc(subject: Subject) -> DlcRung | NotRun:
    """The rung, or why it cannot be run: no .dlc, or one whose graph is not the ONNX's, which `check_dlc` tells.

    Raises:
        DlcError: the file is damaged.
    """
    file = subject.bundle.contract.files.dlc
    if file is None:
        return NotRun("dlc", LABEL, "the bundle has no .dlc; bilayer-export --target qairt makes one")
    try:
        report = compare_dlc(read_dlc(subject.bundle.path(file)), subject.model)
    except ParityError as error:
        return NotRun("dlc", LABEL, str(error))
    return DlcRung(subject, report.graph.layers)
