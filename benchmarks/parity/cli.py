"""`bilayer-parity`: is what runs what was trained?"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from bilayer.benchmarks.parity.device_outputs import check_outputs
from bilayer.benchmarks.parity.options import ParityOptions
from bilayer.runtime.command.console import Command, as_json_option, look_at, progress, show, suggest, tell
from bilayer.runtime.command.options import fills
from bilayer.runtime.files.reading import StrPath
from bilayer.runtime.files.shell import pasted
from bilayer.runtime.files.writing import write_file
from bilayer.runtime.jobs.options import JobOptions

if TYPE_CHECKING:
    from bilayer.runtime.files.copies import Copies


@click.command(cls=Command)
@fills(ParityOptions)
@fills(JobOptions)
@as_json_option
def main(job_options: JobOptions, options: ParityOptions, as_json: bool) -> None:
    """Compare every way to run an avatar with float64, from the trained model to the phone.

    BUNDLE is an exported avatar: its folder or its avatar.json; or a folder of such folders, of which each gets a
    verdict; by a path or a store's URL. Exit code 4 where a rung is broken.
    """
    from bilayer.benchmarks.parity.many import contracts_below
    from bilayer.runtime.bundle_copies import bundle_here

    if contracts := contracts_below(options.bundle):
        _judge_many(contracts, options, job_options, as_json)
        return
    if job_options != JobOptions():
        raise click.UsageError("--jobs and --ray are for a folder of many avatars")
    with bundle_here(options.bundle) as (bundle, copies):
        _judge(replace(options, bundle=bundle), copies, as_json)


def _judge(options: ParityOptions, copies: "Copies", as_json: bool) -> None:
    avatar, photos = options.check()
    from bilayer.runtime.motion.poses import choose_poses

    poses = choose_poses(avatar.contract.source.pose, options.poses, options.drive)  # a slip in the track is told first
    if options.device_outputs is not None:
        check_outputs(options.device_outputs, avatar.contract, len(poses))
    from bilayer.benchmarks.parity import report
    from bilayer.benchmarks.parity.asked import climb_as_asked
    from bilayer.benchmarks.parity.subject import open_subject

    subject = open_subject(avatar, poses)
    if options.write_inputs:
        from bilayer.benchmarks.parity.rungs.device import write_device_inputs

        path = write_device_inputs(subject, options.write_inputs, options.layers)
        following = "snpe-net-run on it, pull Result_*, then --device-outputs FOLDER"
        show({"out": str(path), "poses": options.poses}, lambda: str(path), as_json, following)
        return
    with progress("starting", 16) as advance:
        ladder = climb_as_asked(subject, options, photos, lambda name: advance(f"{name} done"))
    if options.html:
        from bilayer.benchmarks.parity.pictures import page

        write_file(options.html, copies.as_asked(page(ladder)))
    shown = copies.as_asked(report.as_json(ladder))
    show(shown, lambda: copies.as_asked(report.make_report(ladder).markdown().rstrip("\n")), as_json)
    ladder.require()
    page_of = f"bilayer-parity {pasted(options.bundle)} --html parity.html"  # which shows its frames
    suggest(look_at(options.html) if options.html else page_of, as_json, ladder.verdict)


def _judge_many(
    contracts: Mapping[str, StrPath], options: ParityOptions, job_options: JobOptions, as_json: bool
) -> None:
    from bilayer.benchmarks.parity.many import WORKER_BYTES, first_problems, judge_many, require_unbroken, summary

    if options.photo or options.device_outputs or options.write_inputs or options.html or options.layers:
        raise click.UsageError("photos, pages, layers and a phone's files are of one avatar; name its folder")
    options.check_usage()
    with progress("judging", len(contracts)) as advance:
        rows = judge_many(contracts, options, job_options.workers(len(contracts), WORKER_BYTES), advance)
    show({"avatars": [asdict(row) for row in rows]}, lambda: summary(rows), as_json)
    for kind, line in first_problems(rows):
        tell(kind, line)
    require_unbroken(options.bundle, rows)


if __name__ == "__main__":
    main(prog_name="bilayer-parity")
