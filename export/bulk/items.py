"""Which photos an export is of: those of a folder, a glob pattern, or a manifest."""

import csv
import io
import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import PurePath
from typing import Annotated, Any, Literal

from msgspec import Meta

from bilayer.export.bulk.names import check_name, check_names
from bilayer.export.bulk.photos import MANIFESTS, list_photos
from bilayer.export.options import ExportOptions, idle_beside_landmarks
from bilayer.runtime.errors import InputError
from bilayer.runtime.files import stores
from bilayer.runtime.files.reading import FileKind
from bilayer.runtime.typed_json import typed
from bilayer.runtime.vocabulary import LandmarkerName, Refine

_ADVICE = "docs/bulk.md says what a manifest holds"


@dataclass(frozen=True)
class Item:
    """One row of a manifest: a photo, what its avatar is called, and how it differs from the command's options."""

    photo: str  # a path, from the manifest's folder, or a URL
    name: str = ""  # of its folder; the photo's own by default
    landmarks: str | None = None
    others: tuple[str, ...] = ()  # further photos of the person
    landmarker: LandmarkerName | None = None
    face: Annotated[int, Meta(ge=1)] | None = None
    rotate: Literal[0, 90, 180, 270] | None = None
    mask: bool | None = None
    refine: Refine | None = None
    size: Annotated[int, Meta(ge=16, le=4096)] | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """Paths or URLs of all of its files."""
        return (self.photo, *self.others, *([] if self.landmarks is None else [self.landmarks]))

    def options(self, usual: ExportOptions) -> ExportOptions:
        """Return the options of this photo's export: the usual, but for what the row says. Photos are as they stand."""
        own = ("landmarker", "face", "rotate", "mask", "refine", "size")
        given = {name: value for name, value in asdict(self).items() if name in own and value is not None}
        return replace(usual, photo=self.photo, landmarks=self.landmarks, others=self.others, **given)


def find_items(place: str, out: str = "", own: Collection[str] = ()) -> list[Item]:
    """Return the photos of a folder, a glob pattern or a manifest (.csv, .jsonl), each with a name of its own.

    Args:
        place: of the photos.
        out: where avatars go. Pictures that a run of before has left there are no photos.
        own: names of what a run keeps there beside them.

    Raises:
        InputError: nothing is there, a row does not fit, or two photos would have one name.
    """
    items, refused = sift_items(place, out, own)
    if refused:
        raise InputError(next(iter(refused.values())))
    return items


def sift_items(place: str, out: str = "", own: Collection[str] = ()) -> tuple[list[Item], dict[str, str]]:
    """Return what `find_items` does, and the photos of a folder or pattern whose avatars' folders could not be called
    after them, as by a name that is no UTF-8, each with the reason: the others are not refused for it.

    Raises:
        InputError: as `find_items`, but for such a name that no row of a manifest gives.
    """
    refused: dict[str, str] = {}
    if place.lower().endswith(MANIFESTS):
        items = [replace(item, name=_plain(item.name)) for item in _manifest(place)]
    else:
        items = []
        for photo, below in list_photos(place, out):
            name = _without_suffix(below)
            try:
                check_name(photo, name)
                items.append(Item(photo, name))
            except InputError as error:
                refused[photo] = str(error)
    check_names(place, [(item.photo, item.name) for item in items], own)
    return items, refused


def _plain(name: str) -> str:
    """`a//b/` and `./a/b` are the folder `a/b`."""
    return str(PurePath(name)) if name.strip("./") else name


def _manifest(place: str) -> Iterator[Item]:
    folder = place.rpartition("/")[0]
    text = _decoded(place)
    rows = _csv_rows(place, text) if place.lower().endswith(".csv") else _json_rows(place, text)
    found = False
    for where, row in rows:
        item = typed(Item, row, where, _ADVICE, text=place.lower().endswith(".csv"))
        if idle := _idle(item):
            raise InputError(f"{where}: landmarks says where the face is: leave {' and '.join(idle)} away")
        others = tuple(_placed(folder, other) for other in item.others)
        landmarks = None if item.landmarks is None else _placed(folder, item.landmarks)
        name = item.name or PurePath(item.photo.partition("://")[2] or item.photo).stem
        yield replace(item, photo=_placed(folder, item.photo), name=name, others=others, landmarks=landmarks)
        found = True
    if not found:
        raise InputError(f"{place}: expected a row for each photo, found none; {_ADVICE}")


def _idle(item: Item) -> list[str]:
    """What a row says that would do nothing, by the rule of the command's options."""
    names = [] if item.landmarks is None else idle_beside_landmarks(bool(item.others))
    return [name for name in names if getattr(item, name) is not None]


def _decoded(place: str) -> str:
    try:
        return stores.read(place, FileKind.MANIFEST).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise InputError(
            f"{place}: expected text in UTF-8, found other bytes at {problem.start}; save it as UTF-8"
        ) from None


def _csv_rows(place: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", strict=True)
    try:
        names = reader.fieldnames or ()
        if names and "photo" not in names:
            found = ", ".join(name[:40] for name in names[:8])
            raise InputError(f"{place}, line 1: expected names of columns, photo among them, found {found}; {_ADVICE}")
        for row in reader:
            where = f"{place}, line {reader.line_num}"
            if "" in row or None in row:
                raise InputError(f"{where}: has more cells than the first line; {_ADVICE}")
            given = {name: cell for name, cell in row.items() if cell}
            if "others" in given:
                given["others"] = given["others"].split(";")
            yield where, given
    except csv.Error as problem:
        raise InputError(f"{place}, line {reader.line_num}: not readable as CSV ({problem}); {_ADVICE}") from None


def _json_rows(place: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):  # not at U+2028, which JSON's strings may hold
        if line.strip():
            where = f"{place}, line {number}"
            try:
                yield where, json.loads(line)
            except (ValueError, RecursionError) as problem:
                raise InputError(f"{where}: not readable as JSON ({str(problem)[:100]}); {_ADVICE}") from None


def _placed(folder: str, photo: str) -> str:
    return photo if stores.is_url(photo) or not folder or PurePath(photo).is_absolute() else stores.join(folder, photo)


def _without_suffix(below: str) -> str:
    return str(PurePath(below).with_suffix(""))
