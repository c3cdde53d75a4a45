"""The sound of a video file, beside frames that keep the video's times."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from bilayer.runtime.files.reading import FileKind, open_file
from bilayer.runtime.media.sources import shows_pictures
from bilayer.runtime.media.video import VideoFrames, load_av, open_container, reason_of

_COPIED = ("aac", "mp3")  # codecs that every player takes in an .mp4; others become AAC
_RATES = (44100, 48000)  # samples a second that every player takes; others become the latter
_BIT_RATE = 160_000  # of AAC made here
_PRIMING = 0.1  # s before the first frame from which on packets are copied: a decoder starts on them, unheard

_log = logging.getLogger(__name__)


class Sound:
    """The sound of a video, copied packet by packet where an .mp4 takes its codec, else made AAC. A context manager.

    Attributes:
        kind: what becomes of it, for a person; None where the file has no sound.

    Raises:
        InputError: no such file, no video, or a damaged one.
        ToolMissingError: PyAV is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._av = path, load_av()
        with VideoFrames(path) as frames:
            self._start = frames.start
        with ExitStack() as opened:
            content = opened.enter_context(open_file(path, FileKind.VIDEO))
            self._file = opened.enter_context(open_container(content, path))
            self._opened = opened.pop_all()
        self._stream = self._file.streams.best("audio")
        codec = self._stream.codec_context if self._stream else None
        name = codec.codec.canonical_name if codec else ""
        # AAC without its header beside it, as in a broadcast, has it in each packet, where an .mp4 has no place for it
        self._copied = codec is not None and name in _COPIED and (name != "aac" or bool(codec.extradata))
        self.kind = None if codec is None else f"{name}, {'copied' if self._copied else 'made AAC'}"
        self._target: Any = None
        self._packets: Iterator[tuple[float, Any]] = iter(())
        self._next: tuple[float, Any] | None = None

    def __enter__(self) -> "Sound":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def add_to(self, file: Any) -> None:
        """Make a stream for it in PyAV's `file`, before anything is written there."""
        if self._copied:
            self._target = file.add_stream_from_template(self._stream)
            self._packets = self._read()
        elif self._stream is not None:
            codec = self._stream.codec_context
            rate = codec.sample_rate if codec.sample_rate in _RATES else _RATES[-1]
            self._target = file.add_stream("aac", rate=rate, layout="mono" if codec.channels == 1 else "stereo")
            self._target.bit_rate = _BIT_RATE
            self._packets = self._encode()
        self._next = next(self._packets, None)

    def write_until(self, seconds: float, file: Any) -> None:
        """Write what is heard before `seconds` after the first frame, to half a packet, and was not yet written."""
        while self._next is not None and self._next[0] < seconds:
            file.mux(self._next[1])
            self._next = next(self._packets, None)

    def _read(self) -> Iterator[tuple[float, Any]]:
        """Packets for the new file, and when the middle of each is heard."""
        last: int | None = None
        shift = round(self._start / self._stream.time_base)
        for packet in self._sifted(self._file.demux(self._stream)):
            if packet.pts is None or packet.dts is None or (last is not None and packet.dts <= last):
                continue
            middle = float((packet.pts - shift + (packet.duration or 0) / 2) * packet.time_base)
            if middle < -_PRIMING:
                continue
            last = packet.dts
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = self._target
            yield middle, packet

    def _encode(self) -> Iterator[tuple[float, Any]]:
        """The same of what is made here."""
        for piece in chain(self._sifted(self._pieces()), [None]):
            for packet in self._target.encode(piece):
                yield float((packet.pts + (packet.duration or 0) / 2) * packet.time_base), packet

    def _pieces(self) -> Iterator[Any]:
        """Samples for the encoder from the first frame on; gaps are silent."""
        codec = self._target.codec_context
        options = {"async": "1", "first_pts": "0"}  # of FFmpeg's aresample: silence into gaps, and before a late begin
        resampler = self._av.AudioResampler(codec.format, codec.layout, codec.sample_rate, 1024, options)
        for frame in self._file.decode(self._stream):
            if frame.pts is not None:
                frame.pts -= round(self._start / frame.time_base)
                yield from resampler.resample(frame)
        yield from resampler.resample(None)

    def _sifted(self, items: Iterator[Any]) -> Iterator[Any]:
        """Them, as far as they can be read."""
        try:
            yield from items
        except (self._av.FFmpegError, OSError, ValueError) as error:  # ValueError: other samples than before
            _log.warning("%s: its sound is damaged, and ends early (%s)", self._path, reason_of(error))


@contextmanager
def open_sound(path: Path) -> Iterator[Sound | None]:
    """Yield the sound of what drives; None where that has none, or is a picture.

    Raises:
        InputError: no such file, or a damaged one.
        ToolMissingError: PyAV is not installed, for a video.
    """
    if shows_pictures(path):
        yield None
        return
    with Sound(path) as sound:
        yield sound if sound.kind else None
