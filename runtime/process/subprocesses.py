"""Running a vendor's tool: an argument list, a time limit, and its output in a file."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bilayer.runtime.errors import ToolMissingError

MAX_LOG_BYTES = 1 << 18  # of the end of a tool's output; the rest is not kept
_POLL_SECONDS = 0.05  # how soon `stop` is heard
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Finished:
    """How a tool ended, what it printed last, and how long it took."""

    code: int | None  # exit status, -N if signal N ended it, None if the time was up
    log: str  # end of stdout and stderr together, colours removed
    seconds: float

    @property
    def how(self) -> str:
        """How it ended in words, to stand behind the tool's name."""
        if self.code is None:
            return f"did not end within {self.seconds:.0f} s and was stopped"
        if self.code < 0:
            return f"crashed with signal {-self.code} ({signal.strsignal(-self.code)})"
        return f"ended with code {self.code}"

    @property
    def last_line(self) -> str:
        """The last thing that it said, fit for a message."""
        return last_line(self.log)


class Running(Protocol):
    """A process at work, leader of a group of its own: what is used of a subprocess.Popen."""

    pid: int

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit status; raises subprocess.TimeoutExpired while it goes on."""

    def poll(self) -> int | None:
        """Return its exit status if it has ended."""


def last_line(text: str) -> str:
    """Return the last line that is not blank, fit for a message; empty where there is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "".join(c for c in lines[-1] if c.isprintable())[-300:] if lines else ""


def run(
    arguments: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    timeout: float,
    stop: threading.Event | None = None,
    fork: Callable[[], Running] | None = None,
) -> Finished:
    """Run a tool in `folder`; it and its children are killed after `timeout` seconds, on Ctrl-C, or by `stop`.

    `fork` starts it in place of a program: with those arguments, in that folder, printing to the end of that log.

    Raises:
        ToolMissingError: it cannot be started.
        CancelledError: it was stopped.
    """
    start = time.perf_counter()
    with log.open("wb") as output:
        try:
            process: Running = (
                fork()
                if fork
                else subprocess.Popen(  # noqa: S603  # an argument list, no shell
                    arguments,
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
        except OSError as error:
            raise ToolMissingError(f"{arguments[0]}: cannot be started: {error.strerror}") from error
        try:
            code = _wait(process, start + timeout, stop)
        except BaseException:  # Ctrl-C: the tool has its own session and would go on
            _kill_group(process)
            raise
        if code is None:
            _kill_group(process)
    return Finished(code, _tail(log), time.perf_counter() - start)


def _wait(process: Running, deadline: float, stop: threading.Event | None) -> int | None:
    """Its exit status, or None if the time is up."""
    while (left := deadline - time.perf_counter()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(min(left, _POLL_SECONDS))
        if stop is not None and stop.is_set():
            raise CancelledError
    return process.poll()


def _kill_group(process: Running) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone already; macOS says the latter of zombies
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - MAX_LOG_BYTES))
        return _ESCAPES.sub("", file.read().decode("utf-8", "replace"))
