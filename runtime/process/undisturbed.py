"""Steps that a signal shall not come between: what is half done could not be known of afterwards."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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

    try:
        with ExitStack() as stack:  # which puts back every handler, if one that is there again raises between two
            for number in _ENDING:
                usual = signal.getsignal(number)
                if usual is not signal.SIG_IGN:  # as Ctrl-C is in a script's background
                    stack.callback(signal.signal, number, signal.SIG_DFL if usual is None else usual)
                    signal.signal(number, note)
            yield
    finally:
        for noted in waiting:
            signal.raise_signal(noted)
