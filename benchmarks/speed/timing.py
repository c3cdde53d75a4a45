"""Timing several sides in one run: they take turns, so that a busy machine slows all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bilayer.runtime.command.console import progress


@dataclass(frozen=True)
class Samples:
    """Wall times of one side, a number per turn."""

    milliseconds: tuple[float, ...]

    @property
    def least(self) -> float:
        """The least time in ms: what the machine can do when nothing else wants it."""
        return min(self.milliseconds)

    @property
    def median(self) -> float:
        """The median time in ms."""
        return statistics.median(self.milliseconds)

    @property
    def p90(self) -> float:
        """The 90th percentile in ms: one call in ten takes longer."""
        if len(self.milliseconds) == 1:
            return self.milliseconds[0]
        return statistics.quantiles(self.milliseconds, n=10, method="inclusive")[-1]

    def ratio_to(self, other: "Samples") -> float:
        """Return how many times as long as the other side this one took: the median of the ratios in each turn."""
        return statistics.median(a / b for a, b in zip(self.milliseconds, other.milliseconds, strict=True))


def take_turns(
    sides: Mapping[str, Callable[[], object]], repeats: int, warmup: int, title: str, rest: float = 0.0
) -> dict[str, Samples]:
    """Time each side once a turn, after `warmup` turns that are not counted.

    Args:
        sides: what to call, by name.
        repeats: timed turns.
        warmup: turns before them.
        title: of the progress bar.
        rest: seconds between two calls, for threads of the one before to go to sleep.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    with progress(title, repeats + warmup) as advance:
        for turn in range(repeats + warmup):
            for name, call in sides.items():
                time.sleep(rest)
                begin = time.perf_counter_ns()
                call()
                end = time.perf_counter_ns()
                if turn >= warmup:
                    times[name].append((end - begin) / 1e6)
            advance()
    return {name: Samples(tuple(values)) for name, values in times.items()}
