"""A found face, what may be wrong with it, and which one to take when a picture holds several.

68 landmarks in iBUG order (300-W), in photo pixels: x right, y down, the centre of the top left pixel is (0, 0).
"Right" and "left" are the person's own: point 0 is the right ear, on the left of an unmirrored picture.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.crop import check_landmarks, crop_box
from bilayer.runtime.errors import PhotoError

RIGHT_EYE = slice(36, 42)
LEFT_EYE = slice(42, 48)
RIGHT_EYE_CORNER, LEFT_EYE_CORNER = 36, 45  # the outer ones, as 300-W measures its errors
RIGHT_EAR, NOSE_BRIDGE, LEFT_EAR = 0, 27, 16

# The person's right half against the left: position i holds the index of the mirror image of landmark i.
MIRRORED = np.array([
    16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0,  # jaw
    26, 25, 24, 23, 22, 21, 20, 19, 18, 17,  # brows
    27, 28, 29, 30, 35, 34, 33, 32, 31,  # nose
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,  # eyes
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,  # outer lips
    64, 63, 62, 61, 60, 67, 66, 65,  # inner lips
])  # fmt: skip

MIN_EYE_DISTANCE = 25.0  # px between outer eye corners; below it landmarks are off by over 4 % of that distance
MAX_YAW = 40.0  # degrees; beyond it half of the face is a guess, and training saw little of it
YAW_PER_OFFSET = 42.0  # degrees, see Face.yaw

MAX_ROLL = 45.0  # degrees; training faces stand upright

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Face:
    """One face in a picture."""

    landmarks: NDArray[np.float32]  # (68, 2) x, y in photo pixels
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

    def find(self, photo: NDArray[np.uint8]) -> list[Face]:
        """All faces of `photo` (H, W, 3) RGB, the largest first."""
        ...


def _eye_line(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vector from the right eye to the left one."""
    line = landmarks[LEFT_EYE].mean(axis=0) - landmarks[RIGHT_EYE].mean(axis=0)
    return np.asarray(line / max(float(np.linalg.norm(line)), 1e-6), dtype=np.float32)


def face_from_landmarks(landmarks: object, score: float = 1.0) -> Face:
    """A face known only by its 68 landmarks, from a file or another tracker.

    Raises:
        LandmarkError: not 68 finite (x, y) pairs.
    """
    points = check_landmarks(landmarks)
    left, top = (float(v) for v in points.min(axis=0))
    right, bottom = (float(v) for v in points.max(axis=0))
    return Face(points, score, (left, top, right, bottom))


def mirror_landmarks(landmarks: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Landmarks (68, 2) of a picture -> those of the picture flipped left to right, `width` pixels wide."""
    flipped: NDArray[np.float32] = landmarks[MIRRORED].copy()
    flipped[:, 0] = width - 1 - flipped[:, 0]
    return flipped


def largest_first(faces: Sequence[Face]) -> list[Face]:
    """Faces by falling area; equal ones from left to right, so that the order never depends on the finder."""
    return sorted(faces, key=lambda face: (-face.area, face.box))


def choose_face(faces: Sequence[Face], number: int | None = None, name: str = "the photo") -> Face:
    """Face `number` of `faces`, counted from 1; by default the first, with a warning where there are more.

    Raises:
        PhotoError: there is no face, or no such number.
    """
    if not faces:
        advice = "use a sharp, well-lit photo with the face at least 60 pixels wide, or give --keypoints"
        raise PhotoError(f"{name}: expected a face, found none; {advice}")
    if number is None:
        if len(faces) > 1:
            _log.warning("%s: found %d faces; taking the largest, --face N takes another", name, len(faces))
        return faces[0]
    if not 1 <= number <= len(faces):
        raise PhotoError(f"{name}: face {number} asked for, found {len(faces)}; 1 is the largest")
    return faces[number - 1]


def face_concerns(face: Face, photo_shape: tuple[int, ...]) -> list[str]:
    """What is likely to spoil an avatar made of `face`, one sentence each; `photo_shape` is (H, W, ...)."""
    concerns = []
    if face.eye_distance < MIN_EYE_DISTANCE:
        found = f"{face.eye_distance:.0f} pixels between the outer eye corners"
        concerns.append(f"the face is small: {found}, {MIN_EYE_DISTANCE:.0f} or more give reliable landmarks")
    if abs(face.yaw) > MAX_YAW:
        found = f"about {abs(face.yaw):.0f} degrees of yaw"
        concerns.append(f"the face is turned away: {found}, up to {MAX_YAW:.0f} work well")
    if abs(face.roll) > MAX_ROLL:
        found = f"the eye line is {abs(face.roll):.0f} degrees {'clock' if face.roll > 0 else 'counter-clock'}wise"
        concerns.append(f"the face is not upright: {found}; turn the photo back by that")
    box = crop_box(face.landmarks)
    left, top, right, bottom = box.corners
    width = max(0, min(right, photo_shape[1]) - max(left, 0))
    height = max(0, min(bottom, photo_shape[0]) - max(top, 0))
    outside = 1 - width * height / box.side**2
    if outside >= 0.01:
        concerns.append(f"the crop around the face leaves the picture: {outside:.0%} of it is filled with black")
    return concerns


def find_face(
    photo: NDArray[np.uint8],
    landmarker: Landmarker | None = None,
    number: int | None = None,
    name: str = "the photo",
) -> Face:
    """The face of `photo` (H, W, 3) RGB to make an avatar of; what may spoil it is logged as warnings.

    `landmarker` defaults to MediaPipe's networks. `number` counts faces from 1, the largest; `name` is what
    messages call the photo.

    Raises:
        PhotoError: there is no face, or no such number.
        ToolMissingError: the default landmarker is not set up.
    """
    if landmarker is None:
        from bilayer.runtime.mediapipe import MediapipeLandmarker

        landmarker = MediapipeLandmarker()
    face = choose_face(landmarker.find(photo), number, name)
    for concern in face_concerns(face, photo.shape):
        _log.warning("%s: %s", name, concern)
    return face
