"""A window that shows frames, by SDL 2 (pygame-ce), and the pace of real time."""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.environment import environment_default
from bilayer.runtime.errors import ToolMissingError
from bilayer.runtime.native_stderr import sifting

Bytes = NDArray[np.uint8]

TICK = 0.01  # s between two looks at the keyboard while nothing else is to be done
UNSEEN = ("dummy", "offscreen")  # drivers of SDL that draw nowhere; it falls back to them without a word
MAX_SKIPPED = 50  # frames in a row; a machine that is slower than that shall show something all the same


class Window:
    """Shows the frames that are written to it, until it is closed by Escape, Q, or its button.

    Attributes:
        closed: whether it has been; as of the last `write` or `idle`.
    """

    def __init__(self, pygame: Any, title: str) -> None:
        self._pygame, self._title = pygame, title
        self._screen: Any = None
        self.closed = False

    def write(self, frame: Bytes) -> None:
        """Show a frame (H, W, 4) RGBA, of the first one's size; it is not kept. What is transparent is black."""
        pygame = self._pygame
        height, width = frame.shape[:2]
        if self._screen is None:
            # SCALED: as large as the desktop allows, in whole multiples of the frame's pixels
            with warnings.catch_warnings(action="ignore"):  # where nothing but the processor draws
                self._screen = pygame.display.set_mode((width, height), pygame.SCALED | pygame.RESIZABLE)
            pygame.display.set_caption(self._title)
        self._screen.fill((0, 0, 0))
        self._screen.blit(pygame.image.frombuffer(frame, (width, height), "RGBA"), (0, 0))
        pygame.display.flip()
        self._look()

    def idle(self, seconds: float) -> None:
        """Wait, but return as soon as the window is closed."""
        end = time.perf_counter() + seconds
        while not self.closed and (left := end - time.perf_counter()) > 0:
            time.sleep(min(left, TICK))
            self._look()

    def _look(self) -> None:
        pygame = self._pygame
        events: list[Any] = pygame.event.get() if self._screen is not None else []
        for event in events:
            pressed = event.key if event.type == pygame.KEYDOWN else None
            self.closed |= event.type == pygame.QUIT or pressed in (pygame.K_ESCAPE, pygame.K_q)


@contextmanager
def open_window(title: str) -> Iterator[Window]:
    """A window; it appears with its first frame, and goes at the end.

    Raises:
        ToolMissingError: pygame-ce is not installed, or there is no display to show it on.
    """
    try:
        with environment_default("PYGAME_HIDE_SUPPORT_PROMPT", "1"):  # stdout is for results
            import pygame
    except ImportError as error:
        raise ToolMissingError(f"a window needs pygame-ce ({error}); pip install 'bilayer[window]'") from error
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
        """No if the frame after this one is due already; after `MAX_SKIPPED` times no it goes on from here."""
        now = self._clock()
        if self._start is None or self._skipped >= MAX_SKIPPED:
            self._start = now - number / self._rate
        late = now >= self._start + (number + 1) / self._rate
        self._skipped = self._skipped + 1 if late else 0
        return not late

    def wait(self, number: int) -> None:
        """Wait until the frame is due."""
        if self._start is not None:
            self._idle(max(0.0, self._start + number / self._rate - self._clock()))
