"""Pictures in time's order out of any file: a video, an animated picture, or a photo as a video of one frame."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.errors import InputError
from bilayer.runtime.files.kinds import PICTURES, kind_of
from bilayer.runtime.files.reading import is_folder
from bilayer.runtime.files.shell import pasted
from bilayer.runtime.media.frame_times import MAX_PAUSE, choose_pace, paced
from bilayer.runtime.media.photo import is_animation, read_animation, read_photo
from bilayer.runtime.media.video import VideoFrames
from bilayer.runtime.vocabulary import DEFAULT_FPS


def open_pictures(path: Path) -> "VideoFrames | Animation | OnePicture":
    """Return what `path` shows, by its content alone: a context manager, to go through as often as it is opened.

    Raises:
        InputError: no such file, or neither a picture nor a video.
        ToolMissingError: PyAV is not installed, for a video.
    """
    if is_folder(path):
        frames = pasted(path / "*.png")
        way_out = f"make a video of its pictures: ffmpeg -framerate 25 -pattern_type glob -i {frames} driver.mp4"
        raise InputError(f"{path}: is a folder; {way_out}")
    if not shows_pictures(path):
        return VideoFrames(path)
    return Animation(path) if is_animation(path) else OnePicture(read_photo(path))


def shows_pictures(path: Path) -> bool:
    """Return whether a file is a picture by its content, a still or animated one, and no video."""
    return kind_of(path).startswith(PICTURES)


class OnePicture:
    """A photo as a video of one frame. A context manager."""

    rate = DEFAULT_FPS
    count: int | None = 1

    def __init__(self, photo: Bytes) -> None:
        self._photo = photo

    def __enter__(self) -> "OnePicture":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Bytes]:
        """The photo (H, W, 3)."""
        yield self._photo


class Animation:
    """The frames of an animated GIF, PNG, WebP or AVIF at a constant rate, as `VideoFrames`. A context manager.

    Attributes:
        rate: frames a second.
        count: how many frames are to be expected.

    Raises:
        PhotoError: it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        times = [0.0, *np.cumsum([min(seconds, MAX_PAUSE) for seconds, _ in read_animation(path)])]
        self._pace = choose_pace(times, [])
        self.rate = self._pace.rate
        self.count: int | None = max(self._pace.tick(times[-1]), 1)

    def __enter__(self) -> "Animation":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Bytes]:
        """(H, W, 3) RGB each, transparency as in a photo."""
        return paced(self._timed(), self._pace)

    def _timed(self) -> Iterator[tuple[float, float, Bytes]]:
        time = 0.0
        for seconds, picture in read_animation(self._path):
            yield time, min(seconds, MAX_PAUSE), picture
            time += min(seconds, MAX_PAUSE)
