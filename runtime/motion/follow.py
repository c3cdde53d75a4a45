"""From a driver's landmarks to smooth poses, and how well that went."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bilayer.runtime.arrays import Floats
from bilayer.runtime.motion.drivers import Driver, DriverFrame
from bilayer.runtime.motion.quality import DriverQuality, Problem
from bilayer.runtime.motion.smoothing import PoseSmoother, latency_ms
from bilayer.runtime.motion.stillness import JitterMeter


@dataclass(frozen=True)
class Followed:
    """How a driver was followed."""

    smoothing: float  # amount, 0..1
    latency_ms: float  # of the slowest motion, by smoothing; quick motion has less
    jitter_px: float | None  # of the poses in the driver's stillest second, in the frame's pixels; None: too short
    smooth_jitter_px: float | None  # the same, smoothed
    problems: dict[Problem, int]  # frames that were hard to follow

    def lines(self) -> Iterator[str]:
        """Yield what to tell a person."""
        if self.jitter_px is not None and self.smooth_jitter_px is not None:
            jitter = f"jitter: {self.jitter_px:.2f} px in the stillest second"
            if self.smoothing:
                smooth = f"{self.smooth_jitter_px:.2f} after smoothing by {self.smoothing:g}"
                yield f"{jitter}, {smooth}, which delays slow motion by {self.latency_ms:.0f} ms"
            else:
                yield f"{jitter}; where the head stood still in it, --smoothing makes it less"
        found = [f"{name.replace('_', ' ')} in {count}" for name, count in self.problems.items() if count]
        if found:
            yield f"driver: {', '.join(found)} frames"


class Follower:
    """A driver that is watched while its frames go by, and the way from their landmarks to poses.

    Args:
        driver: whose frames are passed on.
        to_pose: landmarks (68, 2) -> pose (136,), as `Retargeter.pose`.
        source: (136,), the avatar's own pose.
        smoothing: amount, 0..1.
        size: the frames' side in pixels, which jitter is told in.
        live: whether frames come when they come; else each is one of `driver.rate` a second.
        warn: is given a line for a person where the driver is hard to follow; None does not look.

    Raises:
        InputError: no such amount.
    """

    def __init__(
        self,
        driver: Driver,
        to_pose: Callable[[Floats], Floats],
        source: Floats,
        smoothing: float,
        size: int,
        live: bool = False,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.rate, self.count, self.name = driver.rate, driver.count, driver.name
        self._driver, self._to_pose, self._live, self._amount = driver, to_pose, live, smoothing
        self._smoother, self._jitter = PoseSmoother(source, smoothing), JitterMeter(driver.rate, size)
        self._quality = None if warn is None else DriverQuality(driver.rate, warn)
        self._seconds = 0.0

    def __iter__(self) -> Iterator[DriverFrame]:
        """Yield the driver's frames."""
        for number, frame in enumerate(self._driver):
            self._seconds = time.perf_counter() if self._live else number / self.rate
            if self._quality is not None:
                self._quality.note(frame)
            if frame.landmarks is None:
                self._jitter.lost()
            yield frame

    def pose(self, landmarks: Floats) -> Floats:
        """Return the smooth pose (136,) of the landmarks (68, 2) of the frame that was passed on last."""
        found = self._to_pose(landmarks)
        smooth = self._smoother(found, self._seconds)
        self._jitter.note(found, smooth)
        return smooth

    def followed(self) -> Followed:
        """Return how it went so far."""
        problems = {} if self._quality is None else self._quality.frames
        jitter = self._jitter
        return Followed(self._amount, latency_ms(self._amount), jitter.before, jitter.after, problems)
