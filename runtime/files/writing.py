"""The one door for writing a file: whole, or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bilayer.runtime.errors import OutputError


def check_output(target: Path) -> None:
    """See that a file can be written, its folder made if need be: before the work that ends in it.

    Raises:
        OutputError: it is a folder, or its place cannot be written to.
    """
    if target.is_dir():
        raise OutputError(f"{target}: is a folder; name a file to write")
    place = next(folder for folder in target.absolute().parents if os.path.lexists(folder))
    if not place.is_dir():
        raise OutputError(f"{target}: {place} is a file and not a folder; name another place")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"{target}: cannot write here: no permission for {place}")


def check_video(out: Path) -> None:
    """See that `out` names an .mp4, a .gif or a folder for PNGs, and can be written.

    Raises:
        OutputError: it does not, or cannot.
    """
    if out.suffix.lower() not in (".mp4", ".gif", ""):
        raise OutputError(f"{out}: expected .mp4, .gif, or a folder's name for PNGs; found {out.suffix.lower()}")
    check_output(out if out.suffix else out / "00000.png")


@contextmanager
def making_folder(folder: Path) -> Iterator[None]:
    """`folder` is there inside, with its parents; where the block fails, those that were made for it go again."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for place in missing:
            with suppress(OSError):  # something else came into it
                place.rmdir()
        raise


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success it takes the target's place, on failure it goes.

    An existing target survives any failure, a killed process included. A missing folder is made.

    Raises:
        OutputError: the folder cannot be made or written to, the target is a folder, or the disk is full.
    """
    check_output(target)
    part: Path | None = None
    try:
        with making_folder(target.parent):
            descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
            os.close(descriptor)
            part = Path(name)
            try:
                yield part
                part.chmod(usual_mode())
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        failed = "cannot write here" if part is None else "writing failed"
        raise OutputError(f"{target}: {failed}: {error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def usual_mode() -> int:
    """Permissions that a new file of this user has."""
    current = os.umask(0o077)
    os.umask(current)
    return 0o666 & ~current
