"""`bilayer-export PHOTOS`: a folder, a glob pattern or a manifest in place of a photo."""

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import click

from bilayer.export.allocator import keep_freed_memory
from bilayer.export.bulk.items import sift_items
from bilayer.export.bulk.photos import OWN, RECORDS, RESULTS_FILE, SHEET
from bilayer.export.options import ExportOptions, check_finders, check_usual
from bilayer.runtime.bundle_names import BUNDLE_SUFFIXES
from bilayer.runtime.command.console import importing, progress, show, table, tell
from bilayer.runtime.errors import InputError, ToolMissingError
from bilayer.runtime.files import stores
from bilayer.runtime.files.reading import is_folder
from bilayer.runtime.files.shell import pasted
from bilayer.runtime.files.writing import check_apart, check_output, sweep_drafts
from bilayer.runtime.jobs.options import JobOptions
from bilayer.runtime.jobs.processes import WAITING

if TYPE_CHECKING:
    from bilayer.export.bulk.run import BulkReport

WORKER_BYTES = 1_100_000_000  # of a worker of the demo weights and its converter
SHOWN = 10  # failures


def export_photos(place: str, options: ExportOptions, job_options: JobOptions, as_json: bool) -> None:
    """Export an avatar of each photo of PLACE, and say what there is to say of them all.

    Raises:
        InputError: some photos failed; the others are done. Or none can be made, by these options and this checkpoint.
        ToolMissingError: the converter is not installed; all but the .dlc has been written.
    """
    # Threads that wait for each other are to sleep: in loops they took 6 times the processor's time on a busy machine
    os.environ.setdefault(WAITING, "PASSIVE")
    keep_freed_memory()  # of this process, which may be the only one
    out = "avatars" if options.out == ExportOptions.out else str(options.out)
    items, refused = sift_items(place, out, OWN)
    if out.endswith(BUNDLE_SUFFIXES) and not is_folder(out):
        raise click.UsageError(f"--out {out}: many photos need a folder, in which each has its own; name one")
    check_usual(options)
    stores.check_stores([*(place for item in items for place in item.places), out])
    if options.landmarks is not None or options.face is not None or options.rotate:
        raise click.UsageError(
            "--landmarks, --face and --rotate are one photo's; give them in a manifest (docs/bulk.md)"
        )
    if not stores.is_url(out):
        written = [Path(out, RESULTS_FILE), Path(out, SHEET)]
        for file in written:
            check_output(file)
        names = {file.name for file in written}
        check_apart(written, [place, *(item.photo for item in items if PurePath(item.photo).name in names)])
        if is_folder(records := Path(out, RECORDS)):
            sweep_drafts(records)  # of a run that was killed behind a record's rename
        else:  # a run that goes on may have no face to find any more
            asked = (item.options(options) for item in items)
            for one in {(a.landmarks is None, bool(a.others), a.landmarker, a.mask): a for a in asked}.values():
                check_finders(one)
    with importing():
        from bilayer.export.bulk.run import export_many, plan_export, refused_row
        from bilayer.export.pipeline import load_trained
    workers = job_options.workers(len(items), WORKER_BYTES)
    with progress("looking at photos", len(items)) as advance:
        plan = plan_export(items, out, replace(options, photo="", out=""), workers, advance)
    plan = replace(plan, refused=tuple(refused_row(photo, error) for photo, error in refused.items()))
    waiting = len(plan.waiting)
    if waiting:
        load_trained(options)  # what is wrong with it is told here, once, and not of each photo
    start = time.monotonic()
    with progress("exporting", waiting) as advance:
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            advance(f"exporting, {done / (time.monotonic() - start):.2f} a second")

        report = export_many(plan, workers, count)
    seconds = time.monotonic() - start
    result = {
        "out": out,
        "results": stores.join(out, RESULTS_FILE),
        "sheet": stores.join(out, SHEET),
        **_totals(report, seconds),
        "rows": [asdict(row) for row in report.rows],
    }
    first = next((row.avatar for row in report.rows if row.avatar), None)
    following = first and f"bilayer-render {pasted(stores.join(out, first))} --demo-motion --out demo.mp4"
    show(result, lambda: _summary(report, result), as_json, "" if stores.is_url(out) else following or "")
    _judge(report, stores.join(out, RESULTS_FILE))


def _totals(report: "BulkReport", seconds: float) -> dict[str, float]:
    made = report.count("done") - report.finished_before
    return {
        "made": made,
        "made before": report.finished_before,
        "the same photo": report.count("same"),
        "failed": report.count("failed"),
        "seconds": round(seconds, 1),
        "an hour": round(3600 * made / seconds) if made else 0,
    }


def _summary(report: "BulkReport", result: Mapping[str, object]) -> str:
    totals = {name: result[name] for name in ("made", "made before", "the same photo", "failed", "seconds", "an hour")}
    warned = sum(bool(row.warnings) for row in report.rows)
    lines = [
        table(list(totals), [list(totals.values())]),
        f"{result['results']}  a line for each photo" + (f"; {warned} have warnings" if warned else ""),
        f"{result['sheet']}  to look through",
    ]
    return "\n".join(lines)


def _judge(report: "BulkReport", results: str) -> None:
    failed = [row for row in report.rows if row.status == "failed"]
    for row in failed[:SHOWN]:
        tell("failed", f"{row.name}: {row.error}")
    if failed:
        more = f"; the first {SHOWN} are above, all in {results}" if len(failed) > SHOWN else ""
        advice = f"mend or leave them out, and run this again, which goes on where this ended{more}"
        raise InputError(f"{len(failed)} of {len(report.rows)} photos failed; {advice}")
    missing = next((row.no_dlc for row in report.rows if row.no_dlc), None)
    if missing is not None:
        raise ToolMissingError(missing)
