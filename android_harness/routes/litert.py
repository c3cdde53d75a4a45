"""The route through LiteRT: the bundle's .tflite, by the GPU delegate or XNNPACK, in Google's own benchmark_model.

Flags: github.com/google-ai-edge/LiteRT, tflite/tools/benchmark/README.md (runs, inputs, delegates) and
benchmark_tflite_model.cc (`output_filepath`: all output tensors as they lie in memory, one behind the other;
`require_full_delegation`: fails where a delegate leaves something to the CPU). With `min_secs` 0 it runs `num_runs`
times and no more (benchmark_model.cc).
"""

import re
import shlex
from pathlib import Path

from bilayer.android_harness.device.execution import BENCHMARK_MODEL, TOOL_LOG
from bilayer.android_harness.routes.backend import XNNPACK_THREADS, Backend, ConvertedModel, named_program
from bilayer.android_harness.routes.diagnostics import Profile
from bilayer.android_harness.routes.per_pose import PLACE, POSE, output_bytes, over_list, split
from bilayer.android_harness.routes.vendor import Mode, Profiling
from bilayer.runtime.bundle import Bundle
from bilayer.runtime.errors import BundleError, DeviceError
from bilayer.runtime.files.reading import FileKind, read_text

MODEL = "avatar.tflite"  # in the device's folder
MODES: dict[Mode, str] = {
    "litert-gpu-fp16": "LiteRT, GPU delegate, FP16",
    "litert-gpu": "LiteRT, GPU delegate, FP32",
    "litert-xnnpack": f"LiteRT, XNNPACK, FP32, {XNNPACK_THREADS} threads",
    "litert-xnnpack-fp16": f"LiteRT, XNNPACK, FP16, {XNNPACK_THREADS} threads",
}
_FLAGS: dict[Mode, tuple[str, ...]] = {
    "litert-gpu-fp16": ("--use_gpu=true", "--gpu_precision_loss_allowed=true", "--require_full_delegation=true"),
    "litert-gpu": ("--use_gpu=true", "--gpu_precision_loss_allowed=false", "--require_full_delegation=true"),
    # Not the whole graph: XNNPACK has no nearest upsampling, which LiteRT's own kernels do
    "litert-xnnpack": ("--use_xnnpack=true", f"--num_threads={XNNPACK_THREADS}"),
    "litert-xnnpack-fp16": ("--use_xnnpack=true", "--xnnpack_force_fp16=true", f"--num_threads={XNNPACK_THREADS}"),
}
_NUMBER = r"(\d{1,15}(?:\.\d{1,15})?(?:e[+-]?\d{1,2})?)"
_TIMES = re.compile(
    rf"Inference timings in us: Init: {_NUMBER}, First inference: {_NUMBER}, "
    rf"Warmup \(avg\): {_NUMBER}, Inference \(avg\): {_NUMBER}"
)
_DELEGATE = re.compile(r"Explicitly applied (\w+) delegate, and the model graph will be (\w+)")
PAGE = "https://ai.google.dev/edge/litert/models/measurement"  # has it built for Android, and how to build it


class LitertBackend(Backend):
    """benchmark_model, for a bundle's .tflite: that in float32, or else the one with weights in FP16.

    Raises:
        BundleError: the bundle has neither.
    """

    name, program = "litert", BENCHMARK_MODEL
    logs, layout = (TOOL_LOG,), "NHWC"  # a delegate is one node to its profiler: it has no layers' times

    def __init__(self, program: Path, bundle: Bundle) -> None:
        contract = bundle.contract
        file = contract.files.tflite or contract.files.tflite_fp16
        if file is None:
            raise BundleError(f"{bundle.folder}: has no .tflite; export it again with bilayer-export --also tflite")
        weights = "" if contract.files.tflite else ", weights in FP16"
        self.modes = {mode: f"{title}{weights}" for mode, title in MODES.items()}
        self._model, self._sizes = bundle.path(file), output_bytes(contract)
        given = contract.input
        self._input = f"--input_layer={given.tensor} --input_layer_shape=1,{given.width}"
        self._input += f" --input_layer_value_files={given.tensor}:{POSE}"
        self.executable, self.version = program, "LiteRT"  # which, it does not tell
        self.model = ConvertedModel(file.sha256, "bilayer-export")

    def files(self) -> dict[str, Path]:
        """Return the program and the network, by their names on the device."""
        return {f"bin/{BENCHMARK_MODEL}": self.executable, MODEL: self._model}

    def command(self, mode: Mode, profiling: Profiling, input_list: str) -> str:
        """Return the command that runs the program over the inputs of the list."""
        words = [f"./bin/{BENCHMARK_MODEL}", f"--graph={MODEL}", *_FLAGS[mode], "--min_secs=0", "--warmup_min_secs=0"]
        run = f"{shlex.join(words)} {self._input}"
        once = f"{run} --warmup_runs=0 --num_runs=1 --output_filepath={PLACE}/all && {split('all', self._sizes)}"
        timed = f"{run} --warmup_runs=1 --num_runs=$count --max_secs=100000"
        return over_list(input_list, once, timed)

    def read_log(self, log: Path) -> tuple[Profile, str]:
        """Read what the program printed, as a profile and as a text."""
        text = read_text(log, FileKind.TOOL_LOG, DeviceError)
        times = _TIMES.search(text)
        if times is None:
            raise DeviceError(
                f"{log.name}: expected a line `Inference timings in us`, found none; is it benchmark_model?"
            )
        applied = _DELEGATE.search(text)
        used = f"{applied[1]} delegate, {applied[2]}" if applied else "no delegate named"
        stand_in = "stand-in: " if "stand-in" in text.lower() else ""
        init, _, _, mean = map(float, times.groups())
        return Profile(f"{stand_in}{used}"[:120], mean, None, init, ()), text


def find_benchmark_model(named: Path | None) -> Path:
    """Return the program that --benchmark-model or $BILAYER_BENCHMARK_MODEL names; errors: see `named_program`."""
    way_out = f"{PAGE} has it built for Android (android_aarch64_benchmark_model)"
    return named_program(named, BENCHMARK_MODEL, "benchmark-model", way_out)
