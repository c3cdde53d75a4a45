"""What each rung of the parity ladder must reach, and what it says where it does not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bilayer.benchmarks.compare import Comparison
from bilayer.benchmarks.rungs import Kind

Verdict = Literal["passed", "warned", "broken"]


@dataclass(frozen=True)
class Thresholds:
    """Against the float64 truth, the worst pose's."""

    float32_psnr: float = 100.0  # dB of each result; float32's own rounding leaves about 117
    float32_frame_psnr: float = 60.0  # dB of the 8-bit frame: one value in 15 may fall on the other side of a level
    hybrid_frame_psnr: float = 60.0  # dB
    hybrid_uv_pixels: float = 0.25  # texture pixels
    arithmetic_warning: float = 45.0  # dB of the frame
    # FP16 arithmetic is a bracket, and no number of it is right or wrong. Under this there is no picture left of it:
    # sequential sums of wild random weights reach 31
    arithmetic_floor: float = 20.0  # dB of the frame
    # A measured FP16 or bfloat16 that is this much worse than the emulation's worse end computes something else
    below_bracket: float = 10.0  # dB of a result


@dataclass(frozen=True)
class Ruling:
    """On one rung."""

    verdict: Verdict
    reasons: tuple[str, ...]  # empty where it passed


def judge(
    comparison: Comparison,
    kind: Kind,
    thresholds: Thresholds,
    bracket: Mapping[str, float] | None = None,
) -> Ruling:
    """Hold a rung's differences to its kind's thresholds.

    Args:
        comparison: with the truth.
        kind: what the rung is held to.
        thresholds: for all kinds.
        bracket: for measured FP16 arithmetic or bfloat16, PSNR of each result by the emulation, its worse end; None
            where it is the emulation, or that was not run.
    """
    frame, broken, warned = comparison.frame.psnr_db, [], []
    if kind == "float32":
        for name, difference in comparison.results.items():
            broken += _under(f"{name}", difference.psnr_db, thresholds.float32_psnr)
        broken += _under("frame", frame, thresholds.float32_frame_psnr)
    elif kind == "hybrid":
        broken += _under("frame", frame, thresholds.hybrid_frame_psnr)
        pixels = comparison.results["delta_uv"].max_pixels
        if pixels is not None and not pixels <= thresholds.hybrid_uv_pixels:
            broken.append(f"delta_uv is {pixels:.3g} px off, expected at most {thresholds.hybrid_uv_pixels:g}")
    else:
        broken += _under("frame", frame, thresholds.arithmetic_floor)
        warned += _under("frame", frame, thresholds.arithmetic_warning)
        for name, end in (bracket or {}).items():
            difference = comparison.results[name]
            broken += _under(f"{name} (emulated: {end:.1f})", difference.psnr_db, end - thresholds.below_bracket)
    if broken:
        return Ruling("broken", tuple(broken))
    return Ruling("warned" if warned else "passed", tuple(warned))


def _under(what: str, found: float, expected: float) -> list[str]:
    return [] if found >= expected else [f"{what} has {found:.1f} dB, expected at least {expected:.0f}"]
