"""The one layout of all training data on disk: what is there, without a library that reads it.

    ROOT/imgs/SPLIT/PERSON/VIDEO/SEQUENCE/FRAME.png|jpg    RGB, square, already cropped
    ROOT/keypoints/SPLIT/.../FRAME.npy                     (68, 2) landmarks in pixels of that picture
    ROOT/segs/SPLIT/.../FRAME.png                          8-bit grey, 255 = person; the folder may be absent
    ROOT/coords/SPLIT/.../FRAME.npy                        float16 (S, S, 2), synthetic heads only; may be absent

It is the layout that the authors document for VoxCeleb2, plus `coords`: the canonical texture coordinate (x, y in
-1..1) that every pixel shows, NaN where there is none. What is there is what `imgs` lists.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bilayer.runtime.errors import InputError
from bilayer.runtime.files.reading import is_folder
from bilayer.runtime.files.reasons import why_not_read
from bilayer.runtime.vocabulary import Split

SPLITS: tuple[Split, ...] = ("train", "test")
IMAGES, KEYPOINTS, MASKS, COORDS = "imgs", "keypoints", "segs", "coords"
TWOS = "twos"  # a video of this name has frames that come in twos, which differ in nothing but lids and mouth
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
PREPARE = "see docs/data.md, or run bilayer-prepare"


@dataclass(frozen=True, order=True)
class FrameSequence:
    """Frames of one person in one go: what source and target frames are drawn from."""

    root: Path
    split: Split
    person: str
    video: str
    name: str

    @property
    def label(self) -> str:
        """The sequence's name in messages: PERSON/VIDEO/SEQUENCE."""
        return f"{self.person}/{self.video}/{self.name}"

    @property
    def in_twos(self) -> bool:
        """Whether its frames 2k and 2k + 1 differ in nothing but an expression, as synthetic heads' may."""
        return self.video == TWOS

    def folder(self, kind: str) -> Path:
        """Return the folder of its files of one kind: `IMAGES`, `KEYPOINTS`, `MASKS` or `COORDS`."""
        return self.root / kind / self.split / self.person / self.video / self.name

    def pictures(self) -> list[Path]:
        """Return its pictures in the order of their numbers, or an InputError where there is none."""
        folder = self.folder(IMAGES)
        names = [name for name in _names(folder) if name.lower().endswith(PICTURE_SUFFIXES)]
        if not names:
            raise InputError(f"{folder}: expected frames as .png or .jpg, found none; delete the folder, or fill it")
        return [folder / name for name in in_order(names)]


def list_sequences(root: Path, split: Split) -> list[FrameSequence]:
    """List all sequences of a split, sorted by person, video and sequence; not their frames: there may be millions.

    Raises:
        InputError: no such folder, or nothing in it.
    """
    return list(_sequences(root, split))


def check_sequences(root: Path, split: Split) -> None:
    """Raise an InputError where `list_sequences` would; looks no further than to the first."""
    next(_sequences(root, split))


def _sequences(root: Path, split: Split) -> Iterator[FrameSequence]:
    """Yield all sequences of a split, in order, or raise an InputError where there is none."""
    top = root / IMAGES / split
    if not is_folder(top):
        raise InputError(f"{root}: expected a folder {IMAGES}/{split} of PERSON/VIDEO/SEQUENCE, found none; {PREPARE}")
    some = False
    for person in _folders(top):
        for video in _folders(top / person):
            for name in _folders(top / person / video):
                yield FrameSequence(root, split, person, video, name)
                some = True
    if not some:
        raise InputError(f"{top}: expected folders PERSON/VIDEO/SEQUENCE, found none; {PREPARE}")


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of pictures in the order of their numbers."""
    return sorted(names, key=lambda name: (len(name), name))


def has_kind(root: Path, split: Split, kind: str) -> bool:
    """Tell whether a split has a folder of this `kind`: some data have no masks or no coordinates."""
    return is_folder(root / kind / split)


def _names(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]  # noqa: PTH208  half of iterdir's time
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed: {why_not_read(error)}") from error


def _folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed: {why_not_read(error)}") from error
