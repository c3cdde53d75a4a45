"""What a file that is given has to be, seen by its name and its first bytes before anything is loaded that reads it."""

from collections.abc import Container
from pathlib import Path

from bilayer.runtime.errors import InputError, LandmarkError
from bilayer.runtime.files.kinds import (
    DATA,
    EMPTY,
    NPY,
    NPZ,
    ONNX,
    PROGRAM,
    SAFETENSORS,
    TEXT,
    TFLITE,
    TORCH,
    ZIP,
    kind_of,
)
from bilayer.runtime.files.reading import FileKind, StrPath, check_input, is_file, read_bytes
from bilayer.runtime.vocabulary import TRACK_SUFFIXES

_NO_DRIVERS = (NPY, NPZ, ONNX, PROGRAM, SAFETENSORS, TEXT, TFLITE, TORCH, ZIP, EMPTY, "a PDF", "a gzip archive")
_OF_POINTS = {  # by suffix; what is of none of these kinds is no file of the sort, what is may still be damaged
    ".npy": (NPY, DATA),
    ".npz": (NPZ, ZIP, DATA),
    **dict.fromkeys((".json", ".csv", ".pts"), (TEXT, DATA)),
}


def check_kind_of(
    path: StrPath, expected: str, fitting: Container[str], way_out: str, error: type[InputError] = InputError
) -> str:
    """Return the kind of a file, one of `fitting`.

    Args:
        path: where it lies.
        expected: what is asked for, such as "settings (.toml)".
        fitting: kinds of `describe_head`.
        way_out: what to do instead.
        error: what is raised.

    Raises:
        InputError: as the class `error`: it cannot be read, or is of another kind.
    """
    kind = kind_of(Path(path), error)
    if kind not in fitting:
        raise error(f"{path}: expected {expected}, found {kind}; {way_out}")
    return kind


def check_track_file(path: StrPath | None) -> None:
    """Raise a LandmarkError where a file cannot be a landmark track, if one is given.

    Of its numbers `read_track` tells: they may be a hundred megabytes, and are read once, before anything is loaded.
    """
    check_points(path, "track", TRACK_SUFFIXES)


def check_points(path: StrPath | None, what: str, suffixes: tuple[str, ...]) -> None:
    """Raise a LandmarkError where a file, if one is given, cannot be what is called `what`, of these suffixes."""
    if path is None:
        return
    check_input(path, LandmarkError)
    suffix = Path(path).suffix.lower()
    if suffix not in suffixes:
        found = Path(path).suffix or "no extension"
        raise LandmarkError(f"{path}: {what}: expected a {', '.join(suffixes)} file, found {found}")
    kind = kind_of(Path(path), LandmarkError)
    if kind not in (*_OF_POINTS[suffix], EMPTY):  # of an empty one its reader tells more
        raise LandmarkError(f"{path}: {what}: expected numbers as {suffix}, found {kind}; name the file of points")
    if suffix == ".json" and kind == TEXT and not _may_hold_landmarks(path):
        raise LandmarkError(f'{path}: {what}: expected the field "landmarks", found none; name the file of points')


def _may_hold_landmarks(path: StrPath) -> bool:
    """Whether JSON may be a list of points, or have the field of them: without reading all of its numbers."""
    content = read_bytes(path, FileKind.JSON_TRACK, LandmarkError)
    return content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{" or b'"landmarks"' in content or b"\\" in content


def check_driver_file(path: Path) -> None:
    """See that a file can drive an avatar: a track by its name, or what may be a video or picture.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    if path.suffix.lower() in TRACK_SUFFIXES:
        check_track_file(path)
    elif (kind := kind_of(path)) in _NO_DRIVERS:
        raise InputError(f"{path}: not a video that FFmpeg reads (found {kind}); name a video, a picture or a track")


def check_program(path: StrPath | None, variable: str) -> None:
    """Raise an InputError of what is no program and no script; where nothing is, whoever runs it tells of the tool."""
    if path is not None and is_file(path):
        check_kind_of(path, "a program", (PROGRAM, TEXT, DATA), f"see {variable}")
