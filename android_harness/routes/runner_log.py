"""What the logs of both native runners have in common: native/machine.hpp and native/statistics.hpp write it."""

from dataclasses import dataclass

from bilayer.android_harness.results import TimeStatistics


@dataclass(frozen=True)
class RunnerMachine:
    """The machine that a runner ran on, by its own words."""

    architecture: str
    kernel: str
    cpu: str
    emulation: list[str]  # why a time means nothing here; empty on a real ARM processor


@dataclass(frozen=True)
class Microseconds(TimeStatistics):
    """Statistics of many executions, each timed by itself, in microseconds."""
