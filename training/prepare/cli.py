"""`bilayer-prepare`: videos, or synthetic heads, as training data; and a look at what is there."""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bilayer.runtime.console import Group, progress, table

if TYPE_CHECKING:
    from bilayer.training.prepare.check import SplitCounts


@click.group(cls=Group)
@click.version_option(package_name="bilayer")
def main() -> None:
    """Make the data that bilayer-train takes (docs/data.md), and check it."""


_out = click.option("--out", "root", type=click.Path(path_type=Path), required=True, help="Data folder, new or begun.")
_split = click.option("--split", type=click.Choice(["train", "test"]), default="train", show_default=True)
_size = click.option(
    "--size", type=click.IntRange(16, 2048), default=256, show_default=True, help="Pixels, of the pictures."
)
_jobs = click.option("--jobs", type=click.IntRange(1), help="Processes. [default: one for each core]")
_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@main.command()
@click.argument("places", metavar="VIDEO_OR_FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path))
@_out
@_split
@_size
@click.option("--fps", type=click.FloatRange(0, min_open=True), help="Frames kept of each second. [default: all]")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Of each video, from its start.")
@click.option("--min-side", type=click.IntRange(1), help="Pixels of the video a crop must span. [default: size / 2]")
@click.option("--min-frames", type=click.IntRange(1), default=5, show_default=True, help="Of a sequence.")
@click.option(
    "--format", "picture_format", type=click.Choice(["jpg", "png"]), default="jpg", show_default=True, help="Pictures."
)
@click.option(
    "--landmarker", type=click.Choice(["mediapipe", "face-alignment"]), default="mediapipe", show_default=True
)
@_jobs
@_json
def videos(
    places: tuple[Path, ...],
    root: Path,
    split: Any,
    jobs: int | None,
    as_json: bool,
    min_side: int | None,
    **given: Any,
) -> None:
    """Follow the largest face of each video, cut it out, and store landmarks and mask beside it.

    A file PERSON.mp4 is one person's; a folder holds PERSON/VIDEO.mp4. Run it again to go on where it ended.
    """
    from bilayer.training.prepare.videos import VideoSettings, find_videos, prepare_videos

    settings = VideoSettings(min_side=min_side or given["size"] // 2, **given)
    found = find_videos(places, root, split, settings)
    with progress("preparing videos", len(found)) as advance:
        report = prepare_videos(found, jobs or _cores(), advance)
    results = report.done.values()
    totals = {
        "videos": len(results),
        "finished before": report.finished_before,
        "failed": len(report.failed),
        "sequences": sum(result.sequences for result in results),
        "frames": sum(result.frames for result in results),
        "without a face": sum(result.without_face for result in results),
        "face too small": sum(result.too_small for result in results),
        "sequence too short": sum(result.too_short for result in results),
    }
    click.echo(json.dumps(asdict(report), indent=2) if as_json else _totals(totals))
    for problem in report.failed.values():
        click.echo(f"failed: {problem}", err=True)
    if report.failed:
        from bilayer.runtime.errors import InputError

        advice = "mend or leave them out, and run this again"
        raise InputError(f"{root}: {len(report.failed)} of {len(found)} videos could not be read; {advice}")
    if not as_json:
        _say_next(root)


@main.command()
@_out
@click.option(
    "--model",
    "folder",
    type=click.Path(path_type=Path),
    help="Head model: ICT-FaceKit, or what it was reduced to. [default: a built-in ellipsoid]",
)
@click.option("--identities", type=click.IntRange(1), default=300, show_default=True)
@click.option("--frames", type=click.IntRange(1, 99999), default=20, show_default=True, help="Of each identity.")
@click.option(
    "--first-identity", type=click.IntRange(0), default=0, show_default=True, help="Its seed; the others follow."
)
@_split
@_size
@click.option(
    "--supersampling", type=click.IntRange(1, 4), default=2, show_default=True, help="Samples along a pixel's side."
)
@_jobs
@_json
def heads(
    root: Path,
    folder: Path | None,
    identities: int,
    frames: int,
    first_identity: int,
    split: Any,
    size: int,
    supersampling: int,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Render synthetic heads with exact landmarks, masks and texture coordinates.

    Each identity is its seed: give the test split others by --first-identity. Run it again to go on where it ended.
    """
    from bilayer.training.prepare.heads import HeadSettings, head_jobs, model_fingerprint, prepare_heads

    settings = HeadSettings(model_fingerprint(folder), frames, size, supersampling)
    wanted = head_jobs(folder, root, split, range(first_identity, first_identity + identities), settings)
    with progress("rendering heads", len(wanted)) as advance:
        report = prepare_heads(wanted, jobs or _cores(), advance)
    totals = {
        "identities": report.identities,
        "frames": report.frames,
        "finished before": report.finished_before,
        "model": settings.model,
    }
    click.echo(json.dumps(asdict(report), indent=2) if as_json else _totals(totals))
    if not as_json:
        _say_next(root)


@main.command()
@click.argument("root", type=click.Path(path_type=Path))
@_json
def check(root: Path, as_json: bool) -> None:
    """Read every file under ROOT, count, and name what is broken; exit code 3 if anything is."""
    from bilayer.runtime.errors import InputError
    from bilayer.training.prepare.check import SHOWN_PROBLEMS, check_dataset, sequences_of

    total = sum(len(sequences) for sequences in sequences_of(root).values())
    with progress("checking", total) as advance:
        found = check_dataset(root, advance)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
    else:
        headings = ["split", "persons", "videos", "sequences", "frames", "masks", "coords"]
        click.echo(table(headings, [_split_row(split, counts) for split, counts in found.splits.items()]))
        click.echo("pictures: " + ", ".join(f"{count} of {size} px" for size, count in found.sizes.items()))
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    for problem in found.problems[:SHOWN_PROBLEMS]:
        click.echo(f"problem: {problem}", err=True)
    if found.problems:
        shown = f"; the first {SHOWN_PROBLEMS} are above" if len(found.problems) > SHOWN_PROBLEMS else ""
        raise InputError(f"{root}: {len(found.problems)} problems{shown}; delete or redo what they name")
    if not as_json:
        command = f"bilayer-train base --data {shlex.quote(str(root))} --config CONFIG.toml --out RUN"
        click.echo(f"\nnext: {command}", err=True)


def _totals(totals: Mapping[str, object]) -> str:
    return table(list(totals), [list(totals.values())])


def _split_row(split: str, counts: "SplitCounts") -> list[object]:
    values = asdict(counts).values()
    return [split, *(("no", "yes")[value] if isinstance(value, bool) else value for value in values)]


def _cores() -> int:
    return os.cpu_count() or 1


def _say_next(root: Path) -> None:
    click.echo(f"\nnext: bilayer-prepare check {shlex.quote(str(root))}", err=True)


if __name__ == "__main__":
    main(prog_name="bilayer-prepare")
