"""What `bilayer-export --inspect` prints of a bundle: how each network in it is stored, and what is in integers."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bilayer.export.dlc import read as dlc_read
from bilayer.export.formats.onnx_file import read_model
from bilayer.export.formats.stored import Stored, bytes_by_type, integer_table, quantised, told_bytes
from bilayer.export.inspect import onnx_show
from bilayer.runtime.bundle import Bundle
from bilayer.runtime.command.console import table


def describe(bundle: Bundle) -> dict[str, Any]:
    """Return each file with the types its numbers are stored in, and what is said and stored of integers, for JSON."""
    quantization = bundle.contract.quantization
    return {
        "bundle": str(bundle.folder),
        "files": [
            {"name": file.name, "bytes": file.bytes, "bytes_by_type": bytes_by_type(_tensors(bundle.path(file)))}
            for file in bundle.contract.files.present
        ],
        "quantization": None if quantization is None else asdict(quantization),
        "integers": [tensor.describe() for tensor in quantised(_integers(bundle))],
    }


def as_text(bundle: Bundle) -> str:
    """Return tables for a terminal: the files, how they were rounded, and every tensor that is in integers."""
    rows = [
        (file.name, f"{file.bytes / 1e6:.2f}", told_bytes(bytes_by_type(tensors)) if tensors else "-")
        for file in bundle.contract.files.present
        for tensors in [_tensors(bundle.path(file))]
    ]
    parts = [table([str(bundle.folder), "MB", "numbers stored as"], rows)]
    made, integers = bundle.contract.quantization, bundle.contract.files.integers
    if made is None or integers is None:
        return f"{parts[0]}\n\nno network in integers: bilayer-export --precision w8a16 makes one"
    verified = "not compared with the trained model"
    if made.frame_db is not None and made.uv_pixels is not None:
        verified = f"{made.frame_db:.1f} dB of the frame against the trained model, warp {made.uv_pixels:.2g} px off"
    facts = [
        ("computed in", {"w8a16": "16-bit integers", "w8a8": "8-bit integers"}[made.precision]),
        ("channels scaled first", "yes, cross-layer equalisation" if made.equalized else "no"),
        ("weights in 16 bits, as two of 8", ", ".join(made.wide) or "none"),
        ("verified", verified),
    ]
    parts += [table([made.precision, integers.name], facts), integer_table(quantised(_integers(bundle)))]
    return "\n\n".join(parts)


def _integers(bundle: Bundle) -> Sequence[Stored]:
    """The tensors of the network in integers, as its ONNX has them; the .dlc was compared with it as it was written."""
    file = bundle.contract.files.integers
    return [] if file is None else _tensors(bundle.path(file))


def _tensors(path: Path) -> Sequence[Stored]:
    """How a network's file stores its tensors; nothing of what is no network that can be read here."""
    if path.suffix == ".onnx":
        return onnx_show.stored_tensors(read_model(path))
    if path.suffix == ".dlc":
        return dlc_read.stored_tensors(dlc_read.read_dlc(path))
    if path.suffix == ".tflite":
        from bilayer.export.tflite import show
        from bilayer.export.tflite.read import read_tflite

        return show.stored_tensors(read_tflite(path))
    return []
