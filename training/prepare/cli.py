"""`bilayer-prepare`: videos, or synthetic heads, as training data; and a look at what is there."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from bilayer.runtime.bundle_names import check_holds_no_avatar
from bilayer.runtime.command.console import Group, as_json_option, progress, show, suggest, table, tell
from bilayer.runtime.command.options import Option, fills, with_options
from bilayer.runtime.files.reading import check_folder, check_input
from bilayer.runtime.files.shell import pasted
from bilayer.runtime.files.writing import check_output
from bilayer.runtime.jobs.options import JobOptions
from bilayer.runtime.vocabulary import Split
from bilayer.training.prepare.options import HeadSettings, VideoSettings

if TYPE_CHECKING:
    from bilayer.training.prepare.check import SplitCounts


@click.group(cls=Group)
def main() -> None:
    """Make the data that bilayer-train takes (docs/data.md), and check it."""


@dataclass(frozen=True, kw_only=True)
class PrepareOptions(JobOptions):
    """The options of all commands that make data: where they go, and how many processes make them."""

    out: Annotated[Path, Option("Data folder, new or begun.", ("-o",))]
    split: Annotated[Split, Option("Of the data folder.")] = "train"


@dataclass(frozen=True, kw_only=True)
class VideoOptions(PrepareOptions):
    """The videos that become data, and what of their faces is too small to."""

    places: Annotated[tuple[Path | str, ...], Option(argument=True, metavar="VIDEO_OR_FOLDER...")]
    min_side: Annotated[int | None, Option("Pixels of the video a crop must span.", at_least=1, default="size / 2")] = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class DataChoice:
    """The data folder that is checked."""

    root: Annotated[Path, Option(argument=True)]


@dataclass(frozen=True, kw_only=True)
class IdentityOptions:
    """The identities to render, and by which head model."""

    model: Annotated[Path | None, Option("ICT-FaceKit, or what it was reduced to.", default="a built-in ellipsoid")] = (
        None
    )
    identities: Annotated[int, Option("People.", at_least=1)] = 300
    first_identity: Annotated[int, Option("The first one's seed; the others follow.", at_least=0)] = 0


@main.command()
@fills(VideoSettings)
@fills(VideoOptions)
@as_json_option
def videos(options: VideoOptions, settings: VideoSettings, as_json: bool) -> None:
    """Follow the largest face of each video, cut it out, and store landmarks and mask beside it.

    A file PERSON.mp4 is one person's; a folder holds PERSON/VIDEO.mp4; a store's URL is taken for either. Run
    it again to go on where it ended.
    """
    check_holds_no_avatar(options.out)
    check_output(options.out / "videos.json")
    from bilayer.training.prepare.videos import find_videos, prepare_videos

    settings = replace(settings, min_side=options.min_side or settings.size // 2)
    found = find_videos(options.places, options.out, options.split, settings)
    with progress("preparing videos", len(found)) as advance:
        report = prepare_videos(found, options.workers(len(found)), advance)
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
    show(asdict(report), lambda: _totals(totals), as_json)
    for problem in report.failed.values():
        click.echo(f"failed: {problem}", err=True)
    if report.failed:
        from bilayer.runtime.errors import InputError

        advice = "mend or leave them out, and run this again"
        raise InputError(f"{options.out}: {len(report.failed)} of {len(found)} videos could not be read; {advice}")
    suggest(_next(options.out), as_json)


@main.command()
@with_options(HeadSettings)
@fills(IdentityOptions)
@fills(PrepareOptions)
@as_json_option
def heads(options: PrepareOptions, people: IdentityOptions, as_json: bool, **given: Any) -> None:
    """Render synthetic heads with exact landmarks, masks and texture coordinates.

    Each identity is its seed: give the test split others by --first-identity. Run it again to go on where it ended.
    """
    check_input(people.model)
    check_holds_no_avatar(options.out)
    check_output(options.out / "heads.json")
    from bilayer.training.prepare.heads import head_jobs, model_fingerprint, prepare_heads

    settings = HeadSettings(model_fingerprint(people.model), **given)
    seeds = range(people.first_identity, people.first_identity + people.identities)
    wanted = head_jobs(people.model, options.out, options.split, seeds, settings)
    with progress("rendering heads", len(wanted)) as advance:
        report = prepare_heads(wanted, options.workers(len(wanted)), advance)
    totals = {
        "identities": report.identities,
        "frames": report.frames,
        "finished before": report.finished_before,
        "model": settings.model,
    }
    show(asdict(report), lambda: _totals(totals), as_json, _next(options.out))


@main.command()
@fills(DataChoice)
@as_json_option
def check(options: DataChoice, as_json: bool) -> None:
    """Read every file under ROOT, count, and name what is broken; exit code 3 if anything is."""
    root = options.root
    check_folder(root)
    from bilayer.runtime.errors import InputError
    from bilayer.training.prepare.check import SHOWN_PROBLEMS, check_dataset, sequences_by_split

    total = sum(len(sequences) for sequences in sequences_by_split(root).values())
    with progress("checking", total) as advance:
        found = check_dataset(root, advance)
    headings = ["split", "persons", "videos", "sequences", "frames", "masks", "coords"]
    rows = table(headings, [_split_row(split, counts) for split, counts in found.splits.items()])
    pictures = "pictures: " + ", ".join(f"{count} of {size} px" for size, count in found.sizes.items())
    show(asdict(found), lambda: f"{rows}\n{pictures}", as_json)
    for note in found.notes:
        tell("note", note)
    for problem in found.problems[:SHOWN_PROBLEMS]:
        tell("problem", problem)
    if found.problems:
        shown = f"; the first {SHOWN_PROBLEMS} are above" if len(found.problems) > SHOWN_PROBLEMS else ""
        raise InputError(f"{root}: {len(found.problems)} problems{shown}; delete or redo what they name")
    suggest(f"bilayer-train base --data {pasted(root)} --config CONFIG.toml --out RUN", as_json)


def _totals(totals: Mapping[str, object]) -> str:
    return table(list(totals), [list(totals.values())])


def _split_row(split: str, counts: "SplitCounts") -> list[object]:
    values = asdict(counts).values()
    return [split, *(("no", "yes")[value] if isinstance(value, bool) else value for value in values)]


def _next(root: Path) -> str:
    return f"bilayer-prepare check {pasted(root)}"


if __name__ == "__main__":
    main(prog_name="bilayer-prepare")
