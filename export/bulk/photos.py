"""The photos of a bulk export: what stands for many, and what a folder, a glob pattern or a store has of them."""

import os
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path, PurePosixPath

from bilayer.export.given import contract_of, is_preview
from bilayer.runtime.errors import InputError
from bilayer.runtime.files import stores
from bilayer.runtime.files.reading import is_file, is_folder
from bilayer.runtime.files.shell import pasted
from bilayer.runtime.files.stores import is_url
from bilayer.runtime.vocabulary import PHOTO_SUFFIXES

MANIFESTS = (".csv", ".jsonl")
SHEET = "contact-sheet.jpg"  # of a run, beside its avatars' folders
RECORDS = "records"  # folder of the output: what is known of each avatar, written when it is complete
RESULTS_FILE = "results.jsonl"
OWN = (RECORDS, RESULTS_FILE, SHEET)  # what lies beside the avatars' folders
LEFT = (f"/{SHEET}", "/avatar.preview.png")  # pictures among what a run writes


def is_many(places: Sequence[str]) -> bool:
    """Return whether what is given as a photo stands for many, each of somebody else; a URL does, even of one."""
    if len(places) != 1:
        return False
    (place,) = places
    if is_url(place):
        return True
    return place.lower().endswith(MANIFESTS) or is_folder(place) or (has_magic(place) and not is_file(place))


def list_photos(place: str, out: str = "") -> list[tuple[str, str]]:
    """Return each photo of a folder or a glob pattern with its path below the folder, sorted; or the one that is named.

    Hidden files, and others than photos by their suffix, are left out of a folder; so are the previews of avatars, and
    what lies below `out`, which may be in it, and is a picture that a run of before has left there.

    Raises:
        InputError: nothing is there, or avatars alone.
    """
    if place.lower().endswith(PHOTO_SUFFIXES) and not has_magic(place) and not is_folder(place):
        return [(place, PurePosixPath(place).name)]
    if has_magic(place):
        found = (
            stores.find_pattern(place)
            if is_url(place)
            else sorted(
                glob(place, recursive=True)  # noqa: PTH207  # of any folder, its own included
            )
        )
        named = [(one, PurePosixPath(one).name) for one in found]
    else:
        named = stores.find_below(place)
    beside = {one for one, _ in named}
    previews = {one for one in beside if contract_of(one) in beside or (has_magic(place) and is_preview(one))}
    photos = [
        (one, below)
        for one, below in named
        if below.lower().endswith(PHOTO_SUFFIXES)
        and one not in previews
        and not any(part.startswith(".") for part in Path(below).parts)
        and not (one.endswith(LEFT) and out and _is_below(one, out))
    ]
    if previews and not photos:
        shown = f"to see it: bilayer-render {pasted(contract_of(min(previews)))} --demo-motion --out demo.mp4"
        raise InputError(f"{place}: expected photos, found an avatar that was made already; {shown}")
    if not photos:
        raise InputError(f"{place}: expected photos ({' '.join(PHOTO_SUFFIXES)}), found none; name where they lie")
    return sorted(photos)


def _is_below(place: str, folder: str) -> bool:
    if is_url(place) or is_url(folder):
        return place.startswith(f"{folder.rstrip('/')}/")
    return Path(os.path.abspath(place)).is_relative_to(os.path.abspath(folder))  # noqa: PTH100  # no ".." in it
