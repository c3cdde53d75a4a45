"""One process of a program on a device: started, watched, stopped where it hangs, its results fetched."""

import math
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bilayer.android_harness.device.adb import DeviceTimeoutError
from bilayer.android_harness.device.conditions import SAMPLE, Conditions, parse_conditions
from bilayer.android_harness.device.workspace import OUT, ROOT, Workspace
from bilayer.runtime.arrays import Floats
from bilayer.runtime.errors import DeviceError
from bilayer.runtime.files.reading import FileKind, is_folder, list_folder, read_bytes
from bilayer.runtime.process.subprocesses import last_line

SAMPLER_RUNNER, NCNN_RUNNER = "bilayer-sampler-runner", "bilayer-ncnn-runner"
BENCHMARK_MODEL, EXECUTOR_RUNNER = "benchmark_model", "executor_runner"  # LiteRT's, ExecuTorch's
_PROGRAMS = ("snpe-net-run", "qnn-net-run", SAMPLER_RUNNER, NCNN_RUNNER, BENCHMARK_MODEL, EXECUTOR_RUNNER)
TOOL_LOG = "tool.log"  # what the program prints
_PID = "run.pid"
_LOG_BYTES = 4000  # of its end; the rest stays on the device until the next run
_MISSING = re.compile(
    r"runtime is not available|not available on this platform|CANNOT LINK EXECUTABLE|cannot open shared object"
    r"|library \"[^\"]*\" not found|Unable to load backend|Disallowed CPU fallback|Backend \w+ is not registered",
    re.IGNORECASE,
)
# What a shell says of a program in it that a signal ended, which its exit code tells too
_SIGNALLED = re.compile(
    r"(?:\S+: )*(?:line )?(?:\d+:? +)?(?:Aborted|Killed|Segmentation fault|Bus error|Illegal instr)"
)
# The program runs beside the shell, which samples clocks until it ends; its number lets a later call stop it
_SCRIPT = """
rm -rf {out} {log} && mkdir {out} || exit 1
{command} > {log} 2>&1 &
pid=$!
echo $pid > {pid}
while kill -0 $pid 2>/dev/null; do
{sample}
echo "--- sample"
sleep 0.5
done
wait $pid
code=$?
rm -f {pid}
echo "--- log"
tail -c {log_bytes} {log}
exit $code
"""
# All that is left of it: a shell that runs the program for each pose, or after another, is not the program itself.
# Each is halted before its children are looked for, so that none begins another meanwhile
_STOP = """
[ -e {pid} ] || exit 0
read -r p < {pid}
all=
! grep -qE '{programs}' /proc/$p/cmdline 2> /dev/null || all=" $p "
rm -f {pid}
found=$all
kill -STOP $all 2> /dev/null
while [ "$found" ]; do
found=
for stat in /proc/[0-9]*/stat; do
{{ read -r line < $stat; }} 2> /dev/null || continue
rest=${{line##*) }}; rest=${{rest#* }}
case "$all" in
*" ${{line%% *}} "*) ;;
*" ${{rest%% *}} "*) found="${{line%% *}} "; kill -STOP $found; all="$all$found";;
esac
done
done
[ -z "$all" ] || kill -9 $all
"""


class RuntimeMissingError(DeviceError):
    """The device does not have what the mode runs on."""


def execute(
    workspace: Workspace, name: str, command: str, timeout: float, silent: str = "it printed nothing"
) -> list[Conditions]:
    """Run a program of ours or the vendor's; its results are then in the workspace's OUT.

    Args:
        workspace: where it is.
        name: of what runs, for messages.
        command: for the device's shell, in the workspace.
        timeout: seconds until it is stopped.
        silent: what to say of one that failed and printed nothing.

    Returns:
        The device's conditions while it ran, twice a second.

    Raises:
        RuntimeMissingError: the device has not what it runs on.
        DeviceError: it failed, hung and was stopped, or the device is gone or full.
    """
    script = _SCRIPT.format(
        out=OUT,
        log=TOOL_LOG,
        pid=_PID,
        sample=SAMPLE,
        log_bytes=_LOG_BYTES,
        command=command,
    )
    what = f"{workspace.device.serial}: {name}"
    try:
        code, printed = workspace.shell(script, timeout)
    except DeviceTimeoutError as error:
        stop_leftover(workspace)
        raise DeviceError(
            f"{what} did not end within {timeout:.0f} s and was stopped; run the same command again, or with a longer "
            "--timeout"
        ) from error
    samples, _, log = printed.partition("--- log\n")
    if code:
        log = log or printed  # of the script itself, where the program was not even started
        reason = _last_line(log) or silent
        if _MISSING.search(log):
            raise RuntimeMissingError(f"{what}: the device does not have this runtime: {reason}")
        if "no space left" in log.lower():
            raise DeviceError(f"{what}: no space left on the device; free some and run the same command again")
        raise DeviceError(f"{what} {_ending(code)}: {reason}")
    return [parse_conditions(part) for part in samples.split("--- sample\n") if part.strip()]


def stop_leftover(workspace: Workspace) -> None:
    """Stop what an interrupted call left running, if it is a program of this harness, or raise a DeviceError."""
    programs = "|".join(_PROGRAMS)
    workspace.device.shell(f"[ -d {ROOT} ] || exit 0; cd {ROOT} && {{ {_STOP.format(pid=_PID, programs=programs)}}}")


def fetch_log(workspace: Workspace, program: str, logs: Sequence[str], folder: Path) -> Path:
    """Copy the last run's log, which has one of the names `logs`, into `folder`; TOOL_LOG is what it printed.

    Raises:
        DeviceError: there is none, or the device is gone.
    """
    if TOOL_LOG in logs:
        workspace.device.pull(f"{ROOT}/{TOOL_LOG}", folder / TOOL_LOG)
        return folder / TOOL_LOG
    code, listing = workspace.shell(f"ls {OUT}")
    names = listing.split() if code == 0 else []
    name = next((name for name in logs if name in names), None)
    if name is None:
        found = ", ".join(names[:5]) or "nothing"
        raise DeviceError(
            f"{workspace.device.serial}: {program} wrote no {logs[0]}, only {found}; is the SDK complete?"
        )
    workspace.device.pull(f"{ROOT}/{OUT}/{name}", folder / name)
    return folder / name


def fetch_results(workspace: Workspace, folder: Path, size: int) -> Path:
    """Copy the last run's results, about `size` bytes, into `folder`: a Result_N for each input; or a DeviceError."""
    workspace.device.pull(f"{ROOT}/{OUT}", folder / OUT, size)
    return folder / OUT


def results_bytes(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return bytes of what one execution writes: float32 arrays of the outputs' `shapes`."""
    return sum(4 * math.prod(shape) for shape in shapes.values())


def read_results(folder: Path, index: int, shapes: dict[str, tuple[int, ...]], layout: str) -> dict[str, Floats]:
    """Return the outputs (1, C, S, S) of input number `index` by tensor name.

    Args:
        folder: as `fetch_results` gave it.
        index: from 0.
        shapes: of the outputs, (1, C, S, S).
        layout: of the files: NHWC, or else NCHW.

    Raises:
        DeviceError: a file is missing or has another size.
    """
    place = folder / f"Result_{index}"
    files = list_folder(place, "*.raw", DeviceError) if is_folder(place) else []
    results = {}
    for name, shape in shapes.items():
        path = _file_of(name, files, only=len(shapes) == 1)
        if path is None:
            found = ", ".join(file.name for file in files[:5]) or "nothing"
            raise DeviceError(f"{place}: expected {name}.raw, found {found}; is the .dlc that of this bundle?")
        size = 4 * math.prod(shape)
        content = read_bytes(path, FileKind.TENSOR, DeviceError, most=size)
        if len(content) != size:
            raise DeviceError(f"{path}: expected {size} bytes of float32 {list(shape)}, found {len(content)}")
        values = np.frombuffer(content, "<f4")
        batch, channels, height, width = shape
        if layout == "NHWC":
            values = values.reshape(batch, height, width, channels).transpose(0, 3, 1, 2)
        results[name] = np.ascontiguousarray(values.reshape(shape), np.float32)
    return results


def _file_of(name: str, files: list[Path], only: bool) -> Path | None:
    """The file of an output: SNPE adds `:0` to some, QNN puts _ for what is no letter or digit."""
    spellings = {name, f"{name}:0", re.sub(r"\W", "_", name)}
    matching = [file for file in files if file.name.removesuffix(".raw") in spellings]
    if not matching and only and len(files) == 1:
        return files[0]
    return matching[0] if matching else None


def _ending(code: int) -> str:
    """An exit code in words; the shell adds 128 to a signal's number."""
    try:
        return (
            f"crashed with signal {code - 128} ({signal.strsignal(code - 128)})"
            if code > 128
            else f"ended with code {code}"
        )
    except ValueError:
        return f"ended with code {code}"


def _last_line(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip() and not _SIGNALLED.match(line.strip())]
    telling = [line for line in lines if _MISSING.search(line)]
    telling = telling or [line for line in lines if re.search(r"error|fail|CANNOT", line, re.IGNORECASE)] or lines
    return last_line("\n".join(telling))
