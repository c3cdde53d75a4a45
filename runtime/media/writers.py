"""Frames to an .mp4, a .gif, or a folder of PNGs: written whole or not at all."""

import io
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Protocol

import numpy as np
from PIL import Image

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.errors import InputError, OutputError
from bilayer.runtime.files.places import check_video, is_for_pngs
from bilayer.runtime.files.reasons import why_not_written
from bilayer.runtime.files.writing import new_folder, replacing
from bilayer.runtime.media.frame_times import MAX_RATE
from bilayer.runtime.media.gif import GifWriter
from bilayer.runtime.media.sound import Sound
from bilayer.runtime.media.video import load_av, reason_of

QUALITY = "18"  # x264's constant rate factor: 0 is lossless, 18 next to it, 23 its default


class FrameWriter(Protocol):
    """Takes one frame after the other."""

    def write(self, frame: Bytes) -> None:
        """Add a frame (H, W, 4) RGBA, of the first one's size; it is not kept."""
        ...


def open_writer(out: str | Path, rate: float, sound: Sound | None = None) -> AbstractContextManager[FrameWriter]:
    """Return what writes `out`: an .mp4 or .gif, else a folder of PNGs. Nothing of it is seen before all is written.

    Transparency is kept by PNGs; a GIF's pixels are opaque or not; an .mp4 shows it as black.

    Args:
        out: to write.
        rate: frames a second; above 0, at most 240. PNGs have none.
        sound: put beside an .mp4's frames, as long as there are any; others have none.

    Raises:
        OutputError: an unknown extension or a place that cannot be written to; and where the context ends, if no
            frame was written or the disk is full.
        ToolMissingError: PyAV is not installed.
    """
    if not 0 < rate <= MAX_RATE:
        raise InputError(f"rate: expected above 0, up to {MAX_RATE:g} frames a second, found {rate:g}")
    out = Path(out)
    check_video(out)
    if is_for_pngs(out):
        return _png_folder(out)
    return _gif(out, rate) if out.suffix.lower() == ".gif" else _mp4(out, rate, sound)


@contextmanager
def _mp4(out: Path, rate: float, sound: Sound | None) -> Iterator[FrameWriter]:
    av = load_av()
    with replacing(out) as part:
        try:
            # FFmpeg's bitexact: no time and no version in the file. Moov first, so that it plays while it loads
            options = {"fflags": "+bitexact", "movflags": "+faststart"}
            # Marked as a file, or a name like 10:20.mp4 would be a protocol to FFmpeg. Not as a file object: PyAV 18
            # crashes where writing to one fails on a full disk
            file = av.open(f"file:{part.absolute()}", "w", format="mp4", options=options)
            with file:
                writer = _Mp4Writer(av, file, rate, sound)
                yield writer
                writer.finish()
        except av.FFmpegError as error:
            why = why_not_written(OSError(error.errno, reason_of(error)))
            raise OutputError(f"{out}: writing failed: {why}") from error
        _check_count(out, writer.count)


class _Mp4Writer:
    def __init__(self, av: Any, file: Any, rate: float, sound: Sound | None) -> None:
        self._av, self._file, self._rate = av, file, Fraction(rate).limit_denominator(1001)
        self._sound = sound
        self._stream: Any = None
        self._opaque: Bytes | None = None  # (H, W, 3), reused
        self.count = 0

    def write(self, frame: Bytes) -> None:
        if self._opaque is None:
            self._start(*frame.shape[:2])
        assert self._opaque is not None
        on_black(frame, self._opaque)
        picture = self._av.VideoFrame.from_ndarray(self._opaque, format="rgb24")
        picture.pts = self.count
        self.count += 1
        self._file.mux(self._stream.encode(picture))
        if self._sound is not None:
            self._sound.write_until(float(self.count / self._rate), self._file)

    def _start(self, height: int, width: int) -> None:
        """H.264 as every player and browser takes it: 4:2:0, which asks for even sides; a black line fills up."""
        options = {"crf": QUALITY, "preset": "medium", "threads": "1"}  # more threads, other bytes
        if platform.machine() in ("x86_64", "AMD64"):
            # On a busy machine with AVX-512 one file in three had other bytes in its first frame; none of 500 with
            # these, which every 64-bit processor has had since 2009, and which take no longer
            options["x264-params"] = "asm=SSE2,SSSE3,SSE4.2"
        self._stream = self._file.add_stream("libx264", rate=self._rate, options=options)
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._stream.pix_fmt = "yuv420p"
        if self._sound is not None:
            self._sound.add_to(self._file)
        self._opaque = np.zeros((self._stream.height, self._stream.width, 3), np.uint8)

    def finish(self) -> None:
        if self._stream is not None:
            self._file.mux(self._stream.encode())


@contextmanager
def _gif(out: Path, rate: float) -> Iterator[FrameWriter]:
    with replacing(out) as part, TemporaryFile(dir=part.parent) as spool:
        writer = GifWriter(spool)
        yield writer
        _check_count(out, writer.count)
        part.write_bytes(writer.encoded(rate))


@contextmanager
def _png_folder(out: Path) -> Iterator[FrameWriter]:
    with new_folder(out) as draft:
        writer = _PngWriter(draft)
        yield writer
        _check_count(out, writer.count)


class _PngWriter:
    def __init__(self, folder: Path) -> None:
        self._folder, self.count = folder, 0

    def write(self, frame: Bytes) -> None:
        # Encoded before it is opened: Pillow, interrupted, leaves a file open, and Python says so at its end
        encoded = io.BytesIO()
        Image.fromarray(frame).save(encoded, "PNG", compress_level=3)
        (self._folder / f"{self.count:05d}.png").write_bytes(encoded.getbuffer())
        self.count += 1


def on_black(frame: Bytes, out: Bytes) -> None:
    """Lay a frame (H, W, 4) over black, into the upper left of `out` (H or more, W or more, 3)."""
    height, width = frame.shape[:2]
    out[:height, :width] = frame[..., :3]
    if frame[..., 3].min() < 255:
        out[:height, :width] = frame[..., :3] * (frame[..., 3:] / np.float32(255))


def on_white(frame: Bytes) -> Bytes:
    """Return a frame (H, W, 4) over white: (H, W, 3)."""
    alpha = frame[..., 3:] / np.float32(255)
    return np.asarray(np.rint(frame[..., :3] * alpha + 255 * (1 - alpha)), np.uint8)


def _check_count(out: Path, count: int) -> None:
    if count == 0:
        raise OutputError(f"{out}: no frame to write; check the driver")
