"""`bilayer-bench`: what each part costs, every side measured in one run."""

import click

from bilayer.benchmarks.speed import avatar_creation, player, sampler
from bilayer.benchmarks.speed.options import BulkBench, ExportBench, NetworkBench, PresetOptions, RooflineOptions
from bilayer.benchmarks.speed.report import BenchReport, with_results
from bilayer.runtime.console import Group
from bilayer.runtime.options import fills


@click.group(cls=Group)
def main() -> None:
    """Time the parts of an avatar on this machine, or compute what a phone's GPU could do at best.

    Sides take turns in one run, so that a busy machine slows all of them alike: trust the ratios before the times.
    """


main.add_command(sampler.main, "sampler")
main.add_command(player.main, "frame")
main.add_command(avatar_creation.main, "init")


@main.command()
@fills(NetworkBench)
@with_results
def network(options: NetworkBench) -> list[BenchReport]:
    """The network of a frame: torch, a naive export, and every variant on every engine."""
    from bilayer.benchmarks.speed.network import measure

    return measure(options, lambda line: click.echo(f"left out: {line}", err=True))


@main.command()
@fills(PresetOptions)
@with_results
def macs(options: PresetOptions) -> list[BenchReport]:
    """Multiply-accumulates of every network, of each block of a frame, and of each export variant."""
    from bilayer.benchmarks.speed.costs import count_reports

    return count_reports(options.preset)


@main.command()
@fills(RooflineOptions)
@with_results
def roofline(options: RooflineOptions) -> list[BenchReport]:
    """Compute what mobile GPUs could do at best, and at published rates. Nothing is measured."""
    from bilayer.benchmarks.speed.costs import roofline_reports

    return roofline_reports(options.preset, options.precision)


@main.command()
@fills(ExportBench)
@with_results
def export(options: ExportBench) -> list[BenchReport]:
    """The stages of bilayer-export, from PHOTO to the bundle."""
    options.check()
    from bilayer.benchmarks.speed.export_stages import time_export

    return [time_export(options)]


@main.command()
@fills(BulkBench)
@with_results
def bulk(options: BulkBench) -> list[BenchReport]:
    """Many people's avatars: a command each, one process, two, and Ray; PHOTOS as bilayer-export takes them."""
    options.check()
    from bilayer.benchmarks.speed.bulk import time_bulk

    return time_bulk(options)


if __name__ == "__main__":
    main(prog_name="bilayer-bench")
