"""`bilayer-bench`: what each part costs, every side measured in one run."""

import click

from bilayer.benchmarks.speed.options import (
    BulkBench,
    ExportBench,
    FrameBench,
    InitBench,
    NetworkBench,
    PresetOptions,
    RooflineOptions,
    SamplerOptions,
    VariantsBench,
)
from bilayer.benchmarks.speed.report import BenchReport, with_results
from bilayer.runtime.command.console import Group
from bilayer.runtime.command.options import fills


@click.group(cls=Group)
def main() -> None:
    """Time the parts of an avatar on this machine, or compute what a phone's GPU could do at best.

    Sides take turns in one run, so that a busy machine slows all of them alike: trust the ratios before the times.
    """


@main.command()
@fills(SamplerOptions)
@with_results
def sampler(options: SamplerOptions) -> list[BenchReport]:
    """Time the warp of a 256 px texture, and the whole frame, against other libraries and a copy of the same bytes.

    Of another size than 256 there is a third task: the frame of a network's 256 px results and a texture of its size.
    CPU times of the calling thread: with warm caches, and "cold", after the other sides ran; "x ours" is how many times
    as long as ours a side takes. The error is the largest against float64: of samples in -1..1, or of a frame's levels
    of 0..255.
    """
    from bilayer.benchmarks.speed.sampler import measure

    return [report for size in options.sizes for report in measure(size, options.repeats, options.warm_up)]


@main.command()
@fills(FrameBench)
@with_results
def frame(options: FrameBench) -> list[BenchReport]:
    """Play an avatar with every engine, and say where the frame's time goes."""
    options.check()
    from bilayer.benchmarks.speed.player import time_frames

    return [time_frames(options, lambda line: click.echo(f"left out: {line}", err=True))]


@main.command()
@fills(InitBench)
@with_results
def init(options: InitBench) -> list[BenchReport]:
    """Wall time of each stage of avatar creation: the model as it is loaded, and its plain modules.

    The latter are the modules as they are trained, without model/reparameterize.py, timed in the same run, in turns.
    """
    from bilayer.benchmarks.speed.avatar_creation import time_creation

    return [time_creation(options)]


@main.command()
@fills(VariantsBench)
@with_results
def variants(options: VariantsBench) -> list[BenchReport]:
    """Cost, error and time of every export variant of a random generator, in one interleaved run."""
    from bilayer.benchmarks.speed.export_variants import guard_report, make_generator, measure, variants_of

    plain, pose, expected = make_generator(options.preset)
    return [measure(variants_of(plain), expected, pose, options), guard_report(plain, pose)]


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
    photo = options.check()
    from bilayer.benchmarks.speed.export_stages import time_export

    return [time_export(options, photo)]


@main.command()
@fills(BulkBench)
@with_results
def bulk(options: BulkBench) -> list[BenchReport]:
    """Many people's avatars: a command each, one process, two, and Ray; PHOTOS as bilayer-export takes them."""
    options.check()
    from bilayer.benchmarks.speed.bulk import time_bulk
    from bilayer.export.allocator import keep_freed_memory

    keep_freed_memory()  # as bilayer-export does where it is the one process
    return time_bulk(options)


if __name__ == "__main__":
    main(prog_name="bilayer-bench")
