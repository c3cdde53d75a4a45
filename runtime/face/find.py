"""The face of a photo: which one to take where a picture holds several, and what may be wrong with it."""

import logging
from collections.abc import Sequence

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.errors import PhotoError
from bilayer.runtime.face.crop import crop_box
from bilayer.runtime.face.found import Face, Landmarker

MIN_EYE_DISTANCE = 25.0  # px between outer eye corners; below it landmarks are off by over 4 % of that distance
MAX_YAW = 40.0  # degrees; beyond it half of the face is a guess, and training saw little of it

MAX_ROLL = 45.0  # degrees; training faces stand upright

_log = logging.getLogger(__name__)


def choose_face(faces: Sequence[Face], number: int | None = None, name: str = "the photo") -> Face:
    """Return face `number` of `faces`, counted from 1; by default the first, with a warning where there are more.

    Raises:
        PhotoError: there is no face, or no such number.
    """
    if not faces:
        advice = "use a sharp, well-lit photo with the face at least 60 pixels wide, or give its landmarks"
        raise PhotoError(f"{name}: expected a face, found none; {advice}")
    if number is None:
        if len(faces) > 1:
            _log.warning("%s: found %d faces; taking the largest, --face N takes another", name, len(faces))
        return faces[0]
    if not 1 <= number <= len(faces):
        found = f"found {len(faces)}, of which 1 is the largest"
        raise PhotoError(f"{name}: face {number} asked for, {found}; crop the photo to the one that you mean")
    return faces[number - 1]


def face_concerns(face: Face, photo_shape: tuple[int, ...]) -> list[str]:
    """Return what is likely to spoil an avatar made of `face`, one sentence each; `photo_shape` is (H, W, ...)."""
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
    photo: Bytes,
    landmarker: Landmarker | None = None,
    number: int | None = None,
    name: str = "the photo",
) -> Face:
    """Return the face of `photo` (H, W, 3) RGB to make an avatar of; `face_concerns` tells what may spoil it.

    `landmarker` defaults to MediaPipe's networks. `number` counts faces from 1, the largest; `name` is what
    messages call the photo.

    Raises:
        PhotoError: there is no face, or no such number.
        ToolMissingError: the default landmarker is not set up.
    """
    if landmarker is None:
        from bilayer.runtime.face.mediapipe import MediapipeLandmarker

        landmarker = MediapipeLandmarker()
    return choose_face(landmarker.find(photo), number, name)
