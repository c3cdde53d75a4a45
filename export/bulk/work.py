"""What a worker does with a photo: look what it is, and make its avatar."""

import functools
import hashlib
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bilayer.export.bulk.items import Item
from bilayer.export.bulk.photos import RECORDS
from bilayer.export.options import ExportOptions
from bilayer.model.config import DEMO_CHECKPOINT
from bilayer.runtime.command.heard import heard_warnings
from bilayer.runtime.command.json_text import json_text
from bilayer.runtime.errors import (
    BilayerError,
    CheckpointError,
    InputError,
    LandmarkError,
    OutputError,
    PhotoError,
    ToolMissingError,
    in_short,
)
from bilayer.runtime.files import stores
from bilayer.runtime.files.copies import copying
from bilayer.runtime.files.reading import FileKind, StrPath, is_folder, list_below, open_file
from bilayer.runtime.typed_json import typed

if TYPE_CHECKING:
    from bilayer.export.pipeline import Trained

_AVATAR = "avatar.json"


Status = Literal["done", "same", "failed"]


@dataclass(frozen=True)
class BulkJob:
    """An avatar that a worker is to make of an item, and what it takes to do so on another machine."""

    item: Item
    out: str  # folder, or URL, in which its own is
    usual: ExportOptions  # but for what the item says
    made_by: str  # hash of the checkpoint and the versions of the packages

    @property
    def record(self) -> str:
        """The path or URL of the file that its row stands in, once it is done."""
        return stores.join(self.out, RECORDS, f"{self.item.name}.json")

    @property
    def contract(self) -> str:
        """Its avatar.json, below the output."""
        return f"{self.item.name}/{_AVATAR}"


@dataclass(frozen=True)
class Row:
    """What came of a photo; a line of results.jsonl."""

    name: str
    photo: str
    status: Status
    key: str | None = None  # hash of all that the avatar is made from: the same key, the same avatar
    avatar: str | None = None  # its avatar.json, below the output; that of the first of the same photos
    warnings: tuple[str, ...] = ()
    error: str | None = None
    no_dlc: str | None = None  # why there is none, where its converter is not installed
    seconds: float | None = None  # that it took


@dataclass(frozen=True)
class Looked:
    """What is known of a job before it is done."""

    key: str
    row: Row | None  # of an earlier run, whose avatar is there


def look(job: BulkJob) -> Looked:
    """Return the key of a job, and its row where it was done before; an InputError where a file cannot be read."""
    item = job.item
    parts = [_digest(item.photo, FileKind.PHOTO, PhotoError)]
    parts += [_digest(other, FileKind.PHOTO, PhotoError) for other in item.others]
    parts.append("" if item.landmarks is None else _digest(item.landmarks, FileKind.LANDMARKS, LandmarkError))
    nowhere = replace(item.options(job.usual), photo="", out="", landmarks=None, checkpoint="", others=())
    key = hashlib.sha256(json.dumps([*parts, repr(nowhere), job.made_by], allow_nan=False).encode()).hexdigest()
    return Looked(key, _earlier(job, key))


def make_item(keyed: tuple[BulkJob, str]) -> Row:
    """Make an avatar and record it; what is wrong with the photo is a row, too.

    Raises:
        OutputError, ToolMissingError: nothing can be written, or a network that finds faces is not there.
    """
    job, key = keyed
    start = time.perf_counter()
    row = Row(job.item.name, job.item.photo, "done", key, job.contract)
    try:
        made = _export(job, row)
    except (OutputError, ToolMissingError):
        raise
    except BilayerError as error:
        return replace(row, status="failed", avatar=None, error=str(error))
    except Exception as error:  # one photo of a million is not to stop the others, whatever it is
        problem = (
            f"{job.item.photo}: {type(error).__name__}: {in_short(error)}; this should have been told of by its name"
        )
        return replace(row, status="failed", avatar=None, error=problem)
    made = replace(made, seconds=round(time.perf_counter() - start, 3))
    stores.write(job.record, as_line(made).encode())
    return made


def make_in_worker(keyed: tuple[BulkJob, str]) -> Row:
    """Return what `make_item` does, by a process of its own: that keeps what memory it frees for the next photo."""
    from bilayer.export.allocator import keep_freed_memory

    keep_freed_memory()
    return make_item(keyed)


def leave() -> None:
    """Let go of the model that `make_item` keeps for the next photo, and end the process that converts for it."""
    _trained.cache_clear()


def for_workers(usual: ExportOptions) -> ExportOptions:
    """Return options that mean the same on another machine of a cluster: its package, and so its demo weights, may lie
    elsewhere; a checkpoint without a name stands for them.
    """
    return replace(usual, checkpoint="") if Path(usual.checkpoint) == DEMO_CHECKPOINT else usual


def as_line(row: Row) -> str:
    """Return a row as JSON, without what there is none of."""
    given = {name: value for name, value in vars(row).items() if value not in (None, ())}
    return json_text(given, None) + "\n"


def made_by(options: ExportOptions) -> str:
    """Return a hash of what all avatars of a run are made with: the checkpoint's files, and the packages' versions.

    Raises:
        CheckpointError: a file of it cannot be read.
    """
    from bilayer.export.convert.run import chosen_target
    from bilayer.export.pipeline import package_versions

    place = Path(options.checkpoint)
    files = list_below(place, CheckpointError) if is_folder(place) else [place]
    digests = [_digest(file, FileKind.CHECKPOINT, CheckpointError) for file in files]
    parts = [digests, package_versions(), chosen_target(options)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _digest(place: StrPath, kind: FileKind, error: type[InputError]) -> str:
    if not stores.is_url(str(place)):
        with open_file(place, kind, error) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(stores.read(str(place), kind, error)).hexdigest()


def _earlier(job: BulkJob, key: str) -> Row | None:
    if not stores.holds(job.record):
        return None
    try:
        row = typed(Row, json.loads(stores.read(job.record, FileKind.JSON)), job.record)
    except (InputError, ValueError, RecursionError):  # damaged: it is made again
        return None
    return row if row.key == key and stores.holds(stores.join(job.out, job.contract)) else None


def _export(job: BulkJob, row: Row) -> Row:
    from bilayer.export.pipeline import export_avatar

    item, away = job.item, stores.is_url(job.out)
    with copying() as copies:
        options, folder = item.options(job.usual), copies.folder

        def fetched(
            place: str, below: str, kind: FileKind = FileKind.PHOTO, error: type[InputError] = PhotoError
        ) -> Path:
            return copies.fetch(place, below, kind, error)

        options = replace(
            options,
            checkpoint=options.checkpoint or DEMO_CHECKPOINT,
            photo=fetched(item.photo, "photo"),
            others=tuple(fetched(other, f"other-{number}") for number, other in enumerate(item.others)),
            landmarks=item.landmarks and fetched(item.landmarks, "landmarks", FileKind.LANDMARKS, LandmarkError),
            out=folder / "out" / _AVATAR if away else Path(job.out, job.contract),
        )
        trained = _trained(str(options.checkpoint), options.align_corners)
        with heard_warnings() as heard:
            export = export_avatar(options, trained=trained)
        if away:
            stores.put_folder(folder / "out", stores.join(job.out, item.name), last=_AVATAR)
        warnings = tuple(map(copies.as_asked, (*heard, *export.warnings)))
    missing = export.not_converted
    return replace(row, warnings=warnings, no_dlc=None if missing is None else str(missing))


@functools.lru_cache(maxsize=1)  # a worker keeps its model; `leave`
def _trained(checkpoint: str, align_corners: bool | None) -> "Trained":
    from bilayer.export.convert.host import PackageHost
    from bilayer.export.pipeline import load_trained

    return replace(
        load_trained(ExportOptions("", checkpoint=checkpoint, align_corners=align_corners)), host=PackageHost()
    )
