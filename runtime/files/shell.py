"""Paths and programs in commands that a person is told to run."""

import shlex
import shutil
import sys
from pathlib import Path


def by_this_python(command: str) -> str:
    """Return a command that begins with `python` as a shell starts this one: by its path, where it is not activated."""
    found = shutil.which("python")
    here = Path(sys.executable)
    is_this = found is not None and Path(found).absolute().parent == here.parent
    return command if is_this else f"{pasted(here)}{command.removeprefix('python')}"


def pasted(path: str | Path) -> str:
    """Return a path as a shell takes it, quoted, and no option of a command's for a name that begins with a dash."""
    return shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))
