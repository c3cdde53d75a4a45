"""How much poses tremble: what a still head, seen by a noisy tracker, moves."""

from collections import deque

import numpy as np
from numpy.typing import ArrayLike

from bilayer.runtime.arrays import Floats


def jitter_px(poses: ArrayLike, rate: float, size: int = 256) -> float | None:
    """Return the points' standard deviation in the stillest second of poses (T, 136), in pixels of a frame of `size`.

    The root mean square over all points and both axes. Where the head never stands still, the least that it moved in a
    second. None for less than a second.
    """
    meter = JitterMeter(rate, size)
    for pose in np.asarray(poses, np.float32):
        meter.note(pose, pose)
    return meter.before


class JitterMeter:
    """The jitter of poses before and after smoothing, in the same second: the one that was stillest before.

    Attributes:
        before: pixels; None until a second has been seen.
        after: pixels, in the same second.
    """

    def __init__(self, rate: float, size: int) -> None:
        self._scale = size / 2  # pixels in half a crop
        self._second: deque[tuple[Floats, Floats]] = deque(maxlen=max(2, round(rate)))
        self.before: float | None = None
        self.after: float | None = None

    def note(self, before: Floats, after: Floats) -> None:
        """Take the poses (136,) of the next frame."""
        self._second.append((before, after))
        if len(self._second) < (self._second.maxlen or 0):
            return
        moved = np.std(np.array(self._second, np.float64), axis=0)  # (2, 136)
        found, smooth = (float(px) for px in self._scale * np.sqrt(np.mean(np.square(moved), axis=-1)))
        if self.before is None or found < self.before:
            self.before, self.after = found, smooth

    def lost(self) -> None:
        """Begin the second anew: the face was not seen."""
        self._second.clear()
