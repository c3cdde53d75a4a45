"""A face in a photo -> the square crop and pose vector that the networks were trained on; stickman.py draws the third.

Every number here is the published model's (its preprocessing at inference), so that a checkpoint sees what it
saw in training. Pure numpy and Pillow: driving from video runs it on every frame, and what is wrong with landmarks is
told before more is loaded.

Landmarks are 68 (x, y) points in iBUG order, in pixels, x right and y down.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.errors import LandmarkError, in_short
from bilayer.runtime.face.ibug import NUM_LANDMARKS

MAX_CROP_SIDE = 1 << 15  # px; a wild landmark must not ask for gigabytes
FLATTEST = 0.05  # width over length, by deviations: points that are flatter lie on a line, to a pixel or two


@dataclass(frozen=True)
class CropBox:
    """A square of side `2 * half` around (`x`, `y`), in photo pixels; it may leave the photo."""

    x: int
    y: int
    half: int

    @property
    def side(self) -> int:
        """Side of the square in photo pixels."""
        return 2 * self.half

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in photo pixels."""
        return self.x - self.half, self.y - self.half, self.x + self.half, self.y + self.half


@dataclass(frozen=True, eq=False)
class Crop:
    """What the networks need of one frame: the resized crop and where its landmarks lie."""

    image: Bytes  # (S, S, 3) RGB
    pose: Floats  # (136,) x0, y0, x1, y1, ...; -1..1 across the crop, not clipped
    box: CropBox


def check_landmarks(landmarks: object) -> Floats:
    """Return landmarks as (68, 2) float32; a LandmarkError for another shape, no numbers, NaN or infinite values."""
    try:
        with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is reported as such
            points = np.asarray(landmarks, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise LandmarkError(f"landmarks: expected 68 (x, y) pairs of numbers ({in_short(error)})") from error
    if points.shape != (NUM_LANDMARKS, 2):
        found = f"found {points.shape}; give the 68 points of iBUG's order"
        raise LandmarkError(f"landmarks: expected shape (68, 2), {found}")
    if not np.isfinite(points).all():
        bad = int(np.argmin(np.isfinite(points).all(axis=1)))
        found = f"point {bad} is {points[bad].tolist()}, expected finite pixel positions"
        raise LandmarkError(f"landmarks: {found}; mend it, or find the points anew")
    return points


def on_a_line(landmarks: Floats) -> NDArray[np.bool_]:
    """Return whether points (..., N, 2) lie on a line or at a point, (...): a broken tracker's, and never a face.

    A face in profile is still a third as wide as high, by the deviations along the axes of its points.
    """
    points = np.array(landmarks, np.float64)
    points -= points.mean(axis=-2, keepdims=True)
    x, y = points[..., 0], points[..., 1]
    across, down, both = (x * x).sum(axis=-1), (y * y).sum(axis=-1), (x * y).sum(axis=-1)
    flat: NDArray[np.bool_] = across * down - both**2 <= FLATTEST**2 * (across + down) ** 2
    return flat


def check_is_face(landmarks: Floats, name: str) -> None:
    """Refuse the points (68, 2) of `name` where they lie in one place or on one line, by a LandmarkError."""
    if on_a_line(landmarks):
        where = "on one line" if np.ptp(landmarks, axis=0).any() else "in one place"
        raise LandmarkError(f"{name}: all landmarks {where}; expected a face: find its points anew")


def crop_box(landmarks: Floats) -> CropBox:
    """Return the crop by the published rule: twice the larger extent of the landmarks, raised by a sixth of it.

    Raises:
        LandmarkError: the landmarks span less than a pixel, or far more than a photo.
    """
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    half = int((high - low).max())
    check_pixels(float((high - low).max()))
    if not 1 <= half <= MAX_CROP_SIDE // 2:
        expected = f"expected 1 to {MAX_CROP_SIDE // 2}; give a face's points, in pixels of the photo"
        raise LandmarkError(f"landmarks: span {half} pixels, {expected}")
    x, y = (int(c) for c in np.round((low + high) / 2))  # numpy rounds halves to even
    return CropBox(x, y - half // 6, half)


def face_box(landmarks: Floats) -> CropBox:
    """Return the crop of a face's landmarks (68, 2), or a LandmarkError: they are no pixels of a photo, or no face."""
    box = crop_box(landmarks)
    check_is_face(landmarks, "landmarks")
    return box


def check_pixels(extent: float) -> None:
    """Refuse landmarks as many trackers give them, as parts of the picture's sides: a face spans pixels.

    Raises:
        LandmarkError: `extent`, the larger of width and height, is above 0 and below a pixel.
    """
    if 0 < extent < 1:
        way_out = "if they are parts of its sides (0 to 1), multiply x by its width and y by its height"
        raise LandmarkError(f"landmarks: span {extent:.2g}, expected pixels of the picture; {way_out}")


def pose_vector(landmarks: Floats, box: CropBox) -> Floats:
    """Return landmarks in photo pixels as (136,) in -1..1 across the crop, not clipped."""
    origin = np.array([box.x - box.half, box.y - box.half], dtype=np.float32)
    return (((landmarks - origin) / np.float32(box.side) - np.float32(0.5)) * 2).ravel()


def crop_face(photo: Bytes, landmarks: Floats, image_size: int) -> Crop:
    """Cut the face out of `photo` (H, W, 3) RGB, black outside of it, or raise a LandmarkError: they span no face."""
    points = check_landmarks(landmarks)
    box = face_box(points)
    return Crop(image=cut_box(photo, box, image_size), pose=pose_vector(points, box), box=box)


def cut_box(photo: Bytes, box: CropBox, image_size: int) -> Bytes:
    """Return a square of `photo` (H, W, 3), resized: (S, S, 3), black outside of the photo."""
    square = Image.fromarray(photo).crop(box.corners)
    return np.asarray(square.resize((image_size, image_size), Image.Resampling.BICUBIC))


def photo_part(photo: Bytes, box: CropBox, image_size: int) -> Floats:
    """Return where `cut_box` shows the photo (H, W, 3): (S, S), 1 there, 0 where any black from beyond is in it."""
    left, top, right, bottom = box.corners
    height, width = photo.shape[:2]
    return np.outer(_within(height, top, bottom, image_size), _within(width, left, right, image_size))


def _within(length: int, first: int, last: int, size: int) -> Floats:
    """Which of `size` pixels, of a row cut from `first` to `last`, are made of none beyond 0 to `length`: 1, else 0."""
    row = Image.fromarray(np.ones((1, length), np.float32)).crop((first, 0, last, 1))
    shares = np.asarray(row.resize((size, 1), Image.Resampling.BICUBIC))[0]
    within: Floats = (np.abs(shares - 1) < 1e-3).astype(np.float32)
    return within


def scale_image(image: Bytes) -> Floats:
    """Return (H, W, 3) bytes as (3, H, W) in -1..1."""
    planar = image.transpose(2, 0, 1).astype(np.float32)
    return (planar / np.float32(255) - np.float32(0.5)) * 2
