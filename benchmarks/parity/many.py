"""Many avatars below a folder, such as bilayer-export makes of many photos: the verdict on each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bilayer.benchmarks.parity.options import ParityOptions
from bilayer.runtime.command.console import table
from bilayer.runtime.errors import InputError, ParityError
from bilayer.runtime.files.reading import StrPath, is_file, is_folder, list_below, list_folder
from bilayer.runtime.files.stores import find_below, is_url
from bilayer.runtime.jobs.run import Workers, run_jobs

SHOWN = 10  # broken avatars that are named
WORKER_BYTES = 1_000_000_000  # of a process that climbs a ladder of the demo weights


@dataclass(frozen=True)
class Judged:
    """What was found of an avatar."""

    avatar: str  # its contract, below the folder
    verdict: str  # passed, warned, broken; failed: it could not be read
    reason: str = ""
    report: dict[str, Any] | None = None  # as of a single one


def contracts_below(place: StrPath) -> dict[str, StrPath]:
    """Return the avatars' contracts in the folders below a path or URL, by their path below it, sorted.

    There are none where it is an avatar's own folder, or no folder.
    """
    if is_url(str(place)):
        found = {below: url for url, below in find_below(str(place))}
        contracts = {below: url for below, url in found.items() if below.endswith(".json")}
        if any("/" not in below for below in contracts):
            return {}
        return {below: url for below, url in contracts.items() if f"{below.removesuffix('.json')}.onnx" in found}
    if not is_folder(place) or list_folder(place, "*.json"):
        return {}
    avatars = [path for path in list_below(place) if path.suffix == ".json" and is_file(path.with_suffix(".onnx"))]
    return {str(path.relative_to(place)): path for path in avatars}


def judge_many(
    contracts: Mapping[str, StrPath], options: ParityOptions, workers: Workers, on_done: Callable[[], None]
) -> list[Judged]:
    """Judge each, and return the verdicts in order of the names; one that cannot be read is a row, too."""
    names = {contract: name for name, contract in contracts.items()}
    jobs = [replace(options, bundle=contract) for contract in names]
    found: dict[str, Judged] = {}
    for job, report in run_jobs(_judge, jobs, workers):
        name = names[job.bundle]
        if isinstance(report, InputError):
            found[name] = Judged(name, "failed", str(report))
        else:
            found[name] = Judged(name, report["verdict"], "; ".join(report["failures"]), report)
        on_done()
    return [found[name] for name in contracts]


def summary(rows: Sequence[Judged]) -> str:
    """Return how many have which verdict, as a table."""
    verdicts = ("passed", "warned", "broken", "failed")
    return table(verdicts, [[sum(row.verdict == verdict for row in rows) for verdict in verdicts]])


def require_unbroken(place: StrPath, rows: Sequence[Judged]) -> None:
    """Raise a ParityError where an avatar is broken, else an InputError where one cannot be read."""
    broken, failed = ([row for row in rows if row.verdict == verdict] for verdict in ("broken", "failed"))
    if broken:
        raise ParityError(f"{place}: {len(broken)} of {len(rows)} avatars are broken; bilayer-parity of one says more")
    if failed:
        raise InputError(f"{place}: {len(failed)} of {len(rows)} avatars cannot be read; export them again")


def first_problems(rows: Sequence[Judged]) -> Iterator[tuple[str, str]]:
    """Yield the verdict and a line for each of the first avatars that are broken or cannot be read."""
    told = [row for row in rows if row.reason][:SHOWN]
    return ((row.verdict, f"{row.avatar}: {row.reason}") for row in told)


def _judge(options: ParityOptions) -> dict[str, Any]:
    from bilayer.benchmarks.parity import report
    from bilayer.benchmarks.parity.asked import climb_as_asked
    from bilayer.benchmarks.parity.subject import open_subject
    from bilayer.runtime.bundle_copies import bundle_here
    from bilayer.runtime.motion.poses import choose_poses

    with bundle_here(options.bundle) as (bundle, copies):
        options = replace(options, bundle=bundle)
        avatar, photos = options.check()
        poses = choose_poses(avatar.contract.source.pose, options.poses, options.drive)
        ladder = climb_as_asked(open_subject(avatar, poses), options, photos)
        found: dict[str, Any] = copies.as_asked({**report.as_json(ladder), "failures": ladder.failures})
    return found
