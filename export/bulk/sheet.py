"""A sheet of many avatars to look through: photo beside result, by name."""

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from bilayer.export.bulk.work import Row
from bilayer.runtime.bundle_names import CONTRACT_SUFFIX, PREVIEW_SUFFIX
from bilayer.runtime.errors import InputError
from bilayer.runtime.files import stores
from bilayer.runtime.files.reading import FileKind
from bilayer.runtime.media.captioned_grid import CAPTION_HEIGHT
from bilayer.runtime.media.photo import read_photo

MOST = 300  # avatars on a sheet: more would be too large to be opened
SIDE, COLUMNS, CAPTION = 112, 6, 16  # px of a picture; pairs in a row; px of a name's line
QUALITY = 88


def contact_sheet(out: str, rows: Sequence[Row]) -> bytes | None:
    """Return a JPEG of the first MOST avatars' photos and results; None where there is none.

    A photo that failed has its name on grey, with the reason's beginning.
    """
    shown = [row for row in rows if row.status != "same"][:MOST]
    if not shown:
        return None
    columns = min(COLUMNS, len(shown))
    lines = -(-len(shown) // columns)
    width, height = 2 * SIDE + 8, SIDE + CAPTION + 6
    sheet = Image.new("RGB", (columns * width, lines * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for number, row in enumerate(shown):
        left, top = number % columns * width + 4, number // columns * height + 2
        draw.text((left, top), _fitting(row.name, font), fill="black", font=font)
        place = (left, top + CAPTION)
        with tempfile.TemporaryDirectory(prefix="bilayer-bulk-") as folder:
            pair = _pair(out, row, Path(folder))
        if pair is None:
            draw.rectangle((*place, place[0] + 2 * SIDE, place[1] + SIDE), fill=(225, 225, 225))
            draw.multiline_text((left + 4, top + CAPTION + 4), _wrapped(row.error or "no preview"), "black", font)
        else:
            sheet.paste(pair, place)
    data = io.BytesIO()
    sheet.save(data, "JPEG", quality=QUALITY)
    return data.getvalue()


def _pair(out: str, row: Row, folder: Path) -> Image.Image | None:
    """Photo and result of an avatar's preview, the first and the last of its strip."""
    if row.avatar is None:
        return None
    place = stores.join(out, row.avatar.removesuffix(CONTRACT_SUFFIX) + PREVIEW_SUFFIX)
    try:
        strip = read_photo(stores.fetched(place, folder, FileKind.PHOTO))  # (H, W, 3)
    except InputError:
        return None
    strip = strip[CAPTION_HEIGHT:]
    pair = Image.new("RGB", (2 * SIDE, SIDE))
    for number, picture in enumerate((strip[:, : len(strip)], strip[:, -len(strip) :])):
        pair.paste(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS), (number * SIDE, 0))
    return pair


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """As much of the end of a text as has place above a pair."""
    while font.getlength(text) > 2 * SIDE and len(text) > 1:
        text = f"…{text[2:]}"
    return text


def _wrapped(text: str) -> str:
    return "\n".join(text[start : start + 38] for start in range(0, min(len(text), 38 * 7), 38))
