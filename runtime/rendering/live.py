"""Frames that are seen as they come, in a window, by a virtual camera, or both, and what the window's keys do."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.command.console import tell
from bilayer.runtime.errors import BilayerError
from bilayer.runtime.files.reading import is_there
from bilayer.runtime.media.window import RealTime, Window
from bilayer.runtime.media.writers import FrameWriter, open_writer

HELP = """Space  pause
C  recentre: the driver's next face is at rest
M  mirror
R  record, and end it
+ -  larger, smaller
H ?  these lines
Q Esc  end"""
MAX_REPEATS = 8  # of a frame in a recording; below 3 frames a second, encoding more would slow it down further
PAUSE = 0.05  # s between two looks at the keys while nothing moves


class Live:
    """Takes frames and shows them. A context manager: what is recorded at its end is completed.

    The letters are those of the page in a browser: docs/web.md.

    Args:
        screens: what shows each frame.
        window: that of them which is asked for keys, if there is one.
        pace: of the driver, to be held while it pauses; None for one that has its own.
        rate: the driver's frames a second: of what is recorded, too, where frames that took longer come several times.
        panels: how many pictures of one width a frame is made of, side by side: each is mirrored in its place.
        folder: what is recorded lies in it.
        clock: seconds, from any time on.

    Attributes:
        recentre: makes the driver's next face the one at rest; None: this driver has none.
    """

    def __init__(
        self,
        screens: Sequence[FrameWriter],
        window: Window | None,
        pace: RealTime | None,
        rate: float,
        panels: int = 1,
        folder: Path = Path(),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._screens, self._window, self._pace, self._rate = screens, window, pace, rate
        self._panels, self._folder, self._clock = panels, folder, clock
        self._paused, self._mirrored, self._helping = False, False, False
        self._recording: _Recording | None = None
        self._frame: Bytes | None = None  # the last that was shown
        self.recentre: Callable[[], None] | None = None

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._recording is not None and kind is not None:
            self._recording.drop(kind, error, at)
        elif self._recording is not None:
            self._end_recording()

    def write(self, frame: Bytes) -> None:
        """Show a frame (H, W, 4) RGBA, of the first one's size; it is not kept."""
        if self._mirrored:
            height, width = frame.shape[:2]
            frame = frame.reshape(height, self._panels, width // self._panels, 4)[:, :, ::-1].reshape(frame.shape)
        self._frame = frame.copy()
        for screen in self._screens:
            screen.write(self._frame)
        self._record()
        self._obey()

    def stopped(self, ended: Callable[[], bool]) -> bool:
        """Wait while it pauses, unless the window is closed or `ended` says so; return whether either is the case."""
        while self._paused and not (self._closed or ended()):
            begin = self._clock()
            (self._window.idle if self._window else time.sleep)(PAUSE)
            held = self._clock() - begin
            for timed in (self._pace, self._recording):
                if timed is not None:
                    timed.hold(held)
            self._obey()
        return self._closed or ended()

    @property
    def _closed(self) -> bool:
        return self._window is not None and self._window.closed

    def _obey(self) -> None:
        window = self._window
        for key in window.typed() if window else ():
            assert window is not None
            if key == " ":
                self._paused = not self._paused
            elif key == "c" and self.recentre is not None:
                self.recentre()
            elif key == "m":
                self._mirrored = not self._mirrored
            elif key == "r":
                self._end_recording() if self._recording else self._begin_recording()
            elif key in ("+", "=", "-"):  # =: where the plus wants Shift
                window.zoom(-1 if key == "-" else 1)
            elif key in ("h", "?"):
                self._helping = not self._helping
                window.note = HELP if self._helping else ""
                window.refresh()
            window.say(self.title)

    @property
    def title(self) -> str:
        """What the window's bar says."""
        states = [
            self._paused and "paused",
            self._mirrored and "mirrored",
            self._recording and f"recording {self._recording.path.name}",
        ]
        return " - ".join(["bilayer", *(state for state in states if state), "H: keys"])

    def _begin_recording(self) -> None:
        suffix = ".mp4" if find_spec("av") else ".gif"
        number = 1
        while is_there(path := self._folder / f"bilayer-{number}{suffix}"):
            number += 1
        try:
            self._recording = _Recording(path, self._rate, self._clock)
        except BilayerError as error:
            tell("warning", f"not recorded: {error}")
        self._record()

    def _record(self) -> None:
        if self._recording is not None and self._frame is not None:
            try:
                self._recording.write(self._frame)
            except BilayerError as error:
                self._recording = None
                tell("warning", f"not recorded: {error}")

    def _end_recording(self) -> None:
        assert self._recording is not None
        recording, self._recording = self._recording, None
        try:
            recording.close()
        except BilayerError as error:
            tell("warning", f"not recorded: {error}")
        else:
            tell("recorded", f"{recording.path}, {recording.count} frames")


class _Recording:
    """A file of frames, each as often as it was seen by the clock."""

    def __init__(self, path: Path, rate: float, clock: Callable[[], float]) -> None:
        self.path, self.count = path, 0
        self._rate, self._clock, self._start = rate, clock, clock()
        self._opened = ExitStack()
        self._writer = self._opened.enter_context(open_writer(path, rate))

    def write(self, frame: Bytes) -> None:
        due = int((self._clock() - self._start) * self._rate + 0.5) + 1
        if (lost := due - self.count - MAX_REPEATS) > 0:
            self.hold(lost / self._rate)
            due -= lost
        try:
            while self.count < due:
                self._writer.write(frame)
                self.count += 1
        except BaseException as error:
            self.drop(type(error), error, error.__traceback__)
            raise

    def hold(self, seconds: float) -> None:
        self._start += seconds

    def close(self) -> None:
        self._opened.close()

    def drop(self, kind: type[BaseException], error: BaseException | None, at: TracebackType | None) -> None:
        """Leave nothing of it."""
        self._opened.__exit__(kind, error, at)
