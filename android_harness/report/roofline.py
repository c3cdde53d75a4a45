"""What a network would take at a chip's published peaks, beside what was measured: computed, never measured."""

from collections.abc import Iterator, Sequence
from typing import get_args

from bilayer.android_harness.report.cells import DASH, clean, label
from bilayer.android_harness.results import ModeResult, Result
from bilayer.android_harness.routes.vendor import COMPUTES_IN, Mode
from bilayer.benchmarks.report.document import Section
from bilayer.benchmarks.report.rates import DEVICES, DeviceRates, RatedPrecision

NOTE = (
    "Computed, not measured: the network's multiply-accumulates at a published peak, two operations each, and nothing "
    "for memory, layouts or launches. Real kernels reach a small share of it: the paper's 42 ms are 11 % of an Adreno "
    "640's FP16."
)
INTEGERS = (
    "In integers the rate is what was claimed at the chip's launch and confirmed by nothing since: "
    "that of Hexagon, GPU and CPU together, and so above Hexagon's own, of which none is "
    "published, nor one for 16-bit activations, which take longer."
)
ON_HEXAGON: tuple[Mode, ...] = ("dsp", "htp", "htp-context")  # which take a .dlc in integers alone
_MODES: dict[str, Mode] = {mode: mode for mode in get_args(Mode)}


def roofline_rows(results: Sequence[Result]) -> Iterator[Section]:
    """Make the table of limits, for the results of devices whose chip has published rates."""
    known = [(result, rates) for result in results if (rates := _rates(result)) is not None]
    if not known:
        return
    rows = [row for result, rates in known for row in _rows(result, rates)]
    sources = [f"{rates.name}: {rates.source}" for _, rates in known]
    sources += [f"{rates.name}, integers: {rates.ai_source}" for _, rates in known if rates.ai_source]
    headers = ["device", "runtime", "computes in", "GMAC", "published rate", "ms at that rate", "measured ms", "share"]
    yield Section("At best, by published rates", headers, rows, [NOTE, INTEGERS, *dict.fromkeys(sources)])


def _rates(result: Result) -> DeviceRates | None:
    return next((one for one in DEVICES if one.platform and one.platform == result.device.platform), None)


def _rows(result: Result, rates: DeviceRates) -> Iterator[list[str]]:
    gmacs = result.model.gmacs
    for row in result.rows:
        mode = _MODES.get(row.mode)
        if mode in ON_HEXAGON and rates.ai_tops is not None:
            yield _row(result, clean(row.title), "int8", f"{rates.ai_tops:g} TOPS", _at_tops(gmacs, rates.ai_tops), row)
        if mode is None or not any(word in mode for word in ("gpu", "vulkan")):
            continue  # no rate of these CPUs is published
        precision: RatedPrecision = "fp16" if COMPUTES_IN[mode] == "fp16" else "fp32"  # the hybrid sums in float32
        gflops = rates.gflops[precision]
        yield _row(result, clean(row.title), precision.upper(), f"{gflops:.0f} GFLOPS", 2 * gmacs / gflops * 1e3, row)
    if rates.ai_tops is not None and not any(row.mode in ON_HEXAGON for row in result.rows):
        least = _at_tops(gmacs, rates.ai_tops)
        yield _row(result, "Hexagon, GPU and CPU together", "int8", f"{rates.ai_tops:g} TOPS", least, None)


def _at_tops(gmacs: float, tops: float) -> float:
    """The ms that as many multiply-accumulates take at 1e12 operations a second times `tops`."""
    return 2 * gmacs / (tops * 1e3) * 1e3


def _row(result: Result, title: str, kind: str, rate: str, least: float, row: ModeResult | None) -> list[str]:
    measured, share = DASH, DASH
    if row and result.measured_on == "device" and row.latency and row.parity and row.parity.plausible:
        spread = row.latency.forward_ms or row.latency.total_ms
        measured, share = f"{spread.median:.2f}", f"{100 * least / spread.median:.0f} %"
    return [label(result), title, kind, f"{result.model.gmacs:.2f}", rate, f"{least:.2f}", measured, share]
