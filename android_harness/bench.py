"""Latency, layers and parity of an avatar's network on a device, in the paper's protocol.

Every mode first shows that it computes the right thing. Then come the timed processes, the modes in turn so that heat
falls on all alike, each after a pause to cool down and a warm-up process. The vendor's log has the mean over all
executions of a process, which is why the warm-up has a process of its own. Last come the layers, whose profiling slows
a GPU down.
"""

import datetime
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from statistics import median

from bilayer.android_harness.adb import Device
from bilayer.android_harness.conditions import Conditions, busy_gpu_mhz, read_conditions, throttling
from bilayer.android_harness.cooling import cool_down
from bilayer.android_harness.diagnostics import Profile, parse_profile
from bilayer.android_harness.execution import (
    RuntimeMissingError,
    execute,
    fetch_log,
    fetch_results,
    read_results,
    stop_leftover,
)
from bilayer.android_harness.parity import Parity, Reference
from bilayer.android_harness.poses import Floats, write_inputs
from bilayer.android_harness.probe import DeviceFacts, probe
from bilayer.android_harness.results import (
    Latency,
    Layer,
    MeasuredOn,
    Model,
    Protocol,
    Result,
    Row,
    Spread,
    Tools,
)
from bilayer.android_harness.routes import OUT, Mode, Profiling, Route
from bilayer.android_harness.sdk import Sdk, is_android_program
from bilayer.android_harness.session import Process, Session, open_session, session_key, session_path
from bilayer.android_harness.workspace import Workspace
from bilayer.export.subprocesses import run
from bilayer.runtime.bundle import Bundle, describe_file
from bilayer.runtime.errors import DeviceError, ToolMissingError
from bilayer.runtime.files import replacing

VIEWER_SECONDS = 120.0  # snpe-diagview and its like, here
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


@dataclass(frozen=True, eq=False)
class Setup:
    """What is measured, where and with what."""

    device: Device
    bundle: Bundle
    sdk: Sdk
    route: Route
    poses: Floats  # (P, 136), repeated until there are enough


def measured_on(facts: DeviceFacts, program: Path, runtime: str) -> tuple[MeasuredOn, list[str]]:
    """What the numbers are worth, and why; in doubt the least."""
    if not is_android_program(program):
        return "stand-in", [f"{program.name} is no program for 64-bit Android"]
    if "stand-in" in runtime.lower():
        return "stand-in", [f"{program.name} calls itself {runtime}"]
    return ("emulated", facts.emulation) if facts.emulation else ("device", [])


def bench(setup: Setup, options: BenchOptions, out: Path, say: Callable[[str], None] = lambda line: None) -> Result:
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
        for mode in options.modes:
            work.profile_layers(mode)
        work.workspace.clean(OUT)
    return work.result()


class _Bench:
    def __init__(self, setup: Setup, options: BenchOptions, out: Path, say: Callable[[str], None]) -> None:
        self._setup, self._options, self._say, self._out = setup, options, say, out
        self.workspace = Workspace(setup.device)
        self._program = setup.sdk.program(setup.route.program)
        self._viewer = setup.sdk.host_tool(setup.route.viewer)
        self._reference = Reference(setup.bundle, sampler="numpy")
        self._facts = probe(setup.device)
        dlc = setup.bundle.contract.files.dlc
        assert dlc is not None  # choose_route saw to it
        self._dlc = dlc
        self._program_hash = describe_file(self._program).sha256
        settings = replace(options, timeout=0, logs=None)  # may be others the next time
        key = session_key(
            setup.device.serial, self._facts.build, self._program_hash, dlc.sha256, setup.poses.tobytes(), settings
        )
        self._session: Session = open_session(out, key)
        self._on, _ = measured_on(self._facts, self._program, self._session.runtime)
        self._folder = Path()

    def prepare(self, folder: Path) -> None:
        """Bring everything onto the device that is not there yet."""
        self._folder = folder
        setup, route = self._setup, self._setup.route
        if self._session.parity or self._session.missing:
            done = f"{len(self._session.processes)} of {self._options.processes * len(self._options.modes)}"
            self._say(f"going on where it stopped: {done} timed processes are done")
        self._session.save(session_path(self._out))  # that it can be written shows now, not after the work
        stop_leftover(self.workspace, route)
        files = route.files(setup.sdk, setup.bundle.path(self._dlc))
        inputs = write_inputs(setup.bundle, setup.poses, folder)
        counts = {
            "parity.txt": len(inputs),
            "warm.txt": self._options.warm_up,
            "timed.txt": self._options.executions,
            "layers.txt": min(LAYER_EXECUTIONS, self._options.executions),
        }
        for name, count in counts.items():
            repeated = [list(inputs)[number % len(inputs)] for number in range(count)]
            text = route.input_list(setup.bundle.contract.input.tensor, repeated, list(self._reference.shapes))
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
            self._execute(mode, "basic", "parity.txt")
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
        if mode in self._session.missing or mode in self._session.layers:
            return
        self._say(f"{mode}: layers")
        self._execute(mode, "detailed", "layers.txt")
        profile = self._profile(f"{mode}-layers")
        self._session.layers[mode] = list(profile.layers) if self._on == "device" else []
        self._session.save(session_path(self._out))

    def _time_process(self, mode: Mode) -> None:
        device, timed = self._setup.device, self._on == "device"
        cooled = cool_down(device, self._session.start_celsius, self._options.cool_down, self._say) if timed else True
        if self._options.warm_up:
            self._execute(mode, "basic", "warm.txt")
        before = read_conditions(device)
        during = self._execute(mode, "basic", "timed.txt")
        after = read_conditions(device)
        profile = self._profile(f"{mode}-{len(self._session.of(mode)) + 1}")
        firsts = [process.busy_gpu_mhz for process in self._session.of(mode)]
        process = Process(
            mode=mode,
            total_us=profile.total_us,
            forward_us=profile.forward_us,
            init_us=profile.init_us,
            busy_gpu_mhz=busy_gpu_mhz(during),
            throttled=throttling(before, during, after, firsts[0] if firsts else None),
            cooled=cooled,
        )
        if self._on != "device":  # what is no latency is not even kept
            process = replace(process, total_us=None, forward_us=None, init_us=None)
        self._session.processes.append(process)

    def _execute(self, mode: Mode, profiling: Profiling, input_list: str) -> list[Conditions]:
        return execute(self.workspace, self._setup.route, mode, profiling, input_list, self._options.timeout)

    def _compare(self, folder: Path) -> Parity:
        poses, dlc = self._setup.poses, self._setup.bundle.contract.dlc
        assert dlc is not None
        place = fetch_results(self.workspace, folder, len(poses) * self._bytes_of_one())
        found = [read_results(place, number, self._reference.shapes, dlc.layout) for number in range(len(poses))]
        return self._reference.compare(poses, found)

    def _profile(self, name: str) -> Profile:
        """What the last process measured; its log is kept under `name` if logs are wanted."""
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            log = fetch_log(self.workspace, self._setup.route, Path(folder))
            text = _view(self._viewer, log, self._setup.sdk)
            if self._options.logs:
                _keep(self._options.logs / f"{name}.log", log.read_bytes())
                _keep(self._options.logs / f"{name}.txt", text.encode())
        profile = parse_profile(text, f"{self._setup.route.viewer} of {log.name}")
        self._session.runtime = profile.version or self._session.runtime
        self._on, _ = measured_on(self._facts, self._program, self._session.runtime)
        return profile

    def _bytes_of_one(self) -> int:
        sizes = self._reference.shapes.values()
        return sum(4 * shape[0] * shape[1] * shape[2] * shape[3] for shape in sizes)

    def result(self) -> Result:
        """Of all that was done."""
        setup, options, session = self._setup, self._options, self._session
        contract = setup.bundle.contract
        dlc = contract.dlc
        assert dlc is not None
        on, why = measured_on(self._facts, self._program, session.runtime)
        return Result(
            measured_on=on,
            why=why,
            date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            device=self._facts,
            model=Model(
                name=setup.bundle.folder.absolute().name,
                image_size=contract.image_size,
                gmacs=contract.graph.gmacs,
                trained=contract.origin.trained,
                onnx_sha256=contract.files.onnx.sha256,
                dlc_sha256=self._dlc.sha256,
                dlc_tool=dlc.tool,
            ),
            tools=Tools(
                route=setup.route.name,
                program=setup.route.program,
                sdk=setup.sdk.version or setup.sdk.era,
                runtime=session.runtime or "unknown",
                program_sha256=self._program_hash,
                adb=setup.device.adb.version(),
                bilayer=metadata.version("bilayer"),
            ),
            protocol=Protocol(
                executions=options.executions,
                warm_up=options.warm_up,
                processes=options.processes,
                poses=options.poses,
                statistic="mean over a process's executions; median, lowest and highest of the processes",
                cool_down_s=options.cool_down,
                start_celsius=session.start_celsius,
            ),
            rows=[make_row(mode, setup.route.modes[mode], session, on) for mode in options.modes],
        )


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_bytes(content)


def make_row(mode: str, title: str, session: Session, on: MeasuredOn) -> Row:
    """What a session has of a mode; times only if measured on a device."""
    processes = session.of(mode)
    layers = session.layers.get(mode, []) if on == "device" else []
    return Row(
        mode=mode,
        title=title,
        missing=session.missing.get(mode),
        parity=session.parity.get(mode),
        processes=len(processes),
        latency=_latency(processes) if on == "device" else None,
        layers=[Layer(layer.name, round(layer.us / 1000, 3), layer.unit) for layer in layers],
        throttled=sorted({sign for process in processes for sign in process.throttled}),
        not_cooled=sum(not process.cooled for process in processes),
    )


def _latency(processes: Sequence[Process]) -> Latency | None:
    total = _spread([process.total_us for process in processes])
    if total is None:
        return None
    forward, init = ([getattr(process, name) for process in processes] for name in ("forward_us", "init_us"))
    return Latency(forward_ms=_spread(forward), total_ms=total, init_ms=_spread(init))


def _spread(us: Sequence[float | None]) -> Spread | None:
    known = [value / 1000 for value in us if value is not None]
    if not known or len(known) < len(us):
        return None
    return Spread(round(median(known), 3), round(min(known), 3), round(max(known), 3))


def _view(viewer: Path, log: Path, sdk: Sdk) -> str:
    """What the vendor's viewer prints of a log.

    Raises:
        ToolMissingError: it does not start here.
        DeviceError: it does not read the log.
    """
    arguments = [str(viewer), "--input_log", str(log)]
    environment: Mapping[str, str] = sdk.host_environment()
    kept = log.with_suffix(".txt")
    try:
        done = run(arguments, folder=log.parent, environment=environment, log=kept, timeout=VIEWER_SECONDS)
    except OSError as error:
        raise ToolMissingError(f"{viewer}: cannot be started: {error.strerror}") from error
    if done.code != 0:
        raise DeviceError(
            f"{viewer} {done.how}: {done.last_line or 'it printed nothing'}; does it run on this machine?"
        )
    return done.log
