"""The sampler on a device's processor: timed by the native runner, its frames compared with the Python sampler's.

Every kernel that the runner has, on the cores that Android's scheduler chooses, then on one kind of core after the
other. The frames are those of the measured poses, from ONNX Runtime's outputs, laid out as the network's program
returns them.
"""

import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bilayer.android_harness.bench.parity import Reference
from bilayer.android_harness.device.conditions import SLOWER
from bilayer.android_harness.device.execution import SAMPLER_RUNNER, execute, fetch_results
from bilayer.android_harness.device.workspace import OUT, Workspace
from bilayer.android_harness.results import FrameTimes, SamplerRow
from bilayer.android_harness.routes.runner_log import Microseconds, RunnerMachine
from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.bundle import Bundle, Outputs
from bilayer.runtime.errors import DeviceError
from bilayer.runtime.files.reading import FileKind, is_file, read_bytes
from bilayer.runtime.player import read_texture
from bilayer.runtime.typed_json import FileFormat

Layout = Literal["planar", "interleaved", "merged"]
FOLDER = "sampler"  # on the device
# Between two frames a network has used the caches: an 855 has 2 MB of L3 and 3 MB of system cache
EVICT_MB = 8
_FILES = ("texture", "delta_uv", "lf", "seg")
_TOGETHER = ("big", 2)  # cores and threads of one more run


@dataclass(frozen=True)
class SamplerSettings:
    """The program that times the sampler, and over how many frames."""

    runner: Path  # the program, for the device
    runs: int = 300  # frames of each kernel and kind of core
    warm_up: int = 60  # frames before them


@dataclass(frozen=True)
class _Core:
    core: int
    max_mhz: float
    kind: str


@dataclass(frozen=True)
class _Used:
    cores: str
    threads: int
    pinned: list[int]


@dataclass(frozen=True)
class _Frame:
    height: int
    width: int
    result_height: int
    result_width: int
    texture_height: int
    texture_width: int
    frames: int
    layout: str


@dataclass(frozen=True)
class _Protocol:
    runs: int
    warm_up: int
    evict_mb: int


@dataclass(frozen=True)
class _Kernel:
    name: str
    checksum: str
    frame_us: Microseconds | None


@dataclass(frozen=True)
class _Moment:
    ms: float
    celsius: float | None
    cpu_mhz: list[float | None]
    cpu_limit_mhz: list[float | None]


@dataclass(frozen=True)
class RunnerOutput:
    """The JSON that the native runner writes, described in docs/sampler.md."""

    machine: RunnerMachine
    cores: list[_Core]
    used: _Used
    frame: _Frame
    protocol: _Protocol
    kernels: list[_Kernel]
    log: list[_Moment]


_FORMAT = FileFormat(
    RunnerOutput,
    "bilayer-sampler-runner",
    1,
    f"what {SAMPLER_RUNNER} writes",
    "build it again with bilayer-device build-runner",
    DeviceError,
)


def layout_of(outputs: Outputs, files: str) -> Layout:
    """Tell how a program that writes `files`, NCHW or NHWC, leaves the outputs in memory."""
    if files != "NHWC":
        return "planar"
    tensors = {channels.tensor for channels in outputs.by_name.values()}
    return "merged" if len(tensors) == 1 else "interleaved"


def write_sampler_inputs(
    bundle: Bundle, reference: Reference, poses: Floats, layout: Layout, folder: Path
) -> dict[str, Path]:
    """Write texture and outputs of the poses as the runner reads them; return the files by name on the device."""
    stacks: dict[str, list[Floats]] = {}
    for pose in poses:
        for name, array in reference.sampler_inputs(reference.run(pose)).items():
            stacks.setdefault(name, []).append(array)
    arrays = {name: np.stack(stack) for name, stack in stacks.items()}
    if layout == "interleaved":
        arrays |= {name: np.moveaxis(arrays[name], 1, -1) for name in ("delta_uv", "lf")}
    arrays["texture"] = np.moveaxis(read_texture(bundle)[1:-2, 1:-2, :3], -1, 0)
    files = {}
    for name in _FILES:
        if name in arrays:
            path = folder / f"sampler_{name}.raw"
            path.write_bytes(np.ascontiguousarray(arrays[name], "<f4").tobytes())
            files[f"{FOLDER}/{name}.raw"] = path
    return files


class SamplerBench:
    """The sampler of one avatar on one device; its files are there already."""

    def __init__(
        self, workspace: Workspace, bundle: Bundle, reference: Reference, settings: SamplerSettings, layout: Layout
    ) -> None:
        self._workspace, self._bundle, self._settings, self._layout = workspace, bundle, settings, layout
        self._reference = reference

    def measure(self, poses: Floats, timeout: float, keep_times: bool) -> list[SamplerRow]:
        """Time every kernel on every kind of core, and compare its frames with the Python sampler's.

        Args:
            poses: those of `write_sampler_inputs`.
            timeout: seconds for one process.
            keep_times: whether the device is one; else all times are dropped.

        Raises:
            DeviceError: the runner fails, or writes what it should not.
        """
        expected = np.stack([self._reference.frame(self._reference.run(pose)) for pose in poses])
        output, rows = self._run("any", 1, expected, timeout, keep_times)
        kinds = {core.kind for core in output.cores}
        plan: list[tuple[str, int]] = [(kind, 1) for kind in ("little", "big", "prime") if kind in kinds]
        if sum(core.kind == _TOGETHER[0] for core in output.cores) >= _TOGETHER[1]:
            plan.append(_TOGETHER)
        for kind, threads in plan:
            rows += self._run(kind, threads, expected, timeout, keep_times)[1]
        return rows

    def _run(
        self, cores: str, threads: int, expected: Bytes, timeout: float, keep_times: bool
    ) -> tuple[RunnerOutput, list[SamplerRow]]:
        execute(self._workspace, f"{SAMPLER_RUNNER} ({cores} x {threads})", self._command(cores, threads), timeout)
        with tempfile.TemporaryDirectory(prefix="bilayer-sampler-") as name:
            place = fetch_results(self._workspace, Path(name), 3 * expected.nbytes)
            output = _FORMAT.read(place / "result.json")
            pictures = {kernel.name: _read(place / f"{kernel.name}.rgba", expected) for kernel in output.kernels}
        keep_times = keep_times and not output.machine.emulation
        rows = [_row(output, kernel, pictures[kernel.name], expected, keep_times) for kernel in output.kernels]
        return output, rows

    def _command(self, cores: str, threads: int) -> str:
        contract = self._bundle.contract
        seg = contract.outputs.seg
        texture, frame, results = (
            f"{side}x{side}" for side in (contract.texture_size, contract.frame_size, contract.image_size)
        )
        words = ["--texture", f"{FOLDER}/texture.raw", "--texture-size", texture, "--size", frame]
        words += ["--result-size", results]
        words += ["--delta-uv", f"{FOLDER}/delta_uv.raw", "--lf", f"{FOLDER}/lf.raw", "--layout", self._layout]
        if seg is not None:
            words += ["--seg", f"{FOLDER}/seg.raw", "--mask-scale", str(seg.scale), "--mask-offset", str(seg.offset)]
        words += ["--align-corners", str(int(contract.align_corners)), "--cores", cores, "--threads", str(threads)]
        words += ["--runs", str(self._settings.runs), "--warm-up", str(self._settings.warm_up)]
        words += ["--evict", str(EVICT_MB), "--frames", OUT, "--json", f"{OUT}/result.json"]
        return shlex.join([f"./bin/{SAMPLER_RUNNER}", *words])


def _row(output: RunnerOutput, kernel: _Kernel, found: Bytes, expected: Bytes, keep_times: bool) -> SamplerRow:
    levels = np.abs(found.astype(np.int16) - expected)
    clocks = [core.max_mhz for core in output.cores if core.core in output.used.pinned]
    degrees = [moment.celsius for moment in output.log if moment.celsius is not None]
    times = None
    if keep_times and kernel.frame_us is not None:
        us = kernel.frame_us
        times = FrameTimes(*(round(value / 1000, 3) for value in (us.min, us.median, us.p90, us.p99, us.max, us.mean)))
    return SamplerRow(
        kernel=kernel.name,
        cores=output.used.cores,
        core_mhz=max(clocks, default=None),
        threads=output.used.threads,
        frames=len(expected),
        differing_bytes=int(np.count_nonzero(levels)),
        worst_levels=int(levels.max()),
        frame_ms=times,
        hottest_celsius=max(degrees, default=None),
        held_back=_held_back(output),
    )


def _held_back(output: RunnerOutput) -> bool:
    """Tell whether a core that was used was held below its top clock at some moment."""
    used = [core.core in output.used.pinned or not output.used.pinned for core in output.cores]
    for moment in output.log:
        for wanted, core, limit in zip(used, output.cores, moment.cpu_limit_mhz, strict=False):
            if wanted and limit is not None and limit < SLOWER * core.max_mhz:
                return True
    return False


def _read(path: Path, like: Bytes) -> Bytes:
    found = np.frombuffer(read_bytes(path, FileKind.TENSOR, DeviceError, like.size) if is_file(path) else b"", np.uint8)
    if found.size != like.size:
        raise DeviceError(f"{SAMPLER_RUNNER}: {path.name}: expected {like.size} bytes, found {found.size}")
    return found.reshape(like.shape)
