"""Where photos come from and avatars go: folders of this machine, or any store that fsspec has a URL for."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import Any

from bilayer.runtime.errors import BilayerError, InputError, OutputError, ToolMissingError, in_short
from bilayer.runtime.files.reading import FileKind, is_file, is_folder, is_there, list_below, list_folder, read_bytes
from bilayer.runtime.files.writing import write_file

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif")
MANIFESTS = (".csv", ".jsonl")
SHEET = "contact-sheet.jpg"  # of a run, beside its avatars' folders
LEFT = (f"/{SHEET}", "/avatar.preview.png")  # pictures among what a run writes


def is_url(place: str) -> bool:
    """Whether a place is no path of this machine: s3://BUCKET/FOLDER, memory://NAME, ..."""
    return "://" in place


def is_many(places: Sequence[str]) -> bool:
    """Whether what was given in place of a photo stands for many, each of somebody else; so does a URL, of one too."""
    if len(places) != 1:
        return False
    (place,) = places
    if is_url(place):
        return True
    return place.lower().endswith(MANIFESTS) or is_folder(place) or (has_magic(place) and not is_file(place))


def join(place: str, *names: str) -> str:
    """A place below another."""
    return "/".join([place.rstrip("/"), *names]) if is_url(place) else str(Path(place, *names))


def list_photos(place: str, out: str = "") -> list[tuple[str, str]]:
    """Each photo of a folder or a glob pattern with its path below the folder, sorted; or the one that is named.

    Hidden files, and others than photos by their suffix, are left out of a folder; so is what lies below `out`, which
    may be in it, and is a picture that a run of before has left there.

    Raises:
        InputError: nothing is there.
    """
    if place.lower().endswith(PHOTO_SUFFIXES) and not has_magic(place) and not is_folder(place):
        return [(place, PurePosixPath(place).name)]
    if has_magic(place):
        found = (
            _find(place, lambda fs, path: fs.glob(path))
            if is_url(place)
            else sorted(
                glob(place, recursive=True)  # noqa: PTH207  # of any folder, its own included
            )
        )
        named = [(one, PurePosixPath(one).name) for one in found]
    elif is_url(place):
        found = _find(place, lambda fs, path: fs.find(path))
        named = [(one, one.partition(_stripped(place))[2].lstrip("/")) for one in found]
    else:
        named = [(str(path), str(path.relative_to(place))) for path in list_below(place)]
    photos = [
        (one, below)
        for one, below in named
        if below.lower().endswith(PHOTO_SUFFIXES)
        and not any(part.startswith(".") for part in Path(below).parts)
        and not (one.endswith(LEFT) and out and _is_below(one, out))
    ]
    if not photos:
        raise InputError(f"{place}: expected photos ({' '.join(PHOTO_SUFFIXES)}), found none")
    return sorted(photos)


def read(place: str, kind: FileKind, error: type[InputError] = InputError) -> bytes:
    """The whole content of a file.

    Raises:
        InputError: as the class `error`: it is not there, too large, or cannot be read.
        ToolMissingError: the package for such URLs is not installed.
    """
    if not is_url(place):
        return read_bytes(place, kind, error)
    with _told(place, error):
        fs, path = _open(place)
        size = fs.size(path)
        if size is not None and size > kind.most:
            raise error(f"{place}: has {size} bytes, {kind.what} has {kind.most} at most")
        content: bytes = fs.cat_file(path, end=kind.most) if size != 0 else b""  # a store has no first byte of nothing
        return content


def holds(place: str) -> bool:
    """Whether a file is there."""
    if not is_url(place):
        return is_there(place)
    with _told(place, InputError):
        fs, path = _open(place)
        return bool(fs.exists(path))


def fetched(place: str, folder: Path, kind: FileKind, error: type[InputError] = InputError) -> Path:
    """A file of this machine with the content of `place`: itself, or a copy in `folder`; errors are those of `read`."""
    if not is_url(place):
        return Path(place)
    copy = folder / PurePosixPath(place.partition("://")[2]).name
    write_file(copy, read(place, kind, error))
    return copy


def write(place: str, content: bytes) -> None:
    """Write a file whole, or raise an OutputError."""
    if not is_url(place):
        write_file(Path(place), content)
        return
    with _told(place, OutputError):
        fs, path = _open(place)
        _make_folder(fs, path.rpartition("/")[0])
        fs.pipe_file(path, content)


def put_folder(folder: Path, place: str, last: str) -> None:
    """Copy the files of a folder to a store, the one named `last` after all others; raises an OutputError."""
    with _told(place, OutputError):
        fs, path = _open(place)
        _make_folder(fs, path)
        for file in sorted(list_folder(folder), key=lambda file: (file.name == last, file.name)):
            fs.put_file(str(file), f"{path}/{file.name}")


def _is_below(place: str, folder: str) -> bool:
    if is_url(place) or is_url(folder):
        return place.startswith(f"{folder.rstrip('/')}/")
    return Path(os.path.abspath(place)).is_relative_to(os.path.abspath(folder))  # noqa: PTH100  # no ".." in it


def _open(place: str) -> tuple[Any, str]:
    import fsspec

    fs, path = fsspec.core.url_to_fs(place)
    return fs, path


def _make_folder(fs: Any, path: str) -> None:
    """Make a folder where there are such: paths of object stores, which begin with a bucket, would make that one."""
    if path.startswith("/"):
        fs.makedirs(path, exist_ok=True)


def _stripped(place: str) -> str:
    return str(_open(place)[1])


def _find(place: str, look: Callable[[Any, str], list[str]]) -> list[str]:
    with _told(place, InputError):
        fs, path = _open(place)
        return [str(fs.unstrip_protocol(found)) for found in sorted(look(fs, path))]


@contextmanager
def _told(place: str, error: type[InputError]) -> Iterator[None]:
    """Turn whatever a store's library raises inside into an `error` that names the place."""
    try:
        yield
    except BilayerError:
        raise
    except ImportError as problem:  # fsspec names the package
        raise ToolMissingError(f"{place}: {in_short(problem)}") from problem
    except FileNotFoundError as problem:
        raise error(f"{place}: no such file{' or bucket' if error is OutputError else ''}") from problem
    except PermissionError as problem:
        advice = "the store has credentials from its own environment variables, files or roles"
        raise error(f"{place}: access denied ({in_short(problem)}); {advice}") from problem
    except Exception as problem:  # each store has its own
        raise error(f"{place}: {in_short(problem)}") from problem
