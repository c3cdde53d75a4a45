"""The photo that an avatar was made from, into which its frames are put: read before the avatar is loaded."""

from pathlib import Path

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.bundle import PhotoSource
from bilayer.runtime.errors import InputError
from bilayer.runtime.media.photo import read_photo

MAX_SIDE = 1920  # px, of what is shown; larger photos are made smaller


def read_whole_photo(path: Path, source: PhotoSource) -> Bytes:
    """Return the photo (H, W, 3) RGB, turned upright, that `source` tells of.

    Raises:
        PhotoError: no photo.
        InputError: another one, by its shape.
    """
    photo = read_photo(path)
    check_shape(photo, source, path)
    return photo


def check_shape(photo: Bytes, source: PhotoSource, name: str | Path) -> None:
    """Raise an InputError where a photo (H, W, 3), called `name`, has another shape than `source` was made from."""
    height, width = photo.shape[:2]
    expected = source.photo_size
    if abs(width * expected[1] - height * expected[0]) > max(expected):
        way_out = "give the photo that the avatar was made from, turned as it was then"
        found = f"{width} x {height}"
        raise InputError(f"{name}: expected a photo of {expected[0]} x {expected[1]} pixels, found {found}; {way_out}")


def shown_size(photo: Bytes) -> tuple[int, int]:
    """Return height and width in which a photo (H, W, 3) is shown, px."""
    height, width = photo.shape[:2]
    times = min(1.0, MAX_SIDE / max(height, width))
    return max(round(height * times), 1), max(round(width * times), 1)
