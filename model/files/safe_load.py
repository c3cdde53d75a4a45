"""Reading weight files as what they are: hostile input.

Pickles are read by torch's restricted unpickler (`weights_only=True`) and by nothing else. What comes out is
checked before any arithmetic: plain dense tensors that the file really holds, no NaN, no infinity.
"""

import io
import os
import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bilayer.model.files.given import AGAIN, unreadable
from bilayer.runtime.errors import CheckpointError
from bilayer.runtime.files.reading import FileKind, checked, is_file, open_file

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64)
EIGHT_BIT_STEPS = ".eight_bit_steps"  # ends the name of what belongs to a matrix of int8; see eight_bits.py
_COUNTER = "num_batches_tracked"  # of a batch norm, the one whole number of a network
_PARALLEL = "module."  # DataParallel's and DistributedDataParallel's
_PICKLE_HEAD = 1 << 20  # bytes: what it imports comes first, and a file that is no pickle may have gigabytes
_BLOCKED = re.compile(r"GLOBAL (\S+)")
# What torch's unpickler lets a pickle call, and what makes room for as much as a number of a few bytes says
_ROOMS = {"bytearray", "torch.Tensor", "torch.storage.TypedStorage", "torch.storage.UntypedStorage"}
_PICKLES = 5  # of a file before zip: magic number, version, system, state dict, names of the storages


def read_pth(path: Path) -> dict[str, Tensor]:
    """Return a state dict saved by torch, old pickle stream or zip, on the CPU.

    Raises:
        CheckpointError: missing, empty, truncated, not torch's, a compressed archive (torch never compresses: a
            zip bomb), a pickle that wants more than tensors, or tensors that are not dense and finite.
    """
    _check_file(path)
    try:
        with open_file(path, FileKind.CHECKPOINT, CheckpointError) as file, warnings.catch_warnings():
            if _is_zip(file):
                _refuse_zip_bomb(file, path)
            _refuse_rooms(file, path)
            file.seek(0)
            warnings.simplefilter("ignore")  # torch's words on old formats are not for the user
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except MemoryError as error:
        raise CheckpointError(f"{path}: claims more memory than there is; the file is damaged") from error
    except Exception as error:  # a hostile pickle can make the unpickler raise anything
        raise CheckpointError(f"{path}: {_explain(error, path)}") from error
    if isinstance(loaded, dict):
        loaded = _unwrapped(loaded)
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise CheckpointError(f"{path}: expected a state dict (names to tensors), found a {type(loaded).__name__}")
    for key, tensor in loaded.items():
        _check_tensor(path, key, tensor)
    return dict(loaded)


def _unwrapped(loaded: dict[Any, Any]) -> Any:
    """The state dict in what trainers save: beside an epoch and an optimizer, with the prefix of a parallel module."""
    for name in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded.get(name), dict):
            loaded = loaded[name]
    if loaded and all(isinstance(key, str) and key.startswith(_PARALLEL) for key in loaded):
        return {key.removeprefix(_PARALLEL): tensor for key, tensor in loaded.items()}
    return loaded


def is_torch_file(path: Path) -> bool:
    """Return whether a file starts as torch's do, a zip archive or a pickle, whatever its name; False for no file."""
    head = b""
    if is_file(path):
        with suppress(CheckpointError), open_file(path, FileKind.CHECKPOINT, CheckpointError) as file:
            head = file.read(4)
    return head == b"PK\3\4" or (len(head) == 4 and head[0] == 0x80 and head[1] in (2, 3, 4, 5))


def read_safetensors(
    path: Path, wanted: Callable[[str], bool] = lambda name: True
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors with `wanted` names and the metadata of a .safetensors file.

    Raises:
        CheckpointError: missing, empty, damaged, or tensors that are not finite.
    """
    _check_file(path)
    try:
        with safe_open(checked(path, FileKind.CHECKPOINT, CheckpointError), framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {key: file.get_tensor(key) for key in file.keys() if wanted(key)}  # noqa: SIM118  # not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise unreadable(path, _first_line(error)) from error
    for key, tensor in tensors.items():
        if tensor.dtype != torch.int8 or key + EIGHT_BIT_STEPS not in tensors:
            _check_tensor(path, key, tensor)
    return tensors, metadata


def _check_file(path: Path) -> None:
    with open_file(path, FileKind.CHECKPOINT, CheckpointError) as file:
        if file.read(1):
            return
    raise CheckpointError(f"{path}: the file is empty; {AGAIN}")


def _is_zip(file: BinaryIO) -> bool:
    """Tell as torch does, by the first bytes: zipfile looks at the end, where an archive may follow a pickle."""
    file.seek(0)
    return file.read(4) == b"PK\x03\x04"


def _refuse_zip_bomb(file: BinaryIO, path: Path) -> None:
    size = file.seek(0, os.SEEK_END)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged zip archive ({_first_line(error)}); {AGAIN}") from error
    claimed = sum(member.file_size for member in members)
    stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
    if not stored or claimed > size:
        raise CheckpointError(
            f"{path}: unpacks from {size} to {claimed} bytes, but torch stores weights uncompressed; "
            "refused as a zip bomb"
        )


def _refuse_rooms(file: BinaryIO, path: Path) -> None:
    """See that nothing in a file's pickles makes room by itself: 32 bytes can ask for 2.5 GB."""
    file.seek(0)
    asked: list[str] = []
    with suppress(Exception):  # no pickle, or a broken one: torch says so
        if _is_zip(file):
            with zipfile.ZipFile(file) as archive:
                for member in archive.infolist():  # each of them, also of one name
                    if member.filename.endswith("data.pkl"):
                        asked += _globals(archive.open(member))
        else:
            file.seek(0)
            for _ in range(_PICKLES):
                asked.extend(_globals(file))
    for name in asked:
        if name.removeprefix("__builtin__.").removeprefix("builtins.") in _ROOMS:
            raise CheckpointError(
                f"{path}: refused: its pickle asks for {name}, which makes room for any amount and is no weight; get "
                "the weights as a plain state dict of tensors, or as .safetensors, from their author"
            )


def _check_tensor(path: Path, key: str, tensor: object) -> None:
    if not isinstance(tensor, Tensor):
        raise CheckpointError(f"{path}: {key}: expected a tensor, found a {type(tensor).__name__}")
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.dtype not in _DTYPES:
        kind = f"{tensor.layout}, {tensor.dtype} on {tensor.device}".replace("torch.", "")
        raise CheckpointError(f"{path}: {key}: expected a dense float tensor, found {kind}")
    if tensor.dtype == torch.int64 and not key.endswith(_COUNTER):
        raise CheckpointError(f"{path}: {key}: expected fractions, found whole numbers")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(f"{path}: {key}: claims shape {tuple(tensor.shape)} without the values for it")
    if bad := count_not_finite(tensor):
        raise CheckpointError(
            f"{path}: {key}: {bad} of {tensor.numel()} values are NaN or infinite; the training diverged or the "
            "file is damaged: take an earlier epoch"
        )


def count_not_finite(tensor: Tensor) -> int:
    """Return how many values of a tensor are NaN or infinite."""
    # The sum is quick and catches every NaN and infinity; it might also overflow by itself, so the values decide
    return 0 if torch.isfinite(tensor.sum()) else int((~torch.isfinite(tensor)).sum())


def _explain(error: Exception, path: Path) -> str:
    named = _BLOCKED.search(str(error))
    blocked = named[1] if named else _first_foreign_global(path)
    if blocked:
        return (
            f"refused: its pickle asks for {blocked}, which is not a tensor and could run code; get the weights "
            "as a plain state dict of tensors, or as .safetensors, from their author"
        )
    return f"not a readable torch state dict, truncated or of another format ({_first_line(error)}); {AGAIN}"


def _first_foreign_global(path: Path) -> str | None:
    """The first name outside of torch that a bare pickle imports; nothing is executed. None if it is no pickle."""
    with suppress(Exception), open_file(path, FileKind.CHECKPOINT) as file:  # not a pickle after all, or a broken one
        for name in _globals(io.BytesIO(file.read(_PICKLE_HEAD))):
            if not name.startswith(("torch.", "collections.")):
                return name
    return None


def _globals(stream: IO[bytes]) -> Iterator[str]:
    """The names that the next pickle of a stream imports; nothing is executed."""
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "STACK_GLOBAL":
            yield ".".join(strings)
        elif opcode.name == "GLOBAL":
            yield str(argument).replace(" ", ".")
        elif isinstance(argument, str):
            strings = [*strings[-1:], argument]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    if not lines or "weights_only" in str(error):  # torch advises to load the file unsafely
        return type(error).__name__
    return f"{type(error).__name__}: {lines[0][:120]}"
