"""A picture file of any common kind -> upright RGB bytes in sRGB; anything else is refused in one line.

What the file claims is checked from its header, before a single pixel is decoded.
"""

import importlib
import io
import itertools
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.errors import PhotoError, in_short
from bilayer.runtime.files.kinds import PHOTO_KINDS, check_photo_file, describe_head
from bilayer.runtime.files.reading import FileKind, open_file
from bilayer.runtime.files.reasons import why_not_read
from bilayer.runtime.files.shell import pasted
from bilayer.runtime.media.tiff import black_and_white, misread
from bilayer.runtime.process.native_stderr import sifting

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF")  # HEIF: where pillow-heif is installed
ANIMATED = ("PNG", "WEBP", "GIF", "AVIF")  # of them, those that may move
MAX_PIXELS = 120_000_000  # a 108-megapixel phone camera fits; 360 MB as RGB
BACKDROP = (255, 255, 255)  # what shows through transparent pixels

_ASKED_FOR = f"expected a photo ({PHOTO_KINDS})"
_LEAST, _USUAL = 0.02, 0.1  # s; browsers take less for a mistake, and show such a frame so long
_PROFILE_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}  # Pillow's mode -> colour space of an ICC profile

_log = logging.getLogger(__name__)


def read_photo(path: str | Path) -> Bytes:
    """Read a picture as (H, W, 3) RGB, turned upright by its EXIF orientation, in sRGB.

    Transparency is laid over `BACKDROP`; 16-bit grey is scaled to 8 bits; a colour profile is applied. Of the
    two pictures in a phone's MPO file the main one is taken.

    Raises:
        PhotoError: no such file, no picture, a damaged one, an animation or several pages, over `MAX_PIXELS`.
    """
    path = Path(path)
    with _opened(path) as image:
        black, white = _check_header(image, path)
        if _is_animated(image, path):
            extract = f"extract one: ffmpeg -i {pasted(path.name)} -frames:v 1 frame.png"
            raise PhotoError(f"{path}: expected one picture, found an animation or several pages; {extract}")
        return _to_rgb(_decode(image, path), black, white, path)


def is_animation(path: str | Path) -> bool:
    """Return whether a picture is an animated GIF, PNG, WebP or AVIF; errors are those of `read_photo`."""
    with _opened(Path(path)) as image:
        return image.format in ANIMATED and _is_animated(image, Path(path))


def read_animation(path: str | Path) -> Iterator[tuple[float, Bytes]]:
    """Yield each frame of an animated picture: for how many seconds it is shown, and its pixels as by `read_photo`.

    Raises:
        PhotoError: no such file, no picture, or a damaged one.
    """
    path = Path(path)
    with _opened(path) as image:
        black, white = _check_header(image, path)
        for number in itertools.count():
            with _telling_of_damage(path):
                if number == getattr(image, "n_frames", 1):
                    return
                image.seek(number)
            frame = _decode(image, path)
            seconds = float(frame.info.get("duration") or 0) / 1000
            yield (seconds if seconds >= _LEAST else _USUAL), _to_rgb(frame, black, white, path)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The picture, its header read."""
    try:
        check_photo_file(path)
        with open_file(path, FileKind.PHOTO, PhotoError) as stream:
            with warnings.catch_warnings(action="ignore"):  # Pillow warns of what is checked here, or repaired by it
                image = _open(stream, path)
            yield image
    except MemoryError as error:
        raise PhotoError(f"{path}: more pixels than there is memory for; scale it down") from error
    except OSError as error:
        raise PhotoError(f"{path}: reading failed: {why_not_read(error)}") from error


def _open(stream: BinaryIO, path: Path) -> Image.Image:
    _register_heif()
    known = [name for name in FORMATS if name in Image.OPEN]
    try:
        with _telling_of_damage(path):
            return Image.open(stream, formats=known)
    except UnidentifiedImageError as error:
        stream.seek(0)
        raise PhotoError(f"{path}: {_ASKED_FOR}, found {_describe(stream.read(512))}") from error
    except Image.DecompressionBombError as error:
        expected = f"expected at most {MAX_PIXELS // 10**6} million pixels, found more"
        raise PhotoError(f"{path}: {expected}; scale it down") from error


def _register_heif() -> None:
    Image.init()
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return


def _describe(head: bytes) -> str:
    """What a file that no decoder took starts like, and the way out."""
    kind = describe_head(head)
    way_out = {
        "a HEIC picture": "pip install 'bilayer[heic]', or save it as JPEG",
        "an AVIF picture": "which is damaged, or beyond this Pillow; save it as JPEG",
        "a video": "extract a frame: ffmpeg -i VIDEO -frames:v 1 frame.png",
        "a PDF": "save the picture in it as JPEG or PNG",
    }
    if kind in way_out:
        return f"{kind}; {way_out[kind]}"
    return f"{kind} that is none of these or is damaged; save it anew as JPEG or PNG"


def _check_header(image: Image.Image, path: Path) -> tuple[float, float]:
    """The values of deep grey that are black and white."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        expected = f"expected at most {MAX_PIXELS // 10**6} million"
        raise PhotoError(f"{path}: {width} x {height} pixels, {expected}; scale it down")
    with _telling_of_damage(path):  # tags of any type
        wrong = misread(image) if image.format == "TIFF" else ""
        levels = _black_and_white(image)
    if wrong:
        raise PhotoError(f"{path}: {_ASKED_FOR}, found {wrong}")
    return levels


def _is_animated(image: Image.Image, path: Path) -> bool:
    """Whether there are several frames or pages; a phone's MPO holds one photo and what belongs to it."""
    with _telling_of_damage(path):  # it looks for a second frame, which may be garbage
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def _decode(image: Image.Image, path: Path) -> Image.Image:
    try:
        quiet = sifting(lambda _: True) if image.format == "TIFF" else nullcontext()  # libtiff tells of each fault
        with _telling_of_damage(path), quiet, warnings.catch_warnings(action="ignore"):
            image.load()
    except MemoryError as error:
        raise PhotoError(f"{path}: {image.width} x {image.height} pixels exceed the memory; scale it down") from error
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the pixels are good; only the note on how to turn them is not
        _log.warning("%s: its EXIF data is damaged; taken as upright", path)
        return image


@contextmanager
def _telling_of_damage(path: Path) -> Iterator[None]:
    """Tell of whatever a decoder raises on truncated, corrupt or hostile data; it may be anything.

    What is no damage passes: that the system does not read the file, of which the door has told, that memory is out,
    and what `_open` tells of in words of its own.
    """
    try:
        yield
    except (PhotoError, MemoryError, UnidentifiedImageError, Image.DecompressionBombError):
        raise
    except Exception as error:
        advice = "copy or download it again"
        raise PhotoError(f"{path}: the picture is damaged or cut short ({in_short(error)}); {advice}") from error


def _to_rgb(image: Image.Image, black: float, white: float, path: Path) -> Bytes:
    """Any of Pillow's modes -> (H, W, 3) in sRGB, strip by strip; deep grey counts from `black` to `white`."""
    if image.mode.startswith(("I", "F")):
        return _scale_grey(image, black, white, path)
    opaque = "RGB" if image.has_transparency_data or image.mode not in _PROFILE_SPACES else image.mode
    to_srgb = _colour_transform(image.info.get("icc_profile"), opaque, path)
    whole = np.empty((image.height, image.width, 3), np.uint8)
    for rows, strip in _strips(image):
        if strip.has_transparency_data:
            layer = strip.convert("RGBA")
            strip = Image.new("RGB", strip.size, BACKDROP)
            strip.paste(layer, mask=layer.getchannel("A"))
        strip = to_srgb(strip.convert(opaque))
        whole[rows] = np.asarray(strip.convert("RGB"))
    return whole


def _strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """The picture in strips of a megapixel, from the top, each with its rows."""
    height = max(1, (1 << 20) // max(1, image.width))
    for top in range(0, image.height, height):
        bottom = min(image.height, top + height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


def _black_and_white(image: Image.Image) -> tuple[float, float]:
    if image.format == "TIFF":
        return black_and_white(image)
    return 0.0, 1.0 if image.mode.startswith("F") else 65535.0


def _scale_grey(image: Image.Image, black: float, white: float, path: Path) -> Bytes:
    """Deep grey (H, W) -> (H, W, 3), strip by strip."""
    whole = np.empty((image.height, image.width, 3), np.uint8)
    scale = np.float32(255 / (white - black))
    for rows, strip in _strips(image):
        values = np.asarray(strip)
        low, high = float(values.min()), float(values.max())
        if not (low >= min(black, white) and high <= max(black, white)):  # so that NaN fails
            found = f"expected 0 to {max(black, white):g}, found {low:g} to {high:g}"
            raise PhotoError(f"{path}: grey values: {found}; save it as 8-bit PNG")
        whole[rows] = np.round((values.astype(np.float32) - np.float32(black)) * scale)[:, :, None]
    return whole


def _colour_transform(profile: bytes | None, mode: str, path: Path) -> Callable[[Image.Image], Image.Image]:
    """What turns a picture of that mode from the colours of its ICC profile, if that fits, to sRGB (of Display P3)."""
    if not profile:
        return lambda image: image
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        described = ImageCms.getProfileDescription(source)
        if "sRGB" in described or source.profile.xcolor_space.strip() != _PROFILE_SPACES[mode]:
            return lambda image: image
        to_srgb = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        ImageCms.applyTransform(Image.new(mode, (1, 1)), to_srgb)
        return lambda image: ImageCms.applyTransform(image, to_srgb) or image
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        _log.warning("%s: its colour profile is damaged; colours taken as sRGB", path)
        return lambda image: image
