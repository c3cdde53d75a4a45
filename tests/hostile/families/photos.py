"""Pictures: a photo to make an avatar of."""

import io
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image

from tests.hostile.case import Case
from tests.hostile.damage import DAMAGED, KEPT, WRONG


def export(name, content, suffix=".png", codes=(3,), says=""):
    def lay(goods, folder):
        path = folder / f"photo{suffix}"
        content(path, goods) if callable(content) else path.write_bytes(content)
        return [path.name, "--landmarks", goods.landmarks, "--checkpoint", goods.checkpoint, "--target", "none",
                "--no-mask", "--out", "out/a.dlc"]  # fmt: skip

    return Case("photos", name, "export", lay, codes, says)


def damaged(name, change, kind, codes):
    return export(f"{name}-{kind}", lambda path, goods: change(path, saved(goods, kind)), f".{kind}", codes)


def saved(goods, kind, **options):
    file = io.BytesIO()
    Image.open(goods.photo).convert("RGB").save(file, {"jpg": "JPEG", "tif": "TIFF"}.get(kind, kind.upper()), **options)
    return file.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, colour=2, depth=8, rows=None, extra=b""):
    """A PNG whose header claims this, with so much data as `rows` zeros compress to."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = zlib.compress(bytes(rows if rows is not None else 1000), 9)
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@cache
def bomb():
    """300 MB of zeros, compressed: made when a case asks, as it takes a second."""
    return zlib.compress(bytes(300 << 20))


def made(make):
    return lambda path, goods: path.write_bytes(make())


def flat(mode, side, **options):
    """A picture of one colour, small on disk whatever its side."""

    def lay(path, goods):
        kind = {".jpg": "JPEG", ".tif": "TIFF"}.get(path.suffix, path.suffix[1:].upper())
        Image.new(mode, side).save(path, kind, **options)

    return lay


def jpeg(path, goods, **options):
    path.write_bytes(saved(goods, "jpg", **options))


def edited(change, kind="jpg", **options):
    return lambda path, goods: path.write_bytes(change(saved(goods, kind, **options)))


def tiff(entries, tail=b""):
    """A little-endian TIFF of one directory; entries are tag, type, count, value."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4) + tail


def right_size(path, goods):
    path.write_bytes(saved(goods, "png"))


# A palette picture of 120 megapixels: 15 KB on disk, 120 MB as it is decoded, 2.8 GB on the way to RGB and sRGB
SIDE = (12_000, 10_000)
CASES = [
    *(damaged(name, change, "png", (3,)) for name, change in WRONG.items()),
    *(
        damaged(name, change, kind, KEPT)
        for kind in ("png", "jpg", "webp", "tif", "gif", "bmp")
        for name, change in DAMAGED.items()
        if kind == "png" or name in ("half", "200-bits-flipped")
    ),
    export("header-2-gigapixels", png(60_000, 40_000)),
    export("header-largest", png(0x7FFFFFFF, 0x7FFFFFFF)),
    export("header-no-width", png(0, 100)),
    export("header-wide", png(100_000_000, 1)),
    export("header-16-bit", png(1000, 1000, depth=16)),
    export("header-bad-depth", png(100, 100, depth=3)),
    export("bomb-in-text", made(lambda: png(64, 64, rows=64 * 193, extra=chunk(b"zTXt", b"a\0\0" + bomb())))),
    export(
        "bomb-in-profile",
        made(lambda: png(64, 64, rows=64 * 193, extra=chunk(b"iCCP", b"a\0\0" + bomb()))),
        codes=(0, 3),
    ),
    export("idat-bomb", made(lambda: png(64, 64, rows=400 << 20)), codes=(0, 3)),
    *(
        export(f"120-megapixels-{mode}", flat(mode, SIDE), ".png")
        for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "I;16")
    ),
    export("120-megapixels-jpg", flat("L", SIDE), ".jpg"),
    export("120-megapixels-cmyk", flat("CMYK", SIDE, quality=1), ".jpg"),
    export("120-megapixels-tif", flat("1", SIDE, compression="group4"), ".tif"),
    export("120-megapixels-deflate-float", flat("F", (8000, 8000), compression="tiff_adobe_deflate"), ".tif"),
    export("120-megapixels-webp", flat("RGB", (16_000, 7_000), lossless=True, quality=0, method=0), ".webp"),
    export("tiff-loop", tiff([(256, 4, 1, 8), (257, 4, 1, 8)])[:-4] + b"\x08\0\0\0", ".tif"),
    export("tiff-million-entries", b"II*\0\x08\0\0\0\xff\xff" + bytes(100), ".tif"),
    export(
        "tiff-strip-outside",
        tiff(
            [
                (256, 4, 1, 64),
                (257, 4, 1, 64),
                (258, 3, 1, 8),
                (259, 3, 1, 1),
                (262, 3, 1, 1),
                (273, 4, 1, 0x7FFFFFFF),
                (277, 3, 1, 1),
                (278, 4, 1, 64),
                (279, 4, 1, 4096),
            ]
        ),
        ".tif",
    ),
    export(
        "tiff-2-gigapixels",
        tiff(
            [
                (256, 4, 1, 60_000),
                (257, 4, 1, 40_000),
                (258, 3, 1, 8),
                (259, 3, 1, 1),
                (262, 3, 1, 1),
                (273, 4, 1, 8),
                (277, 3, 1, 1),
                (278, 4, 1, 64),
                (279, 4, 1, 64),
            ]
        ),
        ".tif",
    ),
    *(
        export(f"tiff-samples-{count}", tiff([(256, 4, 1, 8), (257, 4, 1, 8), (277, 3, 1, count)]), ".tif")
        for count in (0, 5, 7, 16255, 65535)
    ),
    export("tiff-type-0", tiff([(256, 0, 0xFFFFFFFF, 0)]), ".tif"),
    export(
        "bmp-negative",
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, -5, -5, 1, 24, 0, 0, 0, 0, 0, 0),
        ".bmp",
    ),
    export(
        "bmp-2-gigapixels",
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 60000, 40000, 1, 24, 0, 0, 0, 0, 0, 0),
        ".bmp",
    ),
    export(
        "gif-animation",
        lambda path, goods: Image.new("RGB", (64, 64)).save(
            path, save_all=True, append_images=[Image.new("RGB", (64, 64), "red")]
        ),
        ".gif",
    ),
    export(
        "gif-2-frames-lost", edited(lambda data: data[:-1] + b"\x2c" + bytes(9) + b"\x3b", "gif"), ".gif", codes=(0, 3)
    ),
    export("svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>', ".svg"),
    export("pdf", b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n", ".pdf"),
    export("postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n", ".eps"),
    export("video-as-jpg", lambda path, goods: path.write_bytes(goods.video.read_bytes()), ".jpg"),
    export("text-as-png", b"hello\n"),
    export(
        "exif-damaged",
        edited(lambda data: data[:2] + b"\xff\xe1\0\x20Exif\0\0II*\0\xff\xff\xff\xff" + bytes(16) + data[2:]),
        ".jpg",
        codes=(0, 3),
    ),
    export(
        "exif-turn-99",
        edited(lambda data: data, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0"),
        ".jpg",
        codes=(0,),
    ),
    export("profile-damaged", edited(lambda data: data, icc_profile=b"\0" * 200), ".jpg", codes=(0,)),
    export("profile-huge", edited(lambda data: data, icc_profile=b"\xff" * 2_000_000), ".jpg", codes=(0, 3)),
    export("1-pixel", flat("RGB", (1, 1)), codes=(0, 3)),
    export(
        "16-bit-grey", lambda path, goods: Image.fromarray(np.full((64, 64), 40000, np.uint16)).save(path), codes=(0,)
    ),
    export("float-nan", lambda path, goods: Image.fromarray(np.full((64, 64), np.nan, np.float32)).save(path), ".tif"),
    export("name-too-long", lambda path, goods: None, "x" * 300 + ".png"),
    export("name-of-lines", right_size, "\n\x1b[2J.png", codes=(0,)),
    export("good", right_size, codes=(0,), says="NOT verified|equals the trained model"),
]
