"""`bilayer-render`, run and read as tests do."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests import forked

av = pytest.importorskip("av")
ROOT = Path(__file__).parents[2]


render = partial(forked.run, "render", strict=True)


def render_alone(*arguments):
    """In a process of its own."""
    command = [sys.executable, "-W", "error", "-m", "bilayer.runtime.rendering.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def frames_of(path):
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
