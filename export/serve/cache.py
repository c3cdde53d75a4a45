"""Avatars made before, by what they were made from: one zip each in a folder of a bounded size."""

import fcntl
import io
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bilayer.runtime.errors import OutputError
from bilayer.runtime.files.reading import FileKind, is_file, is_folder, list_folder, open_file, read_bytes, size_of
from bilayer.runtime.files.writing import make_folder, sweep_drafts, write_file

OWN = ("avatars", "work", "lock")
KEY = re.compile(r"[0-9a-f]{64}")


class Cache:
    """The zips of a folder, the least lately used of which go once there are more than `most` bytes.

    A zip is complete or absent, however the process ends: it is on the disk before it takes its name.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most
        found = [path for path in list_folder(folder, "*.zip") if KEY.fullmatch(path.stem)]
        used = sorted((path.stat().st_mtime_ns, path) for path in found)
        self._sizes = {path.stem: size_of(path) for _, path in used}  # the latest used last
        self._shrink()

    @property
    def size(self) -> int:
        """Bytes of all zips."""
        return sum(self._sizes.values())

    def get(self, key: str) -> bytes | None:
        """Return the zip of that key; None where there is none, or none that is whole."""
        if key not in self._sizes:
            return None
        path = self._path(key)
        try:
            content = read_bytes(path, FileKind.ANY, OutputError, most=1 << 31)
            whole = _is_whole(content)
            if whole:
                os.utime(path)  # the order outlives this process
            else:
                path.unlink()
        except (OutputError, OSError):  # somebody removed it
            whole = False
        if not whole:  # the avatar is made again
            del self._sizes[key]
            return None
        self._sizes[key] = self._sizes.pop(key)
        return content

    def put(self, key: str, content: bytes) -> None:
        """Keep a zip, unless it is larger than the whole folder may be, or raise an OutputError."""
        if len(content) > self._most:
            return
        write_file(self._path(key), content)
        self._sizes[key] = len(content)
        self._shrink()

    def _shrink(self) -> None:
        while self.size > self._most:
            oldest = next(iter(self._sizes))
            self._path(oldest).unlink(missing_ok=True)
            del self._sizes[oldest]

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.zip"


def _is_whole(content: bytes) -> bool:
    """Whether a zip's files are those whose CRC it holds: of 10 MB in 10 ms, and disks do lose bytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error, ValueError, RuntimeError, EOFError):
        return False


@contextmanager
def own_folder(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield this service's folders for avatars and for photos in work, the latter empty; no other service has them.

    What an earlier one left of photos, because it was killed, is removed.

    Raises:
        OutputError: another service has the folder, it holds other files, or it cannot be made.
    """
    avatars, work = folder / "avatars", folder / "work"
    found = {path.name for path in list_folder(folder, error=OutputError)} if is_folder(folder) else set()
    unknown = "lock" not in found and is_folder(work) and list_folder(work, error=OutputError)
    if unknown or any(name not in OWN and not name.startswith(".") for name in found):
        raise OutputError(f"{folder}: holds other files, and work in it is emptied; give --cache a folder of its own")
    for each in (folder, avatars, work):
        make_folder(each)
    folder.chmod(0o700)  # whose face it is, is nobody else's to see
    if not is_file(folder / "lock"):
        write_file(folder / "lock", b"")
    with open_file(folder / "lock", FileKind.ANY, OutputError) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(
                f"{folder}: another bilayer-serve has this folder; give --cache one of its own"
            ) from error
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        sweep_drafts(avatars)
        try:
            yield avatars, work
        finally:
            with suppress(OSError):
                shutil.rmtree(work)
