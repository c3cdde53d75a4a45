"""What our packages log as a warning, for who has another place for it than the log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heard_warnings() -> Iterator[list[str]]:
    """A list of what is logged inside by this package as a warning, or worse; it does not go on to the log."""
    ours, heard = logging.getLogger(__name__.partition(".")[0]), _Heard()
    ours.addHandler(heard)
    usual, ours.propagate = ours.propagate, False
    try:
        yield heard.lines
    finally:
        ours.propagate = usual
        ours.removeHandler(heard)


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
