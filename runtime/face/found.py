"""A found face and its landmarks.

68 landmarks in iBUG order (300-W), in photo pixels: x right, y down, the centre of the top left pixel is (0, 0).
"Right" and "left" are the person's own: point 0 is the right ear, on the left of an unmirrored picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.face.crop import check_landmarks
from bilayer.runtime.face.ibug import (
    LEFT_EAR,
    LEFT_EYE,
    LEFT_EYE_CORNER,
    NOSE_BRIDGE,
    RIGHT_EAR,
    RIGHT_EYE,
    RIGHT_EYE_CORNER,
)

# The person's right half against the left: position i holds the index of the mirror image of landmark i.
MIRRORED = np.array([
    16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0,  # jaw
    26, 25, 24, 23, 22, 21, 20, 19, 18, 17,  # brows
    27, 28, 29, 30, 35, 34, 33, 32, 31,  # nose
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,  # eyes
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,  # outer lips
    64, 63, 62, 61, 60, 67, 66, 65,  # inner lips
])  # fmt: skip

YAW_PER_OFFSET = 42.0  # degrees, see Face.yaw


@dataclass(frozen=True, eq=False)
class Face:
    """One face in a picture."""

    landmarks: Floats  # (68, 2) x, y in photo pixels
    score: float  # 0..1, how sure its finder is that this is a face
    box: tuple[float, float, float, float]  # left, top, right, bottom in photo pixels

    @property
    def area(self) -> float:
        """Area of the box in pixels."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)

    @property
    def eye_distance(self) -> float:
        """Pixels between the outer corners of the eyes."""
        return float(np.linalg.norm(self.landmarks[LEFT_EYE_CORNER] - self.landmarks[RIGHT_EYE_CORNER]))

    @property
    def roll(self) -> float:
        """Degrees by which the eye line is turned clockwise in the picture."""
        across = _eye_line(self.landmarks)
        return float(np.degrees(np.arctan2(across[1], across[0])))

    @property
    def yaw(self) -> float:
        """Degrees by which the face is turned to the picture's right, from how far the nose bridge has moved.

        Linear in where the bridge stands between the ears: on 120 renders of synthetic heads with known yaw up to
        60 degrees the mean error is 2 degrees, the largest 10.
        """
        along = self.landmarks @ _eye_line(self.landmarks)
        right, bridge, left = along[RIGHT_EAR], along[NOSE_BRIDGE], along[LEFT_EAR]
        half_width = max(abs(float(left - right)) / 2, 1e-6)
        offset = float(bridge - (left + right) / 2) / half_width
        return YAW_PER_OFFSET * min(max(offset, -2.0), 2.0)


class Landmarker(Protocol):
    """Finds faces. Instances keep their networks loaded: make one, call it for every frame."""

    def find(self, photo: Bytes) -> list[Face]:
        """Return all faces of `photo` (H, W, 3) RGB, the largest first."""
        ...


def _eye_line(landmarks: Floats) -> Floats:
    """Unit vector from the right eye to the left one."""
    line = landmarks[LEFT_EYE].mean(axis=0) - landmarks[RIGHT_EYE].mean(axis=0)
    return np.asarray(line / max(float(np.linalg.norm(line)), 1e-6), dtype=np.float32)


def face_from_landmarks(landmarks: object, score: float = 1.0) -> Face:
    """Return a face known only by its landmarks, or a LandmarkError where these are not 68 finite (x, y) pairs."""
    points = check_landmarks(landmarks)
    left, top = (float(v) for v in points.min(axis=0))
    right, bottom = (float(v) for v in points.max(axis=0))
    return Face(points, score, (left, top, right, bottom))


def mirror_landmarks(landmarks: Floats, width: int) -> Floats:
    """Return landmarks (68, 2) of a picture as those of the picture flipped left to right, `width` pixels wide."""
    flipped: Floats = landmarks[MIRRORED].copy()
    flipped[:, 0] = width - 1 - flipped[:, 0]
    return flipped


def largest_first(faces: Sequence[Face]) -> list[Face]:
    """Return faces by falling area; equal ones from left to right, so that the order never depends on the finder."""
    return sorted(faces, key=lambda face: (-face.area, face.box))
