"""The one door for reading a file that a user gave: a regular file of a fit size, read to a bound; else one line.

A pipe would hang its reader, a device or a sparse file fill the memory, and a folder that may not be entered ends in a
traceback. tests/runtime/test_file_door.py holds that nothing else in the product opens a path to read it.
"""

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from io import BufferedReader
from pathlib import Path
from typing import Any

from bilayer.runtime.errors import InputError
from bilayer.runtime.files.reasons import why_not_read

StrPath = str | Path
_MIB = 1 << 20
# A pipe is not waited for, in the moment between the look at it and its opening
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class FileKind(Enum):
    """Kinds of files that users give: what each is called in messages, and the most bytes that it may have.

    What is read whole has to fit into memory; what a library reads piece by piece may be larger.
    """

    SETTINGS = "a file of settings", _MIB  # args.txt, .toml, avatar.json, settings.json: a few kilobytes
    TOKEN = "a file with a token", 4096  # bilayer-serve's; 64 characters
    JSON = "a .json file", 16 * _MIB  # a device's result with its layers; an hour's session has 2 MB
    MANIFEST = "a manifest of photos", 1 << 30  # a million rows take 200 MB
    LANDMARKS = "a file of 68 points", _MIB  # they take a few kilobytes in any of the formats
    TRACK = "a landmark track", (1 << 18) * 68 * 2 * 8 + 4096  # motion/track.py's longest, in float64
    JSON_TRACK = "a landmark track", 64 * _MIB  # about 20,000 frames; parsing takes ten times that
    PHOTO = "a photo", 1 << 30  # media/photo.py's most pixels as a TIFF of four 16-bit channels; read piece by piece
    VIDEO = "a video", 1 << 40  # read piece by piece
    FRAME_PICTURE = "a PNG or JPEG", 64 * _MIB  # of training data
    ARRAY = "a .npy or .npz file", 256 * _MIB  # of training data, or a reduced head model, which has 5 MB
    MESH = "a mesh (.obj)", 64 * _MIB  # of ICT-FaceKit, 3 MB each
    TRAINING_LOG = "a training log", 256 * _MIB  # a line of 500 bytes an iteration logged: half a million of them
    TRAINING_STATE = "a training state", 1 << 34  # three times the networks; read piece by piece
    CHECKPOINT = "a checkpoint", 1 << 33  # the published ones have 0.6 GB; read piece by piece
    ONNX = "an ONNX file", 2_000_000_000  # what a protobuf can hold, and so of weights beside it; ours: 8 to 70 MB
    TFLITE = "a .tflite", (1 << 31) - 1  # what 32-bit offsets reach; an avatar's has 4 to 60 MB
    MLPACKAGE = "a zipped .mlpackage", 1 << 31  # an avatar's has 8 to 60 MB
    PTE = "a .pte", (1 << 31) - 1  # likewise
    DLC = "a .dlc", 1 << 30  # an avatar's has 20 to 60 MB
    TEXTURE = "a texture (.safetensors)", 272 * _MIB  # of 4096 px, the largest
    RELEASED = "a file of a release", 64 * _MIB  # files/released.py; the largest has 17 MB
    WHEEL = "a package's archive", 256 * _MIB
    PROGRAM = "a program or library", 1 << 31  # an SDK's, or a runner
    TOOL_LOG = "a tool's log", 256 * _MIB
    TENSOR = "a raw tensor", 512 * _MIB  # six channels of 4096 px in float32
    ANY = "a file", 1 << 62  # its first bytes, or a digest piece by piece

    def __init__(self, what: str, most: int) -> None:
        self.what, self.most = what, most


def open_file(path: StrPath, kind: FileKind, error: type[InputError] = InputError) -> BufferedReader:
    """Return a user's file, open for reading in binary.

    Raises:
        InputError: as the class `error`: nothing there, not a regular file, larger than its kind may be, no
            permission, or a name that the file system does not take.
    """
    with _told(path, error, f"no such file; name {kind.what}"):
        _check(path, os.stat(path), kind, error)  # noqa: PTH116  # before it is opened, which some devices act on
        file: BufferedReader = BufferedReader(_Named(os.open(path, _FLAGS), path, error))
    try:
        _check(path, os.fstat(file.fileno()), kind, error)
    except BaseException:
        file.close()
        raise
    return file


def read_bytes(path: StrPath, kind: FileKind, error: type[InputError] = InputError, most: int | None = None) -> bytes:
    """Return the whole content of a user's file, of at most `most` bytes where that is less than its kind may have.

    Raises:
        InputError: as `open_file` says; or reading fails, or does not fit into memory.
    """
    most = kind.most if most is None else min(most, kind.most)
    with open_file(path, kind, error) as file, _told(path, error):
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > most else file.read(size + 1)  # `read` makes room for as much as it is asked for
        if len(content) > size:  # it has grown since, or is one of the kernel's, of no size
            content += file.read(most + 1 - len(content))
        if max(size, len(content)) > most:
            raise _too_large(path, max(size, len(content)), most, kind, error)
        return content


def read_text(path: StrPath, kind: FileKind, error: type[InputError] = InputError) -> str:
    """Return a user's UTF-8 text file, without a byte order mark; errors are `read_bytes`'s, or it is no text."""
    try:
        return read_bytes(path, kind, error).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{path}: expected text in UTF-8, found other bytes at {problem.start}; name {kind.what}") from None


def checked(path: StrPath, kind: FileKind, error: type[InputError] = InputError) -> Path:
    """Return the path of a user's file, for a library that opens it by itself; errors are those of `open_file`."""
    open_file(path, kind, error).close()
    return Path(path)


def check_input(path: StrPath | None, error: type[InputError] = InputError) -> None:
    """Raise `error` where nothing lies at `path`, or nothing that can be looked at, if one is given."""
    if path is not None:
        with _told(path, error):
            os.stat(path)  # noqa: PTH116


def check_folder(path: Path | None) -> None:
    """Raise an InputError where `path` is no folder, if one is given."""
    if path is not None:
        with _told(path, InputError, "expected a folder, found nothing; name one"):
            if not stat.S_ISDIR(os.stat(path).st_mode):  # noqa: PTH116
                raise InputError(f"{path}: expected a folder, found a file; name a folder")


def is_file(path: StrPath) -> bool:
    """Return whether a file lies there that can be looked at; `open_file` says what else is the matter."""
    return os.path.isfile(path)  # noqa: PTH113  # Path's raises of a locked folder, before Python 3.14


def is_folder(path: StrPath) -> bool:
    """Return whether a folder lies there that can be looked at."""
    return os.path.isdir(path)  # noqa: PTH112


def is_there(path: StrPath) -> bool:
    """Return whether anything lies there that can be looked at."""
    return os.path.exists(path)  # noqa: PTH110


def size_of(path: StrPath) -> int:
    """Return bytes of a file, or an InputError where it cannot be looked at."""
    with _told(path, InputError):
        return os.stat(path).st_size  # noqa: PTH116


def list_folder(folder: StrPath, pattern: str = "*", error: type[InputError] = InputError) -> list[Path]:
    """Return what lies in a folder, by names that fit `pattern`, sorted; an InputError (`error`) where it cannot be."""
    with _told(folder, error), os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if Path(entry.name).match(pattern))


def list_below(folder: StrPath, error: type[InputError] = InputError) -> list[Path]:
    """Return all files below a folder, sorted, links to folders not followed, or an InputError (`error`)."""

    def stop(problem: OSError) -> None:
        raise error(f"{problem.filename}: cannot be listed: {why_not_read(problem)}") from problem

    return sorted(Path(place, name) for place, _, names in os.walk(folder, onerror=stop) for name in names)


class _Named(io.FileIO):
    """A file of which whoever reads it is told by its name where the system fails at that, as an `error`."""

    def __init__(self, descriptor: int, path: StrPath, error: type[InputError]) -> None:
        super().__init__(descriptor, "rb")
        self._path, self._error = path, error

    def readinto(self, buffer: Any, /) -> int:
        with _told(self._path, self._error):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with _told(self._path, self._error):
            return super().readall()


@contextmanager
def _told(
    path: StrPath, error: type[InputError], missing: str = "no such file or folder; name one that is there"
) -> Iterator[None]:
    """Turn what the system raises inside into an `error` that names `path`."""
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOENT, errno.ENOTDIR):
            raise error(f"{path}: {missing}") from problem
        raise error(f"{path}: cannot be read: {why_not_read(problem)}") from problem
    except MemoryError as problem:
        raise error(f"{path}: does not fit into memory; name a smaller one, or end other programs") from problem
    except ValueError as problem:  # a name with a zero byte, or with halves of a surrogate pair
        raise error(f"{path}: not a name that a file can have ({problem}); correct it") from problem


def _check(path: StrPath, status: os.stat_result, kind: FileKind, error: type[InputError]) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise error(f"{path}: is a folder; name {kind.what}")
    if not stat.S_ISREG(status.st_mode):
        raise error(f"{path}: is a device, pipe or socket; name {kind.what} that lies on a disk")
    if status.st_size > kind.most:
        raise _too_large(path, status.st_size, kind.most, kind, error)


def _too_large(path: StrPath, size: int, most: int, kind: FileKind, error: type[InputError]) -> InputError:
    return error(f"{path}: expected at most {most} bytes for {kind.what}, found {size}; name a smaller one")
