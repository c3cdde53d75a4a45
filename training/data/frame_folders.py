"""One frame of training data, read from the layout on disk (layout.py) at the size of training."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.errors import InputError, LandmarkError
from bilayer.runtime.face.crop import check_is_face, check_landmarks
from bilayer.runtime.files.arrays import parse_npy
from bilayer.runtime.files.reading import FileKind, is_folder, is_there, read_bytes
from bilayer.training.data.layout import COORDS, KEYPOINTS, MASKS, FrameSequence

MIN_KNOWN_AREA = 0.5  # of a shrunk pixel; below it the pixel's coordinate is unknown
MAX_COORD_SPREAD = 0.1  # standard deviation inside a shrunk pixel; above it lies a seam, whose mean is no place

MAX_SIDE = 8192  # px of a stored picture; a few KB of a PNG would ask for gigabytes

_PNG_END, _JPEG_END = b"IEND\xaeB`\x82", b"\xff\xd9"  # a decoder fills up what is cut off, without a word


@dataclass(frozen=True, eq=False)
class StoredFrame:
    """One frame at the size of training, in the types of the disk."""

    image: Bytes  # (S, S, 3) RGB
    mask: Bytes  # (S, S) 255 = person
    landmarks: Floats  # (68, 2) pixels of the picture as stored
    width: int  # px of the picture as stored
    coords: NDArray[np.float16] | None  # (S, S, 2)
    in_twos: bool = False  # its sequence is


def read_frame(sequence: FrameSequence, picture: Path, size: int, masks: bool, coords: bool) -> StoredFrame:
    """Return one of the sequence's pictures and all that belongs to it, `size` pixels square.

    Pictures are shrunk by averaging areas, which keeps fine structures from flickering, and enlarged bicubically;
    masks are resized bicubically as in the authors' training. Without `masks` all is foreground. With `coords`, a
    sequence that has none gets NaN.

    Raises:
        InputError: a file is missing, damaged, or not what the layout says; the message names it.
    """
    image = read_picture(picture, cv2.IMREAD_COLOR_RGB)
    frame = picture.stem + ".npy"
    landmarks = read_array(sequence.folder(KEYPOINTS) / frame)
    try:
        landmarks = check_landmarks(landmarks)
        check_is_face(landmarks, "keypoints")
    except LandmarkError as error:
        raise InputError(f"{sequence.folder(KEYPOINTS) / frame}: {error}") from error
    mask = np.full((size, size), 255, np.uint8)
    if masks:
        path = sequence.folder(MASKS) / f"{picture.stem}.png"
        stored = read_picture(path, cv2.IMREAD_GRAYSCALE)
        if stored.shape != image.shape[:2]:
            found = f"{stored.shape[1]} x {stored.shape[0]}"
            raise InputError(
                f"{path}: expected {image.shape[1]} x {image.shape[0]} pixels as the picture, found {found}"
            )
        if stored.max() <= 127:  # none, or a mask of 0 and 1, which would be one
            found = f"found {stored.max()} at most"
            raise InputError(f"{path}: mask: expected 255 where the person is, {found}; redo it, or delete the frame")
        mask = resize_mask(stored, size)
    field = None
    if coords:
        folder, field = sequence.folder(COORDS), np.full((size, size, 2), np.nan, np.float16)
        if is_folder(folder):
            field = resize_coords(_read_coords(folder / frame), size)
    return StoredFrame(resize_image(image, size), mask, landmarks, image.shape[1], field, sequence.in_twos)


def read_picture(path: Path, flags: int) -> Bytes:
    """Return a square picture, by OpenCV: (S, S, 3) RGB for `cv2.IMREAD_COLOR_RGB`, (S, S) for `cv2.IMREAD_GRAYSCALE`.

    Raises:
        InputError: no such file, not a whole PNG or JPEG, or not square.
    """
    content = np.frombuffer(_content(path, FileKind.FRAME_PICTURE), np.uint8)
    tail = content[-64:].tobytes()
    if _PNG_END not in tail and _JPEG_END not in tail:
        raise InputError(f"{path}: expected a PNG or JPEG, found {len(content)} bytes that do not end as one; redo it")
    expected = f"expected a square picture of at most {MAX_SIDE} pixels a side, cropped to the face"
    # Not by Image.open, whose warning of sizes can be silenced for all threads alone; they are looked at here
    plugin = PngImageFile if _PNG_END in tail else JpegImageFile
    try:
        width, height = plugin(io.BytesIO(content.tobytes())).size
    except Exception as error:  # a damaged header: a plugin raises anything
        raise InputError(f"{path}: expected a PNG or JPEG, found damaged data; redo it") from error
    if width != height or width > MAX_SIDE:
        raise InputError(f"{path}: {expected}, found {width} x {height} pixels")
    image = cv2.imdecode(content, flags)
    if image is None or image.shape[:2] != (height, width):
        raise InputError(f"{path}: expected a PNG or JPEG, found damaged data; redo it")
    return np.asarray(image, np.uint8)


def read_array(path: Path) -> NDArray[Any]:
    """Read a .npy file's array of numbers, nothing pickled, or raise an InputError where it is missing or damaged."""
    try:
        return parse_npy(_content(path, FileKind.ARRAY))
    except ValueError as error:
        reason = str(error)
        raise InputError(f"{path}: expected a .npy array of numbers, found damaged data ({reason}); redo it") from error


def resize_image(image: Bytes, size: int) -> Bytes:
    """Resize (H, H, 3) to (S, S, 3): areas averaged when shrunk, bicubic when enlarged."""
    if image.shape[0] == size:
        return image
    if image.shape[0] > size:
        return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))


def resize_mask(mask: Bytes, size: int) -> Bytes:
    """Resize (H, H) to (S, S), bicubic with antialiasing."""
    if mask.shape[0] == size:
        return mask
    return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.BICUBIC))


def resize_coords(coords: NDArray[np.float16], size: int) -> NDArray[np.float16]:
    """Resize (H, H, 2) to (S, S, 2): the mean of what is known in a pixel's area, NaN if under half, or at a seam.

    When enlarged, the nearest pixel's.
    """
    if coords.shape[0] == size:
        return coords
    full = coords.astype(np.float32)
    if coords.shape[0] < size:
        return np.asarray(cv2.resize(full, (size, size), interpolation=cv2.INTER_NEAREST), np.float16)
    known = np.asarray(np.isfinite(full).all(axis=2))
    full[~known] = 0
    area = _area_means(known.astype(np.float32), size)[..., None]
    weight = 1 / np.maximum(area, 1e-6)
    first, second = _area_means(full, size) * weight, _area_means(full * full, size) * weight
    spread = np.sqrt(np.maximum(second - first**2, 0)).max(axis=2)
    first[(area[..., 0] < MIN_KNOWN_AREA) | (spread > MAX_COORD_SPREAD)] = np.nan
    return first.astype(np.float16)


def _area_means(values: Floats, size: int) -> Floats:
    return np.asarray(cv2.resize(values, (size, size), interpolation=cv2.INTER_AREA), np.float32)


def _read_coords(path: Path) -> NDArray[np.float16]:
    coords = read_array(path)
    if coords.ndim != 3 or coords.shape[0] != coords.shape[1] or coords.shape[2] != 2 or coords.dtype.kind != "f":
        raise InputError(f"{path}: expected float16 of shape (S, S, 2), found {coords.dtype} of {coords.shape}")
    return coords.astype(np.float16, copy=False)


def _content(path: Path, kind: FileKind) -> bytes:
    if not is_there(path):
        raise InputError(f"{path}: expected this file, found none; bilayer-prepare check names all that is missing")
    return read_bytes(path, kind)
