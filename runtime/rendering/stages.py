"""Where a frame's time goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median


class StageTimes:
    """Seconds of wall time, by stage and frame."""

    def __init__(self, stages: tuple[str, ...]) -> None:
        self._seconds: dict[str, list[float]] = {stage: [] for stage in stages}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one frame's stage, which runs inside."""
        begin = time.perf_counter()
        yield
        self._seconds[name].append(time.perf_counter() - begin)

    def add_to_last(self, name: str, seconds: float) -> None:
        """Adds what the last frame's stage took at another time."""
        self._seconds[name][-1] += seconds

    @property
    def total(self) -> float:
        """Seconds of all stages and frames."""
        return sum(map(sum, self._seconds.values()))

    def medians_ms(self) -> dict[str, float]:
        """Return the milliseconds of a frame's stages: the medians, which the first, slow frames do not move."""
        return {name: round(median(seconds) * 1e3, 3) for name, seconds in self._seconds.items() if seconds}

    def shares(self) -> dict[str, float]:
        """Return the share of each stage in the time of all frames, 0..1."""
        total = self.total or 1.0
        return {name: round(sum(seconds) / total, 4) for name, seconds in self._seconds.items() if seconds}
