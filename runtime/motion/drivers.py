"""What drives an avatar, frame by frame: landmarks alone, or pictures and the landmarks found in them."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.errors import LandmarkError
from bilayer.runtime.face.crop import CropBox, crop_box
from bilayer.runtime.face.found import Face
from bilayer.runtime.motion.retarget import closest_frame
from bilayer.runtime.motion.track import faces_among

NO_FACE = "expected a face, found none in any of its frames; give a sharp picture or video, or a track"
_DRIVER = "driver"  # of which no file is known


@dataclass(frozen=True, eq=False)
class DriverFrame:
    """One moment of a driver."""

    landmarks: Floats | None  # (68, 2) in the driver's coordinates; None: no face was found
    picture: Bytes | None  # (H, W, 3) RGB; None: only landmarks are known, or wanted
    seconds: float = 0.0  # spent on finding the landmarks before the frame was asked for
    light: float | None = None  # 0..255, the face's mean in the picture that it was found in; None: not known


class Driver(Protocol):
    """Frames in time's order.

    Attributes:
        rate: frames a second.
        count: how many frames are to be expected; None where there is no end.
        name: what messages call it: its file, or webcam.
    """

    rate: float
    count: int | None
    name: str

    def __iter__(self) -> Iterator[DriverFrame]:
        """Yield the frames from the first on."""
        ...


class FrameSource(Protocol):
    """Pictures in time's order (H, W, 3) RGB, as `VideoFrames` and `WebcamFrames`."""

    rate: float
    count: int | None

    def __iter__(self) -> Iterator[Bytes]:
        """Yield the pictures, once."""
        ...


class FollowsFaces(Protocol):
    """A landmarker that knows videos, as `MediapipeLandmarker`."""

    def track(self, frame: Bytes, previous: Face | None) -> Face | None:
        """Return the face of the next frame (H, W, 3) RGB, given that of the one before."""
        ...


class LandmarkDriver:
    """Landmarks (T, 68, 2) without pictures; where all 68 are in one place there was no face."""

    def __init__(self, landmarks: Floats, rate: float, name: str = _DRIVER) -> None:
        self._landmarks, self.rate, self.name = landmarks, rate, name
        self._faces = faces_among(landmarks)  # (T,)
        self.count: int | None = len(landmarks)

    @property
    def shows_a_face(self) -> bool:
        """Whether any of its frames does."""
        return bool(self._faces.any())

    @property
    def moves(self) -> bool:
        """Whether its frames differ: of one there is no motion, only the face that it shows."""
        faces = self._landmarks[self._faces]
        return bool((faces[1:] != faces[:1]).any())

    def reference(self, source: ArrayLike) -> Floats:
        """Return the landmarks (68, 2) that hold the head most like the source's: see `closest_frame`."""
        faces = self._landmarks[self._faces]
        if not len(faces):
            raise LandmarkError(f"{self.name}: {NO_FACE}")
        closest: Floats = faces[closest_frame(source, faces)]
        return closest

    def __iter__(self) -> Iterator[DriverFrame]:
        """Yield one frame after the other, as often as wanted."""
        for points, there in zip(self._landmarks, self._faces, strict=True):
            yield DriverFrame(points if there else None, None)


class LiveDriver:
    """The largest face of pictures that come as they are asked for, found, then followed: a webcam's."""

    count: int | None = None

    def __init__(self, pictures: FrameSource, landmarker: FollowsFaces, name: str = _DRIVER) -> None:
        self._pictures, self._landmarker, self.name = pictures, landmarker, name
        self.rate = pictures.rate

    def __iter__(self) -> Iterator[DriverFrame]:
        """Yield the frames, once: each picture with the landmarks found in it."""
        face: Face | None = None
        before: Bytes | None = None
        for picture in self._pictures:
            if picture is not before:  # a video's slow frame comes several times
                face, before = self._landmarker.track(picture, face), picture
            landmarks = None if face is None else face.landmarks
            yield DriverFrame(landmarks, picture, light=_light(picture, landmarks))


class TrackedDriver:
    """The largest face of a video or photo, found in all of its pictures before the first frame is asked for.

    Only landmarks are kept: where the pictures are wanted as well they are read again.

    Args:
        open_pictures: opens them, at the first.
        with_pictures: whether the frames come with them.
        name: what messages call it, such as their file.
    """

    def __init__(
        self,
        open_pictures: Callable[[], AbstractContextManager[FrameSource]],
        with_pictures: bool,
        name: str = _DRIVER,
    ) -> None:
        self._open, self._with_pictures, self.name = open_pictures, with_pictures, name
        self._frames: list[DriverFrame] = []
        self._cut = False  # whether there may be more of them
        with open_pictures() as pictures:
            self.rate, self.count = pictures.rate, pictures.count

    def track(
        self, landmarker: FollowsFaces, limit: int | None = None, advance: Callable[[], None] = lambda: None
    ) -> None:
        """Find the face in every picture, or in the first `limit`; `advance` is called after each.

        Raises:
            LandmarkError: there is none in any of them.
        """
        begin = time.perf_counter()
        with self._open() as pictures:
            for moment in LiveDriver(pictures, landmarker):
                end = time.perf_counter()
                self._frames.append(DriverFrame(moment.landmarks, None, end - begin, moment.light))
                begin = end
                advance()
                if len(self._frames) == limit:
                    self._cut = self.count is None or self.count > limit
                    break
        self.count = len(self._frames)
        if not self._faces():
            raise LandmarkError(f"{self.name}: {NO_FACE}")

    @property
    def moves(self) -> bool:
        """Whether its frames differ, as far as is known: of one there is no motion, only the face; after `track`."""
        first, *others = self._faces()
        return self._cut or any((face != first).any() for face in others)

    def reference(self, source: ArrayLike) -> Floats:
        """Return the landmarks (68, 2) that hold the head most like the source's; after `track`."""
        faces = self._faces()
        return faces[closest_frame(source, faces)]

    def window(self) -> CropBox:
        """Return the square around all crops of the face, to show the driver without moving about; after `track`."""
        corners = np.array([crop_box(face).corners for face in self._faces()])
        low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
        x, y = (low + high) // 2
        return CropBox(int(x), int(y), int((high - low).max() + 1) // 2)

    def __iter__(self) -> Iterator[DriverFrame]:
        """Yield the frames from the first on, as often as wanted; after `track`."""
        if not self._with_pictures:
            yield from self._frames
            return
        with self._open() as pictures:
            for frame, picture in zip(self._frames, pictures, strict=False):  # the limit
                yield replace(frame, picture=picture)

    def _faces(self) -> list[Floats]:
        return [frame.landmarks for frame in self._frames if frame.landmarks is not None]


class Repeated:
    """A driver with an end, over and over: for a window."""

    count: int | None = None

    def __init__(self, driver: Driver) -> None:
        self._driver, self.rate, self.name = driver, driver.rate, driver.name

    def __iter__(self) -> Iterator[DriverFrame]:
        """Yield frames until nobody asks any more."""
        yield from self._driver
        while True:
            for frame in self._driver:
                yield replace(frame, seconds=0.0)  # spent once


def _light(picture: Bytes, landmarks: Floats | None) -> float | None:
    """The mean of what of the picture (H, W, 3) lies around the landmarks (68, 2), 0..255, by every fourth pixel."""
    if landmarks is None:
        return None
    (left, top), (right, bottom) = (np.maximum(edge, 0).astype(int) for edge in (landmarks.min(0), landmarks.max(0)))
    face = picture[top : bottom + 1 : 4, left : right + 1 : 4]
    return float(face.mean()) if face.size else None
