"""What Ctrl-C and SIGTERM (of systemd, docker stop) do to a command: every `finally` is run, and nothing hangs."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_MOMENT = 0.002  # s, after which they are done
_IMPORTING = "<frozen importlib._bootstrap>"
# Functions of it that take or give back a lock, of which they could leave one closed: of Python 3.11, and of later ones
_LOCKING = ("acquire", "release", "__init__", "__enter__", "__exit__", "cb", "_get_module_lock", "_lock_unlock_module",
            "_has_deadlocked", "has_deadlock")  # fmt: skip


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Inside, SIGTERM raises SystemExit(143), once, and Ctrl-C KeyboardInterrupt, where it would; neither where the
    import system takes a lock, which stayed closed: a thread that imports would hang, and whoever waits for it.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one hears signals
        yield
        return

    def leave() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one is not to stop the cleaning up
        raise SystemExit(128 + signal.SIGTERM)

    usual = {signal.SIGTERM: signal.signal(signal.SIGTERM, _outside_imports(leave))}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored, as in a script's background
        usual[signal.SIGINT] = signal.signal(signal.SIGINT, _outside_imports(_interrupt))
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _outside_imports(end: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
    """A signal's handler that calls `end`, a moment later where the import system is at its locks."""

    def handle(number: int, frame: FrameType | None) -> None:
        code = frame and frame.f_code
        if code and code.co_filename == _IMPORTING and code.co_name in _LOCKING:
            threading.Timer(_MOMENT, os.kill, (os.getpid(), number)).start()
        else:
            end()

    return handle
