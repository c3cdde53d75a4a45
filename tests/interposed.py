"""A fault at the n-th call that changes files: the process is killed there, or the disk is full from there on.

Calls are counted as Python's audit events, so that no library is replaced: openings to write, renames, links, new and
removed files and folders, and os.fsync. A full disk fails that call, unless it removes something, and by a limit on the
size of files all that C, C++ or Rust write from then on.
"""

import errno
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

TAKES_ROOM = {"os.rename", "os.link", "os.mkdir"}
TAKES_NONE = {"os.rmdir", "os.remove", "os.chmod"}
FINE, FAILED = 0, 70  # exit codes of a child: done; an exception


class Faults:
    """Counts the calls below a folder, and acts at one of them.

    Args:
        place: the folder.
        number: of the call, from 1; 0 acts at none.
        action: "kill", "term" or "full".
    """

    def __init__(self, place: Path, number: int, action: str) -> None:
        self.place, self.number, self.action, self.count = os.path.abspath(place), number, action, 0  # noqa: PTH100

    def install(self) -> None:
        """From now on, for as long as the process lives."""
        sync = os.fsync

        def counted(descriptor: int) -> None:
            self.call()
            sync(descriptor)

        os.fsync = counted
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        """An audit event."""
        changes = TAKES_ROOM if self.action == "full" else TAKES_ROOM | TAKES_NONE
        if event in changes or (event == "open" and isinstance(arguments[2], int) and arguments[2] & 3):
            path = arguments[0]
            if isinstance(path, str | bytes) and os.path.abspath(os.fsdecode(path)).startswith(self.place):  # noqa: PTH100
                self.call()

    def call(self) -> None:
        """A call of those that count."""
        self.count += 1
        if self.count != self.number:
            return
        if self.action == "full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.kill(os.getpid(), signal.SIGKILL if self.action == "kill" else signal.SIGTERM)


def with_fault(body: Callable[[], object], place: Path, number: int, action: str) -> tuple[int, str, bool]:
    """Run `body` in a forked child with a fault: exit code or -signal, what it raised, and whether it came so far."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        faults, code, said = Faults(place, number, action), FAILED, ""
        faults.install()
        try:
            body()
            code = FINE
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else FAILED
        except BaseException as error:
            said = "".join(traceback.format_exception_only(error)).strip()
        os.write(write, f"{int(faults.count >= number)}{said}".encode("utf-8", "replace")[:4000])
        os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, said[1:], said[:1] != "0"
