"""What the logs of both native runners have in common: native/machine.hpp and native/statistics.hpp write it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RunnerMachine:
    """What a runner ran on."""

    architecture: str
    kernel: str
    cpu: str
    emulation: list[str]  # why a time means nothing here; empty on a real ARM processor


@dataclass(frozen=True)
class Microseconds:
    """Of many executions, each timed by itself."""

    min: float
    median: float
    p90: float
    p99: float
    max: float
    mean: float
