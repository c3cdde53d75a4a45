"""Data written so that a killed run leaves no half of anything, and refuses to mix settings."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.errors import BilayerError, InputError, OutputError
from bilayer.runtime.files.arrays import npy_bytes
from bilayer.runtime.files.reading import is_folder, is_there, list_folder
from bilayer.runtime.files.reasons import why_not_written
from bilayer.runtime.files.writing import sweep_drafts, write_file
from bilayer.runtime.process.undisturbed import undisturbed
from bilayer.runtime.typed_json import read_content, typed
from bilayer.runtime.vocabulary import PictureFormat, Split
from bilayer.training.data.layout import COORDS, IMAGES, KEYPOINTS, MASKS, SPLITS, has_kind

UNFINISHED = ".unfinished"  # folder of ROOT where work in progress stands; what a killed run left there is redone
DAMAGED = "delete what bilayer-prepare wrote there, and it is made again"
PNG_LEVEL = 1  # of 9: half of the default's time for a tenth more bytes
JPEG_QUALITY = 95


_ORDER = (COORDS, MASKS, KEYPOINTS, IMAGES)  # pictures last: what is listed is complete


class VideoStage:
    """A folder aside that takes the frames of one PERSON/VIDEO."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(
        self,
        sequence: str,
        name: str,
        image: Bytes,
        mask: Bytes,
        landmarks: Floats,
        coords: NDArray[np.float16] | None = None,
        picture_format: PictureFormat = "png",
    ) -> None:
        """Write one frame: picture (S, S, 3) RGB, mask (S, S), landmarks (68, 2) in pixels, coordinates (S, S, 2)."""
        self._place(IMAGES, sequence, f"{name}.{picture_format}").write_bytes(_encode(image[..., ::-1], picture_format))
        self._place(MASKS, sequence, f"{name}.png").write_bytes(_encode(mask, "png"))
        arrays = {KEYPOINTS: landmarks.astype(np.float32, copy=False)}
        if coords is not None:
            arrays[COORDS] = coords.astype(np.float16, copy=False)
        for kind, array in arrays.items():  # numpy, given a path, would not say that the disk is full
            self._place(kind, sequence, f"{name}.npy").write_bytes(npy_bytes(array))

    def _place(self, kind: str, sequence: str, name: str) -> Path:
        folder = self._folder / kind / sequence
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name


@contextmanager
def staging(root: Path, split: Split, person: str, video: str) -> Iterator[VideoStage]:
    """Yield a place for a video's frames; on success they replace what was there of it, on failure they go.

    Raises:
        OutputError: the disk is full or the folder not writable.
    """
    stage = root / UNFINISHED / split / person / video
    try:
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(parents=True)
        yield VideoStage(stage)
        with undisturbed():
            for kind in reversed(_ORDER):
                shutil.rmtree(root / kind / split / person / video, ignore_errors=True)
            for kind in _ORDER:
                if is_folder(stage / kind):
                    (root / kind / split / person).mkdir(parents=True, exist_ok=True)
                    (stage / kind).rename(root / kind / split / person / video)
    except OSError as error:
        raise OutputError(f"{root}: writing {person}/{video} failed: {why_not_written(error)}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def removing_stages(root: Path, split: Split, videos: Iterable[tuple[str, str]]) -> Iterator[None]:
    """However the block ends, remove the stages of these (person, video), which a worker that was stopped leaves;
    and the empty folders that stages stood in.
    """
    try:
        yield
    finally:
        with undisturbed():
            for person, video in videos:
                shutil.rmtree(root / UNFINISHED / split / person / video, ignore_errors=True)
            for place, _, _ in os.walk(root / UNFINISHED, topdown=False):
                with suppress(OSError):  # it is not empty
                    Path(place).rmdir()


@contextmanager
def agreeing_on_settings(
    path: Path, settings: Mapping[str, Any], holds_data: Callable[[], bool] | None = None
) -> Iterator[None]:
    """`settings` are at `path` inside, written or found there the same: one folder holds one kind of data.

    Where no data came of the block, whatever ended it, the file that was written for it goes, and so does its folder.

    Args:
        path: of the file.
        settings: what stands in it.
        holds_data: whether data that the file is of lie beside it, whoever made them; else any pictures are taken
            for such, but no other file.

    Raises:
        InputError: others are there; the message names the first that differs.
        OutputError: the folder cannot be written to.
    """
    sweep_drafts(path.parent)
    folder, content = path.parent, json.dumps(settings, indent=2, allow_nan=False) + "\n"
    made = [place for place in (folder, *folder.parents) if not is_there(place)]
    if begun := is_there(path):
        _check_same(path, settings)
    else:
        write_file(path, content)
    holds_data = holds_data or (lambda: is_folder(folder / IMAGES))

    def settle() -> None:
        held = holds_data()
        if held and not is_there(path):  # of another run, which had begun the folder and came to nothing
            write_file(path, content)
        elif not held and not begun:
            with suppress(OSError):  # something else comes into it
                path.unlink()
                for place in made:
                    place.rmdir()

    try:
        yield
    except BaseException:
        with undisturbed(), suppress(BilayerError):  # of a folder that cannot be looked at: what ended it is told
            settle()
        raise
    with undisturbed():
        settle()


def _check_same(path: Path, settings: Mapping[str, Any]) -> None:
    found = typed(dict[str, Any], read_content(path, DAMAGED), str(path), DAMAGED)
    for name in [*settings, *found]:
        if found.get(name) != settings.get(name):
            difference = f"{name}: expected {settings.get(name)} as asked for now, found {found.get(name)}"
            raise InputError(f"{path}: {difference}; ask for the same as before, or name another --out")


def refuse_other_split(root: Path, split: Split, persons: set[str], way_out: str) -> None:
    """Refuse people who are in the other split already: a model must be tested on people it never saw.

    Raises:
        InputError: one is.
    """
    for other in SPLITS:
        if other == split or not has_kind(root, other, IMAGES):
            continue
        both = sorted(persons & {folder.name for folder in list_folder(root / IMAGES / other)})
        if both:
            more = f" and {len(both) - 1} more" if len(both) > 1 else ""
            raise InputError(f"{root}: {both[0]}{more} asked for as {split} is in {other} already; {way_out}")


def _encode(picture: Bytes, picture_format: PictureFormat) -> bytes:
    options = [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL]
    if picture_format == "jpg":  # colour at full resolution: video has halved it once already
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, content = cv2.imencode(f".{picture_format}", picture, options)
    assert done, "OpenCV writes any 8-bit picture"
    return content.tobytes()
