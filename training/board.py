"""What TensorBoard shows of a run, written here and now: its own writer has a thread, whose failures are tracebacks."""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.errors import OutputError
from bilayer.runtime.files.reasons import why_not_written
from bilayer.runtime.files.writing import make_folder


class Board:
    """A new file of events in `folder`; events of other files there from iteration `first` on count no more.

    Raises:
        OutputError: it cannot be written to, or the disk is full; as all its methods.
        ImportError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, first: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter
        from torch.utils.tensorboard import summary

        self._event, self._records = Event, RecordWriter
        self._summary: Any = summary  # has no types
        make_folder(folder)
        self._path = folder / f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.0"
        start = SessionLog(status=SessionLog.START)
        self._append(Event(step=first, file_version="brain.Event:2"), Event(step=first, session_log=start))

    def scalars(self, group: str, iteration: int, values: Mapping[str, float]) -> None:
        """Add a point to each of the curves `group/NAME`."""
        made = (self._summary.scalar(f"{group}/{name}", value) for name, value in values.items())
        self._append(*(self._event(step=iteration, summary=one) for one in made))

    def picture(self, iteration: int, name: str, picture: Bytes) -> None:
        """Show a picture, (H, W, 3) RGB."""
        made = self._summary.image(name, picture, dataformats="HWC")
        self._append(self._event(step=iteration, summary=made))

    def _append(self, *events: Any) -> None:
        try:
            with self._path.open("ab") as file:
                for event in events:
                    event.wall_time = time.time()
                    self._records(file).write(event.SerializeToString())
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {why_not_written(error)}") from error
