"""Files written whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bilayer.runtime.errors import OutputError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success it takes the target's place, on failure it goes.

    An existing target survives any failure, a killed process included.

    Raises:
        OutputError: the folder is missing or not writable, the target is a folder, or the disk is full.
    """
    if target.is_dir():
        raise OutputError(f"{target}: is a folder; name a file to write")
    if not target.parent.is_dir():
        raise OutputError(f"{target}: the folder {target.parent} does not exist; create it first")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        os.close(descriptor)
    except OSError as error:
        raise OutputError(f"{target}: cannot write here: {error.strerror}") from error
    part = Path(name)
    try:
        yield part
        part.chmod(usual_mode())
        part.replace(target)
    except OSError as error:
        raise OutputError(f"{target}: writing failed: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def usual_mode() -> int:
    """Permissions that a new file of this user has."""
    current = os.umask(0o077)
    os.umask(current)
    return 0o666 & ~current
