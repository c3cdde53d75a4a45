"""The steps of a measurement: a mode's results compared, its processes timed, its layers; and the sampler.

Each looks in the session first, does only what is missing there, and saves what it has found.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from bilayer.android_harness.bench.outcome import moments
from bilayer.android_harness.bench.sampler import SamplerBench
from bilayer.android_harness.bench.session import SessionProcess
from bilayer.android_harness.bench.setup import Measurement
from bilayer.android_harness.device.conditions import Conditions, busy_gpu_mhz, read_conditions, throttling
from bilayer.android_harness.device.cooling import cool_down
from bilayer.android_harness.device.execution import (
    RuntimeMissingError,
    execute,
    fetch_log,
    fetch_results,
    read_results,
    results_bytes,
)
from bilayer.android_harness.routes.diagnostics import Profile
from bilayer.android_harness.routes.sdk import is_android_program
from bilayer.android_harness.routes.vendor import Mode, Profiling, held_to
from bilayer.runtime.errors import DeviceError
from bilayer.runtime.files.reading import FileKind, read_bytes
from bilayer.runtime.files.writing import replacing


def check_mode(work: Measurement, mode: Mode) -> None:
    """Compare a mode's results with ONNX Runtime's; a mode that the device does not have is noted as missing.

    Raises:
        DeviceError: the program fails for another reason, or the device is gone.
    """
    session = work.session
    if mode in session.parity or mode in session.missing:
        return
    work.say(f"{mode}: comparing with ONNX Runtime")
    try:
        _run(work, mode, "basic", "parity.txt")
    except RuntimeMissingError as error:
        session.missing[mode] = str(error).partition(": ")[2]  # without the serial number: results are shared
        work.say(str(error))
    else:
        poses, shapes = work.setup.poses, work.reference.shapes
        with tempfile.TemporaryDirectory(prefix="bilayer-device-") as name:
            place = fetch_results(work.workspace, Path(name), len(poses) * results_bytes(shapes))
            found = [read_results(place, number, shapes, work.setup.backend.layout) for number in range(len(poses))]
            session.parity[mode] = work.reference.compare(poses, found, held_to(mode, work.setup.bundle))
    work.save()


def time_processes(work: Measurement) -> None:
    """Time the processes that the session still lacks, the modes in turn and each time another one first.

    Raises:
        DeviceError: a process fails, or the device is gone.
    """
    session, options = work.session, work.options
    modes = [mode for mode in options.modes if mode not in session.missing]
    if session.start_celsius is None and work.on_device:
        session.start_celsius = read_conditions(work.setup.device).hottest_celsius
    for turn in range(options.processes):
        for mode in modes[turn % len(modes) :] + modes[: turn % len(modes)]:
            if len(session.of(mode)) <= turn:
                work.say(f"{mode}: process {turn + 1} of {options.processes}, {options.executions} executions")
                session.processes.append(_timed_process(work, mode))
                work.save()


def time_sampler(work: Measurement) -> None:
    """Time the sampler on the device's processor, where that is wanted and its runner or protocol is another now.

    Raises:
        DeviceError: the runner fails, or the device is gone.
    """
    settings, session = work.options.sampler, work.session
    if settings is None:
        return
    key = f"{work.runner_sha256} {settings.runs} {settings.warm_up}"
    if session.sampler is not None and session.sampler_key == key:
        return
    work.say("the sampler, on every kind of core")
    keep_times = work.on_device and is_android_program(settings.runner)
    bench = SamplerBench(work.workspace, work.setup.bundle, work.reference, settings, work.sampler_layout)
    session.sampler = bench.measure(work.setup.poses, work.options.timeout, keep_times)
    session.sampler_key = key
    work.save()


def profile_layers(work: Measurement, mode: Mode) -> None:
    """Take the times of a mode's layers, where its log has such; profiling slows a GPU down, so this comes last.

    Raises:
        DeviceError: the program fails, or the device is gone.
    """
    session = work.session
    if not work.setup.backend.has_layers or mode in session.missing or mode in session.layers:
        return
    work.say(f"{mode}: layers")
    _run(work, mode, "detailed", "layers.txt")
    profile = _profile(work, f"{mode}-layers")
    session.layers[mode] = list(profile.layers) if work.on_device else []
    work.save()


def _timed_process(work: Measurement, mode: Mode) -> SessionProcess:
    """Cool down, warm up, then time one process; without its times unless they are a device's."""
    device, session, options = work.setup.device, work.session, work.options
    cooled = not work.on_device or cool_down(device, session.start_celsius, options.cool_down, work.say)
    if options.warm_up:
        _run(work, mode, "basic", "warm.txt")
    before = read_conditions(device)
    during = _run(work, mode, "basic", "timed.txt")
    after = read_conditions(device)
    earlier = [process.busy_gpu_mhz for process in session.of(mode)]
    profile = _profile(work, f"{mode}-{len(earlier) + 1}")
    process = SessionProcess(
        mode=mode,
        total_us=profile.total_us,
        forward_us=profile.forward_us,
        init_us=profile.init_us,
        busy_gpu_mhz=busy_gpu_mhz(during),
        throttled=throttling(before, during, after, earlier[0] if earlier else None),
        cooled=cooled,
        series=moments(len(earlier) + 1, [before, *during, after]),
    )
    if work.on_device:
        return process
    return replace(process, total_us=None, forward_us=None, init_us=None, series=[])


def _run(work: Measurement, mode: Mode, profiling: Profiling, input_list: str) -> list[Conditions]:
    """Run the network's program once; returns the device's conditions meanwhile."""
    backend = work.setup.backend
    command = backend.command(mode, profiling, input_list)
    return execute(work.workspace, f"{backend.program} ({mode})", command, work.options.timeout, backend.silent)


def _profile(work: Measurement, name: str) -> Profile:
    """Read what the last process measured and its runtime's version; keep its log under `name` if logs are wanted."""
    backend, logs = work.setup.backend, work.options.logs
    with tempfile.TemporaryDirectory(prefix="bilayer-device-") as folder:
        log = fetch_log(work.workspace, backend.program, backend.logs, Path(folder))
        profile, text = backend.read_log(log)
        if logs:
            raw = read_bytes(log, FileKind.TOOL_LOG, DeviceError)
            for suffix, content in {".log": raw, ".txt": text.encode()}.items():
                with replacing(logs / f"{name}{suffix}") as part:
                    part.write_bytes(content)
    work.session.note_runtime(profile.version)
    return profile
