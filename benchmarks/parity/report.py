"""A parity ladder as JSON, and as a report for people."""

from dataclasses import asdict
from typing import Any

from bilayer.benchmarks.parity.ladder import Ladder, Step
from bilayer.benchmarks.parity.layer_errors import LayerReport
from bilayer.benchmarks.report.document import Report, Section
from bilayer.runtime.agreement import FRAME
from bilayer.runtime.command.json_text import finite
from bilayer.runtime.frame import RESULTS

MOST_LAYERS = 12  # rows of the layer table


def as_json(ladder: Ladder) -> dict[str, Any]:
    """Return all figures as JSON values; what is not finite is null."""
    content = {
        "bundle": str(ladder.bundle.folder),
        "trained": ladder.bundle.contract.origin.trained,
        "image_size": ladder.bundle.contract.image_size,
        "truth": ladder.truth,
        "poses": ladder.poses,
        "verdict": ladder.verdict,
        "thresholds": asdict(ladder.thresholds),
        "checks": [asdict(check) for check in ladder.checks],
        "rungs": [_as_json(step) for step in ladder.steps],
        "not_run": [asdict(missing) for missing in ladder.not_run],
        "layers": None if ladder.layers is None else asdict(ladder.layers),
    }
    told: dict[str, Any] = finite(content)
    return told


def _as_json(step: Step) -> dict[str, Any]:
    above = None if step.above is None else (step.above[0], step.above[1].to_dict())
    return {**asdict(step), "truth": step.truth.to_dict(), "above": above}


def make_report(ladder: Ladder) -> Report:
    """Return a report of verdict, ladder, its details, the checks, and what was not run."""
    contract, steps = ladder.bundle.contract, ladder.steps
    origin = contract.origin.checkpoint + ("" if contract.origin.trained else ", not trained")
    lead = [
        f"{ladder.bundle.folder} ({origin}), {contract.image_size} px, {ladder.poses} poses.",
        f"Truth: {ladder.truth}. dB of the worst pose; px: texture pixels.",
    ]
    warned = [f"{s.name}: {'; '.join(s.ruling.reasons)}" for s in steps if s.ruling.verdict == "warned"]
    warned += [f"{check.name}: {check.text}" for check in ladder.checks if check.verdict == "warned"]
    headers = ["rung", "uv dB", "uv px", "lf dB", "seg dB", "frame dB", "SSIM", "above dB", "poses", "verdict"]
    names = [step.name for step in steps]
    checks = [(check.name, check.label, check.verdict, check.text) for check in ladder.checks]
    sections = [
        Section("Ladder", headers, [_row(step, above) for step, above in zip(steps, ["", *names], strict=False)]),
        Section("Rungs", ["rung", "held to", "what it is"], [(step.name, step.kind, step.label) for step in steps]),
        _details(ladder),
        _levels(ladder),
        Section("Checks", ["check", "what", "verdict", "found"], checks),
    ]
    if ladder.not_run:
        missing = [(one.name, one.label, one.reason) for one in ladder.not_run]
        sections.append(Section("Not run", ["not run", "what", "why"], missing))
    if ladder.layers is not None:
        sections.append(_layers(ladder.layers))
    title = f"Parity of {ladder.bundle.folder.name or 'an avatar'}"
    return Report(title, ladder.verdict, [*ladder.failures, *warned], lead, _facts(ladder), sections)


def _facts(ladder: Ladder) -> dict[str, str]:
    verdicts = [step.ruling.verdict for step in ladder.steps]
    counts = {verdict: verdicts.count(verdict) for verdict in ("passed", "warned", "broken") if verdict in verdicts}
    facts = {f"rungs {' / '.join(counts)}": " / ".join(map(str, counts.values()))} if counts else {}
    if ladder.steps:
        frames = {step.name: step.truth.agreement.psnr_db[FRAME] for step in ladder.steps}
        worst = min(frames, key=lambda name: frames[name])
        facts[f"frames of the worst rung, {worst}"] = f"{frames[worst]:.1f} dB"
        pixels = {step.name: step.truth.agreement.uv_pixels for step in ladder.steps}
        furthest = max(pixels, key=lambda name: pixels[name])
        facts[f"largest error of the warp, {furthest}"] = f"{pixels[furthest]:.2g} px"
    return facts


def _row(step: Step, next_above: str) -> tuple[object, ...]:
    found = step.truth.agreement
    psnr = {name: f"{found.psnr_db[name]:.1f}" if name in found.psnr_db else "-" for name in (*RESULTS, FRAME)}
    above = "-"
    if step.above is not None:
        of = "" if step.above[0] == next_above else f" ({step.above[0]})"
        above = f"{step.above[1].agreement.worst_db:.1f}{of}"
    numbers = (
        psnr["delta_uv"],
        f"{found.uv_pixels:.2g}",
        psnr["lf_rgb"],
        psnr["seg"],
        psnr[FRAME],
        f"{found.frame_ssim:.5f}",
    )
    return step.name, *numbers, above, step.poses, step.ruling.verdict


def _details(ladder: Ladder) -> Section:
    """Every result of every rung against the truth."""
    rows = [
        (step.name, name, f"{d.max_abs:.1e}", f"{d.mean_abs:.1e}", f"{d.cosine:.7f}")
        for step in ladder.steps
        for name, d in step.truth.errors.items()
    ]
    return Section("Results", ["rung", "result", "max abs", "mean abs", "cosine"], rows)


def _levels(ladder: Ladder) -> Section:
    """Shares of the frames' 8-bit values by how many levels they differ from the truth's."""
    shares = {step.name: step.truth.level_shares for step in ladder.steps}
    names = list(next(iter(shares.values()), ()))
    rows = [(step, *(f"{100 * own[name]:.3f}%" for name in names)) for step, own in shares.items()]
    return Section("Frames by levels apart", ["levels apart", *names], rows)


def _layers(report: LayerReport) -> Section:
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
    title = f"Layers of {report.second} against {report.first}, the worst first{more}; signal over error"
    notes = [f"No layer is under {report.threshold_db:.0f} dB."]
    if report.over is not None:
        notes = [f"First layer under {report.threshold_db:.0f} dB: {report.over.layer}. {report.over.suggestion}"]
    if report.fault is not None and report.fault != report.over:
        notes.append(f"A fault that is no rounding: {report.fault.layer}. {report.fault.suggestion}")
    return Section(title, headers, rows, notes)
