"""Paths in commands that a person is told to run."""

import shlex
from pathlib import Path


def pasted(path: str | Path) -> str:
    """Return a path as a shell takes it, quoted, and no option of a command's for a name that begins with a dash."""
    return shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))
