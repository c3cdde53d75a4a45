"""What C and C++ libraries print past Python, straight to file descriptor 2, held back and sifted."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def sifting(is_chatter: Callable[[bytes], bool]) -> Iterator[None]:
    """Within the block, drop lines on file descriptor 2 that `is_chatter`; pass the others on at its end.

    For libraries without a setting for silence. The descriptor is the process's: keep the block short.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # closed: nobody listens
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            held.seek(0)
            for line in held:
                if not is_chatter(line):
                    os.write(stderr, line)
            os.close(stderr)
