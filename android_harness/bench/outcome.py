"""From what a session holds to a result: what the numbers are worth, and rows of them."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bilayer.android_harness.bench.session import Session, SessionProcess
from bilayer.android_harness.device.conditions import Conditions
from bilayer.android_harness.device.probe import DeviceFacts
from bilayer.android_harness.results import Latency, LayerResult, MeasuredOn, ModelInfo, ModeResult, Moment, Spread
from bilayer.android_harness.routes.backend import ConvertedModel
from bilayer.android_harness.routes.sdk import is_android_program
from bilayer.runtime.bundle import Bundle


def measured_on(facts: DeviceFacts, program: Path, runtime: str) -> tuple[MeasuredOn, list[str]]:
    """Tell whether numbers are a device's, an emulated one's or a stand-in's, and why; in doubt the least of these."""
    if not is_android_program(program):
        return "stand-in", [f"{program.name} is no program for 64-bit Android"]
    if "stand-in" in runtime.lower():
        return "stand-in", [f"{program.name} calls itself {runtime}"]
    if "emulated" in runtime.lower():
        return "emulated", [f"{program.name} finds itself {runtime.partition('emulated: ')[2].partition('; ')[0]}"]
    return ("emulated", facts.emulation) if facts.emulation else ("device", [])


def model_info(bundle: Bundle, converted: ConvertedModel) -> ModelInfo:
    """Describe the avatar's network, and the file that was run."""
    contract = bundle.contract
    return ModelInfo(
        name=bundle.folder.absolute().name,
        image_size=contract.image_size,
        gmacs=contract.graph.gmacs,
        trained=contract.origin.trained,
        onnx_sha256=contract.files.onnx.sha256,
        converted_sha256=converted.sha256,
        converted_by=converted.tool,
    )


def utc_now() -> str:
    """Return the time of a result, ISO 8601, in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def make_row(mode: str, title: str, session: Session, on: MeasuredOn) -> ModeResult:
    """Make a result's row of what a session has of a mode; without times unless it ran on a device."""
    processes = session.of(mode)
    layers = session.layers.get(mode, []) if on == "device" else []
    return ModeResult(
        mode=mode,
        title=title,
        missing=session.missing.get(mode),
        parity=session.parity.get(mode),
        processes=len(processes),
        latency=_latency(processes) if on == "device" else None,
        layers=[LayerResult(layer.name, round(layer.us / 1000, 3), layer.unit) for layer in layers],
        throttled=sorted({sign for process in processes for sign in process.throttled}),
        not_cooled=sum(not process.cooled for process in processes),
        series=[moment for process in processes for moment in process.series] if on == "device" else [],
    )


def moments(process: int, conditions: Sequence[Conditions]) -> list[Moment]:
    """Return what a report shows of a process's conditions, those whose time is known."""
    return [
        Moment(
            process=process,
            uptime_s=one.uptime_s,
            gpu_mhz=one.gpu_mhz,
            gpu_limit_mhz=one.gpu_limit_mhz,
            cpu_mhz=max(one.cpu_mhz, default=None),
            celsius=one.hottest_celsius,
        )
        for one in conditions
        if one.uptime_s is not None
    ]


def _latency(processes: Sequence[SessionProcess]) -> Latency | None:
    total = spread_of([process.total_us for process in processes])
    if total is None:
        return None
    forward, init = ([getattr(process, name) for process in processes] for name in ("forward_us", "init_us"))
    return Latency(forward_ms=spread_of(forward), total_ms=total, init_ms=spread_of(init))


def spread_of(us: Sequence[float | None]) -> Spread | None:
    """Return the median, least and most of times in microseconds; None where there are none, or one is not known."""
    known = [value / 1000 for value in us if value is not None]
    if not known or len(known) < len(us):
        return None
    return Spread(round(median(known), 3), round(min(known), 3), round(max(known), 3))
