"""The texture sampler against what else could do its work: `python -m bilayer.benchmarks.sampler`.

All sides take turns in one run, so that a busy machine slows all of them. A turn is two calls: the first finds the
caches full of the other sides' data, as the sampler does after a network ran, the second finds its own. Times are CPU
times of the calling thread, medians; ratios are medians of the turns' own ratios.
"""

import json
import platform
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from bilayer.runtime.console import Command, progress, table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bilayer.benchmarks.sampler_sides import Side

PACKAGES = ("numba", "torch", "opencv-python-headless", "onnxruntime", "numpy")
COLUMNS = ("ms", "x ours", "cold ms", "x ours, cold", "wall ms", "error")


@click.command(cls=Command)
@click.option("--size", "sizes", type=click.IntRange(8, 4096), multiple=True, help="Output side.  [default: 256, 512]")
@click.option("--turns", default=60, show_default=True, type=click.IntRange(1), help="Timed turns of each side.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(sizes: tuple[int, ...], turns: int, as_json: bool) -> None:
    """Time the warp of a 256 px texture, and the whole frame, against other libraries and a copy of the same bytes.

    ms is with warm caches, cold ms after the other sides ran; "x ours" is how many times as long as ours a side takes.
    The error is the largest against float64: of samples in -1..1, or of a frame's levels of 0..255.
    """
    from llvmlite.binding import get_host_cpu_name

    versions = {package: version(package) for package in PACKAGES}
    results = [result for size in sizes or (256, 512) for result in measure(size, turns)]
    machine = f"{platform.system()}, {platform.machine()}, {get_host_cpu_name()}"
    if as_json:
        report = {"machine": machine, "versions": versions, "turns": turns, "results": results}
        click.echo(json.dumps(report, indent=2))
        return
    named = ", ".join(f"{package} {number}" for package, number in versions.items())
    click.echo(f"{machine}; {named}; {turns} turns")
    for result in results:
        click.echo(f"\n{result['task']}, {result['size']} x {result['size']}\n")
        rows = [[side["name"], *(_cell(side[column]) for column in COLUMNS)] for side in result["sides"]]
        click.echo(table(["", *COLUMNS], rows))


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1e}" if 0 < value < 1e-3 else f"{value:.3g}"


def measure(size: int, turns: int) -> list[dict[str, Any]]:
    """Both tasks at one output size: of each side its name and the COLUMNS."""
    import numpy as np

    from bilayer.benchmarks import sampler_sides

    case = sampler_sides.make_case(size)
    tasks: dict[str, tuple[Any, NDArray[Any]]] = {
        "warp": (sampler_sides.warp_sides, sampler_sides.exact_warp(case)),
        "frame": (sampler_sides.frame_sides, sampler_sides.exact_frame(case)),
    }
    results = []
    for task, (make_sides, expected) in tasks.items():
        sides: list[Side] = list(make_sides(case))
        errors = [
            None if side.result is None else float(np.abs(side.result(side.run()) - expected.astype(float)).max())
            for side in sides
        ]
        times = take_turns(sides, turns, f"{task}, {size} px")
        ours = times[sampler_sides.OURS]
        rows = []
        for side, error in zip(sides, errors, strict=True):
            own = times[side.name]
            values = median(own.warm), ratio(own.warm, ours.warm), median(own.cold), ratio(own.cold, ours.cold)
            rows.append({"name": side.name} | dict(zip(COLUMNS, (*values, median(own.wall), error), strict=True)))
        results.append({"task": task, "size": size, "sides": rows})
    return results


@dataclass(frozen=True)
class Times:
    """Milliseconds of one side, one number a turn."""

    cold: list[float] = field(default_factory=list)  # CPU time of a turn's first call
    warm: list[float] = field(default_factory=list)  # and of its second
    wall: list[float] = field(default_factory=list)  # clock time of the second


def take_turns(sides: "list[Side]", turns: int, name: str) -> dict[str, Times]:
    """Time each side in each turn, after two turns that are not counted."""
    times = {side.name: Times() for side in sides}
    with progress(name, turns + 2) as advance:
        for turn in range(-2, turns):
            for side in sides:
                first = time.thread_time_ns()
                side.run()
                clock, second = time.perf_counter_ns(), time.thread_time_ns()
                side.run()
                end, end_clock = time.thread_time_ns(), time.perf_counter_ns()
                if turn >= 0:
                    times[side.name].cold.append((second - first) / 1e6)
                    times[side.name].warm.append((end - second) / 1e6)
                    times[side.name].wall.append((end_clock - clock) / 1e6)
            advance()
    return times


def ratio(times: list[float], ours: list[float]) -> float:
    """Median over the turns of how many times as long a side took."""
    return median([a / b for a, b in zip(times, ours, strict=True)])


if __name__ == "__main__":
    main()
