"""Whether a .dlc is the ONNX model that it was made from: every number, layer, setting and edge, and both ends."""

from dataclasses import dataclass, replace

import onnx

from bilayer.export.dlc.check import EndMatch, WeightReport, check_io, compare_weights
from bilayer.export.dlc.integers import check_grids, dequantised
from bilayer.export.dlc.layers import DlcLayers, read_layers
from bilayer.export.dlc.read import Dlc
from bilayer.export.integers.qdq import is_qdq, read_qdq
from bilayer.export.network import onnx_read
from bilayer.runtime.errors import ParityError


@dataclass(frozen=True)
class DlcReport:
    """What `compare_dlc` found equal in a .dlc and its ONNX: numbers, inputs and outputs, layers."""

    weights: WeightReport
    ends: tuple[EndMatch, ...]  # inputs, then outputs, in the layout that the graph gives them
    graph: DlcLayers

    def __str__(self) -> str:
        """One line for a person."""
        edges = sum(len(layer.inputs) for layer in self.graph.layers)
        layouts = ", ".join(f"{end.name} {end.layout}".strip() for end in self.ends)
        equal = f"{self.weights.parameters:,} numbers equal to the bit"
        left = (
            f"; not told by a file of this kind: {len(self.graph.unchecked)} settings" if self.graph.unchecked else ""
        )
        return f"{equal}; {len(self.graph.layers)} layers and {edges} edges as in the ONNX{left}; {layouts}"


def compare_dlc(dlc: Dlc, model: onnx.ModelProto) -> DlcReport:
    """Hold the whole of `dlc` to `model`, which bilayer-export wrote; in integers, every grid, too.

    Raises:
        ParityError: they differ; names the layer, and what was expected and found.
        BundleError: `model` is not as bilayer-export writes it.
        InputError: a weight of `model` is computed or stands in another file.
    """
    qdq = read_qdq(model, dlc.name) if is_qdq(model) else None
    if qdq is not None:
        model, dlc = qdq.plain, dequantised(dlc)
    ends = check_io(dlc, model)
    weights = compare_weights(dlc, model)
    if weights.unchecked:
        raise ParityError(f"{dlc.name}: nothing in it holds the ONNX model's {', '.join(weights.unchecked)}")
    expected = onnx_read.read_layers(model, dlc.name)
    graph = read_layers(dlc, expected, {match.node: match.layout for match in weights.layers})
    if qdq is not None:
        check_grids(dlc.name, graph.steps, qdq.grids)
    placed = (replace(end, layout=graph.layouts.get(end.name, end.layout)) for end in ends)
    return DlcReport(weights, tuple(placed), graph)
