"""Videos that drive an avatar, and videos to learn from."""

import struct

from tests.hostile.case import Case
from tests.hostile.damage import DAMAGED, KEPT, WRONG


def render(name, content, suffix=".mp4", codes=(3,), says=""):
    def lay(goods, folder):
        path = folder / f"video{suffix}"
        content(path, goods) if callable(content) else path.write_bytes(content)
        return [goods.bundle, "--drive", path.name, "--frames", 2, "--out", "out"]

    return Case("videos", name, "render", lay, codes, says)


def prepare(name, content, suffix=".mp4", codes=(3,), says=""):
    def lay(goods, folder):
        path = folder / f"video{suffix}"
        content(path, goods) if callable(content) else path.write_bytes(content)
        return ["videos", path.name, "--out", "out", "--size", 64, "--jobs", 1]

    return Case("videos", f"prepare-{name}", "prepare", lay, codes, says, begun=True)


def damaged(change):
    return lambda path, goods: change(path, goods.video.read_bytes())


def edited(change):
    return lambda path, goods: path.write_bytes(change(goods.video.read_bytes()))


def patched(box, offset, value):
    """The video with other bytes `offset` behind the name of a box."""

    def change(data):
        at = data.index(box) + 4 + offset
        return data[:at] + value + data[at + len(value) :]

    return edited(change)


def box(kind, data=b""):
    return struct.pack(">I", 8 + len(data)) + kind + data


FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41")
CASES = [
    *(render(name, damaged(change)) for name, change in WRONG.items()),
    *(render(name, damaged(change), codes=KEPT) for name, change in DAMAGED.items()),
    *(
        prepare(name, damaged(change))
        for name, change in WRONG.items()
        if name in ("fifo", "noise", "empty", "missing")
    ),
    render("only-a-head", FTYP),
    render("moov-of-4-gb", FTYP + struct.pack(">I", 0xFFFFFFFF) + b"moov"),
    render("moov-nested", FTYP + b"".join(struct.pack(">I", 80_000 - 8 * i) + b"moov" for i in range(9_000))),
    render("no-samples", FTYP + box(b"moov", box(b"mvhd", bytes(100)))),
    render("size-0-by-0", patched(b"avc1", 24, bytes(4)), codes=KEPT),
    render("size-65535", patched(b"avc1", 24, b"\xff" * 4), codes=KEPT),
    render("time-scale-0", patched(b"mdhd", 12, bytes(4)), codes=KEPT),
    render("time-scale-largest", patched(b"mdhd", 12, b"\xff" * 4), codes=KEPT),
    render("a-billion-samples", patched(b"stsz", 8, b"\x7f\xff\xff\xff"), codes=KEPT),
    render("a-billion-durations", patched(b"stts", 4, b"\x7f\xff\xff\xff"), codes=KEPT),
    render("chunk-outside", patched(b"stco", 8, b"\xff\xff\xff\xf0"), codes=KEPT),
    render("unknown-codec", patched(b"stsd", 12, b"zzzz"), codes=KEPT),
    render("a-list-of-others", b"ffconcat version 1.0\nfile /etc/passwd\nfile http://127.0.0.1:9/x\n"),
    render("a-playlist", b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n", ".m3u8"),
    render("a-playlist-named-mp4", b"#EXTM3U\n#EXTINF:10,\n/etc/passwd\n#EXT-X-ENDLIST\n"),
    render("an-sdp", b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n", ".sdp"),
    render("ogg-noise", b"OggS\0\2" + bytes(200), ".ogv"),
    render("matroska-head", b"\x1a\x45\xdf\xa3" + bytes(200), ".mkv"),
    render("matroska-endless-element", b"\x1a\x45\xdf\xa3\x01\xff\xff\xff\xff\xff\xff\xff" + bytes(64), ".webm"),
    render("avi-head", b"RIFF\xff\xff\xff\xffAVI LIST" + bytes(100), ".avi"),
    render(
        "sound-alone",
        b"RIFF"
        + struct.pack("<I", 8036)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
        + b"data"
        + struct.pack("<I", 8000)
        + bytes(8000),
        ".wav",
    ),
    render("gif-noise", b"GIF89a" + bytes(64), ".gif"),
    render("text", b"hello\n" * 100),
    render("a-photo", lambda path, goods: path.write_bytes(goods.photo.read_bytes()), codes=KEPT),
    render("y4m-huge", b"YUV4MPEG2 W65536 H65536 F25:1 Ip A1:1\nFRAME\n" + bytes(100), ".y4m"),
    render("y4m-negative", b"YUV4MPEG2 W-5 H7 F25:0 Ip A1:1\nFRAME\n" + bytes(100), ".y4m"),
    render("name-is-an-address", lambda path, goods: None, "http:127.0.0.1:9?x=1.mp4"),
    render("name-too-long", lambda path, goods: None, "x" * 300 + ".mp4"),
    prepare("no-face", lambda path, goods: path.write_bytes(goods.video.read_bytes()), codes=KEPT),
]
