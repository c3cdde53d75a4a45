"""Where the frames of `bilayer-render` go: a file, with the driver's sound, or a window."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bilayer.runtime.media.sound import Sound, open_sound
from bilayer.runtime.media.window import RealTime, open_window
from bilayer.runtime.media.writers import FrameWriter, open_writer
from bilayer.runtime.rendering import Pace
from bilayer.runtime.vocabulary import TRACK_SUFFIXES

if TYPE_CHECKING:
    from bilayer.runtime.cli import RenderOptions


@dataclass(frozen=True)
class Output:
    """What takes the frames, when each is due, and whether the user has closed it."""

    writer: FrameWriter
    pace: Pace | None = None
    closed: Callable[[], bool] = lambda: False
    sound: str | None = None  # what becomes of the driver's


@contextmanager
def open_output(options: "RenderOptions", rate: float) -> Iterator[Output]:
    """Open what `--out` asks for; a file's frames come `rate` a second."""
    if not options.shown:
        with _open_sound(options) as sound, open_writer(options.out, rate, sound) as writer:
            yield Output(writer, sound=None if sound is None else sound.kind)
        return
    with open_window("bilayer (Esc or Q closes)") as window:
        # A webcam has its own pace
        yield Output(window, None if options.webcam is not None else RealTime(rate, window.idle), lambda: window.closed)


def _open_sound(options: "RenderOptions") -> AbstractContextManager[Sound | None]:
    """The driver's sound, where it is wanted and may have one."""
    path = Path(options.drive or "")
    silent = options.drive is None or options.webcam is not None or path.suffix.lower() in TRACK_SUFFIXES
    if silent or not options.sound or options.out.suffix.lower() != ".mp4":
        return nullcontext()
    return open_sound(path)


@contextmanager
def noting_ctrl_c(endless: bool) -> Iterator[Callable[[], bool]]:
    """A function that says whether Ctrl-C was pressed, the usual end of what has none; a second one interrupts."""
    pressed = False

    def note(*_: object) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, usual)

    usual = signal.signal(signal.SIGINT, note) if endless else None
    try:
        yield lambda: pressed
    finally:
        if endless:
            signal.signal(signal.SIGINT, usual)
