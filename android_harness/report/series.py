"""Clocks and heat of timed processes: which were slowed down, and a table of them."""

from collections.abc import Iterator, Sequence
from statistics import median

from bilayer.android_harness.device.conditions import SLOWER
from bilayer.android_harness.report.cells import DASH, clean, label, rows_of
from bilayer.android_harness.results import ModeResult, Moment, Result
from bilayer.benchmarks.report.document import Section


def processes(row: ModeResult) -> list[list[Moment]]:
    """Return the moments of each process: before it, while it ran, after it."""
    numbers = sorted({one.process for one in row.series})
    return [[one for one in row.series if one.process == number] for number in numbers]


def slowed(row: ModeResult) -> list[Moment]:
    """Return moments at which the GPU's limit, or its clock while it worked, was below that of the first process."""
    first = [one.gpu_mhz for own in processes(row)[:1] for one in own[1:-1] if one.gpu_mhz]
    usual = median(first) if first else 0.0
    limit = max((one.gpu_limit_mhz or 0.0 for one in row.series), default=0.0)
    held = [one for one in row.series if one.gpu_limit_mhz and one.gpu_limit_mhz < limit]
    slow = [one for own in processes(row) for one in own[1:-1] if one.gpu_mhz and one.gpu_mhz < SLOWER * usual]
    return [one for one in row.series if one in held or one in slow]


def series_rows(results: Sequence[Result]) -> Iterator[Section]:
    """Yield a line for each timed process of a device; nothing where none has a series."""
    rows = []
    for result, row in rows_of(results, on_device=True):
        marked = slowed(row)
        for own in processes(row):
            clocks = [one.gpu_mhz for one in own[1:-1] if one.gpu_mhz]
            limits = [one.gpu_limit_mhz for one in own if one.gpu_limit_mhz]
            heat = [f"{one.celsius:.1f}" for one in own if one.celsius is not None]
            cells = [f"{median(clocks):.0f}" if clocks else DASH, f"{min(limits):.0f}" if limits else DASH]
            note = "SLOWED DOWN" if any(one in marked for one in own) else ""
            shown = [f"{own[-1].uptime_s - own[0].uptime_s:.1f}", *cells, " to ".join(heat) or DASH, note]
            rows.append([label(result), clean(row.title), own[0].process, *shown])
    if not rows:
        return
    headers = ["device", "runtime", "process", "seconds", "GPU MHz", "lowest limit", "hottest sensor", "notes"]
    note = (
        f"While the process ran, loading included. Slowed down: the GPU's limit fell, or its clock was under "
        f"{100 * SLOWER:.0f} % of that of the mode's first process."
    )
    yield Section("Clocks and heat", headers, rows, [note])
