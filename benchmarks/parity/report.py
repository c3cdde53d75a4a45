"""A parity ladder as JSON, and as Markdown for a terminal."""

import math
from dataclasses import asdict
from typing import Any

from bilayer.benchmarks.parity.compare import Comparison
from bilayer.benchmarks.parity.ladder import Ladder, Step
from bilayer.benchmarks.parity.layer_errors import LayerReport
from bilayer.runtime.console import table

MOST_LAYERS = 12  # rows of the layer table
RESULTS = ("delta_uv", "lf_rgb", "seg")


def as_json(ladder: Ladder) -> dict[str, Any]:
    """All figures; what is not finite is null."""
    content = {
        "bundle": str(ladder.bundle.folder),
        "trained": ladder.bundle.contract.origin.trained,
        "image_size": ladder.bundle.contract.image_size,
        "truth": ladder.truth,
        "poses": ladder.poses,
        "verdict": ladder.verdict,
        "thresholds": asdict(ladder.thresholds),
        "checks": [asdict(check) for check in ladder.checks],
        "rungs": [asdict(step) for step in ladder.steps],
        "not_run": [asdict(missing) for missing in ladder.not_run],
        "layers": None if ladder.layers is None else asdict(ladder.layers),
    }
    finite: dict[str, Any] = _finite(content)
    return finite


def as_markdown(ladder: Ladder) -> str:
    """Tables of the ladder, of its details, of the checks, and of what was not run."""
    contract = ladder.bundle.contract
    origin = contract.origin.checkpoint + ("" if contract.origin.trained else ", not trained")
    parts = [
        f"{ladder.bundle.folder} ({origin}), {contract.image_size} px, {ladder.poses} poses.\n"
        f"Truth: {ladder.truth}. dB of the worst pose; px: texture pixels.",
        ladder_table(ladder),
        rungs_table(ladder),
        details_table(ladder),
        levels_table(ladder),
        table(["check", "what", "verdict", "found"], [(c.name, c.label, c.verdict, c.text) for c in ladder.checks]),
    ]
    if ladder.not_run:
        parts.append(table(["not run", "what", "why"], [(m.name, m.label, m.reason) for m in ladder.not_run]))
    if ladder.layers is not None:
        parts.append(layers_text(ladder.layers))
    said = [f"{s.name}: {'; '.join(s.ruling.reasons)}" for s in ladder.steps if s.ruling.verdict == "warned"]
    parts += [f"warning: {line}" for line in said]
    parts.append(f"{ladder.verdict}" + "".join(f"\n- {line}" for line in ladder.failures))
    return "\n\n".join(parts)


def ladder_table(ladder: Ladder) -> str:
    """A row for each rung."""
    headers = ["rung", "uv dB", "uv px", "lf dB", "seg dB", "frame dB", "SSIM", "above dB", "poses", "verdict"]
    return table(headers, [_row(step) for step in ladder.steps])


def _row(step: Step) -> tuple[object, ...]:
    results = step.truth.results
    psnr = {name: f"{results[name].psnr_db:.1f}" if name in results else "-" for name in RESULTS}
    above = "-" if step.above is None else f"{step.above[1].worst_psnr:.1f}"
    frame = step.truth.frame
    pixels = results["delta_uv"].max_pixels
    assert pixels is not None
    numbers = (
        psnr["delta_uv"],
        f"{pixels:.2g}",
        psnr["lf_rgb"],
        psnr["seg"],
        f"{frame.psnr_db:.1f}",
        f"{frame.ssim:.5f}",
    )
    return step.name, *numbers, above, step.poses, step.ruling.verdict


def rungs_table(ladder: Ladder) -> str:
    """What each rung is, and what it is held to."""
    return table(["rung", "held to", "what it is"], [(step.name, step.kind, step.label) for step in ladder.steps])


def details_table(ladder: Ladder) -> str:
    """Every result of every rung against the truth."""
    rows = [
        (step.name, name, f"{d.max_abs:.1e}", f"{d.mean_abs:.1e}", f"{d.cosine:.7f}")
        for step in ladder.steps
        for name, d in step.truth.results.items()
    ]
    return table(["rung", "result", "max abs", "mean abs", "cosine"], rows)


def levels_table(ladder: Ladder) -> str:
    """Shares of the frames' 8-bit values by how many levels they differ from the truth's."""
    names = list(ladder.steps[0].truth.frame.level_shares) if ladder.steps else []
    rows = [(step.name, *(_percent(step.truth, name) for name in names)) for step in ladder.steps]
    return table(["levels apart", *names], rows)


def _percent(comparison: Comparison, name: str) -> str:
    return f"{100 * comparison.frame.level_shares[name]:.3f}%"


def layers_text(report: LayerReport) -> str:
    """The worst layers, and the first over the threshold."""
    rows = [
        (
            e.layer,
            e.kind,
            f"{e.sqnr_db:.1f}",
            "-" if e.own_db is None else f"{e.own_db:.1f}",
            f"{e.max_abs:.1e}",
            f"{e.peak:.3g}",
            e.terms,
        )
        for e in report.layers[:MOST_LAYERS]
    ]
    headers = ["layer", "kind", "dB", "own dB", "max abs", "peak", "terms"]
    more = f" (worst {MOST_LAYERS} of {len(report.layers)})" if len(report.layers) > MOST_LAYERS else ""
    title = f"Layers of {report.second} against {report.first}, the worst first{more}; signal over error:"
    over = f"No layer is under {report.threshold_db:.0f} dB."
    if report.over is not None:
        over = f"First layer under {report.threshold_db:.0f} dB: {report.over.layer}. {report.over.suggestion}"
    if report.fault is not None and report.fault != report.over:
        over += f"\nA fault that is no rounding: {report.fault.layer}. {report.fault.suggestion}"
    return f"{title}\n\n{table(headers, rows)}\n\n{over}"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
