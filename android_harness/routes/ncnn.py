"""The route that needs no SDK: the bundle's .onnx, converted by pnnx, on ncnn by a runner that the user has built."""

import shlex
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bilayer.android_harness.device.execution import NCNN_RUNNER
from bilayer.android_harness.device.workspace import OUT
from bilayer.android_harness.routes.backend import Backend, ConvertedModel, named_program
from bilayer.android_harness.routes.diagnostics import Profile
from bilayer.android_harness.routes.runner_build import NATIVE
from bilayer.android_harness.routes.runner_log import Microseconds, RunnerMachine
from bilayer.android_harness.routes.vendor import Mode, Profiling
from bilayer.runtime.bundle import Bundle, describe_file
from bilayer.runtime.engines.ncnn_convert import ncnn_network
from bilayer.runtime.errors import DeviceError
from bilayer.runtime.files.reading import FileKind, read_text
from bilayer.runtime.typed_json import FileFormat

PARAM, WEIGHTS, LOG = "avatar.param", "avatar.bin", "ncnn.json"  # in the device's folder; the last in OUT
MODES: dict[Mode, str] = {
    "ncnn-cpu": "ncnn, CPU, FP32",
    "ncnn-cpu-fp16": "ncnn, CPU, FP16",
    "ncnn-vulkan": "ncnn, Vulkan, FP32",
    "ncnn-vulkan-fp16-hybrid": "ncnn, Vulkan, FP16 storage, FP32 arithmetic",
    "ncnn-vulkan-fp16": "ncnn, Vulkan, FP16",
}


@dataclass(frozen=True)
class NcnnLog:
    """The JSON that the ncnn runner writes at the end of a process."""

    ncnn: str  # its version
    machine: RunnerMachine
    mode: str
    device: str  # processor or GPU
    threads: int
    powersave: int
    executions: int
    total_us: Microseconds | None  # None where a time means nothing
    init_us: float | None


_FORMAT = FileFormat(
    NcnnLog, "bilayer-ncnn-runner", 1, f"what {NCNN_RUNNER} writes", f"build it again from {NATIVE}", DeviceError
)


class NcnnBackend(Backend):
    """Our ncnn runner, for a bundle's .onnx.

    Raises:
        BundleError, ConversionError, OutputError: the network cannot be converted.
        ToolMissingError: pnnx is not installed.
    """

    name, program, modes = "ncnn", NCNN_RUNNER, MODES
    logs, layout = (LOG,), "NCHW"  # ncnn tells the layers' times only in a build of its own for it

    def __init__(self, runner: Path, bundle: Bundle) -> None:
        onnx = bundle.path(bundle.contract.files.onnx)
        self._network = ncnn_network(onnx, bundle.contract)
        self._width = bundle.contract.input.width
        self.executable = runner
        self.version = "ncnn"  # which, the log tells
        weights = describe_file(self._network.weights).sha256
        self.model = ConvertedModel(weights, f"pnnx {metadata.version('pnnx')}")

    def files(self) -> dict[str, Path]:
        """Return the program and the network, by their names on the device."""
        return {f"bin/{NCNN_RUNNER}": self.executable, PARAM: self._network.param, WEIGHTS: self._network.weights}

    def command(self, mode: Mode, profiling: Profiling, input_list: str) -> str:
        """Return the command that runs the program over the inputs of the list."""
        outputs = ",".join(f"{tensor}=out{number}" for number, tensor in enumerate(self._network.ends.outputs))
        words = ["--param", PARAM, "--bin", WEIGHTS, "--input-size", str(self._width), "--outputs", outputs]
        words += ["--input-list", input_list, "--output-dir", OUT, "--mode", mode.removeprefix("ncnn-")]
        return shlex.join([f"./bin/{NCNN_RUNNER}", *words])

    def read_log(self, log: Path) -> tuple[Profile, str]:
        """Read a log of the program, as a profile and as a text."""
        record = _FORMAT.read(log)
        where = f", emulated: {record.machine.emulation[0]}" if record.machine.emulation else ""
        version = f"{record.ncnn} on {record.device}{where}"[:120]
        total = record.total_us.mean if record.total_us else None
        profile = Profile(version, total, None, record.init_us, ())
        return profile, read_text(log, FileKind.TOOL_LOG, DeviceError)


def find_ncnn_runner(named: Path | None) -> Path:
    """Return the runner that --ncnn-runner or $BILAYER_NCNN_RUNNER names; errors: see `named_program`."""
    ndk = "-DCMAKE_TOOLCHAIN_FILE=$ANDROID_NDK_HOME/build/cmake/android.toolchain.cmake -DANDROID_ABI=arm64-v8a"
    command = f"cmake -S {shlex.quote(str(NATIVE))} -B build {ndk} -DANDROID_PLATFORM=android-26 -Dncnn_DIR=NCNN"
    folder = "with NCNN the folder of ncnnConfig.cmake in ncnn's release for android-vulkan"
    way_out = f"To build it, {folder}: {command} && cmake --build build"
    return named_program(named, NCNN_RUNNER, "ncnn-runner", way_out)
