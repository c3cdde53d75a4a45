"""A run over many photos: what was done before is left, the same photo is done once, what fails is a row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from bilayer.export.bulk.items import Item
from bilayer.export.bulk.names import with_escapes
from bilayer.export.bulk.photos import RESULTS_FILE, SHEET
from bilayer.export.bulk.sheet import contact_sheet
from bilayer.export.bulk.work import (
    BulkJob,
    Row,
    Status,
    as_line,
    for_workers,
    leave,
    look,
    made_by,
    make_in_worker,
    make_item,
)
from bilayer.export.options import ExportOptions
from bilayer.runtime.errors import InputError
from bilayer.runtime.files import stores
from bilayer.runtime.jobs.run import Workers, run_jobs


@dataclass(frozen=True)
class Plan:
    """What there is to do of a run's photos."""

    out: str
    jobs: Mapping[str, BulkJob]  # by name, in the photos' order
    known: Mapping[str, Row]  # by name: done before, or not readable
    names: Mapping[str, tuple[str, ...]]  # of the jobs with one key: the first is made, or was, for all of them
    refused: tuple[Row, ...] = ()  # of photos that are no jobs

    @property
    def waiting(self) -> list[tuple[BulkJob, str]]:
        """The jobs to do, with their keys, in the photos' order."""
        chosen = {names[0]: key for key, names in self.names.items() if names[0] not in self.known}
        return [(job, chosen[name]) for name, job in self.jobs.items() if name in chosen]


@dataclass(frozen=True)
class BulkReport:
    """What came of a run."""

    rows: tuple[Row, ...]  # in the photos' order, those that were refused by their names behind them
    finished_before: int  # avatars that an earlier run has made

    def count(self, status: Status) -> int:
        """Return the number of rows of a status."""
        return sum(row.status == status for row in self.rows)


def plan_export(
    items: Sequence[Item], out: str, usual: ExportOptions, workers: Workers, on_done: Callable[[], None]
) -> Plan:
    """Look at the photos: which were done before, which are the same, and which cannot be read.

    Args:
        items: the photos.
        out: a folder, or a URL for fsspec, below which each avatar has a folder of its own.
        usual: options for all of them; photo and place are not looked at.
        workers: who looks.
        on_done: is called after each photo.

    Raises:
        CheckpointError: a file of the checkpoint cannot be read.
        ToolMissingError: the package for such URLs is not installed.
    """
    by = made_by(usual)
    jobs = {item.name: BulkJob(item, out, for_workers(usual), by) for item in items}
    known: dict[str, Row] = {}
    keyed: dict[str, list[str]] = {}
    if workers.ray is None and not any(stores.is_url(item.photo) for item in items):
        workers = Workers()  # a file is read sooner than a process is started
    for job, looked in run_jobs(look, jobs.values(), workers):
        name = job.item.name
        if isinstance(looked, InputError):
            known[name] = Row(name, job.item.photo, "failed", error=str(looked))
        else:
            keyed.setdefault(looked.key, []).append(name)
            if looked.row is not None:
                known[name] = replace(looked.row, photo=job.item.photo)
        on_done()
    order = {name: number for number, name in enumerate(jobs)}
    names = {key: tuple(sorted(own, key=lambda name: (name not in known, order[name]))) for key, own in keyed.items()}
    return Plan(out, jobs, known, names)


def refused_row(photo: str, error: str) -> Row:
    """Return the row of a photo that cannot be a job, for the reason `error`; what is no UTF-8 in it as escapes."""
    return Row(with_escapes(PurePath(photo).stem), with_escapes(photo), "failed", error=error)


def export_many(plan: Plan, workers: Workers, on_done: Callable[[], None]) -> BulkReport:
    """Make the avatars that are waiting; results.jsonl has a row of every photo in the end, and there is a sheet.

    Raises:
        OutputError: nothing can be written; what is done is done, and the next run goes on.
        ToolMissingError: a network that finds faces is not there.
    """
    rows = dict(plan.known)
    work = make_item if workers.here(len(plan.waiting)) else make_in_worker
    try:
        for (job, key), row in run_jobs(work, plan.waiting, workers):
            name, photo = job.item.name, job.item.photo
            rows[name] = Row(name, photo, "failed", key, error=str(row)) if isinstance(row, InputError) else row
            on_done()
    finally:
        leave()
    for first, *others in plan.names.values():
        status: Status = "same" if rows[first].status == "done" else "failed"
        for name in others:
            if rows.get(name, rows[first]) is rows[first]:
                rows[name] = replace(rows[first], name=name, photo=plan.jobs[name].item.photo, status=status)
    before = sum(row.status == "done" for row in plan.known.values())
    report = BulkReport((*(rows[name] for name in plan.jobs), *plan.refused), before)
    stores.write(stores.join(plan.out, RESULTS_FILE), "".join(map(as_line, report.rows)).encode())
    sheet = contact_sheet(plan.out, report.rows)
    if sheet is not None:
        stores.write(stores.join(plan.out, SHEET), sheet)
    return report
