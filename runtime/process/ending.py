"""What Ctrl-C and SIGTERM (of systemd, docker stop) do to a command: every `finally` is run, and nothing hangs."""

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_MOMENT = 0.01  # s, after which a signal comes again that could not be raised
_UNHEARD = 1.0  # s for which an exception is nowhere on its way, after which it was swallowed
_IMPORTING, _LOADING = "<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>"
# Its functions that take or give back a lock, which could stay closed: of Python 3.11, and of later ones
_LOCKING = ("acquire", "release", "__init__", "__enter__", "__exit__", "cb", "_get_module_lock", "_lock_unlock_module",
            "_has_deadlocked", "has_deadlock")  # fmt: skip
_THREADS = (threading.__file__, os.path.join("concurrent", "futures", "thread.py"))  # noqa: PTH118  # an end of paths


class Ending:
    """What a signal has raised, and whether it is on its way.

    It is not raised where the import system takes a lock, which would stay closed: a thread that imports would hang,
    and whoever waits for it. Nor where a thread is started, or a library in C is loaded: torch swallows what comes amid
    its import of NumPy, or aborts. And it comes again where it was swallowed, by a finaliser or a callback from C.
    """

    def __init__(self, depth: int) -> None:
        """Begin at a stack of `depth` functions: what those do is not the command's, and goes on behind it."""
        self.raised: BaseException | None = None
        self.was_raised = False  # in the end, too, where it was swallowed
        self._depth = depth
        self._pending: set[int] = set()  # signals that come again
        self._over = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raise SystemExit(143) of SIGTERM, and KeyboardInterrupt of Ctrl-C, or let the signal come again."""
        if number in self._pending:
            return
        stack = _stack(frame)
        if _may_not_raise(stack[: len(stack) - self._depth]):
            self._pending.add(number)
            _thread.start_new_thread(self._come_again, (number, _MOMENT))  # threading's would take locks of its own
            return
        if number == signal.SIGTERM:
            if isinstance(self.raised, SystemExit):  # a second one is not to stop the cleaning up
                return
            self.raised = SystemExit(128 + signal.SIGTERM)
        else:
            self.raised = KeyboardInterrupt()
        self.was_raised = True
        _thread.start_new_thread(self._watch, (number, self.raised))
        raise self.raised

    def is_told(self, told: "UnraisableHookArgs") -> bool:
        """Return whether Python tells of what was raised here that somebody swallowed it."""
        return told.exc_value is not None and told.exc_value is self.raised

    def end(self) -> None:
        """Let nothing come again."""
        self._over = True
        if self.raised is not None:
            self.raised.__traceback__ = None  # which would keep all that its functions had: threads end as pools go

    def _watch(self, number: int, error: BaseException) -> None:
        """Let a signal come again whose exception is not on its way any more, and has not ended the command."""
        missing_since: float | None = None
        while not self._over and self.raised is error:
            time.sleep(_MOMENT)
            if _is_on_its_way(error):
                missing_since = None
            elif missing_since is None:
                missing_since = time.monotonic()
            elif time.monotonic() - missing_since > _UNHEARD:
                self.raised = None
                self._come_again(number, 0)

    def _come_again(self, number: int, seconds: float) -> None:
        time.sleep(seconds)
        self._pending.discard(number)
        if self._over:
            return
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(threading.main_thread().ident or 0, number)  # it may wait for something
        else:
            signal.raise_signal(number)


@contextmanager
def ending_in_order() -> Iterator[Ending | None]:
    """Inside, SIGTERM raises SystemExit(143), once, and Ctrl-C KeyboardInterrupt, where it would: see `Ending`.

    Yields what is told of them, in the main thread, which alone hears signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    ending = Ending(len(_stack(sys._getframe(2))))  # of whoever enters: between are this function and contextlib's
    usual_hook = sys.unraisablehook
    usual: dict[signal.Signals, Any] = {signal.SIGTERM: signal.signal(signal.SIGTERM, ending.handle)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored, as in a script's background
        usual[signal.SIGINT] = signal.signal(signal.SIGINT, ending.handle)
    try:
        sys.unraisablehook = lambda told: None if ending.is_told(told) else usual_hook(told)
        yield ending
    finally:
        ending.end()
        sys.unraisablehook = usual_hook
        if ending.was_raised:  # until the process is gone: what is left to do is cleaning up, too
            usual = dict.fromkeys(usual, signal.SIG_IGN)
        for number, handler in usual.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _may_not_raise(frames: list[FrameType]) -> bool:
    """Whether a function is at work, or has called what is, that an exception would leave half done for good."""
    fragile = (_is_locking, _is_holding_a_file, _is_in_exec, _is_starting_thread, _is_loading_c, _is_loading_torch)
    return any(is_at_work(frame) for frame in frames for is_at_work in fragile)


def _is_locking(frame: FrameType) -> bool:
    return frame.f_code.co_filename == _IMPORTING and frame.f_code.co_name in _LOCKING


def _is_holding_a_file(frame: FrameType) -> bool:
    """Of a module: read, it would tell that it was not closed; its bytecode, half written, would stay."""
    return frame.f_code.co_filename == _LOADING and frame.f_code.co_name in ("get_data", "_write_atomic")


def _is_in_exec(frame: FrameType) -> bool:
    """Of a string, as dataclasses' are: once Ctrl-C has passed it, Python ends by SIGINT, whatever code it is told."""
    return frame.f_code.co_filename == "<string>" and frame.f_code.co_name == "<module>"


def _is_starting_thread(frame: FrameType) -> bool:
    """A pool would not know of it, and at the end of the process it would be waited for."""
    return frame.f_code.co_name in ("start", "_adjust_thread_count") and frame.f_code.co_filename.endswith(_THREADS)


def _is_loading_c(frame: FrameType) -> bool:
    of_loaders = frame.f_code.co_filename == _LOADING and frame.f_code.co_name in ("create_module", "exec_module")
    return of_loaders and isinstance(frame.f_locals.get("self"), ExtensionFileLoader)


def _is_loading_torch(frame: FrameType) -> bool:
    """It calls into its C++ all the time, which ends the process where an exception comes to it (pybind11)."""
    return frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__", "").partition(".")[0] == "torch"


def _is_on_its_way(error: BaseException) -> bool:
    """Whether the main thread is in a function that an exception has come to, and cleans up there, or goes on."""
    passed, trace = set(), error.__traceback__
    while trace is not None:
        passed.add(trace.tb_frame)
        trace = trace.tb_next
    return not passed.isdisjoint(_stack(sys._current_frames().get(threading.main_thread().ident or 0)))


def _stack(frame: FrameType | None) -> list[FrameType]:
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames
