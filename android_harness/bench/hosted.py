"""The avatar on a phone of Qualcomm's AI Hub, by the user's own account: `bilayer-device bench --route aihub`.

The client is PyPI's `qai-hub` (workbench.aihub.qualcomm.com/docs/hub/api.html): get_devices, submit_inference_job
with `profile`, which runs given inputs and times them; its job's wait, download_output_data and download_profile. The
bundle's own .tflite and .dlc are sent: nothing is compiled there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

import numpy as np

from bilayer.android_harness.bench.outcome import model_info, spread_of, utc_now
from bilayer.android_harness.bench.parity import Reference, Tensors
from bilayer.android_harness.device.probe import DeviceFacts
from bilayer.android_harness.results import BenchProtocol, Latency, LayerResult, ModeResult, Result, Tools
from bilayer.android_harness.routes.backend import ConvertedModel
from bilayer.android_harness.routes.vendor import COMPUTES_IN, Mode, choose_modes
from bilayer.runtime.arrays import Floats
from bilayer.runtime.bundle import Bundle, BundledFile
from bilayer.runtime.command.extras import naming_extras
from bilayer.runtime.engines.pose_encoding import PoseEncoder
from bilayer.runtime.errors import BundleError, DeviceError, InputError

PROGRAM = "qai-hub"


@dataclass(frozen=True)
class HostedMode:
    """A file of the bundle on one of a phone's processors."""

    title: str
    file: str  # its field of the contract's files
    options: str  # after the service's API page, Common options


MODES: dict[Mode, HostedMode] = {
    "aihub-tflite-gpu": HostedMode("LiteRT, GPU, FP16", "tflite", "--compute_unit gpu"),
    "aihub-tflite-cpu": HostedMode("LiteRT, CPU, FP32", "tflite", "--compute_unit cpu"),
    "aihub-dlc-npu": HostedMode("QNN, NPU, FP16", "dlc", "--compute_unit npu"),
}


def run_hosted(
    bundle: Bundle,
    poses: Floats,
    device: str | None,
    modes: Sequence[Mode],
    described: str,
    reference: Reference,
    say: Callable[[str], None],
) -> Result:
    """Return the modes' result in the form of one's own phone, without a sampler's; a row says where there is no file.

    Args:
        bundle: with a .tflite or a .dlc.
        poses: (P, 136).
        device: its name, as the service has it.
        modes: which; none are all.
        described: the poses, in words.
        reference: what is compared with.
        say: takes a line of progress.

    Raises:
        InputError: no device is named.
        DeviceError: there is no such device, or the service refuses.
        BundleError: the bundle has none of the files.
        ToolMissingError: qai-hub is not installed.
    """
    if not device:
        raise InputError("--route aihub: expected --hosted-device NAME, such as 'Samsung Galaxy S23'")
    wanted = choose_modes(PROGRAM, {mode: one.title for mode, one in MODES.items()}, modes)
    files = {mode: getattr(bundle.contract.files, MODES[mode].file) for mode in wanted}
    if not any(files.values()):
        raise BundleError(f"{bundle.folder}: has no .tflite or .dlc; export it again with --also tflite")
    with naming_extras():
        import qai_hub as hub
    client = _asking(hub, hub.Client)
    found = _asking(hub, lambda: client.get_devices(name=device))
    if not found:
        raise DeviceError(f"{device}: the service has no such phone; `qai-hub list-devices` names its own")
    stand_in = "stand-in" in str(hub.__version__)
    rows, sent = [], None
    for mode in wanted:
        file = files[mode]
        if file is None:
            rows.append(_row(mode, f"the bundle has no .{MODES[mode].file}"))
            continue
        say(f"{mode}: {file.name} on {device}")
        sent = sent or file
        rows.append(_run(hub, client, found[-1], bundle, file, mode, poses, reference, stand_in, say))
    assert sent is not None
    return Result(
        measured_on="stand-in" if stand_in else "device",
        why=[f"{PROGRAM} calls itself {hub.__version__}"] if stand_in else [],
        date=utc_now(),
        device=_facts(found[-1]),
        model=model_info(bundle, ConvertedModel(sent.sha256, "bilayer-export")),
        tools=Tools("aihub", PROGRAM, str(hub.__version__), "the service's", "", "", metadata.version("bilayer")),
        protocol=BenchProtocol(
            executions=100, warm_up=0, processes=1, poses=described, cool_down_s=0, start_celsius=None,
            statistic="of single executions, as the service times them: median, lowest and highest",
        ),
        rows=rows,
        sampler=None,
    )  # fmt: skip


def _run(
    hub: Any,
    client: Any,
    device: Any,
    bundle: Bundle,
    file: BundledFile,
    mode: Mode,
    poses: Floats,
    reference: Reference,
    stand_in: bool,
    say: Callable[[str], None],
) -> ModeResult:
    """One job: all poses, compared, and its profile. A job that the service fails is a row that says why."""
    encoder = PoseEncoder(bundle.contract.input, str(bundle.folder))
    inputs = {bundle.contract.input.tensor: [encoder.encode(pose).reshape(1, -1).copy() for pose in poses]}
    path, options = str(bundle.path(file)), MODES[mode].options
    job = _asking(
        hub,
        lambda: client.submit_inference_job(
            model=path, device=device, inputs=inputs, name=f"bilayer {mode}", options=options, profile=True
        ),
    )
    say(f"{mode}: {job.url}")
    status = _asking(hub, job.wait)
    if not status.success:
        return _row(mode, f"the job failed: {status.message or status.code}"[:500])
    outputs = _asking(hub, job.download_output_data) or {}  # both may be nothing, by its documents
    profile = _asking(hub, job.download_profile) or {}
    kind = COMPUTES_IN[mode]
    parity = reference.compare(poses, _tensors(outputs, reference.shapes, len(poses)), kind)
    integers = file is bundle.contract.files.dlc and bundle.contract.quantization is not None
    title = MODES[mode].title.replace("FP16", "integers") if integers else MODES[mode].title
    row = replace(_row(mode, None), title=title, parity=parity, processes=1)
    return row if stand_in else replace(row, latency=_latency(profile), layers=_layers(profile))


def _tensors(
    outputs: Mapping[str, Sequence[Any]], shapes: Mapping[str, tuple[int, ...]], count: int
) -> Sequence[Tensors]:
    """The outputs of each pose, (1, C, S, S) by name, of a file's NCHW or NHWC; a DeviceError of other outputs."""
    found: list[dict[str, Floats]] = [{} for _ in range(count)]
    for name, shape in shapes.items():
        values = outputs.get(name, ())
        if len(values) != count:
            raise DeviceError(
                f"{name}: expected {count} arrays from the service, found {len(values)} of {list(outputs)}"
            )
        for number, value in enumerate(values):
            array = np.asarray(value, np.float32)
            if array.shape != shape:
                if array.shape != (shape[0], *shape[2:], shape[1]):
                    raise DeviceError(f"{name}: expected {shape} from the service, found {array.shape}")
                array = np.moveaxis(array, -1, 1)
            found[number][name] = np.ascontiguousarray(array)
    return found


def _latency(profile: Mapping[str, Any]) -> Latency:
    """Times in microseconds, of `execution_summary`; a DeviceError where there are none."""
    summary = profile.get("execution_summary") or {}
    times = summary.get("all_inference_times") or [summary.get("estimated_inference_time")]
    total = spread_of(times if all(map(_is_time, times)) else [])
    if total is None:
        raise DeviceError(
            f"AI Hub: expected times of inference in the job's profile, found {str(summary or None)[:80]}"
        )
    loads = summary.get("first_load_time")
    return Latency(forward_ms=None, total_ms=total, init_ms=spread_of([loads]) if _is_time(loads) else None)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and value > 0


def _layers(profile: Mapping[str, Any]) -> list[LayerResult]:
    details = [one for one in profile.get("execution_detail") or [] if _is_time(one.get("execution_time"))]
    return [
        LayerResult(str(one.get("name", "")), round(one["execution_time"] / 1000, 3), str(one.get("compute_unit", "")))
        for one in details
    ]


def _row(mode: Mode, missing: str | None) -> ModeResult:
    return ModeResult(mode, MODES[mode].title, missing, None, 0, None, [], [], 0, [])


def _facts(device: Any) -> DeviceFacts:
    """What the service says of a phone: its name, system and attributes such as chipset:qualcomm-snapdragon-8gen2."""
    attributes = [device.attributes] if isinstance(device.attributes, str) else list(device.attributes)
    of = dict(one.split(":", 1) for one in attributes if ":" in one)
    return DeviceFacts(
        maker=of.get("vendor", ""), model=device.name, android=device.os, build="", patch="", platform="",
        soc=of.get("chipset", ""), gpu="", architecture="aarch64", kernel="", runtimes=[], free_mb=None, emulation=[],
    )  # fmt: skip


def _asking(hub: Any, call: Callable[[], Any]) -> Any:
    """What the client returns; its errors as one of ours: no token, no network, a refusal."""
    try:
        return call()
    except hub.Error as error:
        raise DeviceError(f"AI Hub: {' '.join(str(error).split())}"[:500]) from error
    except OSError as error:  # requests' are
        raise DeviceError(f"AI Hub cannot be reached: {error}") from error
