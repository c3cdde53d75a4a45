"""Whether a rung of the parity ladder reaches what it must, by runtime/agreement.py, and what it says if not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bilayer.benchmarks.parity.compare import Comparison
from bilayer.benchmarks.parity.rungs import Kind
from bilayer.runtime.agreement import Thresholds

Verdict = Literal["passed", "warned", "broken"]


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
            least = min(end, thresholds.bracket_ceiling) - thresholds.below_bracket
            broken += _under(f"{name} (emulated: {end:.1f})", comparison.results[name].psnr_db, least)
    if broken:
        return Ruling("broken", tuple(broken))
    return Ruling("warned" if warned else "passed", tuple(warned))


def _under(what: str, found: float, expected: float) -> list[str]:
    return [] if found >= expected else [f"{what} has {found:.1f} dB, expected at least {expected:.0f}"]
