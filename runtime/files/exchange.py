"""A folder in the place of another in one step: what a rename does of files alone."""

import ctypes
import os
from pathlib import Path

from bilayer.runtime.files.reading import is_there
from bilayer.runtime.files.writing import publish, sync_folder
from bilayer.runtime.process.undisturbed import undisturbed

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD; RENAME_EXCHANGE, and RENAME_SWAP, which is the same number


def exchange(part: Path, target: Path) -> None:
    """Let a finished folder take the place of another, which is then where the draft was: at every moment one is there.

    Where the system or the file system cannot do that in one step, it takes two, and a process killed between them
    leaves none.

    Raises:
        OSError: it cannot; the former one is there.
    """
    aside = part.with_name("former")
    with undisturbed():
        publish(part, aside)  # on the disk, with a new folder's permissions
        if not is_there(target):
            aside.replace(target)
        elif not _swap(aside, target):
            target.rename(part)
            try:
                aside.rename(target)
            except OSError:
                part.rename(target)
                raise
        sync_folder(target.parent)


def _swap(one: Path, other: Path) -> bool:
    """Exchange two names in one step; whether that could be."""
    if os.name != "posix":
        return False
    system, names = ctypes.CDLL(None), (os.fsencode(one), os.fsencode(other))
    if hasattr(system, "renameat2"):  # Linux: man 2 renameat2
        return bool(system.renameat2(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0)
    if hasattr(system, "renamex_np"):  # macOS: man 2 renamex_np
        return bool(system.renamex_np(*names, _EXCHANGE) == 0)
    return False
