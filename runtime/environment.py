"""The process's environment, for as long as a library is loaded that reads it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def environment_default(name: str, value: str) -> Iterator[None]:
    """Let a variable have `value` inside, unless it is set already; afterwards it is as it was."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
