"""TIFFs that Pillow reads as another picture than they hold: told from their tags, and refused or put right.

Tags and their values are TIFF 6.0's; each case is one that Pillow 13 opens without a word (tests/runtime/test_tiff.py).
"""

from typing import Any

_NEW_SUBFILE, _OLD_SUBFILE, _BITS, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 254, 255, 258, 262, 284, 339
_DNG_VERSION = 50706
_RAW = "a camera's raw file, whose pictures here are previews; develop it, and save it as JPEG or PNG"


def misread(image: Any) -> str:
    """What is wrong with a TIFF as Pillow opened it, and the way out; empty where it will be read as it is.

    Bands of 16 bits in planes of their own, which Pillow takes for 8 bits, are mended here.
    """
    tags = image.tag_v2
    if tags.get(_NEW_SUBFILE, 0) & 1 or tags.get(_OLD_SUBFILE) == 2 or _DNG_VERSION in tags:
        return _RAW
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
    """The values of deep grey that are black and white: whole numbers as far as their bits go, fractions to 1."""
    tags = image.tag_v2
    white = 1.0 if image.mode.startswith("F") else 2.0 ** min(max(tags.get(_BITS, (16,))), 16) - 1
    return (white, 0.0) if tags.get(_PHOTOMETRIC) == 0 else (0.0, white)
