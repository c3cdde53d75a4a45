"""Charts of devices' results, and the page that they stand on: latency, layers, parity, clocks and heat."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from bilayer.android_harness.report.cells import PARITY_COLUMNS, clean, label, psnr_text, row_label, rows_of
from bilayer.android_harness.report.sampler import frame_ms
from bilayer.android_harness.report.series import processes, slowed
from bilayer.android_harness.report.tables import make_report
from bilayer.android_harness.results import ModeResult, Moment, Result
from bilayer.benchmarks.report import charts
from bilayer.benchmarks.report.charts import Bar, BarChart, ChartRow, Curve, Ground, Panel, Part
from bilayer.benchmarks.report.document import Picture
from bilayer.runtime.agreement import DEFAULT, MOST_DB

PAPER_MS = 42.0
SMALLEST_SHARE = 0.03  # of a layer that is shown by itself
SHADES = (charts.BLUE, "#6d9bd2", "#5289cb", "#84abd9")  # of layers side by side
STEPS = {"runtime alone": charts.BLUE, "copies and layout": charts.PALE_BLUE, "sampler on the processor": charts.OCHRE}


def page(results: Sequence[Result]) -> str:
    """Return the report as one HTML file that loads nothing; a ToolMissingError without jinja2 or matplotlib."""
    pictures = [_latency(results), _parity(results), _layers(results), *_series(results)]
    return make_report(results).page(pictures)


def _latency(results: Sequence[Result]) -> Picture:
    """Medians end to end; whiskers from the lowest to the highest process."""
    rows = []
    for result, row in rows_of(results, on_device=True):
        if row.latency is None:
            continue
        total, forward = row.latency.total_ms, row.latency.forward_ms or row.latency.total_ms
        whole = frame_ms(result, row)
        lengths = [forward.median, total.median - forward.median, whole - total.median if whole else 0.0]
        parts = [Part(length, colour) for length, colour in zip(lengths, STEPS.values(), strict=True)]
        text = " + ".join(f"{length:.1f}" for length in lengths if length > 0)
        spans = [(spread.low, spread.high) for spread in (forward, total)]
        bar = Bar(parts, list(dict.fromkeys(spans)), f"{text} ms", "throttled" if row.throttled else "")
        rows.append(ChartRow(row_label(result, row), [bar]))
    if not rows:
        return Picture("", "Latency", "No latency: nothing here was measured on a device.")
    chart = BarChart("ms", rows, legend=STEPS, marks={f"paper: {PAPER_MS:.0f} ms": PAPER_MS})
    elsewhere = dict.fromkeys(label(result) for result in results if result.measured_on != "device")
    left_out = f" Without times: {', '.join(elsewhere)}." if elsewhere else ""
    caption = f"Medians of the processes, measured on the device; lines from the lowest to the highest.{left_out}"
    return Picture(charts.bar_charts([chart]), "Latency", caption)


def _layers(results: Sequence[Result]) -> Picture:
    """Draw each layer's share of the time, in the network's order; those too small to see are one bar at the end."""
    title, rows = "Where the network's time goes", []
    for result, row in rows_of(results, on_device=True):
        if not row.layers:
            continue
        whole = sum(layer.ms for layer in row.layers) or 1.0
        shares = [(layer.name, layer.ms / whole) for layer in row.layers if layer.ms / whole >= SMALLEST_SHARE]
        colours = [SHADES[place % len(SHADES)] for place in range(len(shares))]
        if small := len(row.layers) - len(shares):
            shares.append((f"{small} more", 1 - sum(share for _, share in shares)))
        parts = [
            Part(100 * share, colour, clean(name), f"{clean(name)}: {100 * share:.0f} %")
            for (name, share), colour in zip(shares, [*colours, charts.GREY], strict=False)
        ]
        rows.append(ChartRow(row_label(result, row), [Bar(parts)]))
    if not rows:
        return Picture("", title, "No layers: no detailed profile of a device.")
    return Picture(charts.bar_charts([BarChart("% of the network's time", rows)]), title)


def _parity(results: Sequence[Result]) -> Picture:
    """A bar for each quantity; what is exact reaches beyond all others."""
    title = "Parity with ONNX Runtime"
    compared = [(result, row, row.parity) for result, row in rows_of(results) if row.parity]
    if not compared:
        return Picture("", title, "Nothing was compared.")
    known = [db for _, _, parity in compared for db in parity.psnr_db.values() if db < MOST_DB]
    exact = 1.1 * max([DEFAULT.fp32_psnr, *known])
    rows = []
    for result, row, parity in compared:
        bars = []
        for name, colour in charts.RESULT_COLOURS.items():
            if name in parity.psnr_db:
                db, text = parity.psnr_db[name], psnr_text(parity, name)
                length = exact if db >= MOST_DB else max(db, 0.0)
                emulated = parity.emulated_db.get(name)
                span = [(emulated, emulated)] if emulated is not None and emulated < MOST_DB else []
                bars.append(Bar([Part(length, colour, hint=f"{PARITY_COLUMNS[name]}: {text}")], span, text))
        if bars and not parity.plausible:
            bars[-1] = replace(bars[-1], alarm="wrong")
        rows.append(ChartRow(row_label(result, row), bars))
    legend = {PARITY_COLUMNS[name].removesuffix(" dB"): colour for name, colour in charts.RESULT_COLOURS.items()}
    least = {"least in fp32": DEFAULT.fp32_psnr, "in fp16-hybrid": DEFAULT.fp16_hybrid_psnr}
    chart = BarChart("PSNR, dB", rows, legend=legend, marks=least)
    caption = (
        "Of the worst pose; what is exact reaches beyond all others. Short lines: FP16 emulated at the same poses."
    )
    return Picture(charts.bar_charts([chart]), title, caption)


def _series(results: Sequence[Result]) -> Iterator[Picture]:
    """Clocks and heat of each result's timed processes; red where the GPU was slowed down."""
    title = "Clocks and heat"
    for result in results:
        rows = [row for row in result.rows if row.series and result.measured_on == "device"]
        if rows:
            caption = f"{label(result)}, during the timed processes; a red ground is one with signs of throttling."
            yield Picture(_series_chart(rows), title, caption)
            title = ""


def _series_chart(rows: Sequence[ModeResult]) -> str:
    begin = min(moment.uptime_s for row in rows for moment in row.series)
    clocks, heat, grounds = [], [], []
    for row in rows:
        red = slowed(row)
        for own in processes(row):
            clocks.append(_curve("GPU's limit", charts.GREY, own, begin, lambda one: one.gpu_limit_mhz, dashed=True))
            clocks.append(_curve("GPU", charts.BLUE, own, begin, lambda one: one.gpu_mhz, red))
            clocks.append(_curve("fastest CPU core", charts.GREEN, own, begin, lambda one: one.cpu_mhz))
            heat.append(_curve("hottest sensor", charts.OCHRE, own, begin, lambda one: one.celsius))
            name = f"{clean(row.title)} {own[0].process}"
            alarm = any(one in red for one in own)
            grounds.append(Ground(own[0].uptime_s - begin, own[-1].uptime_s - begin, name, alarm))
    clocks.append(Curve("GPU slowed down", charts.ALARM, [], []))
    return charts.line_panels([Panel("MHz", clocks, least=0), Panel("°C", heat)], "seconds", grounds)


def _curve(
    name: str,
    colour: str,
    moments: Sequence[Moment],
    begin: float,
    value: Callable[[Moment], float | None],
    red: Sequence[Moment] = (),
    *,
    dashed: bool = False,
) -> Curve:
    points = [(one, y) for one in moments if (y := value(one)) is not None]
    marked = [number for number, (one, _) in enumerate(points) if one in red]
    return Curve(name, colour, [one.uptime_s - begin for one, _ in points], [y for _, y in points], dashed, marked)
