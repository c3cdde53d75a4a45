"""Rows of pictures side by side on white, what each is written above it."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from bilayer.runtime.arrays import Bytes

GAP = 4  # px, between pictures
CAPTION_HEIGHT = 20  # px, of one line


def captioned_grid(
    rows: Sequence[Sequence[Bytes]],
    captions: Sequence[Sequence[str]],
    caption_height: int = CAPTION_HEIGHT,
    font_size: int = 12,
) -> Image.Image:
    """Lay pictures (S, S, 3) of one size out in rows, the first of which is the longest.

    A row's captions stand above it, in `caption_height` pixels; one without any, or beyond the end of `captions`,
    follows closely.
    """
    size = rows[0][0].shape[0]
    heads = [caption_height if index < len(captions) and captions[index] else 0 for index in range(len(rows))]
    width, height = len(rows[0]) * (size + GAP) - GAP, sum(heads) + len(rows) * (size + GAP) - GAP
    grid = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(grid), ImageFont.load_default(font_size)
    top = 0
    for index, (row, head) in enumerate(zip(rows, heads, strict=True)):
        for column, caption in enumerate(captions[index] if head else ()):
            draw.multiline_text((column * (size + GAP) + 2, top + 2), caption, fill="black", font=font, spacing=1)
        for column, picture in enumerate(row):
            grid.paste(Image.fromarray(picture), (column * (size + GAP), top + head))
        top += head + size + GAP
    return grid
