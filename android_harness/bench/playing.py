"""An avatar driven on a device: its network there, the texture sampler here."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bilayer.android_harness.bench.outcome import measured_on
from bilayer.android_harness.bench.parity import Reference
from bilayer.android_harness.bench.poses import write_poses
from bilayer.android_harness.bench.setup import BenchSetup
from bilayer.android_harness.device.execution import execute, fetch_results, read_results, results_bytes, stop_leftover
from bilayer.android_harness.device.probe import probe
from bilayer.android_harness.device.workspace import OUT, Workspace
from bilayer.android_harness.results import MeasuredOn, Parity
from bilayer.android_harness.routes.vendor import Mode, held_to, input_list
from bilayer.runtime.media.writers import open_writer
from bilayer.runtime.motion.poses import spread

CHUNK = 64  # frames of one process: 100 MB of results at 256 px
COMPARED = 8  # frames, evenly spaced


@dataclass(frozen=True)
class PoseRun:
    """The number of frames played, and how right some of them were."""

    frames: int
    parity: Parity  # of some of the frames
    measured_on: MeasuredOn


def play(
    setup: BenchSetup,
    mode: Mode,
    out: Path,
    rate: float,
    timeout: float,
    say: Callable[[str], None] = lambda line: None,
) -> PoseRun:
    """Run a device's network over all poses of `setup`, and write the frames to `out` as `open_writer` does.

    Raises:
        DeviceError: the device is gone, full or too slow, or the program failed; nothing is written then.
        OutputError: `out` cannot be written.
    """
    contract, workspace, backend = setup.bundle.contract, Workspace(setup.device), setup.backend
    reference = Reference(setup.bundle, emulation=setup.emulation)
    facts = probe(setup.device)
    stop_leftover(workspace)
    size = results_bytes(reference.shapes)
    poses = setup.poses
    compared = spread(len(poses), COMPARED)
    kept = {}
    with tempfile.TemporaryDirectory(prefix="bilayer-device-") as name, open_writer(out, rate) as writer:
        folder = Path(name)
        inputs = write_poses(setup.bundle, poses, folder)
        chunks = [list(inputs)[start : start + CHUNK] for start in range(0, len(inputs), CHUNK)]
        lists = {f"chunk_{number:04d}.txt": chunk for number, chunk in enumerate(chunks)}
        for list_name, chunk in lists.items():
            text = input_list(contract.input.tensor, chunk, list(reference.shapes) if backend.names_outputs else ())
            (folder / list_name).write_text(text, encoding="utf-8")
        files = backend.files() | inputs
        workspace.sync(
            files | {name: folder / name for name in lists}, CHUNK * size, lambda file: say(f"pushed {file}")
        )
        for number, (list_name, chunk) in enumerate(lists.items()):
            say(f"frames {number * CHUNK} to {number * CHUNK + len(chunk) - 1} of {len(poses)}")
            command = backend.command(mode, "basic", list_name)
            execute(workspace, f"{backend.program} ({mode})", command, timeout, backend.silent)
            with tempfile.TemporaryDirectory(dir=folder) as results:
                place = fetch_results(workspace, Path(results), len(chunk) * size)
                for index in range(len(chunk)):
                    tensors = read_results(place, index, reference.shapes, backend.layout)
                    writer.write(reference.frame(tensors))
                    if number * CHUNK + index in compared:
                        kept[number * CHUNK + index] = tensors
        workspace.clean(OUT)
    indices = sorted(kept)
    parity = reference.compare(poses[indices], [kept[index] for index in indices], held_to(mode, setup.bundle))
    on, _ = measured_on(facts, backend.executable, "")
    return PoseRun(len(poses), parity, on)
