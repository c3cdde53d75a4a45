"""Frames of a video file or a webcam. PyAV, which brings FFmpeg along, reads files; OpenCV reads webcams."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.errors import InputError, ToolMissingError

Bytes = NDArray[np.uint8]

DEFAULT_RATE = 25.0  # frames a second, where a source does not say
MAX_RATE = 240.0


def load_av() -> Any:
    """The module of PyAV.

    Raises:
        ToolMissingError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ToolMissingError(f"videos need PyAV ({error}); pip install 'bilayer[video]'") from error
    av.logging.set_level(av.logging.PANIC)  # what is wrong with a file is said in our own words
    return av


class VideoFrames:
    """The frames of a video file, upright, in order. A context manager.

    Attributes:
        rate: frames a second.
        count: how many frames the file claims to have; None where it does not say.

    Raises:
        InputError: no such file, no video, or a damaged one.
        ToolMissingError: PyAV is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; name a video")
        self._av, self._path = load_av(), path
        try:
            self._file = self._av.open(str(path))
        except (self._av.FFmpegError, OSError) as error:
            raise InputError(f"{path}: not a video that FFmpeg reads ({reason_of(error)})") from error
        if not self._file.streams.video:
            self._file.close()
            raise InputError(f"{path}: expected a video, found no picture in it")
        self._stream = self._file.streams.video[0]
        self._stream.thread_type = "NONE"  # with frame threads two test runs hung, probably here, on a damaged video
        rate = self._stream.average_rate
        self.rate = min(float(rate), MAX_RATE) if rate else DEFAULT_RATE
        self.count: int | None = self._stream.frames or None

    def __enter__(self) -> "VideoFrames":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Bytes]:
        """(H, W, 3) RGB each."""
        try:
            for frame in self._file.decode(self._stream):
                picture = frame.to_ndarray(format="rgb24")
                turns = round(frame.rotation / 90) % 4  # counter-clockwise, of phones held upright
                yield np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
        except (self._av.FFmpegError, OSError) as error:
            raise InputError(f"{self._path}: the video is damaged or cut short ({reason_of(error)})") from error


class WebcamFrames:
    """The frames of a webcam, as they come. A context manager, which lets go of the camera.

    Attributes:
        rate: frames a second, as the camera's driver says.
        count: None.

    Raises:
        InputError: no such camera, or it is in use.
    """

    def __init__(self, index: int) -> None:
        import cv2

        cv2.setLogLevel(0)
        self._camera, self._index = cv2.VideoCapture(index), index
        if not self._camera.isOpened():
            raise InputError(f"webcam {index}: cannot be opened; check its number, and that no other program uses it")
        rate = float(self._camera.get(cv2.CAP_PROP_FPS))
        self.rate = min(rate, MAX_RATE) if rate > 0 else DEFAULT_RATE
        self.count: int | None = None

    def __enter__(self) -> "WebcamFrames":
        return self

    def __exit__(self, *_: object) -> None:
        self._camera.release()

    def __iter__(self) -> Iterator[Bytes]:
        """(H, W, 3) RGB each, until the camera gives none."""
        while True:
            there, frame = self._camera.read()
            if not there:
                return
            yield np.ascontiguousarray(frame[..., ::-1])


def reason_of(error: Exception) -> str:
    """What FFmpeg says of an error, without the file's name."""
    return str(getattr(error, "strerror", None) or error)
