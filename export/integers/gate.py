"""Whether integers show: the gate that FP16 storage is held to, as one number that a search can bring down."""

import math
from collections.abc import Sequence

from torch import Tensor

from bilayer.export.integers.quantize import Excess
from bilayer.runtime.agreement import DEFAULT, FRAME, Agreement, compare
from bilayer.runtime.bundle import Outputs
from bilayer.runtime.frame import NetworkOutputs
from bilayer.runtime.sampler.compositor import FrameCompositor

# The search asks for so much of what the gate allows: other poses judge, and they may be worse
SHARE = 0.6


def excess_of(found: Agreement) -> float:
    """The worst figure over what the gate allows it (errors, not decibels): at most 1 passes."""
    if found.not_finite:
        return math.inf
    least = DEFAULT.fp16_hybrid_psnr
    over = [10 ** ((least - db) / 20) for name, db in found.psnr_db.items() if name not in ("delta_uv", FRAME)]
    over.append(found.uv_pixels / DEFAULT.fp16_hybrid_uv_pixels)
    over.append((1 - found.frame_ssim) / (1 - DEFAULT.fp16_hybrid_frame_ssim))
    return max(over)


def gate_of(exact: dict[str, Tensor], outputs: Outputs, compositor: FrameCompositor) -> Excess:
    """What `fewest_wide` asks: how far results are over the gate's SHARE, for the poses of `exact`, (N, ...) each."""
    expected = [(one, compositor.compose(one.drawable())) for one in _results(exact, outputs)]

    def excess(made: dict[str, Tensor]) -> float:
        pairs = zip(_results(made, outputs), expected, strict=True)
        worst = Agreement.worst(
            compare(found, one, compositor.compose(found.drawable()), frame) for found, (one, frame) in pairs
        )
        return excess_of(worst) / SHARE

    return excess


def _results(tensors: dict[str, Tensor], outputs: Outputs) -> Sequence[NetworkOutputs]:
    count = len(next(iter(tensors.values())))
    each = ({name: values[k : k + 1].numpy() for name, values in tensors.items()} for k in range(count))
    return [NetworkOutputs.read(outputs, one) for one in each]
