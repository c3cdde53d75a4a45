"""Steps that a signal shall not come between: what is half done could not be known of afterwards."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C wait until the block's end."""
    if threading.current_thread() is not threading.main_thread():  # only that one hears signals
        yield
        return
    waiting: list[int] = []
    usual = {number: signal.signal(number, lambda heard, _: waiting.append(heard)) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if waiting:
            signal.raise_signal(waiting[0])
