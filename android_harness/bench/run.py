"""Latency, layers and parity of an avatar's network on a device, in the paper's protocol.

Every mode first shows that it computes the right thing. Then come the timed processes, the modes in turn so that heat
falls on all alike, each after a pause to cool down and a warm-up process. The vendor's log has the mean over all
executions of a process, which is why the warm-up has a process of its own. Then the sampler on the device's processor,
if its runner is at hand. Last come the layers, whose profiling slows a GPU down.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bilayer.android_harness.bench.outcome import make_result, measured_on, moments
from bilayer.android_harness.bench.parity import Parity, Reference
from bilayer.android_harness.bench.poses import Floats, write_inputs
from bilayer.android_harness.bench.sampler import (
    EVICT_MB,
    SamplerBench,
    SamplerSettings,
    layout_of,
    write_sampler_inputs,
)
from bilayer.android_harness.bench.session import Session, SessionProcess, open_session, session_key, session_path
from bilayer.android_harness.device.adb import Device
from bilayer.android_harness.device.conditions import Conditions, busy_gpu_mhz, read_conditions, throttling
from bilayer.android_harness.device.cooling import cool_down
from bilayer.android_harness.device.execution import (
    SAMPLER_RUNNER,
    RuntimeMissingError,
    execute,
    fetch_log,
    fetch_results,
    read_results,
    stop_leftover,
)
from bilayer.android_harness.device.probe import probe
from bilayer.android_harness.device.workspace import Workspace
from bilayer.android_harness.results import BenchProtocol, Result, SamplerTimes
from bilayer.android_harness.routes.backend import Backend
from bilayer.android_harness.routes.diagnostics import Profile
from bilayer.android_harness.routes.sdk import is_android_program
from bilayer.android_harness.routes.vendor import OUT, Mode, Profiling
from bilayer.runtime.bundle import Bundle, describe_file
from bilayer.runtime.errors import DeviceError
from bilayer.runtime.files import replacing

LAYER_EXECUTIONS = 10  # of the detailed profile


@dataclass(frozen=True)
class BenchOptions:
    """How to measure; the defaults are the paper's protocol, as far as it tells."""

    modes: tuple[Mode, ...]
    executions: int = 100  # of a process
    warm_up: int = 20  # of the process before it
    processes: int = 3  # of each mode
    poses: str = "the built-in motion"  # where they are from
    cool_down: float = 60.0  # seconds at the longest before a process
    timeout: float = 600.0  # seconds for one process
    logs: Path | None = None  # folder to keep the diagnostic logs in
    sampler: SamplerSettings | None = None  # None: leave it out


@dataclass(frozen=True, eq=False)
class BenchSetup:
    """What is measured, where and with what."""

    device: Device
    bundle: Bundle
    backend: Backend
    poses: Floats  # (P, 136), repeated until there are enough


def run_bench(
    setup: BenchSetup, options: BenchOptions, out: Path, say: Callable[[str], None] = lambda line: None
) -> Result:
    """Measure. After an interruption the same call goes on where it stopped; the caller writes the result to `out`.

    Raises:
        DeviceError: the device is gone, full or too slow, or the program failed. What was measured is kept.
        ToolMissingError: something is not in the SDK.
        OutputError: nothing can be written beside `out`.
    """
    work = _Bench(setup, options, out, say)
    with tempfile.TemporaryDirectory(prefix="bilayer-device-") as name:
        work.prepare(Path(name))
        for mode in options.modes:
            work.check_results(mode)
        work.time_processes()
        work.time_sampler()
        for mode in options.modes:
            work.profile_layers(mode)
        work.workspace.clean(OUT)
    return work.result()


class _Bench:
    def __init__(self, setup: BenchSetup, options: BenchOptions, out: Path, say: Callable[[str], None]) -> None:
        self._setup, self._options, self._say, self._out = setup, options, say, out
        self.workspace = Workspace(setup.device)
        self._backend = setup.backend
        self._reference = Reference(setup.bundle, sampler="numpy")
        self._facts = probe(setup.device)
        self._program_hash = describe_file(self._backend.executable).sha256
        runner = options.sampler.runner if options.sampler else None
        self._runner_hash = describe_file(runner).sha256 if runner else ""
        settings = replace(options, timeout=0, logs=None, sampler=None)  # may be others the next time
        parts = (setup.device.serial, self._facts.build, self._program_hash, self._backend.model.sha256)
        key = session_key(*parts, setup.poses.tobytes(), settings)
        self._session: Session = open_session(out, key)
        self._on, _ = measured_on(self._facts, self._backend.executable, self._session.runtime)
        self._folder = Path()

    def prepare(self, folder: Path) -> None:
        """Bring everything onto the device that is not there yet."""
        self._folder = folder
        setup, backend = self._setup, self._backend
        if self._session.parity or self._session.missing:
            done = f"{len(self._session.processes)} of {self._options.processes * len(self._options.modes)}"
            self._say(f"going on where it stopped: {done} timed processes are done")
        self._session.save(session_path(self._out))  # that it can be written shows now, not after the work
        stop_leftover(self.workspace)
        files = backend.files() | self._sampler_files()
        inputs = write_inputs(setup.bundle, setup.poses, folder)
        counts = {
            "parity.txt": len(inputs),
            "warm.txt": self._options.warm_up,
            "timed.txt": self._options.executions,
            "layers.txt": min(LAYER_EXECUTIONS, self._options.executions),
        }
        for name, count in counts.items():
            repeated = [list(inputs)[number % len(inputs)] for number in range(count)]
            text = backend.input_list(setup.bundle.contract.input.tensor, repeated, list(self._reference.shapes))
            (folder / name).write_text(text, encoding="utf-8")
        files |= inputs | {name: folder / name for name in counts}
        space = max(counts.values()) * self._bytes_of_one()
        synced = self.workspace.sync(files, space, lambda name: self._say(f"pushed {name}"))
        self._say(f"{len(synced.pushed)} files pushed, {len(synced.unchanged)} already there")

    def check_results(self, mode: Mode) -> None:
        """Whether a mode computes what it should, and at all."""
        session = self._session
        if mode in session.parity or mode in session.missing:
            return
        self._say(f"{mode}: comparing with ONNX Runtime")
        try:
            self._run(mode, "basic", "parity.txt")
        except RuntimeMissingError as error:
            session.missing[mode] = str(error).partition(": ")[2]  # without the serial number: results are shared
            self._say(str(error))
        else:
            with tempfile.TemporaryDirectory(dir=self._folder) as name:
                session.parity[mode] = self._compare(Path(name))
        session.save(session_path(self._out))
        if len(session.missing) == len(self._options.modes):
            session_path(self._out).unlink(missing_ok=True)
            raise DeviceError(f"no mode could run: {'; '.join(session.missing.values())}")

    def time_processes(self) -> None:
        """The timed processes that are still missing, the modes in turn."""
        session, options = self._session, self._options
        modes = [mode for mode in options.modes if mode not in session.missing]
        if session.start_celsius is None and self._on == "device":
            session.start_celsius = read_conditions(self._setup.device).hottest_celsius
        for turn in range(options.processes):
            for mode in modes[turn % len(modes) :] + modes[: turn % len(modes)]:
                if len(session.of(mode)) <= turn:
                    self._say(f"{mode}: process {turn + 1} of {options.processes}, {options.executions} executions")
                    self._time_process(mode)
                    session.save(session_path(self._out))

    def profile_layers(self, mode: Mode) -> None:
        """Where a mode's time goes."""
        if not self._backend.has_layers or mode in self._session.missing or mode in self._session.layers:
            return
        self._say(f"{mode}: layers")
        self._run(mode, "detailed", "layers.txt")
        profile = self._profile(f"{mode}-layers")
        self._session.layers[mode] = list(profile.layers) if self._on == "device" else []
        self._session.save(session_path(self._out))

    def _time_process(self, mode: Mode) -> None:
        device, timed = self._setup.device, self._on == "device"
        cooled = cool_down(device, self._session.start_celsius, self._options.cool_down, self._say) if timed else True
        if self._options.warm_up:
            self._run(mode, "basic", "warm.txt")
        before = read_conditions(device)
        during = self._run(mode, "basic", "timed.txt")
        after = read_conditions(device)
        profile = self._profile(f"{mode}-{len(self._session.of(mode)) + 1}")
        firsts = [process.busy_gpu_mhz for process in self._session.of(mode)]
        process = SessionProcess(
            mode=mode,
            total_us=profile.total_us,
            forward_us=profile.forward_us,
            init_us=profile.init_us,
            busy_gpu_mhz=busy_gpu_mhz(during),
            throttled=throttling(before, during, after, firsts[0] if firsts else None),
            cooled=cooled,
            series=moments(len(firsts) + 1, [before, *during, after]),
        )
        if self._on != "device":  # what is no latency is not even kept
            process = replace(process, total_us=None, forward_us=None, init_us=None, series=[])
        self._session.processes.append(process)

    def time_sampler(self) -> None:
        """The sampler on the device's processor."""
        settings, session = self._options.sampler, self._session
        if settings is None or (session.sampler is not None and session.sampler_key == self._sampler_key()):
            return
        self._say("the sampler, on every kind of core")
        timed = self._on == "device" and is_android_program(settings.runner)
        layout = layout_of(self._setup.bundle.contract.outputs, self._backend.layout)
        bench = SamplerBench(self.workspace, self._setup.bundle, self._reference, settings, layout)
        session.sampler = bench.measure(self._setup.poses, self._options.timeout, timed)
        session.sampler_key = self._sampler_key()
        session.save(session_path(self._out))

    def _sampler_key(self) -> str:
        settings = self._options.sampler
        return f"{self._runner_hash} {settings.runs} {settings.warm_up}" if settings else ""

    def _sampler_files(self) -> dict[str, Path]:
        if self._options.sampler is None:
            return {}
        layout = layout_of(self._setup.bundle.contract.outputs, self._backend.layout)
        inputs = write_sampler_inputs(self._setup.bundle, self._reference, self._setup.poses, layout, self._folder)
        return {f"bin/{SAMPLER_RUNNER}": self._options.sampler.runner} | inputs

    def _run(self, mode: Mode, profiling: Profiling, input_list: str) -> list[Conditions]:
        command = self._backend.command(mode, profiling, input_list)
        return execute(self.workspace, f"{self._backend.program} ({mode})", command, self._options.timeout)

    def _compare(self, folder: Path) -> Parity:
        poses, layout = self._setup.poses, self._backend.layout
        place = fetch_results(self.workspace, folder, len(poses) * self._bytes_of_one())
        found = [read_results(place, number, self._reference.shapes, layout) for number in range(len(poses))]
        return self._reference.compare(poses, found)

    def _profile(self, name: str) -> Profile:
        """What the last process measured; its log is kept under `name` if logs are wanted."""
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            log = fetch_log(self.workspace, self._backend.program, self._backend.logs, Path(folder))
            profile, text = self._backend.read_log(log)
            if self._options.logs:
                _keep(self._options.logs / f"{name}.log", log.read_bytes())
                _keep(self._options.logs / f"{name}.txt", text.encode())
        self._session.runtime = profile.version or self._session.runtime
        self._on, _ = measured_on(self._facts, self._backend.executable, self._session.runtime)
        return profile

    def _bytes_of_one(self) -> int:
        sizes = self._reference.shapes.values()
        return sum(4 * shape[0] * shape[1] * shape[2] * shape[3] for shape in sizes)

    def result(self) -> Result:
        """Of all that was done."""
        options, session, sampler = self._options, self._session, None
        if options.sampler and session.sampler is not None:
            layout = layout_of(self._setup.bundle.contract.outputs, self._backend.layout)
            settings = options.sampler
            rows = session.sampler
            sampler = SamplerTimes(self._runner_hash, settings.runs, settings.warm_up, EVICT_MB, layout, rows)
        protocol = BenchProtocol(
            executions=options.executions,
            warm_up=options.warm_up,
            processes=options.processes,
            poses=options.poses,
            statistic="mean over a process's executions; median, lowest and highest of the processes",
            cool_down_s=options.cool_down,
            start_celsius=session.start_celsius,
        )
        return make_result(
            self._facts,
            self._setup.bundle,
            self._backend,
            session,
            protocol,
            program_sha256=self._program_hash,
            adb=self._setup.device.adb.version(),
            modes=options.modes,
            sampler=sampler,
        )


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_bytes(content)
