"""Videos with whatever time stamps, containers and streams, made for a test."""

from fractions import Fraction

import av
import numpy as np

QUICK = {
    "libx264": {"bf": "0", "crf": "10", "preset": "ultrafast"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "1M"},
}


def slide(number, height=48, width=64):
    """A grey picture (H, W, 3) that tells its number, up to 40, through any codec."""
    return np.full((height, width, 3), 20 + 5 * number, np.uint8)


def number_of(picture):
    """The number of a slide."""
    return round((float(picture.mean()) - 20) / 5)


def write_slides(path, milliseconds, codec="libx264", rate=25, container=None, **settings):
    """Slides 0, 1, ... at these times, in a file whose header claims `rate`; `settings` are the stream's."""
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, options=QUICK.get(codec, {}))
        stream.width, stream.height, stream.pix_fmt = 64, 48, settings.pop("pix_fmt", "yuv420p")
        for name, value in settings.items():
            setattr(stream, name, value)
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number, pts in enumerate(milliseconds):
            frame = av.VideoFrame.from_ndarray(slide(number), format="rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def add_cover(path, source, codec="mjpeg", attached=True):
    """The video in `source` with a cover picture as its first stream."""
    with av.open(str(source)) as given, av.open(str(path), "w") as file:
        cover = file.add_stream(codec, rate=25)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        if attached:
            cover.disposition = av.stream.Disposition.attached_pic
        video = file.add_stream_from_template(given.streams.video[0])
        picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 255, np.uint8), format="rgb24")
        for packet in [*cover.encode(picture), *cover.encode()]:
            file.mux(packet)
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                file.mux(packet)
    return path
