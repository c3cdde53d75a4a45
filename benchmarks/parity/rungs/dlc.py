"""The .dlc itself as a rung: its own graph and numbers, computed by numpy, since nothing here executes a .dlc."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bilayer.benchmarks.parity.rungs.rung import NotRun, Rung
from bilayer.benchmarks.parity.subject import Subject
from bilayer.export.dlc.compare import compare_dlc
from bilayer.export.dlc.integers import grid_of
from bilayer.export.dlc.read import read_dlc
from bilayer.export.integers.scheme import Grid
from bilayer.export.network.layers import INPUT, Layer
from bilayer.export.network.numpy_run import run_layers
from bilayer.runtime.agreement import Kind
from bilayer.runtime.arrays import Floats
from bilayer.runtime.errors import ParityError
from bilayer.runtime.frame import Values

LABEL = ".dlc: the graph and numbers of the file, computed by numpy, float32"
INTEGER_LABEL = ".dlc: the graph, numbers and grids of the file, computed by numpy,"


@dataclass(frozen=True, eq=False)
class DlcRung(Rung):
    """What the layers of the .dlc compute, whatever the ONNX beside it says."""

    subject: Subject
    graph: Sequence[Layer]
    grids: Mapping[str, Grid] = field(default_factory=dict)  # in integers: of the input and every layer's output
    label: str = LABEL
    kind: Kind = "fp32"
    rounded: bool = False
    name = "dlc"

    def layers(self, index: int) -> dict[str, Values]:
        """Return every layer's output (1, ...) by its ONNX name, in NCHW."""
        pose = self.subject.encoded()[index]
        return {INPUT: pose[None], **{name: v[None] for name, v in run_layers(self.graph, pose, self._stored).items()}}

    def _stored(self, name: str, values: Floats) -> Floats:
        """What is kept of a layer's output: in integers, what its grid has."""
        return self.grids[name].nearest(values) if name in self.grids else values


def open_dlc(subject: Subject) -> DlcRung | NotRun:
    """Return the rung, or why it cannot be run: no .dlc, or one whose graph is not the ONNX's, which `check_dlc` tells.

    Raises:
        DlcError: the file is damaged.
    """
    file = subject.bundle.contract.files.dlc
    if file is None:
        return NotRun("dlc", LABEL, "the bundle has no .dlc; bilayer-export --target qairt makes one")
    try:
        report = compare_dlc(read_dlc(subject.bundle.path(file)), subject.converted)
    except ParityError as error:
        return NotRun("dlc", LABEL, str(error))
    made = subject.bundle.contract.quantization
    if made is None:
        return DlcRung(subject, report.graph.layers)
    grids = {name: grid_of(steps) for name, steps in report.graph.steps.items() if steps is not None}
    return DlcRung(
        subject, report.graph.layers, grids, f"{INTEGER_LABEL} {made.precision}", made.precision, rounded=True
    )
