"""A process that has loaded the onnxruntime-qnn package, and forks for each network: for exports of many photos.

An avatar's network takes 0.14 s of processor time in a fork, and 0.38 in a process that loads Python, ONNX Runtime and
Qualcomm's libraries first. A fork that crashes is gone alone, as a process of its own would be.
"""

import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bilayer.export.convert import qairt_worker
from bilayer.runtime.errors import ToolMissingError

# -P: modules are not to be looked for in the folder that it runs in
WORKER = (sys.executable, "-P", "-m", qairt_worker.__name__)


class Fork:
    """A fork at work: what subprocess.Popen is to a process."""

    def __init__(self, host: "Connection[Any, Any]", pid: int) -> None:
        self.pid = pid  # and its group's
        self._host = host
        self._code: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended, -N if signal N ended it.

        Raises:
            subprocess.TimeoutExpired: it goes on after `timeout` seconds.
        """
        if self._code is None:
            try:
                if not self._host.poll(timeout):
                    raise subprocess.TimeoutExpired(WORKER, timeout or 0)
                self._code = self._host.recv()
            except (EOFError, OSError):  # its parent was killed
                with suppress(OSError):
                    os.killpg(self.pid, signal.SIGKILL)
                self._code = -signal.SIGKILL
        return self._code

    def poll(self) -> int | None:
        """Return its exit code if it has ended."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None


class PackageHost:
    """Forks of one process, one at a time. It begins with the first, and ends with this object or with its owner."""

    def __init__(self) -> None:
        self.pid: int | None = None  # once it has begun
        self._host: Connection[Any, Any] | None = None

    def start(self, arguments: Sequence[str], log: Path) -> Fork:
        """Start a fork that does what WORKER with these arguments does, printing to `log`.

        Raises:
            ToolMissingError: no process can be started.
        """
        for _ in range(2):  # it may have been killed since
            host = self._host = self._host or self._begin()
            with suppress(EOFError, OSError):
                host.send((str(log), *arguments))
                return Fork(host, host.recv())
            self._host = None
        raise ToolMissingError(f"{WORKER[0]}: cannot be started: it was killed")

    def _begin(self) -> "Connection[Any, Any]":
        near, far = Pipe()
        with far:
            try:
                process = subprocess.Popen(  # noqa: S603  # ours
                    (*WORKER, str(far.fileno())),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(far.fileno(),),
                    start_new_session=True,  # Ctrl-C is its owner's to hear
                )
            except OSError as error:
                raise ToolMissingError(f"{WORKER[0]}: cannot be started: {error.strerror}") from error
        self.pid = process.pid
        weakref.finalize(self, _end, process, near)
        return near


def _end(process: "subprocess.Popen[bytes]", host: "Connection[Any, Any]") -> None:
    host.close()
    process.kill()
    process.wait()
