"""Latency, layers and parity of an avatar's network on a device, in the paper's protocol.

Every mode first shows that it computes the right thing. Then come the timed processes, the modes in turn so that heat
falls on all alike, each after a pause to cool down and a warm-up process. The vendor's log has the mean over all
executions of a process, which is why the warm-up has a process of its own. Then the sampler on the device's processor,
if its runner is at hand. Last come the layers, whose profiling slows a GPU down.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from bilayer.android_harness.bench.outcome import make_row, measured_on, model_info, utc_now
from bilayer.android_harness.bench.parity import Reference
from bilayer.android_harness.bench.poses import write_poses
from bilayer.android_harness.bench.sampler import EVICT_MB, write_sampler_inputs
from bilayer.android_harness.bench.session import open_session, session_key, session_path
from bilayer.android_harness.bench.setup import BenchOptions, BenchSetup, Measurement
from bilayer.android_harness.bench.steps import check_mode, profile_layers, time_processes, time_sampler
from bilayer.android_harness.device.execution import SAMPLER_RUNNER, results_bytes, stop_leftover
from bilayer.android_harness.device.probe import probe
from bilayer.android_harness.device.workspace import OUT, Workspace
from bilayer.android_harness.results import BenchProtocol, Result, SamplerTimes, Tools
from bilayer.android_harness.routes.vendor import input_list
from bilayer.runtime.bundle import describe_file
from bilayer.runtime.errors import DeviceError

LAYER_EXECUTIONS = 10  # of the detailed profile


def run_bench(
    setup: BenchSetup, options: BenchOptions, out: Path, say: Callable[[str], None] = lambda line: None
) -> Result:
    """Return what was measured; after an interruption the same call goes on. The caller writes the result to `out`.

    Raises:
        DeviceError: the device is gone, full or too slow, or the program failed. What was measured is kept.
        ToolMissingError: something is not in the SDK.
        OutputError: nothing can be written beside `out`.
    """
    work = _begin(setup, options, out, say)
    work.save()  # that it can be written shows now, not after the work
    stop_leftover(work.workspace)
    _bring_files(work)
    for mode in options.modes:
        check_mode(work, mode)
    if len(work.session.missing) == len(options.modes):
        session_path(out).unlink(missing_ok=True)
        raise DeviceError(f"no mode could run: {'; '.join(work.session.missing.values())}")
    time_processes(work)
    time_sampler(work)
    for mode in options.modes:
        profile_layers(work, mode)
    work.workspace.clean(OUT)
    return _result(work)


def _begin(setup: BenchSetup, options: BenchOptions, out: Path, say: Callable[[str], None]) -> Measurement:
    """Look at the device, and open the session of an interrupted measurement that is the same, or a new one."""
    # The sampler numpy, since it is for a few frames: it starts quicker than the others
    reference = Reference(setup.bundle, "numpy", setup.emulation)
    facts = probe(setup.device)
    program = describe_file(setup.backend.executable).sha256
    runner = describe_file(options.sampler.runner).sha256 if options.sampler else ""
    same = replace(options, timeout=0, logs=None, sampler=None)  # which may be others the next time
    brought = {name: describe_file(path).sha256 for name, path in setup.backend.files().items()}  # .pte are several
    parts = (setup.device.serial, facts.build, brought, setup.poses.tobytes(), same)
    session = open_session(out, session_key(*parts))
    if session.parity or session.missing:
        done = f"{len(session.processes)} of {options.processes * len(options.modes)}"
        say(f"going on where it stopped: {done} timed processes are done")
    workspace = Workspace(setup.device)
    return Measurement(setup, options, out, say, workspace, reference, facts, program, runner, session)


def _bring_files(work: Measurement) -> None:
    """Bring onto the device what it has not got: programs, model, poses, their lists, and the sampler's inputs."""
    setup, options, reference = work.setup, work.options, work.reference
    with tempfile.TemporaryDirectory(prefix="bilayer-device-") as name:
        folder = Path(name)
        inputs = write_poses(setup.bundle, setup.poses, folder)
        counts = {
            "parity.txt": len(inputs),
            "warm.txt": options.warm_up,
            "timed.txt": options.executions,
            "layers.txt": min(LAYER_EXECUTIONS, options.executions),
        }
        for list_name, count in counts.items():
            repeated = [list(inputs)[number % len(inputs)] for number in range(count)]
            wanted = list(reference.shapes) if setup.backend.names_outputs else ()
            text = input_list(setup.bundle.contract.input.tensor, repeated, wanted)
            (folder / list_name).write_text(text, encoding="utf-8")
        files = setup.backend.files() | inputs | {list_name: folder / list_name for list_name in counts}
        if options.sampler:
            files |= write_sampler_inputs(setup.bundle, reference, setup.poses, work.sampler_layout, folder)
            files[f"bin/{SAMPLER_RUNNER}"] = options.sampler.runner
        space = max(counts.values()) * results_bytes(reference.shapes)
        synced = work.workspace.sync(files, space, lambda file: work.say(f"pushed {file}"))
    work.say(f"{len(synced.pushed)} files pushed, {len(synced.unchanged)} already there")


def _result(work: Measurement) -> Result:
    """Make the result of what the session has got, and of how it was measured; without times unless on a device."""
    options, session, backend, sampler = work.options, work.session, work.setup.backend, None
    on, why = measured_on(work.facts, backend.executable, session.runtime)
    if options.sampler and session.sampler is not None:
        settings, rows = options.sampler, session.sampler
        rows = rows if on == "device" else [replace(row, frame_ms=None) for row in rows]
        sampler = SamplerTimes(work.runner_sha256, settings.runs, settings.warm_up, EVICT_MB, work.sampler_layout, rows)
    protocol = BenchProtocol(
        executions=options.executions,
        warm_up=options.warm_up,
        processes=options.processes,
        poses=options.poses,
        statistic="mean over a process's executions; median, lowest and highest of the processes",
        cool_down_s=options.cool_down,
        start_celsius=session.start_celsius,
    )
    tools = Tools(
        route=backend.name,
        program=backend.program,
        sdk=backend.version,
        runtime=session.runtime or "unknown",
        program_sha256=work.program_sha256,
        adb=work.setup.device.adb.version(),
        bilayer=metadata.version("bilayer"),
    )
    rows_of_modes = [make_row(mode, backend.modes[mode], session, on) for mode in options.modes]
    model = model_info(work.setup.bundle, backend.model)
    return Result(on, why, utc_now(), work.facts, model, tools, protocol, rows_of_modes, sampler)
