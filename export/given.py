"""What may be given as a photo to make an avatar of, seen before anything is loaded; no avatar's preview may."""

from pathlib import Path
from typing import TYPE_CHECKING

from bilayer.runtime.bundle_names import CONTRACT_SUFFIX, PREVIEW_SUFFIX
from bilayer.runtime.errors import PhotoError
from bilayer.runtime.files import stores
from bilayer.runtime.files.kinds import check_photo_file
from bilayer.runtime.files.reading import StrPath
from bilayer.runtime.files.shell import pasted

if TYPE_CHECKING:
    from bilayer.runtime.arrays import Bytes


def contract_of(preview: str) -> str:
    """Return where the contract lies of the avatar that a picture would be the preview of; "" by any other name."""
    stem = preview.removesuffix(PREVIEW_SUFFIX)
    return "" if stem == preview or stem.endswith("/") else stem + CONTRACT_SUFFIX


def is_preview(picture: str) -> bool:
    """Return whether a picture, by its path or URL, is an avatar's preview: whether that lies beside it."""
    contract = contract_of(picture)
    return bool(contract) and stores.holds(contract)


def check_portrait(photo: StrPath) -> None:
    """See from its first bytes and its name that a file may be a photo to make an avatar of.

    Raises:
        PhotoError: no such file, an empty one, another kind of file, or an avatar's preview.
    """
    check_photo_file(Path(photo))
    if is_preview(str(photo)):
        command = f"bilayer-render {pasted(contract_of(str(photo)))} --demo-motion --out demo.mp4"
        raise PhotoError(f"{photo}: expected a photo, found the preview of an avatar; to see that move: {command}")


def read_portrait(photo: StrPath) -> "Bytes":
    """Return the pixels (H, W, 3) RGB, upright, of a photo to make an avatar of; 0.01 s a megapixel.

    Raises:
        PhotoError: as `check_portrait` and `read_photo` do.
    """
    check_portrait(photo)
    from bilayer.runtime.media.photo import read_photo  # numpy and Pillow are loaded where a photo is given

    return read_photo(photo)
