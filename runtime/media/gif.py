"""A film as a .gif: one palette for all of its frames, and dithering whose pattern stands still."""

import io
from itertools import pairwise
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bilayer.runtime.arrays import Bytes, Floats

COLOURS = 255  # and one for what is transparent
_SAMPLE = 16  # frames that the palette is made of, from the first to the last
_SAMPLE_PIXELS = 1 << 18  # of them, at the most
_BITS = 6  # of each colour channel, by which a pixel finds its palette entry; with 5 a film loses 2 dB
_STEPS = 4  # of k-means; more gain less than 0.1 dB
_DITHER = 4  # levels from the lowest to the highest that are added; 8 cost 2 dB and show more of the pattern


class GifWriter:
    """Takes frames, and writes them once all are known; they wait in `spool`, a new file, 4 bytes a pixel."""

    def __init__(self, spool: BinaryIO) -> None:
        self._spool, self._shape = spool, (0, 0, 4)
        self.count = 0

    def write(self, frame: Bytes) -> None:
        """Add a frame (H, W, 4) RGBA, of the first one's size."""
        self._shape = frame.shape
        self._spool.write(np.ascontiguousarray(frame).data)
        self.count += 1

    def encoded(self, rate: float) -> memoryview:
        """Return the file's bytes: the frames, one at least, at `rate` frames a second, to be shown over and over."""
        palette = _palette(self._sample())
        nearest, dither = _nearest(palette), _dither(*self._shape[:2])
        pictures = []
        for number in range(self.count):
            frame = self._read(number)
            indices = nearest[_codes(np.clip(frame[..., :3] + dither, 0, 255).astype(np.uint8))]
            see_through = frame[..., 3] < 128
            indices[see_through] = COLOURS
            picture = Image.fromarray(indices)
            picture.putpalette(palette.tobytes())
            if see_through.any():
                picture.info["transparency"] = COLOURS
            pictures.append(picture)
        # Durations are hundredths of a second: rounded ends keep the whole at its length
        ends = [round(100 * i / rate) * 10 for i in range(self.count + 1)]
        durations = [max(end - begin, 10) for begin, end in pairwise(ends)]
        first, *others = pictures
        whole = io.BytesIO()
        first.save(whole, "GIF", save_all=True, append_images=others, duration=durations, loop=0, disposal=2)
        return whole.getbuffer()

    def _read(self, number: int) -> Bytes:
        size = int(np.prod(self._shape))
        self._spool.seek(number * size)
        return np.frombuffer(self._spool.read(size), np.uint8).reshape(self._shape)

    def _sample(self) -> Bytes:
        """Colours (N, 3) of what is seen in some of the frames."""
        chosen = np.unique(np.linspace(0, self.count - 1, _SAMPLE).round().astype(int))
        step = max(1, int(np.ceil(np.sqrt(self._shape[0] * self._shape[1] * len(chosen) / _SAMPLE_PIXELS))))
        pixels = np.concatenate([self._read(number)[::step, ::step].reshape(-1, 4) for number in chosen])
        seen: Bytes = pixels[pixels[:, 3] >= 128, :3]
        return seen if len(seen) else np.zeros((1, 3), np.uint8)


def _palette(colours: Bytes) -> Bytes:
    """Up to 255 colours (K, 3) for those of a sample (N, 3): Pillow's median cut, then k-means of what it found."""
    cut = Image.fromarray(np.ascontiguousarray(colours[None])).quantize(COLOURS)
    entries: Floats = np.asarray(cut.getpalette(), np.float32).reshape(-1, 3)[: len(cut.getcolors() or [])]
    # The sample by the boxes that pixels are told apart by: how many are in each, and their mean
    codes = _codes(colours)
    boxes, counts = np.unique(codes, return_counts=True)
    order = np.searchsorted(boxes, codes)
    sums = np.stack([np.bincount(order, colours[:, channel]) for channel in range(3)], axis=1)
    means = np.rint(sums / counts[:, None]).astype(np.float32)
    for _ in range(_STEPS):
        owner = _closest(means, entries)
        weights = np.bincount(owner, counts, len(entries))
        totals = np.stack([np.bincount(owner, counts * means[:, c], len(entries)) for c in range(3)], axis=1)
        used = weights > 0
        entries[used] = np.rint(totals[used] / weights[used, None])
    return entries.astype(np.uint8)


def _closest(colours: Floats, entries: Floats) -> NDArray[np.intp]:
    """Which entry (K, 3) is nearest to each colour (N, 3).

    All are whole numbers: exact in any order, so that the same film gives the same bytes.
    """
    return np.asarray(((entries * entries).sum(axis=1) - 2 * colours @ entries.T).argmin(axis=1))


def _nearest(palette: Bytes) -> Bytes:
    """The palette's index for every code."""
    side = 1 << _BITS
    centres = (np.arange(side, dtype=np.float32) * 2 + 1) * (256 // side) - 1  # doubled: whole numbers
    green, blue = np.meshgrid(centres, centres, indexing="ij")
    doubled = palette.astype(np.float32) * 2
    slabs = [_closest(np.stack([np.full_like(green, red), green, blue], -1).reshape(-1, 3), doubled) for red in centres]
    return np.concatenate(slabs).astype(np.uint8)


def _codes(colours: Bytes) -> NDArray[np.int32]:
    """(..., 3) -> the number of the box that a colour lies in, 6 bits a channel."""
    red, green, blue = np.moveaxis((colours >> (8 - _BITS)).astype(np.int32), -1, 0)
    return np.asarray(red << 2 * _BITS | green << _BITS | blue)


def _dither(height: int, width: int) -> NDArray[np.int16]:
    """What is added to every frame (H, W, 1): Bayer's matrix of 8 x 8 (1973), its mean 0."""
    matrix = np.zeros((1, 1))
    for _ in range(3):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    added = np.rint(((matrix + 0.5) / matrix.size - 0.5) * _DITHER).astype(np.int16)
    return np.tile(added, (height // 8 + 1, width // 8 + 1))[:height, :width, None]
