"""When a video's frames are shown: by their time stamps. A header's rate is a claim, and browsers make it 1000."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.vocabulary import DEFAULT_FPS

MAX_RATE = 240.0  # frames a second that are rendered; of quicker videos some are left out
MAX_PAUSE = 60.0  # s that a frame may stand; after more the clock has jumped, as in joined broadcasts

_STRAY = 0.98  # frames between the earliest and the latest, against a constant rate's
_ALIKE = 0.05  # between a claimed rate and the usual one: milliseconds round 33.37 to 33


class Clock:
    """Time stamps as seconds since the first, never backwards; what is no time follows the one before by `interval`."""

    def __init__(self, interval: float) -> None:
        self._interval, self._shift = interval, 0.0
        self._last: float | None = None

    def read(self, stamp: float | None) -> float:
        """Return the next stamp, in seconds; None where a frame has none."""
        if self._last is None:
            self._shift, self._last = -(stamp or 0.0), 0.0
            return 0.0
        expected = self._last + self._interval
        time = expected if stamp is None else stamp + self._shift
        if not self._last <= time <= self._last + MAX_PAUSE:
            time = expected
            self._shift = expected - (stamp or 0.0)
        self._last = time
        return time


def intervals_of(times: Sequence[float]) -> NDArray[np.float64]:
    """Return the differences (N,) of sorted times, s, without those of jumps, and of frames at one time."""
    steps = np.diff(np.asarray(times, np.float64))
    return steps[(steps > 1e-6) & (steps <= MAX_PAUSE)]


@dataclass(frozen=True)
class Pace:
    """A constant rate to show frames at, and how much later than their times: with that, fewest come twice or never."""

    rate: float  # frames a second, up to `MAX_RATE`
    shift: float = 0.0  # s

    def tick(self, time: float) -> int:
        """Return the number of the picture that is shown at `time`, in s from the first frame's."""
        return math.floor((time + self.shift) * self.rate + 0.5 + 1e-6)


def choose_pace(times: Sequence[float], claimed: Sequence[float]) -> Pace:
    """Return the pace for frames of these sorted `times` (s).

    The first of the `claimed` rates that the times bear out, else their mean rate if they keep to it, else that of
    the quicker frames: then slow ones are shown several times, and none is lost.
    """
    steps = intervals_of(times)
    if not steps.size:
        return Pace(next((rate for rate in claimed if 0 < rate <= MAX_RATE), DEFAULT_FPS))
    since = np.asarray(times, np.float64) - times[0]
    for rate in (*claimed, steps.size / float(steps.sum())):
        stray = since * rate - np.arange(len(since))
        if rate > 0 and np.ptp(stray) <= _STRAY:
            return Pace(min(rate, MAX_RATE), -float(stray.min() + stray.max()) / 2 / rate)
    quick = 1 / float(np.percentile(steps, 10))
    return Pace(min(next((rate for rate in claimed if abs(rate / quick - 1) <= _ALIKE), quick), MAX_RATE))


def paced(moments: Iterable[tuple[float, float, Bytes]], pace: Pace) -> Iterator[Bytes]:
    """Yield pictures at a constant rate, each as often as its time asks for, or not at all; at least one.

    Args:
        moments: when a picture is shown first, how long it would stand as the last, and the picture; s from the first.
        pace: the rate.
    """
    shown, end = 0, 0.0
    waiting: Bytes | None = None
    for time, standing, picture in moments:
        if waiting is not None:
            due = pace.tick(time)
            for _ in range(due - shown):
                yield waiting
            shown = max(shown, due)
        waiting, end = picture, time + standing
    if waiting is not None:
        for _ in range(max(pace.tick(end) - shown, 1 if shown == 0 else 0)):
            yield waiting
