"""Frames of data that lie in a store, in the layout of layout.py: listed there, and fetched when they are read.

What is fetched is a folder of that layout, with one sequence in it, that goes when it has been read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

from bilayer.runtime.errors import InputError
from bilayer.runtime.files import stores
from bilayer.runtime.files.copies import Copies, copying
from bilayer.runtime.files.reading import FileKind
from bilayer.runtime.vocabulary import Split
from bilayer.training.data.layout import IMAGES, KEYPOINTS, MASKS, PICTURE_SUFFIXES, PREPARE, FrameSequence, in_order


@dataclass(frozen=True)
class StoredSequence:
    """Frames of one person in one go, in a store."""

    place: str  # URL of the data
    split: Split
    person: str
    video: str
    name: str
    names: tuple[str, ...]  # of its pictures' files, in order
    masks: bool  # the split has masks

    def fetch(self, copies: Copies, every: int) -> FrameSequence:
        """Return each `every`-th picture from the first, landmarks and any mask, as a sequence in `copies`' folder.

        Raises:
            InputError: a file is missing, too large or cannot be read.
        """
        stem = (self.split, self.person, self.video, self.name)
        kinds = [(KEYPOINTS, "npy", FileKind.ARRAY), *([(MASKS, "png", FileKind.FRAME_PICTURE)] if self.masks else [])]
        for picture in self.names[::every]:
            number = PurePath(picture).stem
            files = [(IMAGES, picture, FileKind.FRAME_PICTURE)]
            files += [(kind, f"{number}.{suffix}", file_kind) for kind, suffix, file_kind in kinds]
            for kind, file, file_kind in files:
                copies.fetch(stores.join(self.place, kind, *stem, file), "/".join((kind, *stem)), file_kind)
        copies.name(copies.folder, self.place)
        return FrameSequence(copies.folder, *stem)


def list_stored(place: str, split: Split) -> list[StoredSequence]:
    """List all sequences of a split that have pictures, sorted by person, video and sequence.

    Raises:
        InputError: there are none, or the store cannot be listed.
        ToolMissingError: the package for such URLs is not installed.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for _, below in stores.find_below(stores.join(place, IMAGES, split)):
        parts = PurePath(below).parts
        if len(parts) == 4 and below.lower().endswith(PICTURE_SUFFIXES) and not any(p.startswith(".") for p in parts):
            found.setdefault((parts[0], parts[1], parts[2]), []).append(parts[3])
    if not found:
        raise InputError(
            f"{place}: expected pictures {IMAGES}/{split}/PERSON/VIDEO/SEQUENCE/FRAME, found none; {PREPARE}"
        )
    masks = stores.holds(stores.join(place, MASKS, split))
    return [StoredSequence(place, split, *key, tuple(in_order(found[key])), masks) for key in sorted(found)]


@contextmanager
def frames_here(sequence: FrameSequence | StoredSequence, every: int) -> Iterator[tuple[FrameSequence, list[Path]]]:
    """Yield a sequence in a folder and each `every`-th of its pictures from the first: itself, or copies.

    Copies go at the block's end; errors inside name their URLs.
    """
    if isinstance(sequence, FrameSequence):
        yield sequence, sequence.pictures()[::every]
        return
    with copying() as copies:
        here = sequence.fetch(copies, every)
        yield here, here.pictures()
