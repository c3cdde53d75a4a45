"""Files by paths of this machine, or by URLs of any store that fsspec knows: photos, videos, avatars.

fsspec, which comes with torch, is loaded where a URL is given.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from bilayer.runtime.errors import BilayerError, InputError, OutputError, ToolMissingError, in_short
from bilayer.runtime.files.kinds import HEAD
from bilayer.runtime.files.reading import FileKind, is_there, list_below, list_folder, open_file, read_bytes, size_of
from bilayer.runtime.files.writing import write_file

_PIECE = 1 << 22  # bytes read at a time
_PACKAGES = {"smbclient": "smbprotocol"}  # by the module's name, where it is another


def is_url(place: str) -> bool:
    """Return whether a place is no path of this machine: s3://BUCKET/FOLDER, memory://NAME, ..."""
    return "://" in place


def join(place: str, *names: str) -> str:
    """Return a place below another."""
    return "/".join([place.rstrip("/"), *names]) if is_url(place) else str(Path(place, *names))


def check_stores(places: Iterable[str]) -> None:
    """See that what such URLs want is installed, before the work that takes or writes them; no store is asked.

    Raises:
        ToolMissingError: a package is not; names it, and the first URL that wants it.
        InputError: nobody knows such URLs.
    """
    for place in {place.partition("://")[0]: place for place in reversed(list(places)) if is_url(place)}.values():
        with _told(place, InputError):
            _open(place)


def find_below(place: str) -> list[tuple[str, str]]:
    """Return all files below a place, sorted, each with its path below it; none where nothing is there, for a URL."""
    if not is_url(place):
        return [(str(path), str(path.relative_to(place))) for path in list_below(place)]
    return [
        (join(place, below) if below else place, below) for _, below in _find(place, lambda fs, path: fs.find(path))
    ]


def find_pattern(place: str) -> list[str]:
    """Return what fits a URL with * or such in it, sorted."""
    return [url for url, _ in _find(place, lambda fs, path: fs.glob(path))]


def read(place: str, kind: FileKind, error: type[InputError] = InputError) -> bytes:
    """Return the whole content of a file.

    Raises:
        InputError: as the class `error`: it is not there, too large, or cannot be read.
        ToolMissingError: the package for such URLs is not installed.
    """
    if not is_url(place):
        return read_bytes(place, kind, error)
    return _content(place, kind, error, kind.most)


def read_head(place: str, error: type[InputError] = InputError) -> bytes:
    """Return the first bytes of a file, by which `kinds.describe_head` knows it; errors are those of `read`."""
    if is_url(place):
        return _content(place, FileKind.ANY, error, HEAD)
    with open_file(place, FileKind.ANY, error) as file:
        return file.read(HEAD)


def holds(place: str) -> bool:
    """Return whether a file is there."""
    if not is_url(place):
        return is_there(place)
    with _told(place, InputError):
        fs, path = _open(place)
        return bool(fs.exists(path))


def size(place: str) -> int | None:
    """Return bytes of a file, or None where its store does not tell; an InputError where it cannot be looked at."""
    if not is_url(place):
        return size_of(place)
    with _told(place, InputError):
        fs, path = _open(place)
        found: int | None = fs.size(path)
        return found


def fetched(place: str, folder: Path, kind: FileKind, error: type[InputError] = InputError) -> Path:
    """Return a file of this machine with what `place` holds: itself, or a copy in `folder`; errors are `read`'s."""
    if not is_url(place):
        return Path(place)
    copy = folder / PurePosixPath(place.partition("://")[2]).name

    def pour(draft: Path) -> None:
        with draft.open("wb") as file:
            file.writelines(_pieces(place, kind, error))

    write_file(copy, pour)
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


def _content(place: str, kind: FileKind, error: type[InputError], most: int) -> bytes:
    with _told(place, error):
        fs, path = _open(place)
        found = fs.info(path)
        _check(place, found, kind, error)
        # A store has no first byte of nothing
        content: bytes = fs.cat_file(path, end=most) if found.get("size") != 0 else b""
        return content


def _open(place: str) -> tuple[Any, str]:
    import fsspec

    fs, path = fsspec.core.url_to_fs(place)
    return fs, path


def _make_folder(fs: Any, path: str) -> None:
    """Make a folder where there are such: paths of object stores, which begin with a bucket, would make that one."""
    if path.startswith("/"):
        fs.makedirs(path, exist_ok=True)


def _find(place: str, look: Callable[[Any, str], list[str]]) -> list[tuple[str, str]]:
    """The URLs of what `look` finds in a store, sorted, each with its path below `place`, "" for that itself."""
    with _told(place, InputError):
        fs, path = _open(place)
        top = path.rstrip("/")
        return [(str(fs.unstrip_protocol(one)), one.removeprefix(top).lstrip("/")) for one in sorted(look(fs, path))]


def _pieces(place: str, kind: FileKind, error: type[InputError]) -> Iterator[bytes]:
    """The content of a store's file, piece by piece; errors are those of `read`."""
    with _told(place, error):
        fs, path = _open(place)
        _check(place, fs.info(path), kind, error)
        had = 0
        with fs.open(path, "rb") as stream:
            while piece := stream.read(_PIECE):
                had += len(piece)
                if had > kind.most:  # not every store knows a size
                    raise _too_large(place, had, kind, error)
                yield piece


def _check(place: str, found: Mapping[str, Any], kind: FileKind, error: type[InputError]) -> None:
    if found["type"] == "directory":
        raise error(f"{place}: is a folder; name {kind.what}")
    if found["type"] == "other":  # by file://, where a pipe would hang its reader
        raise error(f"{place}: is a device, pipe or socket; name {kind.what} that lies on a disk")
    if (found.get("size") or 0) > kind.most:
        raise _too_large(place, found["size"], kind, error)


def _too_large(place: str, size: int, kind: FileKind, error: type[InputError]) -> InputError:
    return error(f"{place}: has {size} bytes, {kind.what} has {kind.most} at most; name a smaller one")


def _install(problem: ImportError) -> str:
    """The pip line for the package that a store wants, where it is known; some call it otherwise than its module."""
    missing = problem.__cause__ if isinstance(problem.__cause__, ImportError) else problem
    module = (missing.name or "").partition(".")[0]
    return f"; pip install {_PACKAGES.get(module, module)}" if module else ""


@contextmanager
def _told(place: str, error: type[InputError]) -> Iterator[None]:
    """Turn whatever a store's library raises inside into an `error` that names the place."""
    try:
        yield
    except BilayerError:
        raise
    except ImportError as problem:  # fsspec names the package
        raise ToolMissingError(f"{place}: {in_short(problem)}{_install(problem)}") from problem
    except FileNotFoundError as problem:
        cause = problem.__cause__
        if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):  # by HTTP no answer is no file
            raise error(f"{place}: cannot be reached ({in_short(cause)}); {_way_out(cause)}") from problem
        missing = "no such file or bucket" if error is OutputError else "no such file"
        raise error(f"{place}: {missing}; name one that is there") from problem
    except PermissionError as problem:
        advice = "the store has credentials from its own environment variables, files or roles"
        raise error(f"{place}: access denied ({in_short(problem)}); {advice}") from problem
    except Exception as problem:  # each store has its own
        raise error(f"{place}: {in_short(problem)}; {_way_out(problem)}") from problem


def _way_out(problem: Exception) -> str:
    if "Protocol not known" in str(problem):  # fsspec's ValueError
        return "name a path, or a URL of a store that fsspec knows, such as s3://BUCKET/NAME or https://HOST/NAME"
    return "correct the URL, or see whether its store can be reached"
