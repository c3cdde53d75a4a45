"""Results as Markdown. No time is shown of what was not measured on a device: an emulator's would mean nothing."""

from collections.abc import Sequence

from bilayer.android_harness.bench.parity import Parity
from bilayer.android_harness.report.sampler import sampler_table, user_table
from bilayer.android_harness.report.series import series_table
from bilayer.android_harness.results import ModeResult, Result, Spread
from bilayer.runtime.agreement import DEFAULT, MOST_DB
from bilayer.runtime.console import table

PAPER = (
    "The paper: 42 ms on a Snapdragon 855's GPU in FP16, mean of 100 runs, without sampling and copies: compare with "
    "`forward`. Its CPU sampler takes 2 ms more."
)
DASH = "-"
PARITY_COLUMNS = {"delta_uv": "warp dB", "lf_rgb": "lf dB", "seg": "mask dB", "frame": "frame dB"}


def markdown(results: Sequence[Result]) -> str:
    """A report of some results: latency, parity, what they were measured on, and where the time goes."""
    parts = ["# Avatars on devices", _latency_table(results), user_table(results, label, clean), _parity_table(results)]
    parts += [sampler_table(results, label, clean), series_table(results, label, clean), _source_table(results)]
    parts += map(_layers, results)
    return "\n\n".join(filter(None, parts)) + "\n"


def label(result: Result) -> str:
    """A device's name in a table."""
    device = result.device
    name = " ".join(filter(None, (device.maker, device.model))) or "unknown device"
    return clean(name if result.measured_on == "device" else f"{name} ({result.measured_on})")


def clean(text: str) -> str:
    """Text from a device or a file, fit for a cell of a table."""
    return "".join(c for c in text if c.isprintable()).replace("|", "/").replace("<", "‹").replace(">", "›")


def flags(row: ModeResult) -> str:
    """What a reader has to know of a row."""
    said = [f"could not run: {row.missing}"] if row.missing else []
    said += [f"THROTTLED: {sign}" for sign in row.throttled]
    if row.not_cooled:
        said.append(f"{row.not_cooled} of {row.processes} processes began warm, or the temperature is unknown")
    if row.parity and not row.parity.plausible:
        said.append(f"WRONG RESULTS: under {DEFAULT.plausible:g} dB, or not finite")
    return clean("; ".join(said))


def decibels(parity: Parity, name: str) -> str:
    """One figure of parity."""
    if name not in parity.psnr_db:
        return DASH
    value = parity.psnr_db[name]
    return "exact" if value >= MOST_DB else f"{value:.1f}"


def _latency_table(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        for row in result.rows:
            latency = row.latency if result.measured_on == "device" else None
            times = [DASH] * 4
            if latency is not None:
                forward, total, init = map(_milliseconds, (latency.forward_ms, latency.total_ms, latency.init_ms))
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
    return "\n\n".join(["## Latency", table(headers, rows), *notes])


def _parity_table(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        for row in result.rows:
            if row.parity:
                rows.append([label(result), clean(row.title), *_parity_cells(row.parity)])
    headers = ["device", "runtime", *PARITY_COLUMNS.values(), "warp error px", "poses"]
    note = "PSNR against ONNX Runtime in float32, the worst of the poses; `exact`: no difference."
    return "\n\n".join(["## Parity", table(headers, rows), note])


def _parity_cells(parity: Parity) -> list[str]:
    figures = [decibels(parity, name) for name in PARITY_COLUMNS]
    return [*figures, f"{parity.uv_px:.3f}", str(parity.poses)]


def _source_table(results: Sequence[Result]) -> str:
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
    return "\n\n".join(["## Measured on", table(headers, zip(names, *columns, strict=True))])


def _layers(result: Result) -> str:
    """The slowest layers of each mode."""
    parts = []
    for row in result.rows:
        if result.measured_on == "device" and row.layers:
            slowest = sorted(row.layers, key=lambda layer: -layer.ms)[:10]
            whole = sum(layer.ms for layer in row.layers) or 1.0
            cells = [[clean(one.name), f"{one.ms:.3f}", f"{100 * one.ms / whole:.0f} %", one.unit] for one in slowest]
            parts += [f"### {label(result)}, {clean(row.title)}", table(["layer", "ms", "share", "on"], cells)]
    note = "Detailed profiling slows a GPU down, and a GPU has several layers in one: shares, not latencies."
    return "\n\n".join(["## Slowest layers", *parts, note]) if parts else ""


def _milliseconds(spread: Spread | None) -> str:
    return DASH if spread is None else f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"
