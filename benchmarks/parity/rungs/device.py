"""What a phone computed: raw outputs pulled from it, and the input files to give to it.

Layout of both is that of snpe-net-run and qnn-net-run: an input list, and `Result_N/TENSOR.raw` in float32.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bilayer.benchmarks.parity.device_outputs import checked_output, find_output
from bilayer.benchmarks.parity.options import INPUT_LIST
from bilayer.benchmarks.parity.rungs.rung import Rung
from bilayer.benchmarks.parity.subject import Subject
from bilayer.runtime.agreement import Kind
from bilayer.runtime.arrays import Floats
from bilayer.runtime.files.reading import FileKind, read_bytes
from bilayer.runtime.files.writing import write_files
from bilayer.runtime.frame import Values
from bilayer.runtime.vocabulary import DevicePrecision, TensorLayout


@dataclass(frozen=True, eq=False)
class DeviceRung(Rung):
    """Outputs in a folder; `open_device` makes it."""

    subject: Subject
    folder: Path
    layout: Literal["nchw", "nhwc"]
    kind: Kind
    label: str
    name = "device"

    def layers(self, index: int) -> dict[str, Values]:
        """Return the output tensors, and any other layer's output with a file: `write_device_inputs` asks for it."""
        shapes, needed = self.subject.own.shapes(), self.subject.own.output_tensors
        there = [name for name in shapes if name in needed or find_output(self.folder, index, name) is not None]
        return {name: _read(self.folder, index, name, shapes[name], self.layout) for name in there}


def open_device(
    subject: Subject, folder: Path, layout: TensorLayout, precision: DevicePrecision, truth: dict[str, Values]
) -> DeviceRung:
    """Return the rung of the outputs for the subject's poses, which a device wrote.

    Args:
        subject: whose poses they are of, in this order.
        folder: with Result_0, Result_1, ...
        layout: "auto" recognises it: the one that is nearer to the truth.
        precision: what the phone computed in, which says what it is held to.
        truth: output tensors (1, C, S, S) of the first pose.

    Raises:
        InputError: a file is missing or has another size.
    """
    chosen: Literal["nchw", "nhwc"] = "nchw" if layout == "nchw" else "nhwc"
    said = "as told"
    if layout == "auto":
        shapes = subject.own.shapes()
        errors: dict[Literal["nchw", "nhwc"], float] = {}
        for candidate in ("nchw", "nhwc"):
            tensors = {name: _read(folder, 0, name, shapes[name], candidate) for name in truth}
            errors[candidate] = sum(float(np.mean(np.square(tensors[name] - truth[name]))) for name in truth)
        chosen, said = min(errors, key=lambda candidate: errors[candidate]), "recognised"
    label = f"outputs of a phone, {precision}, read as {chosen.upper()} ({said})"
    return DeviceRung(subject, folder, chosen, precision, label)


def write_device_inputs(subject: Subject, folder: Path, layers: bool = False) -> Path:
    """Write poses as raw float32 files, and the list of them for snpe-net-run, whose path is returned.

    Args:
        subject: whose poses they are.
        folder: where to; it is made.
        layers: ask for every layer's output, not only for the network's.

    Raises:
        OutputError: the folder cannot be written.
    """
    tensor = subject.bundle.contract.input.tensor
    wanted = [layer.name for layer in subject.own.layers] if layers else subject.own.output_tensors
    poses = {f"pose_{i:04}.raw": pose.astype("<f4").tobytes() for i, pose in enumerate(subject.encoded())}
    lines = [f"#{' '.join(wanted)}", *(f"{tensor}:={name}" for name in poses)]
    write_files(folder, {**poses, INPUT_LIST: ("\n".join(lines) + "\n").encode()})
    return folder / INPUT_LIST


def _read(folder: Path, index: int, tensor: str, shape: tuple[int, ...], layout: str) -> Floats:
    """A tensor's file as (1, C, H, W), or (1, features)."""
    content = read_bytes(checked_output(folder, index, tensor, shape), FileKind.TENSOR)
    values = np.frombuffer(content, "<f4").astype(np.float32)
    if layout == "nchw" or len(shape) == 1:
        return values.reshape(1, *shape)
    channels, height, width = shape
    return np.ascontiguousarray(values.reshape(1, height, width, channels).transpose(0, 3, 1, 2))
