"""Steps that a signal shall not come between: what is half done could not be known of afterwards."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def undisturbed(heard: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C wait until the block's end; `heard` is called when one comes, to bring that about."""
    if threading.current_thread() is not threading.main_thread():  # only that one hears signals
        yield
        return
    waiting: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        waiting.append(number)
        heard()

    usual = {number: signal.signal(number, note) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if waiting:
            signal.raise_signal(waiting[0])
