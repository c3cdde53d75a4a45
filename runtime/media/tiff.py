"""TIFFs that Pillow reads as another picture than they hold: told from their tags, and refused or put right.

Tags and their values are TIFF 6.0's; each case is one that Pillow 13 opens without a word (tests/runtime/test_tiff.py).
"""

import struct
from contextlib import suppress
from typing import Any, BinaryIO

_NEW_SUBFILE, _OLD_SUBFILE, _BITS, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 254, 255, 258, 262, 284, 339
_WIDTH, _HEIGHT, _BELOW, _DNG_VERSION = 256, 257, 330, 50706
_MOST_BELOW, _MOST_TAGS = 16, 4096  # that are looked at
_WHOLE = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # types of whole numbers, and of places
_RAW = "a camera's raw file, whose pictures here are previews; develop it, and save it as JPEG or PNG"


def misread(image: Any) -> str:
    """Return what is wrong with a TIFF as Pillow opened it, and the way out; empty where it will be read as it is.

    Bands of 16 bits in planes of their own, which Pillow takes for 8 bits, are mended here.
    """
    tags = image.tag_v2
    if tags.get(_NEW_SUBFILE, 0) & 1 or tags.get(_OLD_SUBFILE) == 2 or _DNG_VERSION in tags:
        return _RAW
    if _is_small_one(image):
        return "a TIFF whose first picture is a small one of another in it; save that one as PNG"
    if tags.get(_NEW_SUBFILE, 0) & 4:
        return "a TIFF that is a mask of another picture; save the picture itself as PNG"
    bits, formats = max(tags.get(_BITS, (1,))), tags.get(_SAMPLE_FORMAT, (1,))
    decoders = {tile[0] for tile in image.tile}
    if tags.get(_PLANAR, 1) == 2 and "raw" in decoders and bits == 16 and image.mode in ("RGB", "RGBA"):
        order = ";16B" if tags.prefix == b"MM" else ";16L"
        image.tile = [tile._replace(args=(tile.args[0] + order, *tile.args[1:])) for tile in image.tile]
    elif tags.get(_PLANAR, 1) == 2 and (image.mode == "LA" or (bits > 8 and "raw" in decoders)):
        return f"a TIFF with {bits}-bit samples, each colour in a plane of its own; save it as PNG"
    if 2 in formats and bits < 32:
        return f"a TIFF with signed {bits}-bit samples; save it as PNG"
    if image.mode in ("I", "F") and tags.prefix == b"MM" and "libtiff" in decoders:
        return f"a TIFF with compressed {bits}-bit samples, the high byte first; save it as PNG"
    return ""


def black_and_white(image: Any) -> tuple[float, float]:
    """Return black and white in values of deep grey: whole numbers go as far as their bits, fractions to 1."""
    tags = image.tag_v2
    white = 1.0 if image.mode.startswith("F") else 2.0 ** min(max(tags.get(_BITS, (16,))), 16) - 1
    return (white, 0.0) if tags.get(_PHOTOMETRIC) == 0 else (0.0, white)


def _is_small_one(image: Any) -> bool:
    """Whether a picture below the first has more pixels: of a camera's file whose preview is not marked as one."""
    stream: BinaryIO = image.fp
    here = stream.tell()
    try:
        stream.seek(0)
        head = stream.read(16)
        order, big = "<" if head[:2] == b"II" else ">", 43 in head[2:4]
        first = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)[0]
        for place in _numbers(stream, first, order, big).get(_BELOW, ()):
            below = _numbers(stream, place, order, big)
            if below.get(_WIDTH, (0,))[0] * below.get(_HEIGHT, (0,))[0] > image.width * image.height:
                return True
        return False
    finally:
        stream.seek(here)


def _numbers(stream: BinaryIO, place: int, order: str, big: bool) -> dict[int, tuple[int, ...]]:
    """Sizes and places in a directory by tag, of at most _MOST_BELOW numbers each; what is damaged is left out. Pillow
    leaves out the places of a BigTIFF.
    """
    found: dict[int, tuple[int, ...]] = {}
    head, entry, room = ("Q", "HHQ8s", 8) if big else ("H", "HHI4s", 4)
    with suppress(struct.error, ValueError, OSError):  # a file that ends there, or a place beyond all files
        stream.seek(place)
        (count,) = struct.unpack(order + head, stream.read(struct.calcsize(order + head)))
        size = struct.calcsize(order + entry)
        for tag, kind, length, value in struct.iter_unpack(order + entry, stream.read(min(count, _MOST_TAGS) * size)):
            if tag in (_WIDTH, _HEIGHT, _BELOW) and kind in _WHOLE:
                number = order + _WHOLE[kind] * min(length, _MOST_BELOW)
                if length * struct.calcsize(order + _WHOLE[kind]) > room:
                    stream.seek(struct.unpack(order + ("Q" if big else "I"), value)[0])
                    value = stream.read(struct.calcsize(number))
                found[tag] = struct.unpack_from(number, value)
    return {tag: numbers for tag, numbers in found.items() if numbers}
