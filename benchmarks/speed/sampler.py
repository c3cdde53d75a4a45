"""The texture sampler against what else could do its work: `bilayer-bench sampler`.

All sides take turns in one run, so that a busy machine slows all of them. A turn is two calls: the first finds the
caches full of the other sides' data, as the sampler does after a network ran, the second finds its own. Times are CPU
times of the calling thread, medians; ratios are medians of the turns' own ratios.
"""

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bilayer.benchmarks.speed import sampler_sides
from bilayer.benchmarks.speed.report import BenchReport, BenchRow
from bilayer.benchmarks.speed.sampler_sides import Side
from bilayer.benchmarks.speed.timing import Samples
from bilayer.model.threads import torch_threads
from bilayer.runtime.command.console import progress
from bilayer.runtime.process.opencv import opencv_threads

PACKAGES = ("numba", "torch", "opencv-python-headless", "onnxruntime", "numpy")


@torch_threads(1)
@opencv_threads(1)
def measure(size: int, turns: int, warmup: int) -> list[BenchReport]:
    """Time all tasks at one output size, each side in one thread, and return a report of each."""
    case = sampler_sides.make_case(size)
    square, network = f"{size} x {size}", sampler_sides.TEXTURE_SIZE
    tasks: dict[str, tuple[list[Side], NDArray[Any]]] = {
        f"Warp, {square}": (list(sampler_sides.warp_sides(case)), sampler_sides.exact_warp(case)),
        f"Frame, {square}": (list(sampler_sides.frame_sides(case)), sampler_sides.exact_frame(case)),
    }
    if size != network:
        case = sampler_sides.make_case(size, results=network)
        sides, exact = list(sampler_sides.frame_sides(case)), sampler_sides.exact_resized_frame(case)
        tasks[f"Frame, {square} of {network} x {network}"] = sides, exact
    reports = []
    for title, (sides, expected) in tasks.items():
        errors = [
            None if side.result is None else float(np.abs(side.result(side.run()) - expected.astype(float)).max())
            for side in sides
        ]
        times = time_cold_and_warm(sides, turns, warmup, title)
        ours = times[sampler_sides.OURS]
        rows = []
        for side, error in zip(sides, errors, strict=True):
            own = times[side.name]
            columns = {
                "cold ms": round(own.cold.median, 4),
                "x ours, cold": round(own.cold.ratio_to(ours.cold), 2),
                "wall ms": round(own.wall.median, 4),
                "largest error": None if error is None else f"{error:.1e}",
            }
            rows.append(BenchRow(side.name, own.warm, columns))
        settings = {"repeats": turns, "warm_up": warmup}
        reports.append(BenchReport(title, tuple(rows), settings, PACKAGES, baseline=sampler_sides.OURS))
    return reports


class Times(NamedTuple):
    """The times of one side, a number a turn."""

    cold: Samples  # CPU time of a turn's first call
    warm: Samples  # and of its second
    wall: Samples  # clock time of the second


def time_cold_and_warm(sides: list[Side], turns: int, warmup: int, name: str) -> dict[str, Times]:
    """Time each side in each turn, after `warmup` turns that are not counted."""
    times: dict[str, list[tuple[float, ...]]] = {side.name: [] for side in sides}
    with progress(name, turns + warmup) as advance:
        for turn in range(-warmup, turns):
            for side in sides:
                first = time.thread_time_ns()
                side.run()
                clock, second = time.perf_counter_ns(), time.thread_time_ns()
                side.run()
                end, end_clock = time.thread_time_ns(), time.perf_counter_ns()
                if turn >= 0:
                    spans = second - first, end - second, end_clock - clock
                    times[side.name].append(tuple(span / 1e6 for span in spans))
            advance()
    return {side: Times(*map(Samples, zip(*every, strict=True))) for side, every in times.items()}
