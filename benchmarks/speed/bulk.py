"""What an avatar costs by the way it is made: a command each, one process for all, several, and Ray's two nodes."""

import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bilayer.benchmarks.speed.options import BulkBench
from bilayer.benchmarks.speed.report import BenchReport, BenchRow, Cell
from bilayer.export.bulk.items import Item, find_items
from bilayer.export.bulk.run import export_many, plan_export
from bilayer.export.options import ExportOptions
from bilayer.runtime.command.console import progress
from bilayer.runtime.errors import ParityError
from bilayer.runtime.files.reading import FileKind, is_folder, list_folder, read_bytes
from bilayer.runtime.jobs.run import Workers

PACKAGES = ("torch", "onnxruntime", "onnxruntime-qnn", "pebble", "ray")
COMMANDS = "a command each"
NOTE = (
    "A command each starts Python and loads torch and the checkpoint for every photo; the other ways do it once a "
    "process, in the time told. All ways' files were compared: they are the same, but for what the clock writes into a "
    ".dlc. Memory: of the largest process."
)


@dataclass(frozen=True)
class _Way:
    name: str
    workers: Workers | None  # None: bilayer-export itself, a photo each


def time_bulk(options: BulkBench) -> list[BenchReport]:
    """Make avatars of the photos in each way, one after the other.

    Raises:
        InputError: there are no photos.
        ParityError: two ways gave different files.
    """
    items = find_items(str(options.photos))[: options.most]
    usual = ExportOptions("", checkpoint=options.checkpoint or ExportOptions.checkpoint, target=options.target)
    rows: list[BenchRow] = []
    with tempfile.TemporaryDirectory() as place, _two_nodes(options.with_ray) as address:
        ways = [_Way(COMMANDS, None), _Way("one process", Workers(1)), _Way("two processes", Workers(2))]
        ways += [_Way("Ray, two nodes of a core", Workers(ray=address))] if address else []
        digests: dict[str, str] = {}
        with progress("exporting", len(ways)) as advance:
            for number, way in enumerate(ways):
                some = items[: options.commands] if way.workers is None else items
                out = Path(place, str(number))
                seconds, failed = (
                    _by_commands(some, out, usual) if way.workers is None else _in_one(some, out, usual, way.workers)
                )
                rows.append(BenchRow(way.name, columns=_columns(len(some), failed, seconds, rows)))
                _compare(way.name, out, some, digests)
                advance()
    settings: dict[str, Cell] = {"photos": len(items), "of_them_by_commands": len(items[: options.commands])}
    return [BenchReport("Many people", tuple(rows), settings, PACKAGES, notes=(NOTE,), bar="avatars an hour")]


def _columns(count: int, failed: int, seconds: float, before: Sequence[BenchRow]) -> dict[str, Cell]:
    each = seconds / count
    first = before[0].columns["s an avatar"] if before else each
    kib = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "photos": count,
        "refused": failed,
        "s an avatar": round(each, 3),
        "avatars an hour": round(3600 / each),
        f"times {COMMANDS}": round(float(first or each) / each, 2),
        "MB so far": round(kib * 1024 / 1e6),
    }


def _by_commands(items: Sequence[Item], out: Path, usual: ExportOptions) -> tuple[float, int]:
    """Seconds, and how many photos were refused."""
    start, failed = time.perf_counter(), 0
    for item in items:
        place = out / item.name / "avatar.dlc"
        command = [sys.executable, "-m", "bilayer.export", item.photo, "--out", place]
        command += [] if item.landmarks is None else ["--landmarks", item.landmarks]
        command += ["--checkpoint", usual.checkpoint, "--target", usual.target or "auto"]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)  # noqa: S603  # ours
        failed += done.returncode != 0
    return time.perf_counter() - start, failed


def _in_one(items: Sequence[Item], out: Path, usual: ExportOptions, workers: Workers) -> tuple[float, int]:
    start = time.perf_counter()
    report = export_many(plan_export(items, str(out), usual, workers, lambda: None), workers, lambda: None)
    return time.perf_counter() - start, report.count("failed")


def _compare(name: str, out: Path, items: Sequence[Item], digests: dict[str, str]) -> None:
    """Raise a ParityError unless each avatar's network, texture and preview are those of the ways before."""
    for item in items:
        for file in list_folder(out / item.name) if is_folder(out / item.name) else []:
            if file.suffix in (".onnx", ".safetensors", ".png"):
                digest = hashlib.sha256(read_bytes(file, FileKind.ANY)).hexdigest()
                if digests.setdefault(f"{item.name}/{file.name}", digest) != digest:
                    raise ParityError(f"{item.name}/{file.name}: another file by {name}")


@contextmanager
def _two_nodes(wanted: bool) -> Iterator[str | None]:
    """The address of a cluster of two nodes on this machine, by Ray's own utility."""
    if not wanted:
        yield None
        return
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        yield cluster.address
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]
