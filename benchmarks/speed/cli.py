"""`bilayer-bench`: what each part costs, every side measured in one run."""

from pathlib import Path
from typing import Any

import click

from bilayer.benchmarks.speed import avatar_creation, player, sampler
from bilayer.benchmarks.speed.report import BenchReport, with_results
from bilayer.model.config import PRESETS
from bilayer.runtime.console import Group
from bilayer.runtime.errors import CheckpointError
from bilayer.runtime.files import check_input, check_photo_file

ENGINES = ("onnxruntime", "openvino", "ncnn")

_preset = click.option("--preset", type=click.Choice(tuple(PRESETS)), default="medium", show_default=True)


@click.group(cls=Group)
def main() -> None:
    """Time the parts of an avatar on this machine, or compute what a phone's GPU could do at best.

    Sides take turns in one run, so that a busy machine slows all of them alike: trust the ratios before the times.
    """


main.add_command(sampler.main, "sampler")
main.add_command(player.main, "frame")
main.add_command(avatar_creation.main, "init")


@main.command()
@_preset
@click.option("--threads", type=click.IntRange(1), multiple=True, help="[default: 1 and 2]")
@click.option("--engine", "engines", type=click.Choice(ENGINES), multiple=True, help="[default: all installed]")
@click.option("--repeats", type=click.IntRange(1), default=15, show_default=True, help="Timed turns.")
@click.option("--warm-up", "warmup", type=click.IntRange(0), default=2, show_default=True, help="Turns before them.")
@with_results
def network(
    preset: str,
    threads: tuple[int, ...],
    engines: tuple[str, ...],
    repeats: int,
    warmup: int,
) -> list[BenchReport]:
    """The network of a frame: torch, a naive export, and every variant on every engine."""
    from bilayer.benchmarks.speed.network import NetworkBench, measure

    setup = NetworkBench(preset, threads or (1, 2), repeats, warmup, engines or ENGINES)
    return measure(setup, lambda line: click.echo(f"left out: {line}", err=True))


@main.command()
@_preset
@with_results
def macs(preset: str) -> list[BenchReport]:
    """Multiply-accumulates of every network, of each block of a frame, and of each export variant."""
    from bilayer.benchmarks.speed.costs import count_reports

    return count_reports(preset)


@main.command()
@_preset
@click.option("--precision", type=click.Choice(["fp16", "fp32"]), default="fp16", show_default=True)
@with_results
def roofline(preset: str, precision: Any) -> list[BenchReport]:
    """Compute what mobile GPUs could do at best, and at published rates. Nothing is measured."""
    from bilayer.benchmarks.speed.costs import roofline_reports

    return roofline_reports(preset, precision)


@main.command()
@click.argument("photo", type=click.Path(path_type=Path))
@click.option("--checkpoint", type=click.Path(path_type=Path), help="As bilayer-export takes it.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Timed exports.")
@click.option("--warm-up", "warmup", type=click.IntRange(0), default=1, show_default=True, help="Exports before them.")
@with_results
def export(photo: Path, checkpoint: Path | None, repeats: int, warmup: int) -> list[BenchReport]:
    """The stages of bilayer-export, from PHOTO to the bundle."""
    check_photo_file(photo)
    check_input(checkpoint, CheckpointError)
    from bilayer.benchmarks.speed.export_stages import time_export

    return [time_export(photo, checkpoint, repeats, warmup)]


if __name__ == "__main__":
    main(prog_name="bilayer-bench")
