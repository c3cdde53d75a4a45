"""A folder of frames that are compared with others by their names; listed without torch."""

from collections.abc import Mapping
from pathlib import Path

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.errors import InputError, LandmarkError
from bilayer.runtime.files.reading import FileKind, check_folder, checked, list_below
from bilayer.runtime.media.photo import read_photo
from bilayer.runtime.vocabulary import PHOTO_SUFFIXES


class FrameFolder:
    """Pictures below a folder by their path in it, without suffix.

    Raises:
        InputError: no such folder, no picture in it, or two that differ by the suffix alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        check_folder(path)
        self._files: dict[str, Path] = {}
        for file in list_below(path):
            if file.suffix.lower() in PHOTO_SUFFIXES:
                name = file.relative_to(path).with_suffix("").as_posix()
                if name in self._files:
                    found = f"expected one file per frame, found {self._files[name].name}, too"
                    raise InputError(f"{file}: {found}; rename one, or move it elsewhere")
                self._files[name] = file
        if not self._files:
            raise InputError(
                f"{path}: expected frames ({', '.join(PHOTO_SUFFIXES)}), found none; name the folder that holds them"
            )
        self.names = list(self._files)

    def check_against(self, truth: "FrameFolder") -> None:
        """Raise an InputError unless all frames of `truth` are here."""
        absent = [name for name in truth.names if name not in self._files]
        if absent:
            raise InputError(
                f"{self.path}: expected a frame by each name in {truth.path}, found "
                f"{len(truth.names) - len(absent)} of {len(truth.names)}; add what is missing, from {absent[0]} on"
            )

    def read(self, name: str, size: tuple[int, ...] | None = None) -> Bytes:
        """Return a frame (H, W, 3) RGB, or an InputError where it is damaged, or not of a given shape `size`."""
        picture = read_photo(self._files[name])
        if size is not None and picture.shape != size:
            found, expected = (f"{shape[1]} x {shape[0]}" for shape in (picture.shape, size))
            raise InputError(f"{self._files[name]}: expected {expected} pixels as in the truth, found {found}")
        return picture

    def read_mask(self, name: str, size: tuple[int, ...]) -> Bytes:
        """Return a mask (H, W) of frames of shape `size`, 255 where the person is.

        Raises:
            InputError: damaged, of another size, or without a person: then any two pictures would be equal.
        """
        mask: Bytes = self.read(name, size)[..., 0]
        if mask.max() <= 127:
            found = f"found {mask.max()} of 255 at most"
            raise InputError(f"{self._files[name]}: expected white where the person is, {found}; redo it")
        return mask


Opened = tuple[FrameFolder, dict[str, FrameFolder], FrameFolder | None]


def open_folders(
    methods: Mapping[str, Path], truth: Path, masks: Path | None = None, drive: Path | None = None
) -> Opened:
    """Return the true frames, those of each method, and the masks: all of one list of names.

    Raises:
        InputError: a folder is not there, holds no frames, or not all of the true ones' names; or `drive` not all of
            their landmarks (.npy), by a LandmarkError.
    """
    true_frames = FrameFolder(truth)
    folders = {method: FrameFolder(path) for method, path in methods.items()}
    mask_frames = None if masks is None else FrameFolder(masks)
    for folder in (*folders.values(), *([mask_frames] if mask_frames else [])):
        folder.check_against(true_frames)
    if drive is not None:
        for name in true_frames.names:
            checked(drive / f"{name}.npy", FileKind.LANDMARKS, LandmarkError)
    return true_frames, folders, mask_frames
