"""How a process's own processes start, which Python settles once for all of it."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def open_start_method() -> Iterator[None]:
    """Leave it open afterwards if it was: the first process, or lock between some, settles it, whatever it asks for.

    A caller's own multiprocessing.set_start_method would then be refused.
    """
    settled = multiprocessing.get_start_method(allow_none=True) is not None
    try:
        yield
    finally:
        if not settled:
            multiprocessing.set_start_method(None, force=True)
