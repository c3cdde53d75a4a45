"""A window that shows frames, by SDL 2 (pygame-ce), and the pace of real time."""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.errors import ToolMissingError
from bilayer.runtime.process.environment import environment_default
from bilayer.runtime.process.native_stderr import sifting

MAX_ZOOM = 16  # times; SDL takes no window that is much larger than a desktop
NOTE_SIZE = 24  # px, a line
TICK = 0.01  # s between two looks at the keyboard while nothing else is to be done
UNSEEN = ("dummy", "offscreen")  # drivers of SDL that draw nowhere; it falls back to them without a word
MAX_SKIPPED = 50  # frames in a row; a machine that is slower than that shall show something all the same


class Window:
    """Shows the frames that are written to it, until it is closed by Escape, Q, or its button.

    Attributes:
        closed: whether it has been; as of the last `write` or `idle`.
        note: lines to be shown over the frame; empty: none.
    """

    def __init__(self, pygame: Any, title: str) -> None:
        self._pygame, self._title = pygame, title
        self._frame: Any = None  # the last one, at its own size
        self._zoom = 0  # n: n times as large; -n: an n-th; 0: not known yet
        self._typed: list[str] = []
        self.closed, self.note = False, ""

    def write(self, frame: Bytes) -> None:
        """Show a frame (H, W, 4) RGBA, of the first one's size; it is not kept. What is transparent is black."""
        pygame = self._pygame
        height, width = frame.shape[:2]
        first = self._frame is None
        if first:
            self._frame = pygame.Surface((width, height))
            wide, high = pygame.display.get_desktop_sizes()[0]
            times = min(wide / width, high / height)  # as large as the desktop allows
            self._zoom = int(times) if times >= 1 else -math.ceil(1 / times)
            self._open()
        self._frame.fill((0, 0, 0))
        self._frame.blit(pygame.image.frombuffer(frame, (width, height), "RGBA"), (0, 0))
        self._draw()
        self._look()

    def idle(self, seconds: float) -> None:
        """Wait, but return as soon as the window is closed."""
        end = time.perf_counter() + seconds
        while not self.closed and (left := end - time.perf_counter()) > 0:
            time.sleep(min(left, TICK))
            self._look()

    def typed(self) -> list[str]:
        """Return the characters typed since this was last asked, small letters."""
        typed, self._typed = self._typed, []
        return typed

    def say(self, title: str) -> None:
        """Show it in the window's bar."""
        self._title = title
        if self._frame is not None:
            self._pygame.display.set_caption(title)

    def zoom(self, step: int) -> None:
        """Make the window one size larger, 1, or smaller, -1: whole multiples or whole parts of a frame's pixels."""
        if self._frame is not None:
            zoom = self._zoom + step
            self._zoom = min({0: -2, -1: 1}.get(zoom, zoom), MAX_ZOOM)  # from an n-th to once, and back
            self._open()
            self.refresh()

    def refresh(self) -> None:
        """Show the last frame again, with what is noted now."""
        if self._frame is not None:
            self._draw()

    def _open(self) -> None:
        pygame = self._pygame
        size = [side * self._zoom if self._zoom > 0 else max(side // -self._zoom, 1) for side in self._frame.get_size()]
        pygame.display.set_mode(size, pygame.RESIZABLE)
        pygame.display.set_caption(self._title)

    def _draw(self) -> None:
        """The frame as large as the window has room for, and the note."""
        pygame = self._pygame
        screen = pygame.display.get_surface()
        size, room = self._frame.get_size(), screen.get_size()
        times = min(room[0] / size[0], room[1] / size[1])
        shown = [max(round(side * times), 1) for side in size]
        whole = times >= 1 and times == int(times)
        scaled = (pygame.transform.scale if whole else pygame.transform.smoothscale)(self._frame, shown)
        screen.fill((0, 0, 0))
        screen.blit(scaled, [(there - taken) // 2 for there, taken in zip(room, shown, strict=True)])
        if self.note:
            pygame.font.init()
            text = pygame.font.Font(None, NOTE_SIZE).render(self.note, True, (255, 255, 255), (30, 30, 30))
            screen.blit(text, (NOTE_SIZE // 2, NOTE_SIZE // 2))
        pygame.display.flip()

    def _look(self) -> None:
        pygame = self._pygame
        events: list[Any] = pygame.event.get() if self._frame is not None else []
        for event in events:
            pressed = event.key if event.type == pygame.KEYDOWN else None
            self.closed |= event.type == pygame.QUIT or pressed in (pygame.K_ESCAPE, pygame.K_q)
            if event.type == pygame.VIDEORESIZE:
                self.refresh()
            elif pressed is not None:
                self._typed.append(event.unicode.lower())


@contextmanager
def open_window(title: str) -> Iterator[Window]:
    """Yield a window; it appears with its first frame, and goes at the end.

    Raises:
        ToolMissingError: pygame-ce is not installed, or there is no display to show it on.
    """
    try:
        with environment_default("PYGAME_HIDE_SUPPORT_PROMPT", "1"):  # stdout is for results
            import pygame
    except ImportError as error:
        raise ToolMissingError(f"a window needs pygame-ce ({error}); pip install 'bilayer[window]'") from error
    written = pygame.font.get_init()
    try:
        with sifting(lambda line: True):  # the drivers that SDL tries complain one by one
            pygame.display.init()
        if "SDL_VIDEODRIVER" not in os.environ and pygame.display.get_driver() in UNSEEN:
            raise pygame.error("found no screen")
        yield Window(pygame, title)
    except pygame.error as error:
        raise ToolMissingError(f"window: cannot be shown here ({error}); write a file, as --out a.mp4") from error
    finally:
        pygame.display.quit()
        if not written:
            pygame.font.quit()  # that of a note


class RealTime:
    """Shows frame n at n / rate seconds after the first: waits where it is early, skips frames that are late.

    Args:
        rate: frames a second.
        idle: waits for so many seconds.
        clock: seconds, from any time on.
    """

    def __init__(
        self,
        rate: float,
        idle: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._rate, self._idle, self._clock = rate, idle, clock
        self._start: float | None = None  # when frame 0 was due
        self._skipped = 0  # in a row

    def admits(self, number: int) -> bool:
        """Return whether the frame is to be shown: no if the one after it is due already.

        After `MAX_SKIPPED` times no it goes on from here.
        """
        now = self._clock()
        if self._start is None or self._skipped >= MAX_SKIPPED:
            self._start = now - number / self._rate
        late = now >= self._start + (number + 1) / self._rate
        self._skipped = self._skipped + 1 if late else 0
        return not late

    def hold(self, seconds: float) -> None:
        """Let all frames be due so much later: nothing was shown meanwhile."""
        if self._start is not None:
            self._start += seconds

    def wait(self, number: int) -> None:
        """Wait until the frame is due."""
        if self._start is not None:
            self._idle(max(0.0, self._start + number / self._rate - self._clock()))
