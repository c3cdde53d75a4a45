"""The files that a phone's run leaves, `Result_N/TENSOR.raw` in float32: whether all are there, without a library."""

import math
from pathlib import Path

from bilayer.runtime.bundle import Contract
from bilayer.runtime.errors import InputError
from bilayer.runtime.files.reading import is_file, size_of

_WAY_OUT = "run the network on the inputs of --write-inputs and pull every Result_N, with the same --poses and --drive"


def check_outputs(folder: Path, contract: Contract, poses: int) -> None:
    """See that a folder has what an avatar's network gives for so many poses.

    Raises:
        InputError: a file is missing or has another size.
    """
    channels: dict[str, int] = {}
    for result in contract.outputs.by_name.values():
        channels[result.tensor] = max(result.stop, channels.get(result.tensor, 0))
    for index in range(poses):
        for tensor, count in channels.items():
            checked_output(folder, index, tensor, (count, contract.image_size, contract.image_size))


def checked_output(folder: Path, index: int, tensor: str, shape: tuple[int, ...]) -> Path:
    """Return the file of a tensor for pose number `index`, or an InputError: it is missing or has another size."""
    path = find_output(folder, index, tensor)
    if path is None:
        raise InputError(f"{folder / f'Result_{index}' / tensor}.raw: missing; {_WAY_OUT}")
    expected, found = 4 * math.prod(shape), size_of(path)
    if found != expected:
        sides = " x ".join(map(str, shape))
        raise InputError(f"{path}: {found} bytes, expected {expected}: float32 of {sides}; {_WAY_OUT}")
    return path


def find_output(folder: Path, index: int, tensor: str) -> Path | None:
    """Return the file of any layer's tensor for pose number `index`; None where there is none."""
    place = folder / f"Result_{index}"
    return next((p for p in (place / f"{tensor}.raw", place / f"{tensor}:0.raw") if is_file(p)), None)
