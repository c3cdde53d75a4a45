"""What a measurement on a device is kept as: JSON with a schema of its own, validated whenever it is read.

`measured_on` says what the numbers are worth: a device; an emulated one, whose results are right and whose times mean
nothing; or a stand-in for the vendor's program, of which the same holds. Only a device's results hold times at all.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bilayer.android_harness.device.probe import DeviceFacts
from bilayer.runtime.agreement import DEFAULT, FRAME, Agreement, Kind, Ruling, judge
from bilayer.runtime.errors import InputError
from bilayer.runtime.files.writing import write_file
from bilayer.runtime.typed_json import FileFormat

MeasuredOn = Literal["device", "emulated", "stand-in"]


@dataclass(frozen=True)
class Parity:
    """The worst of some poses, in the figures of `bilayer.runtime.agreement`, and what they are held to."""

    poses: int
    kind: Kind  # what the mode computes in, which says what it is held to
    psnr_db: dict[str, float]  # delta_uv, lf_rgb, seg (if there is a mask), and the RGBA frame; 200: no difference
    frame_ssim: float
    uv_pixels: float  # the warp's error, in texture pixels
    not_finite: int  # numbers
    emulated_db: dict[
        str, float
    ]  # PSNR of the network's results in FP16 emulated here, same poses; empty if it was not
    not_emulated: str | None  # why; None also of FP32, which needs no emulation

    def __post_init__(self) -> None:
        """Refuse figures that cannot be judged."""
        results = self.psnr_db.keys() - {FRAME}
        if FRAME not in self.psnr_db or results - {"seg"} != {"delta_uv", "lf_rgb"}:
            raise ValueError(f"psnr_db: expected delta_uv, lf_rgb, perhaps seg, frame; found {', '.join(self.psnr_db)}")
        if self.emulated_db and self.emulated_db.keys() != results:
            raise ValueError(f"emulated_db: expected {', '.join(results)}; found {', '.join(self.emulated_db)}")

    @property
    def agreement(self) -> Agreement:
        """The figures as they are judged."""
        return Agreement(self.psnr_db, self.uv_pixels, self.not_finite, self.frame_ssim)

    @property
    def worst_db(self) -> float:
        """The least PSNR of the network's results, in dB."""
        return self.agreement.worst_db

    @property
    def above_emulation_db(self) -> float | None:
        """The least distance of a result's PSNR from the emulation's, in dB; None where nothing was emulated."""
        return min((self.psnr_db[name] - db for name, db in self.emulated_db.items()), default=None)

    @property
    def ruling(self) -> Ruling:
        """The verdict of the parity ladder's gate; FP16 arithmetic that was not emulated has but a floor: a warning."""
        ruling = judge(self.agreement, self.kind, bracket=self.emulated_db)
        if ruling.verdict == "broken" or self.kind != "fp16" or self.emulated_db:
            return ruling
        if self.worst_db < DEFAULT.reduced_floor:
            return Ruling("broken", (f"a result has {self.worst_db:.1f} dB, expected {DEFAULT.reduced_floor:.0f} dB",))
        wider = f"held to {DEFAULT.reduced_floor:.0f} dB alone: FP16 was not emulated ({self.not_emulated})"
        return Ruling("warned", (*ruling.reasons, wider))

    @property
    def plausible(self) -> bool:
        """Whether the results can be the same network's."""
        return self.ruling.verdict != "broken"


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest of the processes' means, in milliseconds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Latency:
    """The times of an execution in one mode."""

    forward_ms: Spread | None  # the runtime alone, as the paper counts; None where the log has it not
    total_ms: Spread  # with copies and changes of layout
    init_ms: Spread | None  # once per avatar

    @property
    def frames_per_second(self) -> float:
        """Frames a second of the network with its copies, without the sampler."""
        return 1000 / self.total_ms.median if self.total_ms.median else 0.0


@dataclass(frozen=True)
class LayerResult:
    """One layer's time in a detailed profile, which slows a GPU down."""

    name: str
    ms: float
    unit: str


@dataclass(frozen=True)
class Moment:
    """The device's clocks and heat at one moment of a timed process; None where it does not say."""

    process: int  # from 1
    uptime_s: float  # of the device: seconds since it started
    gpu_mhz: float | None
    gpu_limit_mhz: float | None  # what the GPU may run at
    cpu_mhz: float | None  # of the fastest core
    celsius: float | None  # of the hottest sensor; only before and after a process


@dataclass(frozen=True)
class ModeResult:
    """What was measured of one of the runtime's modes."""

    mode: str
    title: str  # what the vendor calls it
    missing: str | None  # why it could not run; all that follows is empty then
    parity: Parity | None
    processes: int  # that ran to their end
    latency: Latency | None  # None unless measured on a device
    layers: list[LayerResult]
    throttled: list[str]  # signs of it
    not_cooled: int  # processes that began warmer than wanted
    series: list[Moment]  # twice a second, of all its processes; empty unless measured on a device


@dataclass(frozen=True)
class TimeStatistics:
    """Statistics of many executions, each timed by itself; percentiles are values that occurred."""

    min: float
    median: float
    p90: float
    p99: float
    max: float
    mean: float


@dataclass(frozen=True)
class FrameTimes(TimeStatistics):
    """Statistics of many frames, each timed by itself, in milliseconds; percentiles are values that occurred."""


@dataclass(frozen=True)
class SamplerRow:
    """One of the sampler's kernels on one kind of the device's cores: a whole frame, network's outputs to RGBA."""

    kernel: str  # portable, neon or numba
    cores: str  # any: the scheduler's choice; else threads stay on cores that are little, big or prime
    core_mhz: float | None  # their top clock
    threads: int
    frames: int  # that were compared with the Python sampler's; the app compares none
    differing_bytes: int | None  # of these frames; None where none were compared
    worst_levels: int | None  # the largest difference, of 255; likewise
    frame_ms: FrameTimes | None  # None unless measured on a device
    hottest_celsius: float | None
    held_back: bool  # a core that was used might not run at its top clock

    @property
    def plausible(self) -> bool:
        """No sign of another sampler: fused multiply-adds move a byte by a level at the most."""
        return self.worst_levels is None or self.worst_levels <= 1


@dataclass(frozen=True)
class SamplerTimes:
    """The times of the sampler on the device's own processor."""

    runner_sha256: str
    runs: int  # frames timed in each row
    warm_up: int  # frames before them
    evict_mb: int  # memory that is written between two frames, as by the network
    layout: str  # of its inputs: planar, interleaved, or merged, to be taken apart first
    rows: list[SamplerRow]

    @property
    def felt(self) -> SamplerRow | None:
        """The row that an app is most like: one thread where the scheduler puts it, the quickest kernel."""
        usual = [row for row in self.rows if row.frame_ms and row.plausible and (row.cores, row.threads) == ("any", 1)]
        return min(usual, key=lambda row: row.frame_ms.median if row.frame_ms else 0.0, default=None)


@dataclass(frozen=True)
class BenchProtocol:
    """The protocol that a result was measured by."""

    executions: int  # of one process, all of which its mean counts
    warm_up: int  # executions of a process of their own before it
    processes: int  # of each mode, in turn with the other modes'
    poses: str  # where they are from
    statistic: str
    cool_down_s: float  # at the longest, before each process
    start_celsius: float | None  # that each process waits for


@dataclass(frozen=True)
class Tools:
    """The programs that took part, and their versions."""

    route: str
    program: str
    sdk: str  # version, by its folder
    runtime: str  # version, by the device's log
    program_sha256: str
    adb: str
    bilayer: str


@dataclass(frozen=True)
class ModelInfo:
    """The avatar's network that was run, and the file it was run from."""

    name: str
    image_size: int
    gmacs: float
    trained: bool
    onnx_sha256: str
    converted_sha256: str  # of the file that was run: the .dlc, or another route's own
    converted_by: str  # the tool that made it


@dataclass(frozen=True)
class Result:
    """The measurement of one avatar on one device by one runtime."""

    measured_on: MeasuredOn
    why: list[str]  # it counts as emulated or as a stand-in; empty for a device
    date: str  # UTC, ISO 8601
    device: DeviceFacts
    model: ModelInfo
    tools: Tools
    protocol: BenchProtocol
    rows: list[ModeResult]
    sampler: SamplerTimes | None  # None: it was not measured

    def to_json(self) -> str:
        """Return the text of a result file."""
        return RESULT.to_json(self)


RESULT = FileFormat(
    Result, "bilayer-device-result", 3, "a measurement", "measure again with this version of bilayer-device"
)


def write_result(path: Path, result: Result) -> None:
    """Write a result as JSON, whole or not at all, or raise an OutputError where the place cannot be written to."""
    write_file(path, result.to_json())


def read_result(path: Path) -> Result:
    """Read a result, and check it against its schema.

    Raises:
        InputError: no result, of another version, or with fields that do not fit; or one that shows times that were
            not taken on a device. Names the field.
    """
    result = RESULT.read(path)
    for number, row in enumerate(result.rows):
        if result.measured_on != "device" and (row.latency or row.layers or row.series):
            raise InputError(
                f"{path}: rows[{number}]: holds times, but was measured on {result.measured_on}: not times"
            )
    sampled = result.sampler.rows if result.sampler else []
    if result.measured_on != "device" and any(row.frame_ms for row in sampled):
        raise InputError(f"{path}: sampler: holds times, but was measured on {result.measured_on}: not times")
    return result
