"""Copies of what lies in stores, for libraries that want files of this machine: there for as long as a job takes.

Whatever is said of a copy names what it is a copy of: the temporary folder is gone when the message is read.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bilayer.runtime.errors import BilayerError, InputError
from bilayer.runtime.files.reading import FileKind
from bilayer.runtime.files.stores import fetched, is_url


class Copies:
    """A temporary folder of copies, and the URL that each stands for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[str, str] = {}

    def fetch(self, place: str, below: str, kind: FileKind, error: type[InputError] = InputError) -> Path:
        """Return a file of this machine with what `place` holds: a path itself, a URL's copy in the folder `below`.

        Raises:
            InputError: as the class `error`: it is not there, too large, or cannot be read.
            ToolMissingError: the package for such URLs is not installed.
        """
        copy = fetched(place, self.folder / below, kind, error)
        if is_url(place):
            self.name(copy, place)
        return copy

    def name(self, copy: Path, place: str) -> None:
        """Have a file or folder here called by the URL that it stands for."""
        self._places[str(copy)] = place

    def as_asked(self, told: Any) -> Any:
        """Return a text, or what has texts in lists and dicts, with the URLs in place of the copies' paths."""
        if isinstance(told, str):
            for copy in sorted(self._places, key=len, reverse=True):
                told = told.replace(copy, self._places[copy])
        elif isinstance(told, dict):
            return {name: self.as_asked(value) for name, value in told.items()}
        elif isinstance(told, list | tuple):
            return type(told)(map(self.as_asked, told))
        return told


@contextmanager
def copying() -> Iterator[Copies]:
    """Yield a folder for copies, which goes with them at the block's end; errors inside are told by their URLs."""
    with tempfile.TemporaryDirectory(prefix="bilayer-copies-") as folder:
        copies = Copies(Path(folder))
        try:
            yield copies
        except BilayerError as error:
            told = copies.as_asked(str(error))
            if told == str(error):
                raise
            raise type(error)(told) from error
