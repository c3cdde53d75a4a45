"""The route through ExecuTorch, PyTorch Mobile's successor: the bundle's .pte files in its own executor_runner.

Flags, and what it prints: github.com/pytorch/executorch, examples/portable/executor_runner/executor_runner.cpp
(`inputs`: raw files; `output_file`: output number i goes to NAME-i.bin). Times are the means over a process's
executions, the first included; a process of its own warms up before.
"""

import re
import shlex
from pathlib import Path

from bilayer.android_harness.device.execution import EXECUTOR_RUNNER, TOOL_LOG
from bilayer.android_harness.routes.backend import XNNPACK_THREADS, Backend, ConvertedModel, named_program
from bilayer.android_harness.routes.diagnostics import Profile
from bilayer.android_harness.routes.per_pose import PLACE, POSE, output_bytes, over_list
from bilayer.android_harness.routes.vendor import Mode, Profiling
from bilayer.runtime.bundle import Bundle
from bilayer.runtime.errors import BundleError, DeviceError
from bilayer.runtime.files.reading import FileKind, read_text

MODES: dict[Mode, str] = {
    "executorch-xnnpack": f"ExecuTorch, XNNPACK, FP32, {XNNPACK_THREADS} threads",
    "executorch-vulkan": "ExecuTorch, Vulkan, FP32",
}
_MODELS: dict[Mode, str] = {"executorch-xnnpack": "avatar.xnnpack.pte", "executorch-vulkan": "avatar.vulkan.pte"}
_DONE = re.compile(r"Model executed successfully (\d{1,9}) time\(s\) in (\d{1,15}(?:\.\d{1,15})?) ms")
_LOADED = re.compile(r"Model loaded in (\d{1,15}(?:\.\d{1,15})?) ms")
# Where the first is off, as it is but in Debug builds, it prints nothing; what ExecuTorch's presets for Android have in
# place of the second, to logcat alone (tools/cmake/preset/default.cmake, android.cmake; runtime/platform/default)
PRINTING = "-DEXECUTORCH_ENABLE_LOGGING=ON -DEXECUTORCH_PAL_DEFAULT=posix"
PAGE = "https://docs.pytorch.org/executorch/stable/backends-overview.html"


class ExecutorchBackend(Backend):
    """executor_runner, for those of a bundle's .pte files that there are.

    Raises:
        BundleError: there is none.
    """

    name, program = "executorch", EXECUTOR_RUNNER
    logs, layout = (TOOL_LOG,), "NCHW"
    silent = f"it printed nothing; build it with {PRINTING}"

    def __init__(self, program: Path, bundle: Bundle) -> None:
        files = bundle.contract.files
        given = {"executorch-xnnpack": files.pte_xnnpack, "executorch-vulkan": files.pte_vulkan}
        there = {mode: file for mode, file in given.items() if file is not None}
        if not there:
            advice = "export it again with bilayer-export --also pte-xnnpack --also pte-vulkan"
            raise BundleError(f"{bundle.folder}: has no .pte; {advice}")
        self.modes = {mode: title for mode, title in MODES.items() if mode in there}
        self._paths = {_MODELS[mode]: bundle.path(there[mode]) for mode in self.modes}
        self._outputs = list(output_bytes(bundle.contract))
        self.executable, self.version = program, "ExecuTorch"  # which, it does not tell
        self.model = ConvertedModel(next(iter(there.values())).sha256, "executorch, by bilayer-export")

    def files(self) -> dict[str, Path]:
        """Return the program and the networks, by their names on the device."""
        return {f"bin/{EXECUTOR_RUNNER}": self.executable, **self._paths}

    def command(self, mode: Mode, profiling: Profiling, input_list: str) -> str:
        """Return the command that runs the program over the inputs of the list."""
        words = [f"./bin/{EXECUTOR_RUNNER}", f"--model_path={_MODELS[mode]}", f"--cpu_threads={XNNPACK_THREADS}"]
        run = f"{shlex.join(words)} --inputs={POSE}"
        moves = [f"mv {PLACE}/all-{i}.bin {PLACE}/{name}.raw" for i, name in enumerate(self._outputs)]
        once = " && ".join([f"{run} --num_executions=1 --output_file={PLACE}/all", *moves])
        return over_list(input_list, once, f"{run} --num_executions=$count")

    def read_log(self, log: Path) -> tuple[Profile, str]:
        """Read what the program printed, as a profile and as a text."""
        text = read_text(log, FileKind.TOOL_LOG, DeviceError)
        done, loaded = _DONE.search(text), _LOADED.search(text)
        if done is None or int(done[1]) < 1:
            advice = f"is it executor_runner, built with {PRINTING}?"
            raise DeviceError(f"{log.name}: expected `Model executed successfully`, found none; {advice}")
        version = "stand-in" if "stand-in" in text.lower() else "of a version that it does not tell"
        total = 1000 * float(done[2]) / int(done[1])
        return Profile(version, total, None, 1000 * float(loaded[1]) if loaded else None, ()), text


def find_executor_runner(named: Path | None) -> Path:
    """Return the program that --executor-runner or $BILAYER_EXECUTOR_RUNNER names; errors: see `named_program`."""
    way_out = f"Build it for Android, with XNNPACK and Vulkan and {PRINTING}: {PAGE}"
    return named_program(named, EXECUTOR_RUNNER, "executor-runner", way_out)
