"""Which stretches of a video show one face, and the square to cut out of each."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.errors import LandmarkError
from bilayer.runtime.face.crop import CropBox, check_is_face, crop_box
from bilayer.runtime.face.found import Face, Landmarker
from bilayer.runtime.motion.drivers import FollowsFaces

MIN_OVERLAP = 0.6  # of a frame's box with the sequence's first: the head moved by a quarter of its side, or a jump
CUT_DIFFERENCE = 20.0  # grey levels between thumbnails of neighbouring frames: another scene
EARLY = 0.002  # s that a frame may come before its turn: containers round time stamps to milliseconds
_THUMBNAIL = 32  # px


@dataclass(frozen=True, eq=False)
class Sighting:
    """One of the frames that are looked at."""

    number: int  # of the video's frame, from 0
    landmarks: Floats | None  # (68, 2) pixels of the video; None: no face
    cut: bool  # the scene changed since the sighting before


@dataclass(frozen=True, eq=False)
class Stretch:
    """Frames of one face in one go, and the square they are cropped to."""

    numbers: tuple[int, ...]  # of the video's frames
    landmarks: Floats  # (T, 68, 2) pixels of the video
    box: CropBox


def watch(
    moments: Iterable[tuple[float, Bytes]],
    faces: FollowsFaces,
    fps: float | None = None,
    seconds: float | None = None,
) -> Iterator[Sighting]:
    """Follow the largest face through a video: `fps` frames of each second (None: all), in its first `seconds`.

    `moments` are the video's: seconds since the first frame, and the picture.
    """
    face: Face | None = None
    before: Bytes | None = None
    cut, kept = False, -1
    for number, (time, picture) in enumerate(moments):
        if seconds is not None and time >= seconds - EARLY:
            return
        thumbnail = _thumbnail(picture)
        cut |= before is not None and is_cut(before, thumbnail)
        before = thumbnail
        turn = number if fps is None else turn_of(time, fps)
        if turn <= kept:
            continue
        kept = turn
        face = faces.track(picture, None if cut else face)
        landmarks = None if face is None or not _has_box(face.landmarks) else face.landmarks
        yield Sighting(number, landmarks, cut)
        cut = False


def split_stretches(sightings: Sequence[Sighting], min_frames: int) -> list[Stretch]:
    """Return the stretches of a video in which one face is followed without a gap.

    A stretch ends where the face is lost, at a cut, and where its box overlaps the stretch's first by less than
    `MIN_OVERLAP`: another face, or one that wandered. Those under `min_frames` are left out.
    """
    runs: list[list[Sighting]] = []
    first: CropBox | None = None
    for sighting in sightings:
        if sighting.landmarks is None:
            first = None
            continue
        box = crop_box(sighting.landmarks)
        if first is None or sighting.cut or overlap(first, box) < MIN_OVERLAP:
            first = box
            runs.append([])
        runs[-1].append(sighting)
    return [_stretch(run) for run in runs if len(run) >= min_frames]


def overlap(a: CropBox, b: CropBox) -> float:
    """Return the intersection of two boxes over their union, 0..1."""
    ours, theirs = a.corners, b.corners
    width = min(ours[2], theirs[2]) - max(ours[0], theirs[0])
    height = min(ours[3], theirs[3]) - max(ours[1], theirs[1])
    common = max(width, 0) * max(height, 0)
    return common / (a.side**2 + b.side**2 - common)


def turn_of(time: float, fps: float) -> int:
    """Return which of the frames to keep, `fps` a second, is due at `time` (s); each turn's first frame is kept."""
    return math.floor((time + EARLY) * fps)


def is_cut(before: Bytes, after: Bytes) -> bool:
    """Tell from the thumbnails of two neighbouring frames whether there is a cut between them."""
    return float(np.abs(before.astype(np.int16) - after).mean()) > CUT_DIFFERENCE


class FaceFollower:
    """A landmarker that knows no videos, made to follow a face: the one that is nearest to where it was."""

    def __init__(self, landmarker: Landmarker) -> None:
        self._landmarker = landmarker

    def track(self, frame: Bytes, previous: Face | None) -> Face | None:
        """Return the nearest face of (H, W, 3); the largest, where there was none before."""
        faces = self._landmarker.find(frame)
        if not faces or previous is None:
            return faces[0] if faces else None
        place = previous.landmarks.mean(axis=0)
        return min(faces, key=lambda face: float(np.linalg.norm(face.landmarks.mean(axis=0) - place)))


def _stretch(run: Sequence[Sighting]) -> Stretch:
    landmarks = np.stack([sighting.landmarks for sighting in run if sighting.landmarks is not None])
    boxes = [crop_box(points) for points in landmarks]
    x, y, half = np.median([(box.x, box.y, box.half) for box in boxes], axis=0).astype(int).tolist()
    return Stretch(tuple(sighting.number for sighting in run), landmarks, CropBox(x, y, half))


def _has_box(landmarks: Floats) -> bool:
    try:
        crop_box(landmarks)
        check_is_face(landmarks, "landmarks")
    except LandmarkError:
        return False
    return True


def _thumbnail(picture: Bytes) -> Bytes:
    small = cv2.resize(picture, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
