"""What our packages log as a warning, for who has another place for it than the log; and nothing of others."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def heard_warnings() -> Iterator[list[str]]:
    """Yield a list of what is logged inside by this package as a warning, or worse; it does not go on to the log."""
    ours, heard = logging.getLogger(__name__.partition(".")[0]), _Heard()
    ours.addHandler(heard)
    usual, ours.propagate = ours.propagate, False
    try:
        yield heard.lines
    finally:
        ours.propagate = usual
        ours.removeHandler(heard)


def hush_libraries() -> None:
    """Keep from stderr what libraries log of a file, as Pillow does: what is wrong is said in our own line."""
    if logging.lastResort is not None:  # who prints where nobody has asked for a log
        logging.lastResort.addFilter(_is_ours)


def log_handler(stream: TextIO) -> logging.Handler:
    """Return what prints what our packages log as `WARNING: MESSAGE`, and nothing of others."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    handler.addFilter(_is_ours)
    return handler


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] == __name__.partition(".")[0]


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
