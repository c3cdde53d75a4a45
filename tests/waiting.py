"""Waiting for what another process does."""

import time
from pathlib import Path


def wait_for(condition):
    """Returns once that is so; fails after a minute."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("waited a minute in vain")


def is_running(process):
    """Whether a process is there, and not only to be asked how it ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
