"""What drives an avatar, frame by frame: landmarks alone, or pictures and the landmarks found in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.face import Face

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class DriverFrame:
    """One moment of a driver."""

    landmarks: Floats | None  # (68, 2) in the driver's coordinates; None: no face was found
    picture: Bytes | None  # (H, W, 3) RGB; None: only landmarks are known


class Driver(Protocol):
    """Frames in time's order.

    Attributes:
        rate: frames a second.
        count: how many frames are to be expected; None where nobody knows.
    """

    rate: float
    count: int | None

    def __iter__(self) -> Iterator[DriverFrame]:
        """Once."""
        ...


class Pictures(Protocol):
    """Pictures in time's order (H, W, 3) RGB, as `VideoFrames` and `WebcamFrames`."""

    rate: float
    count: int | None

    def __iter__(self) -> Iterator[Bytes]:
        """Once."""
        ...


class FollowsFaces(Protocol):
    """A landmarker that knows videos, as `MediapipeLandmarker`."""

    def track(self, frame: Bytes, previous: Face | None) -> Face | None:
        """The face of the next frame (H, W, 3) RGB, given that of the one before."""
        ...


class LandmarkDriver:
    """Landmarks (T, 68, 2) without pictures."""

    def __init__(self, landmarks: Floats, rate: float) -> None:
        self._landmarks, self.rate = landmarks, rate
        self.count: int | None = len(landmarks)

    def __iter__(self) -> Iterator[DriverFrame]:
        """One frame after the other."""
        for points in self._landmarks:
            yield DriverFrame(points, None)


class PictureDriver:
    """The largest face of a video, a webcam, or of one photo."""

    def __init__(self, pictures: Pictures, landmarker: FollowsFaces) -> None:
        self._pictures, self._landmarker = pictures, landmarker
        self.rate, self.count = pictures.rate, pictures.count

    def __iter__(self) -> Iterator[DriverFrame]:
        """Found, then followed."""
        face: Face | None = None
        for picture in self._pictures:
            face = self._landmarker.track(picture, face)
            yield DriverFrame(None if face is None else face.landmarks, picture)


class OnePicture:
    """A photo as a video of one frame."""

    count: int | None = 1

    def __init__(self, photo: Bytes, rate: float) -> None:
        self._photo, self.rate = photo, rate

    def __iter__(self) -> Iterator[Bytes]:
        """The photo."""
        yield self._photo
