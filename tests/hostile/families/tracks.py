"""Landmarks: tracks that drive an avatar, and one photo's points."""

import io
import json
import struct
import zipfile

import numpy as np

from tests.hostile.case import Case
from tests.hostile.damage import DAMAGED, KEPT, WRONG

HUGE = 10**400
NAN = float("nan")


def command(codes):
    """What cannot be right is refused by either command; bilayer-device looks at it before anything takes time."""
    return "render" if 0 in codes else "device"


def words(goods, path, codes):
    return [*([] if 0 in codes else ["run"]), goods.bundle, "--drive", path.name, "--frames", 1, "--out", "out"]


def drive(name, content, suffix=".npy", codes=(3,), says=""):
    def lay(goods, folder):
        path = folder / f"track{suffix}"
        made = content(goods) if callable(content) else content
        path.write_bytes(made.encode() if isinstance(made, str) else made)
        return words(goods, path, codes)

    return Case("tracks", name, command(codes), lay, codes, says)


def landmarks(name, content, suffix, codes=(3,), says=""):
    def lay(goods, folder):
        path = folder / f"points{suffix}"
        made = content(goods) if callable(content) else content
        path.write_bytes(made.encode() if isinstance(made, str) else made)
        return [goods.photo, "--landmarks", path.name, "--checkpoint", goods.checkpoint, "--target", "none",
                "--no-mask", "--out", "out/a.dlc"]  # fmt: skip

    return Case("landmarks", name, "export", lay, codes, says)


def damaged(name, change, suffix, codes):
    def lay(goods, folder):
        path = folder / f"track{suffix}"
        change(path, as_bytes(goods.track, suffix))
        return words(goods, path, codes)

    return Case("tracks", f"{name}{suffix}", command(codes), lay, codes)


def damaged_points(name, change, suffix, codes):
    def lay(goods, folder):
        path = folder / f"points{suffix}"
        change(path, as_bytes(np.load(goods.landmarks), suffix))
        return [goods.photo, "--landmarks", path.name, "--checkpoint", goods.checkpoint, "--target", "none",
                "--no-mask", "--out", "out/a.dlc"]  # fmt: skip

    return Case("landmarks", f"{name}{suffix}", "export", lay, codes)


def as_bytes(array, suffix):
    if suffix == ".npy":
        return npy(array)
    if suffix == ".npz":
        return npz(landmarks=array)
    if suffix == ".csv":
        return "\n".join(f"{x},{y}" for x, y in array).encode()
    return json.dumps(array.tolist()).encode()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(compress=False, **arrays):
    file = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(file, **arrays)
    return file.getvalue()


def header(text, data=b"", version=(1, 0)):
    """A .npy file with this header, whatever it says."""
    body = (text + "\n").encode("latin-1")
    size = struct.pack("<H" if version == (1, 0) else "<I", len(body))
    return b"\x93NUMPY" + bytes(version) + size + body + data


def member(content, name="landmarks.npy", method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def patched_zip(content, offset, value):
    """A zip whose central directory has other bytes `offset` after its entry's signature."""
    at = content.rindex(b"PK\x01\x02") + offset
    return content[:at] + value + content[at + len(value) :]


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 68, 2), }"
HEADERS = {
    "header-cut": "{'descr': ",
    "header-nested": "(" * 3000,
    "header-a-call": "{'descr': __import__('os').getcwd(), 'fortran_order': False, 'shape': (1,)}",
    "header-long-number": "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 5000 + ", 68, 2)}",
    "header-400-digits": "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 400 + ", 68, 2)}",
    "header-negative": "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 68, 2)}",
    "header-terabyte": "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 68, 2)}",
    "header-float-shape": "{'descr': '<f4', 'fortran_order': False, 'shape': (4.0, 68, 2)}",
    "header-text-shape": "{'descr': '<f4', 'fortran_order': False, 'shape': '4'}",
    "header-no-dtype": "{'descr': 'no such', 'fortran_order': False, 'shape': (4, 68, 2)}",
    "header-object": "{'descr': '|O', 'fortran_order': False, 'shape': (4, 68, 2)}",
    "header-record": "{'descr': [('x', '<f4'), ('y', '<f4')], 'fortran_order': False, 'shape': (4, 68)}",
    "header-deep-record": "{'descr': [('x', " * 60 + "'<f4'" + ")]" * 60 + ", 'fortran_order': False, 'shape': (4,)}",
    "header-order-text": "{'descr': '<f4', 'fortran_order': 'yes', 'shape': (4, 68, 2)}",
    "header-nothing": "",
    "header-bytes": "b'" + "\\xff" * 40 + "'",
    "header-keys": "{1: 2, 'descr': '<f4', 'shape': (1,)}",
    "header-zero-bytes": "{'descr': '\x00', 'fortran_order': False, 'shape': (4, 68, 2)}",
    "header-void": "{'descr': '|V0', 'fortran_order': False, 'shape': (4, 68, 2)}",
    "header-many": "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 100 + ")}",
    "header-datetime": "{'descr': '<M8[999999999999999999999s]', 'fortran_order': False, 'shape': (1,)}",
    "header-comma-dtype": "{'descr': '<f4,<f4,', 'fortran_order': False, 'shape': (4, 68)}",
}
JSONS = {
    "long-number": f'{{"fps": {HUGE}, "landmarks": [[]]}}',
    "longer-number": '{"fps": ' + "9" * 5000 + ', "landmarks": []}',
    "points-400-digits": "[[" + ",".join([f"[{HUGE}, 1]"] * 68) + "]]",
    "points-1e999": "[[" + ",".join(["[1e999, 1]"] * 68) + "]]",
    "points-nan": "[[" + ",".join(["[NaN, 1]"] * 68) + "]]",
    "points-text": "[[" + ",".join(['["1", 1]'] * 68) + "]]",
    "points-three": "[[" + ",".join(["[1, 1, 1]"] * 68) + "]]",
    "fps-nan": '{"fps": NaN, "landmarks": [[' + ",".join(["[1, 1]"] * 68) + "]]}",
    "fps-negative": '{"fps": -25, "landmarks": [[' + ",".join(["[1, 2]"] * 68) + "]]}",
    "fps-true": '{"fps": true, "landmarks": [[' + ",".join(["[1, 2]"] * 68) + "]]}",
    "nested": "[" * 100_000,
    "nested-objects": '{"landmarks":' * 50_000,
    "not-utf-8": b'{"landmarks": "\xff\xfe"}',
    "utf-16": '{"landmarks": []}'.encode("utf-16"),
    "lone-surrogate": '{"landmarks": "\\ud800"}',
    "null": "null",
    "number": "1",
    "no-frames": '{"fps": 25, "landmarks": []}',
    "a-frame-is-null": '{"fps": 25, "landmarks": [null]}',
    "67-points": "[[" + ",".join(["[1, 2]"] * 67) + "]]",
    "key-of-lines": '{"a\\nb\\u001b[2J": 1}',
}
CASES = [
    *(damaged(name, change, ".npy", (3,)) for name, change in WRONG.items()),
    *(damaged(name, change, ".npz", (3,)) for name, change in WRONG.items() if name in ("fifo", "noise", "a-quarter")),
    *(damaged(name, change, ".json", (3,)) for name, change in WRONG.items() if name in ("endless", "empty", "zeros")),
    *(damaged(name, change, ".npy", KEPT) for name, change in DAMAGED.items()),
    *(damaged(name, change, ".npz", KEPT) for name, change in DAMAGED.items()),
    *(drive(f"npy-{name}", header(text, bytes(64))) for name, text in HEADERS.items()),
    *(drive(f"npz-{name}", member(header(HEADERS[name], bytes(64))), ".npz") for name in list(HEADERS)[:8]),
    *(drive(f"json-{name}", text, ".json") for name, text in JSONS.items()),
    drive("npy-version-3", header(GOOD, bytes(4 * 68 * 2 * 4), (3, 0))),
    drive("npy-header-of-4-gb", b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + GOOD.encode()),
    drive("npy-float64-too-large", lambda goods: npy(goods.track.astype(np.float64) * 1e300)),
    drive("npy-all-nan", lambda goods: npy(goods.track * NAN)),
    drive("npy-complex", lambda goods: npy(goods.track.astype(complex))),
    drive("npy-other-shape", lambda goods: npy(goods.track[:, :, 0])),
    drive("npy-longdouble", lambda goods: npy(goods.track.astype(np.longdouble) * np.longdouble("1e4000"))),
    drive("npz-lzma-damaged", patched_zip(member(bytes(2000), method=zipfile.ZIP_LZMA), 10, b"\x0e"), ".npz"),
    drive(
        "npz-lzma-noise",
        lambda goods: member(npy(goods.track), method=zipfile.ZIP_LZMA).replace(b"\x5d\0\0", b"\xff\xff\xff", 1),
        ".npz",
    ),
    drive(
        "npz-bz2-noise",
        lambda goods: member(npy(goods.track), method=zipfile.ZIP_BZIP2).replace(b"BZh9", b"BZh0", 1),
        ".npz",
    ),
    drive(
        "npz-deflate-noise",
        lambda goods: (
            npz(compress=True, landmarks=goods.track)[:60] + bytes(40) + npz(compress=True, landmarks=goods.track)[100:]
        ),
        ".npz",
    ),
    drive("npz-unknown-method", lambda goods: patched_zip(member(npy(goods.track)), 10, b"\x63\0"), ".npz"),
    drive("npz-encrypted", lambda goods: patched_zip(member(npy(goods.track)), 8, b"\x01\0"), ".npz"),
    drive("npz-claims-more", lambda goods: patched_zip(member(npy(goods.track)), 24, b"\xff\xff\xff\x7f"), ".npz"),
    drive("npz-offset-outside", lambda goods: patched_zip(member(npy(goods.track)), 42, b"\xff\xff\xff\x7f"), ".npz"),
    drive("npz-bomb", lambda goods: member(bytes(400 << 20), method=zipfile.ZIP_DEFLATED), ".npz"),
    drive("npz-fps-400-digits", lambda goods: npz(landmarks=goods.track, fps=np.array("9" * 400)), ".npz"),
    drive("npz-fps-nan", lambda goods: npz(landmarks=goods.track, fps=np.array(NAN)), ".npz"),
    drive("npz-fps-two", lambda goods: npz(landmarks=goods.track, fps=np.array([25, 25])), ".npz"),
    drive("npz-fps-complex", lambda goods: npz(landmarks=goods.track, fps=np.array(25j)), ".npz"),
    drive("npz-no-landmarks", lambda goods: npz(points=goods.track), ".npz"),
    drive("good", lambda goods: npy(goods.track), codes=(0,)),
    drive("good-npz", lambda goods: npz(landmarks=goods.track, fps=np.array(30.0)), ".npz", codes=(0,)),
    drive("good-float64-fortran", lambda goods: npy(np.asfortranarray(goods.track.astype(np.float64))), codes=(0,)),
    *(damaged_points(name, change, ".npy", (3,)) for name, change in WRONG.items()),
    *(damaged_points(name, change, ".npy", KEPT) for name, change in DAMAGED.items()),
    *(landmarks(f"npy-{name}", header(HEADERS[name], bytes(64)), ".npy") for name in HEADERS),
    *(landmarks(f"json-{name}", text, ".json") for name, text in list(JSONS.items())[:15]),
    landmarks("csv-long-number", ("9" * 5000 + ",1\n") * 68, ".csv"),
    landmarks("csv-long-field", '"' + "x" * 200_000 + '"\n' * 68, ".csv"),
    landmarks("csv-zero-bytes", "1,2\0\n" * 68, ".csv"),
    landmarks("csv-nan", "nan,1\n" * 68, ".csv"),
    landmarks("csv-1e999", "1e999,1\n" * 68, ".csv"),
    landmarks("pts-no-end", "version: 1\nn_points: 68\n{\n" + "1 2\n" * 68, ".pts"),
    landmarks("pts-long-number", "version: 1\nn_points: 68\n{\n" + ("9" * 400 + " 1\n") * 68 + "}", ".pts"),
    landmarks("npz-for-npy", lambda goods: npz(landmarks=np.load(goods.landmarks)), ".npy"),
]
