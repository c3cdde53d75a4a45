"""The sampler's part of a report: what a user sees of network and sampler together, and the sampler by itself."""

from collections.abc import Iterator, Sequence

from bilayer.android_harness.report.cells import DASH, clean, label, rows_of
from bilayer.android_harness.results import ModeResult, Result, SamplerRow
from bilayer.benchmarks.report.document import Section


def frame_ms(result: Result, row: ModeResult) -> float | None:
    """Return a mode's milliseconds for a whole frame, network and copies and then the sampler, in turn; or None."""
    felt = result.sampler.felt if result.sampler else None
    if result.measured_on != "device" or row.latency is None or felt is None or felt.frame_ms is None:
        return None
    return row.latency.total_ms.median + felt.frame_ms.median


def whole_frames(results: Sequence[Result]) -> Iterator[Section]:
    """Yield frames a second, of the modes that have a latency and a sampler's time; nothing without any."""
    rows = []
    for result, row in rows_of(results):
        whole, felt = frame_ms(result, row), result.sampler.felt if result.sampler else None
        if whole is None or felt is None or felt.frame_ms is None or row.latency is None:
            continue
        network = row.latency.total_ms.median
        slower = max(network, felt.frame_ms.median)
        cells = [f"{network:.2f}", f"{felt.frame_ms.median:.2f}", f"{whole:.2f}", f"{1000 / whole:.1f}"]
        rows.append([label(result), clean(row.title), *cells, f"{1000 / slower:.1f}", felt.kernel])
    if not rows:
        return
    headers = ["device", "runtime", "network total ms", "sampler ms", "frame ms", "fps", "fps, overlapped", "kernel"]
    note = (
        "What a user sees, without camera, landmarks and display: the network with its copies, then the sampler on one "
        "thread, on cores of the scheduler's choice. Medians. `fps, overlapped`: the sampler works on a frame while "
        "the network is at the next. The paper has 42 ms for the network alone and 2 ms for its sampler."
    )
    yield Section("A whole frame", headers, rows, [note])


def sampler_rows(results: Sequence[Result]) -> Iterator[Section]:
    """Yield a table of every kernel on every kind of core; none where no sampler ran."""
    rows = []
    for result in results:
        for row in result.sampler.rows if result.sampler else []:
            times = [DASH] * 6
            if result.measured_on == "device" and row.frame_ms is not None:
                ms = row.frame_ms
                times = [f"{value:.3f}" for value in (ms.median, ms.mean, ms.p90, ms.p99, ms.min, ms.max)]
            mhz = "" if row.core_mhz is None else f", {row.core_mhz:.0f} MHz"
            cores = clean(f"{row.cores}{mhz}")
            rows.append([label(result), clean(row.kernel), cores, row.threads, *times, _parity(row), _flags(row)])
    if not rows:
        return
    times_of = ["median ms", "mean", "p90", "p99", "min", "max"]
    headers = ["device", "kernel", "cores", "threads", *times_of, "bytes", "notes"]
    noted = [result.sampler for result in results if result.sampler]
    counts = ", ".join(sorted({f"{one.runs} frames after {one.warm_up}" for one in noted}))
    layouts = ", ".join(sorted({one.layout for one in noted}))
    note = (
        f"Each of {counts} by itself, {noted[0].evict_mb} MB of other memory written in between as by a network; "
        f"outputs {layouts}. `any` is the scheduler's choice of core, else threads stay where the name says. `bytes` "
        "against the Python sampler's frames."
    )
    yield Section("Sampler on the processor", headers, rows, [note])


def _parity(row: SamplerRow) -> str:
    if row.differing_bytes is None:
        return DASH
    if row.differing_bytes == 0:
        return "the same"
    return f"{row.differing_bytes} differ, by {row.worst_levels} of 255 at most"


def _flags(row: SamplerRow) -> str:
    remarks = ["held below its top clock"] if row.held_back else []
    if not row.plausible:
        remarks.append("WRONG RESULTS")
    return "; ".join(remarks)
