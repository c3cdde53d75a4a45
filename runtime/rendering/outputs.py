"""Where the frames of `bilayer-render` go: a file, with the driver's sound, a window, or a virtual camera."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bilayer.runtime.command.console import tell
from bilayer.runtime.media.sound import Sound, open_sound
from bilayer.runtime.media.virtual_camera import open_virtual_camera
from bilayer.runtime.media.window import RealTime, open_window
from bilayer.runtime.media.writers import FrameWriter, open_writer
from bilayer.runtime.rendering.live import Live
from bilayer.runtime.rendering.options import RenderOptions
from bilayer.runtime.vocabulary import ANY_CAMERA, TRACK_SUFFIXES

if TYPE_CHECKING:
    from bilayer.runtime.rendering.render import Pacer  # whose player is loaded when the output is open


@dataclass(frozen=True)
class Output:
    """What takes the frames, and when each is due."""

    writer: FrameWriter
    pace: "Pacer | None" = None
    live: Live | None = None  # the writer, where frames are only shown
    sound: str | None = None  # what becomes of the driver's

    def stopped(self, ended: Callable[[], bool]) -> bool:
        """Return whether no more frames are wanted: the user has closed it, or `ended` says so; asked before each."""
        return ended() if self.live is None else self.live.stopped(ended)


@contextmanager
def open_output(options: RenderOptions, rate: float, size: tuple[int, int], panels: int) -> Iterator[Output]:
    """Open what the options ask for.

    Args:
        options: of the command.
        rate: frames a second.
        size: height and width of a frame, px.
        panels: how many pictures of one width it is made of, side by side.

    Raises:
        BilayerError: it cannot be written or shown there.
    """
    if options.file is not None:
        with _open_sound(options) as sound, open_writer(options.file, rate, sound) as writer:
            yield Output(writer, sound=None if sound is None else sound.kind)
        return
    with ExitStack() as opened:
        window = opened.enter_context(open_window("bilayer - H: keys")) if options.out is not None else None
        screens: list[FrameWriter] = [] if window is None else [window]
        if options.virtual_camera is not None:
            device = None if options.virtual_camera == ANY_CAMERA else options.virtual_camera
            camera = opened.enter_context(open_virtual_camera(device, *size, rate))
            tell("virtual camera", camera.device)  # whoever waits for it to choose it elsewhere is told at once
            screens.append(camera)
        # A webcam has its own pace
        pace = None if options.webcam is not None else RealTime(rate, window.idle if window else time.sleep)
        live = opened.enter_context(Live(screens, window, pace, rate, panels))
        yield Output(live, pace, live)


def _open_sound(options: RenderOptions) -> AbstractContextManager[Sound | None]:
    """The driver's sound, where it is wanted and may have one."""
    path = Path(options.drive or "")
    silent = options.drive is None or options.webcam is not None or path.suffix.lower() in TRACK_SUFFIXES
    if silent or not options.sound or options.file is None or options.file.suffix.lower() != ".mp4":
        return nullcontext()
    return open_sound(path)


@contextmanager
def noting_ctrl_c(endless: bool) -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether Ctrl-C was pressed, the usual end of the endless; a second one interrupts."""
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
