"""Frames of a video file or a webcam. PyAV, which brings FFmpeg along, reads files; OpenCV reads webcams."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.errors import InputError, ToolMissingError
from bilayer.runtime.files.kinds import kind_of
from bilayer.runtime.files.reading import FileKind, open_file
from bilayer.runtime.media.frame_times import MAX_PAUSE, MAX_RATE, Clock, choose_pace, intervals_of, paced
from bilayer.runtime.process.opencv import hushed_opencv
from bilayer.runtime.vocabulary import DEFAULT_FPS

# FFmpeg's names of containers that hold pictures themselves. Playlists (concat, hls, dash) would open other files,
# devices and text are no videos
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,apng,mjpeg,h264,hevc,ivf,dv,mxf,"
    "nut,yuv4mpegpipe,rm,wtv,av1,obu"
)
_KEPT_LENGTHS = ("mov", "matroska", "avi", "flv", "asf")  # containers whose header says how long they are
_MISSING = 0.25, 0.02  # s and share of the length that may be missing at the end
_HDR = {16: "PQ", 18: "HLG"}  # ITU-T H.273, transfer characteristics
_AGAIN = "copy or download it again"
_TOO_WIDE = 4  # times; a pixel's shape beyond that is damage

_log = logging.getLogger(__name__)


def load_av() -> Any:
    """Return the module of PyAV, or a ToolMissingError where it is not installed.

    What FFmpeg logs it hands on to nobody, unless its user asks it to: what is wrong is said in our own words.
    """
    try:
        import av
    except ImportError as error:
        raise ToolMissingError(f"videos need PyAV ({error}); pip install 'bilayer[video]'") from error
    return av


@dataclass(frozen=True, eq=False)
class _Scan:
    """What a video's packets tell, before one is decoded."""

    stream: int  # which of the file's streams
    times: list[float]  # s, of its frames, sorted
    end: float  # s, of all that the file holds
    length: float | None  # s that its header says; None where it does not


class VideoFrames:
    """The frames of a video file, upright, in order. A context manager.

    Frames come at a constant rate, so that each is shown at its time stamp, to half a frame: where the video's own
    rate varies some come several times, the same array each. `moments` gives each once, with its time.

    Attributes:
        rate: frames a second, up to 240.
        count: how many frames are to be expected.
        start: s, when the first frame is shown by the file's own clock.

    Raises:
        InputError: no such file, no video, or a damaged one.
        ToolMissingError: PyAV is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self._path, self._av = Path(path), load_av()
        self._content = open_file(self._path, FileKind.VIDEO)
        try:
            scan = self._scan()
            self._file = open_container(self._content, self._path)
            self._stream = self._file.streams[scan.stream]
        except BaseException:
            self._content.close()
            raise
        self._stream.thread_type = "NONE"  # with frame threads two test runs hung, probably here, on a damaged video
        claimed = [float(rate) for rate in (self._stream.average_rate, self._stream.base_rate) if rate]
        self._pace = choose_pace(scan.times, claimed)
        self.rate = self._pace.rate
        steps = intervals_of(scan.times)
        self._interval = float(np.median(steps)) if steps.size else 1 / self.rate
        self.count: int | None = max(self._pace.tick(float(steps.sum()) + self._interval), 1) if scan.times else None
        self.start = scan.times[0] if scan.times else 0.0
        self._cut = _cut_short(self._file, scan, self._stream.frames)

    def __enter__(self) -> "VideoFrames":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._content.close()

    def __iter__(self) -> Iterator[Bytes]:
        """(H, W, 3) RGB each, at the constant rate."""
        return paced(self._timed(), self._pace)

    def moments(self) -> Iterator[tuple[float, Bytes]]:
        """Yield each frame once: seconds since the first, and (H, W, 3) RGB."""
        return ((time, picture) for time, _, picture in self._timed())

    def _timed(self) -> Iterator[tuple[float, float, Bytes]]:
        """Seconds since the first frame, how long a last one would stand, and the picture."""
        clock, told = Clock(self._interval), False
        try:
            for frame in self._file.decode(self._stream):
                if not told and (kind := _HDR.get(int(frame.color_trc))):
                    advice = "convert it to SDR where colours count"
                    _log.warning("%s: HDR video (%s); its colours are taken as they are: %s", self._path, kind, advice)
                told = True
                standing = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 0.0
                yield clock.read(frame.time), min(max(standing, self._interval), MAX_PAUSE), self._upright(frame)
        except (self._av.FFmpegError, OSError) as error:
            damaged = f"the video is damaged or cut short ({reason_of(error)}); {_AGAIN}"
            raise InputError(f"{self._path}: {damaged}") from error
        if self._cut:
            _log.warning("%s: %s", self._path, self._cut)

    def _upright(self, frame: Any) -> Bytes:
        shape = self._stream.sample_aspect_ratio or 1  # of a pixel: DVDs, camcorders and some phones have wide ones
        width = round(frame.width * shape) if 1 / _TOO_WIDE <= shape <= _TOO_WIDE else frame.width
        picture: Bytes = frame.to_ndarray(format="rgb24", width=width, height=frame.height)
        turns = round(frame.rotation / 90) % 4  # counter-clockwise, of phones held upright
        return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture

    def _scan(self) -> _Scan:
        times: dict[int, list[float]] = {}
        end = 0.0
        with open_container(self._content, self._path) as file:
            cover = self._av.stream.Disposition.attached_pic | self._av.stream.Disposition.timed_thumbnails
            streams = [stream for stream in file.streams.video if not stream.disposition & cover]
            if not streams:
                found = "a cover picture alone" if file.streams.video else "no picture in it"
                raise InputError(f"{self._path}: expected a video, found {found}; name another")
            start = (file.start_time or 0) / self._av.time_base
            try:
                for packet in file.demux():
                    stamp = packet.dts if packet.pts is None else packet.pts
                    if stamp is None or packet.time_base is None:
                        continue
                    times.setdefault(packet.stream_index, []).append(float(stamp * packet.time_base))
                    end = max(end, float((stamp + (packet.duration or 0)) * packet.time_base) - start)
            except (self._av.FFmpegError, OSError):
                pass  # whoever reads the frames is told
            # A cover may be a stream like any other, of one frame
            moving = (stream.index for stream in streams if len(times.get(stream.index, [])) > 1)
            chosen = next(moving, streams[0].index)
            length = None if file.duration is None else file.duration / self._av.time_base
            if length is not None and file.format.name.startswith("matroska"):  # counted from 0, wherever it begins
                length -= max(0.0, start)
        return _Scan(chosen, sorted(times.get(chosen, [])), end, length)


def _cut_short(file: Any, scan: _Scan, claimed: int) -> str:
    """What to say of a file that ends before its header says, in seconds or in frames; empty otherwise."""
    if len(scan.times) < claimed * (1 - _MISSING[1]) - 1:
        return f"the video is cut short: {len(scan.times)} of {claimed} frames are there; {_AGAIN}"
    if scan.length is None or file.format.name.partition(",")[0] not in _KEPT_LENGTHS:
        return ""
    if scan.length - scan.end <= _MISSING[0] + _MISSING[1] * scan.length:
        return ""
    found = f"{scan.end:.2f} of {scan.length:.2f} seconds are there"
    return f"the video is cut short: {found}; {_AGAIN}"


def open_container(content: BinaryIO, path: Path) -> Any:
    """Return a file for PyAV, which is given no name: a name can be a command to FFmpeg (`http:...`, `concat:...`).

    Raises:
        InputError: no video.
    """
    av = load_av()
    content.seek(0)
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "none"}  # and opens no other file
    try:
        return av.open(content, container_options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        kind = kind_of(path)
        found = reason_of(error) if kind == "a video" else f"found {kind}"
        raise InputError(f"{path}: not a video that FFmpeg reads ({found}); name another") from error


class WebcamFrames:
    """The frames of a webcam, as they come. A context manager, which lets go of the camera.

    Attributes:
        rate: frames a second, as the camera's driver says.
        count: None.

    Raises:
        InputError: no such camera, or it is in use.
    """

    def __init__(self, index: int) -> None:
        import cv2

        with hushed_opencv():
            self._camera, self._index = cv2.VideoCapture(index), index
        if not self._camera.isOpened():
            raise InputError(f"webcam {index}: cannot be opened; check its number, and that no other program uses it")
        rate = float(self._camera.get(cv2.CAP_PROP_FPS))
        self.rate = min(rate, MAX_RATE) if rate > 0 else DEFAULT_FPS
        self.count: int | None = None

    def __enter__(self) -> "WebcamFrames":
        return self

    def __exit__(self, *_: object) -> None:
        self._camera.release()

    def __iter__(self) -> Iterator[Bytes]:
        """(H, W, 3) RGB each, until the camera gives none."""
        while True:
            with hushed_opencv():
                there, frame = self._camera.read()
            if not there:
                return
            yield np.ascontiguousarray(frame[..., ::-1])


def reason_of(error: Exception) -> str:
    """Return what FFmpeg says of an error, without the file's name."""
    return str(getattr(error, "strerror", None) or error)
