"""What this machine's arithmetic can do at best: a matrix product, timed in the same run as what is held against it."""

from collections.abc import Callable

import torch

from bilayer.benchmarks.speed.timing import Samples
from bilayer.model.threads import torch_threads

PEAK = "matrix product, fp32"  # the name of its row
SIDE = 1024  # of the square matrices: 4 MiB each, large enough for the library's best kernels
GMACS = SIDE**3 / 1e9

NOTE = (
    "of peak: multiply-accumulates a second, as a share of those of torch's float32 product of two matrices of "
    f"{SIDE} x {SIDE} on as many threads in the same turns. Reduced precision, and kernels that save "
    "products (Winograd), can pass 100 %. ms at peak: what the GMAC would take at that rate."
)


def matrix_product(threads: int) -> Callable[[], object]:
    """Return a call that multiplies two float32 matrices on so many threads of torch, whose own number stays."""
    a, b = (torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    out = torch.empty(SIDE, SIDE)

    def call() -> None:
        with torch_threads(threads):
            torch.mm(a, b, out=out)

    return call


def share_of_peak(gmacs: float, side: Samples, peak: Samples) -> str:
    """Return a side's rate of `gmacs` a call, as a percentage of the matrix product's; the median over the turns."""
    return f"{gmacs / GMACS * peak.ratio_to(side):.0%}"


def at_peak(gmacs: float, peak: Samples) -> float:
    """Return the milliseconds that `gmacs` would take at the matrix product's rate."""
    return round(gmacs / GMACS * peak.median, 2)
