"""What can be seen of a checkpoint without torch: whether a file or folder may be one."""

import json
from pathlib import Path
from typing import Any

from bilayer.runtime.bundle_names import find_avatar
from bilayer.runtime.errors import CheckpointError
from bilayer.runtime.files.given import check_kind_of
from bilayer.runtime.files.kinds import DATA, SAFETENSORS, TORCH
from bilayer.runtime.files.reading import (
    FileKind,
    StrPath,
    check_input,
    is_file,
    is_folder,
    is_there,
    list_folder,
    open_file,
    size_of,
)

AGAIN = "copy or download it again"
SETTINGS = "args.txt"  # of an experiment of the authors'
_WAY_OUT = "give a .safetensors of bilayer-checkpoint convert, or the authors' `runs` folder"
_LONGEST = 100_000_000  # bytes of a header, as safetensors has it
ONE_OF_SEVERAL = f"one network of several; give the folder with its {SETTINGS}, or `runs`"


def check_checkpoint_file(path: StrPath | None) -> None:
    """See that a checkpoint may be one, if it is given; what its tensors are is seen when they are read.

    Raises:
        CheckpointError: nothing is there, a folder without an experiment of the authors', another kind of file, or one
            that is cut short.
    """
    if path is None:
        return
    check_input(path, CheckpointError)
    if is_folder(path):
        experiment_folders(Path(path))
        return
    kind = check_kind_of(path, "a checkpoint", (SAFETENSORS, TORCH, DATA), _WAY_OUT, CheckpointError)
    if kind == TORCH:
        raise CheckpointError(f"{path}: {ONE_OF_SEVERAL}")
    if _names(Path(path)) == {"texture"}:
        raise CheckpointError(f"{path}: expected a checkpoint, found an avatar's texture; {_WAY_OUT}")


def experiment_folders(path: Path) -> list[Path]:
    """Return the authors' experiments in a folder: a project, its `runs`, or one of them, beside which others may lie.

    Raises:
        CheckpointError: there is none.
    """
    if not is_folder(path):
        raise CheckpointError(f"{path}: expected the folder of a training run, found none; {_WAY_OUT}")
    runs = path / "runs" if is_folder(path / "runs") else path
    if is_file(path / SETTINGS):
        runs = path.resolve().parent
    found = list_folder(runs, error=CheckpointError)
    folders = [folder for folder in found if is_there(folder / SETTINGS)]
    if not folders:
        lies = f"no <experiment>/{SETTINGS} in it"
        if (contract := find_avatar(path)) is not None:
            lies = f"found an avatar ({contract.name}), which is made by one"
        raise CheckpointError(f"{path}: expected a checkpoint, {lies}; {_WAY_OUT}")
    return folders


def _names(path: Path) -> set[str]:
    """Return the names of a .safetensors file's tensors, or a CheckpointError where it is cut or its header damaged."""
    with open_file(path, FileKind.CHECKPOINT, CheckpointError) as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(min(length, _LONGEST))
    try:
        content: Any = json.loads(header)
        tensors: dict[str, Any] = {name: entry for name, entry in content.items() if name != "__metadata__"}
        size = 8 + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise unreadable(path, "its header is damaged") from error
    if size != (found := size_of(path)):
        raise unreadable(path, f"expected {size} bytes, as its header has them, found {found}")
    return set(tensors)


def unreadable(path: StrPath, reason: str) -> CheckpointError:
    """Return what to raise of a damaged .safetensors file."""
    return CheckpointError(f"{path}: not a readable .safetensors file ({reason}); {AGAIN}")
