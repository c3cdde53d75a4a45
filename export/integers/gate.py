"""Whether integers show: the gate that FP16 storage is held to, as one number that a search can bring down."""

from collections.abc import Sequence

from torch import Tensor

from bilayer.runtime.agreement import FRAME, Agreement, compare, storage_excess
from bilayer.runtime.bundle import Outputs
from bilayer.runtime.frame import NetworkOutputs
from bilayer.runtime.sampler.compositor import FrameCompositor

# The search asks for so much of what the gate allows: other poses judge, and they may be worse
SHARE = 0.6


class Gate:
    """The float network's results for some poses, which those of integers are compared with."""

    def __init__(self, exact: dict[str, Tensor], outputs: Outputs, compositor: FrameCompositor) -> None:
        """Keep the frames of `exact`, its output tensors (N, ...) for N poses."""
        self._outputs, self._compositor = outputs, compositor
        self._expected = [(one, compositor.compose(one.drawable())) for one in _results(exact, outputs)]

    def compare(self, made: dict[str, Tensor]) -> Agreement:
        """Return the worst figures of output tensors (N, ...) for the same poses."""
        pairs = zip(_results(made, self._outputs), self._expected, strict=True)
        return Agreement.worst(
            compare(found, one, self._compositor.compose(found.drawable()), frame) for found, (one, frame) in pairs
        )

    def excess(self, made: dict[str, Tensor]) -> float:
        """Return what `fewest_wide` asks: how far results are over the gate's SHARE."""
        return storage_excess(self.compare(made)) / SHARE

    def rank(self, made: dict[str, Tensor]) -> tuple[bool, float]:
        """Return what the better one of two forms of a network has more of: passing, and dB of its worst frame."""
        found = self.compare(made)
        return storage_excess(found) <= SHARE, found.psnr_db[FRAME]


def _results(tensors: dict[str, Tensor], outputs: Outputs) -> Sequence[NetworkOutputs]:
    count = len(next(iter(tensors.values())))
    each = ({name: values[k : k + 1].numpy() for name, values in tensors.items()} for k in range(count))
    return [NetworkOutputs.read(outputs, one) for one in each]
