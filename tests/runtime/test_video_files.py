"""A video is what its content says: by no name, no neighbour and no header is it made another."""

import os
import re
import socket
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from bilayer.runtime.errors import InputError
from bilayer.runtime.files.kinds import kind_of
from bilayer.runtime.media.video import VideoFrames
from bilayer.runtime.media.writers import open_writer

av = pytest.importorskip("av")
from tests.runtime.video_files import add_cover, number_of, slide, write_slides  # noqa: E402  # it needs PyAV

ROOT = Path(__file__).parents[2]
NAMES = (
    "2024-01-01T10:20:30.mp4", "http:127.0.0.1:8765?leak=1.mp4", "file:other.mp4", "concat:a.mp4|b.mp4", "pipe:0",
    "subfile,,start,0,end,9,,:a.mp4", "data:text,a.mp4", "cache:a.mp4", "async:a.mp4", "crypto:a.mp4", "tee:a.mp4",
    "-i.mp4", "%05d.mp4", "a b'\"$(id).mp4", "ünïcode 🎬.mp4", "a.m3u8", "a.jpg", "no_suffix", "lavfi.mp4", "0",
)  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_slides(tmp_path_factory.mktemp("video") / "good.mp4", range(0, 400, 40))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_never_a_command(good, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(good.read_bytes())
    with VideoFrames(name) as video:
        assert [number_of(picture) for picture in video] == list(range(10))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".mp4")])
def test_a_name_to_write_is_none_either(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with open_writer(name, 25.0) as writer:
        for number in range(3):
            writer.write(np.dstack([slide(number), np.full((48, 64), 255, np.uint8)]))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with VideoFrames(name) as video:
        assert [number_of(picture) for picture in video] == [0, 1, 2]


def playlists(video):
    """Texts that FFmpeg would take for a video, and open others."""
    port = 8765
    return {
        "concat": f"ffconcat version 1.0\nfile {video}\n",
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\n{video}\n#EXT-X-ENDLIST\n",
        "hls to a server": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nhttp://127.0.0.1:{port}/a.ts\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        f"<Representation><BaseURL>{video}</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 8765 RTP/AVP 96\n",
        "image sequence": "P3 1 1 255 1 2 3\n",
        "subtitles": "1\n00:00:00,000 --> 00:00:10,000\nhello\n",
        "imf": '<?xml version="1.0"?><AssetMap></AssetMap>',
        "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1:8765/a.png"/></svg>',
    }


@pytest.mark.parametrize("kind", playlists("x"))
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".ffconcat"])
def test_a_text_that_names_other_files_is_no_video(good, tmp_path, monkeypatch, kind, suffix):
    calls = []
    monkeypatch.setattr(socket.socket, "connect", lambda *_: calls.append(1))
    path = tmp_path / f"list{suffix}"
    path.write_text(playlists(good)[kind])
    with pytest.raises(InputError, match=r"not a video that FFmpeg reads \(found text"):
        VideoFrames(path)
    assert not calls


def test_places_that_are_no_regular_file_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    for path, words in (
        (tmp_path / "pipe.mp4", "is a device, pipe or socket; name a video"),
        ("/dev/zero", "is a device, pipe or socket; name a video"),
        (tmp_path, "is a folder; name a video"),
        (tmp_path / "no.mp4", "no such file; name a video"),
        (tmp_path / ("n" * 300 + ".mp4"), "File name too long"),
    ):
        with pytest.raises(InputError, match=words):
            VideoFrames(path)


def test_nothing_else_of_the_product_opens_media():
    """`VideoFrames` and `open_writer` know how; OpenCV is given a webcam's number alone."""
    found = {}
    for room in ("runtime", "model", "export", "training", "benchmarks", "android_harness", "bilayer", "examples"):
        for path in (ROOT / room).rglob("*.py"):
            opens = re.findall(r"av\.open\(|VideoCapture\(\w+|cv2\.imread\b|\bImage\.open\(", path.read_text())
            if opens:
                found[path.relative_to(ROOT).as_posix()] = sorted(opens)
    assert found == {
        "runtime/media/photo.py": ["Image.open("],
        "runtime/media/video.py": ["VideoCapture(index", "av.open("],
        "runtime/media/writers.py": ["av.open("],
    }


CONTAINERS = {
    "a.mp4": ("libx264", None), "a.mov": ("mjpeg", None), "a.mkv": ("libx264", None), "a.webm": ("libvpx", None),
    "a.avi": ("mpeg4", None), "a.ts": ("libx264", "mpegts"), "a.mpg": ("mpeg2video", None), "a.flv": ("flv1", None),
    "a.wmv": ("wmv2", None), "a.3gp": ("mpeg4", None), "a.y4m": ("rawvideo", None), "a.ivf": ("libvpx", None),
    "a.mxf": ("mpeg2video", None), "a.h264": ("libx264", "h264"), "a.gif": ("gif", None),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_that_people_have_are_read_whatever_their_name(tmp_path, name):
    codec, container = CONTAINERS[name]
    with av.open(str(tmp_path / name), "w", format=container) as file:
        stream = file.add_stream(codec, rate=25, options={"bf": "0"} if codec == "libx264" else {})
        stream.width, stream.height = 64, 48
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
        for number in range(12):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(slide(3 * number), format="rgb24")))
        file.mux(stream.encode())
    plain = tmp_path / "video"
    (tmp_path / name).rename(plain)
    with VideoFrames(plain) as video:
        pictures = list(video)
    assert video.rate == pytest.approx(25, rel=1e-3)
    assert len(pictures) == 12
    for number, picture in enumerate(pictures):
        assert abs(float(picture.mean()) - (20 + 15 * number)) < (20 if name == "a.gif" else 6)
    if name in ("a.ts", "a.mpg", "a.flv", "a.wmv", "a.mkv", "a.avi", "a.mp4"):
        assert kind_of(plain) == "a video"


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
@pytest.mark.parametrize("attached", [True, False])
def test_a_cover_picture_in_front_is_not_the_video(good, tmp_path, name, attached):
    path = add_cover(tmp_path / name, good, attached=attached)
    with av.open(str(path)) as file:
        assert len(file.streams.video) == 2
        assert "mjpeg" in [stream.codec_context.name for stream in file.streams.video]
    with VideoFrames(path) as video:
        assert (video.rate, [number_of(picture) for picture in video]) == (25.0, list(range(10)))


def test_a_song_with_a_cover_is_no_video(tmp_path):
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as file:
        sound = file.add_stream("aac", rate=8000, layout="mono")
        cover = file.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        for packet in [*cover.encode(picture), *cover.encode(), *sound.encode(frame), *sound.encode()]:
            file.mux(packet)
    with pytest.raises(InputError, match="expected a video, found a cover picture alone"):
        VideoFrames(path)


def test_wide_pixels_are_made_square(tmp_path):
    path = write_slides(tmp_path / "a.mp4", range(0, 120, 40), sample_aspect_ratio=Fraction(16, 11))
    with VideoFrames(path) as video:
        assert next(iter(video)).shape == (48, round(64 * 16 / 11), 3)


def coloured(path, matrix, full=False, transfer=None, codec="libx264", pix_fmt="yuv420p"):
    """A video of one colour in this matrix, made without FFmpeg's own conversion."""
    red, green, blue = (value / 255 for value in COLOUR)
    kr, kb = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}[matrix]
    y = kr * red + (1 - kr - kb) * green + kb * blue
    u, v = (blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)
    levels = (255 * y, 128 + 255 * u, 128 + 255 * v) if full else (16 + 219 * y, 128 + 224 * u, 128 + 224 * v)
    plane = np.repeat(np.rint(levels), [64 * 48, 32 * 24, 32 * 24]).astype(np.uint8).reshape(72, 64)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_range = matrix, 2 if full else 1
        if transfer:
            context.color_trc = transfer
        for _ in range(2):
            frame = av.VideoFrame.from_ndarray(plane, format="yuv420p")
            frame.colorspace, frame.color_range = matrix, 2 if full else 1
            if transfer:
                frame.color_trc = transfer
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


COLOUR = (200, 120, 60)  # a skin's, saturated


@pytest.mark.parametrize("matrix", [1, 5, 9])  # BT.709, BT.601, BT.2020: ITU-T H.273
@pytest.mark.parametrize("full", [False, True])
def test_colours_are_those_of_the_videos_matrix_and_range(tmp_path, matrix, full):
    with VideoFrames(coloured(tmp_path / "a.mkv", matrix, full)) as video:
        np.testing.assert_allclose(next(iter(video))[24, 32], COLOUR, atol=3)


@pytest.mark.parametrize(("transfer", "kind"), [(16, "PQ"), (18, "HLG"), (1, "")])
def test_hdr_is_told_once(tmp_path, caplog, transfer, kind):
    path = coloured(tmp_path / "a.mp4", 9, transfer=transfer)
    with VideoFrames(path) as video:
        assert len(list(video)) == 2
    assert caplog.text.count("HDR video") == bool(kind)
    assert f"{path}: HDR video ({kind})" in caplog.text or not kind
