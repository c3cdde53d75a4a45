"""Results of devices as tables. No time is shown of what was not measured on one: an emulator's would mean nothing."""

from collections.abc import Iterator, Sequence

from bilayer.android_harness.report.cells import (
    DASH,
    PARITY_COLUMNS,
    clean,
    label,
    milliseconds,
    psnr_text,
    row_label,
    rows_of,
)
from bilayer.android_harness.report.roofline import roofline_rows
from bilayer.android_harness.report.sampler import frame_ms, sampler_rows, whole_frames
from bilayer.android_harness.report.series import series_rows
from bilayer.android_harness.results import ModeResult, Result
from bilayer.benchmarks.report.document import Report, Section
from bilayer.runtime.agreement import FRAME

PAPER = (
    "The paper: 42 ms on a Snapdragon 855's GPU in FP16, mean of 100 runs, without sampling and copies: compare with "
    "`forward`. Its CPU sampler takes 2 ms more."
)


def make_report(results: Sequence[Result]) -> Report:
    """Return whether devices compute the avatar's network, how fast, on what, and where the time goes."""
    parities = [row.parity for _, row in rows_of(results) if row.parity]
    wrong = [
        f"{label(result)}, sampler {clean(row.kernel)} on {clean(row.cores)} cores: WRONG RESULTS"
        for result in results
        for row in (result.sampler.rows if result.sampler else [])
        if not row.plausible
    ]
    noted = [(result, row) for result, row in rows_of(results) if not row.missing]
    doubts = [f"{row_label(*one)}: {said}" for one in noted if (said := flags(one[1]))]
    broken = bool(wrong) or not all(parity.plausible for parity in parities)
    verdict = "broken" if broken else "warned" if doubts else "passed" if parities else ""
    sections = [_latency(results), *whole_frames(results), _parity(results), *sampler_rows(results)]
    sections += [*roofline_rows(results), *series_rows(results), _sources(results), *_layers(results)]
    return Report("Avatars on devices", verdict, [*wrong, *doubts], facts=_facts(results), sections=sections)


def _facts(results: Sequence[Result]) -> dict[str, str]:
    """The quickest mode whose results are right, and the worst frames."""
    facts = {}
    timed = [
        (row.latency.total_ms.median, frame_ms(result, row), row_label(result, row))
        for result, row in rows_of(results, on_device=True)
        if row.latency and row.parity and row.parity.plausible
    ]
    if timed:
        network, whole, name = min(timed, key=lambda one: one[0])
        facts[f"network with copies: {name}"] = f"{network:.1f} ms"
        if whole is not None:
            facts[f"with the sampler, one after the other: {name}"] = f"{1000 / whole:.1f} fps"
    parities = [row.parity.psnr_db for _, row in rows_of(results) if row.parity]
    if frames := [psnr_db[FRAME] for psnr_db in parities if FRAME in psnr_db]:
        facts["frames against ONNX Runtime, the worst mode"] = f"{min(frames):.1f} dB"
    return facts


def flags(row: ModeResult) -> str:
    """Return what a reader has to know of a row: why it is missing, throttled, or wrong; empty if nothing is."""
    remarks = [f"could not run: {row.missing}"] if row.missing else []
    remarks += [f"THROTTLED: {sign}" for sign in row.throttled]
    if row.not_cooled:
        remarks.append(f"{row.not_cooled} of {row.processes} processes began warm, or the temperature is unknown")
    if row.parity and (reasons := ", ".join(row.parity.ruling.reasons)):
        remarks.append(reasons if row.parity.plausible else f"WRONG RESULTS, as {row.parity.kind}: {reasons}")
    return clean("; ".join(remarks))


def _latency(results: Sequence[Result]) -> Section:
    rows = []
    for result, row in rows_of(results):
        latency = row.latency if result.measured_on == "device" else None
        times = [DASH] * 4
        if latency is not None:
            forward, total, init = map(milliseconds, (latency.forward_ms, latency.total_ms, latency.init_ms))
            times = [forward, total, f"{latency.frames_per_second:.1f}", init]
        counts = f"{result.protocol.executions} x {row.processes}" if latency else DASH
        rows.append([label(result), clean(row.title), *times, counts, flags(row)])
    headers = ["device", "runtime", "forward ms", "total ms", "network fps", "init ms", "N x processes", "notes"]
    notes = [
        "`forward` is the runtime alone, `total` one execution with copies and changes of layout, `network fps` what "
        "that allows, without the sampler; each the mean over the N executions of a process: median (lowest to "
        "highest) of the processes.",
        PAPER,
    ]
    if any(result.measured_on != "device" for result in results):
        notes.append("No time is shown for what was emulated or run by a stand-in: it would be no phone's.")
    return Section("Latency", headers, rows, notes)


def _parity(results: Sequence[Result]) -> Section:
    rows = []
    for result, row in rows_of(results):
        if row.parity:
            figures = [psnr_text(row.parity, name) for name in PARITY_COLUMNS]
            rest = [f"{row.parity.frame_ssim:.4f}", f"{row.parity.uv_pixels:.3f}", row.parity.poses]
            above = row.parity.above_emulation_db
            gate = [row.parity.kind, DASH if above is None else f"{above:+.1f}", row.parity.ruling.verdict]
            rows.append([label(result), clean(row.title), *figures, *rest, *gate])
    columns = [*PARITY_COLUMNS.values(), "SSIM", "warp error px", "poses", "held to", "above emulated dB", "verdict"]
    notes = [
        "PSNR against ONNX Runtime in float32, the worst of the poses; `exact`: no difference.",
        "`held to` is a row of the gate of docs/parity.md. `above emulated` is how much more than FP16 emulated at the "
        "same poses (of fp16 its worse end) the least result has: fp16 is refused from -10 on, other than that of "
        "emulated results over 80.",
    ]
    return Section("Parity", ["device", "runtime", *columns], rows, notes)


def _sources(results: Sequence[Result]) -> Section:
    names = [
        "measured on", "date", "device", "SoC", "GPU", "Android", "runtime", "SDK", "adb", "bilayer", "avatar",
        "network file", "poses", "statistic", "warm-up", "cool-down",
    ]  # fmt: skip
    columns = []
    for result in results:
        device, tools, model, protocol = result.device, result.tools, result.model, result.protocol
        why = f" ({'; '.join(result.why)})" if result.why else ""
        start = "" if protocol.start_celsius is None else f", to {protocol.start_celsius:.0f} degrees"
        trained = "" if model.trained else ", untrained"
        values = [
            result.measured_on + why,
            result.date,
            f"{device.maker} {device.model}",
            f"{device.soc} {device.platform}",
            device.gpu,
            f"{device.android or 'unknown'}, build {device.build or 'unknown'}, patch {device.patch or 'unknown'}",
            f"{tools.program} {tools.runtime}",
            tools.sdk,
            tools.adb,
            tools.bilayer,
            f"{model.name}, {model.image_size} px, {model.gmacs:.2f} GMAC{trained}",
            f"{model.converted_by}, {model.converted_sha256[:12]}",
            protocol.poses,
            f"N = {protocol.executions}: {protocol.statistic}",
            f"{protocol.warm_up} executions before each process",
            f"at most {protocol.cool_down_s:.0f} s before each process{start}; modes in turn",
        ]
        columns.append([clean(value.strip()) or DASH for value in values])
    headers = ["", *(f"result {number + 1}" for number in range(len(results)))]
    return Section("Measured on", headers, list(zip(names, *columns, strict=True)))


def _layers(results: Sequence[Result]) -> Iterator[Section]:
    """Make the table of the slowest layers of each mode."""
    note = "Detailed profiling slows a GPU down, and a GPU has several layers in one: shares, not latencies."
    profiled = [(result, row) for result, row in rows_of(results, on_device=True) if row.layers]
    if profiled:
        yield Section("Slowest layers", lead=note)
    for result, row in profiled:
        slowest = sorted(row.layers, key=lambda layer: -layer.ms)[:10]
        whole = sum(layer.ms for layer in row.layers) or 1.0
        cells = [[clean(one.name), f"{one.ms:.3f}", f"{100 * one.ms / whole:.0f} %", one.unit] for one in slowest]
        yield Section(row_label(result, row), ["layer", "ms", "share", "on"], cells, level=3)
