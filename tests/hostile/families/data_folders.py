"""Training data on disk, and frames that are compared."""

import json
import shutil

import numpy as np

from tests.hostile.case import Case
from tests.hostile.damage import DAMAGED, KEPT, WRONG
from tests.hostile.families.photos import flat, png
from tests.hostile.families.tracks import HEADERS, header, npy

FRAME = "p0/v/0/00000"


def check(name, change, kind="keypoints", suffix=".npy", codes=(3,), says=""):
    """One file of the folder, as `change` (of its path and good bytes) leaves it."""

    def lay(goods, folder):
        shutil.copytree(goods.data, folder / "data")
        path = folder / "data" / kind / "train" / f"{FRAME}{suffix}"
        good = path.read_bytes()
        path.unlink()
        change(path, good)
        return ["check", "data"]

    return Case("data", f"{kind}-{name}", "prepare", lay, codes, says)


def train(name, change, kind="keypoints", suffix=".npy", codes=(3,)):
    """The same, met by training; every frame is so, as training draws some of them."""

    def lay(goods, folder):
        from tests.training.tiny import toml

        shutil.copytree(goods.data, folder / "data")
        for path in sorted((folder / "data" / kind / "train").rglob(f"*{suffix}")):
            good = path.read_bytes()
            path.unlink()
            change(path, good)
        (folder / "settings.toml").write_text(toml())
        return [
            "base",
            "--config",
            "settings.toml",
            "--data",
            "data",
            "--out",
            "out",
            "--device",
            "cpu",
            "--no-validate",
        ]

    return Case("data", f"train-{kind}-{name}", "train", lay, codes, begun=True)


def layout(name, change, codes=(3,)):
    def lay(goods, folder):
        shutil.copytree(goods.data, folder / "data")
        change(folder / "data")
        return ["check", "data"]

    return Case("data", name, "prepare", lay, codes)


def compare(name, change, codes=(3,)):
    """A method's frame against the truth."""

    def lay(goods, folder):
        for kind in ("truth", "method"):
            (folder / kind).mkdir()
            shutil.copy(goods.photo, folder / kind / "1.png")
        path = folder / "method" / "1.png"
        good = path.read_bytes()
        path.unlink()
        change(path, good)
        return ["frames", "m=method", "--truth", "truth"]

    return Case("data", f"frames-{name}", "eval", lay, codes)


def heads(name, content, codes=(3,)):
    """A begun folder of synthetic heads."""

    def lay(goods, folder):
        (folder / "data").mkdir()
        content(folder / "data" / "heads.json") if callable(content) else (folder / "data" / "heads.json").write_bytes(
            content
        )
        return ["heads", "--out", "data", "--identities", 1, "--frames", 1, "--size", 64, "--jobs", 1]

    return Case("data", f"heads-{name}", "prepare", lay, codes)


def write(content):
    return lambda path, good: path.write_bytes(content)


def picture(mode, side):
    return lambda path, good: flat(mode, side)(path, None)


POINTS = np.zeros((68, 2), np.float32)
CASES = [
    *(check(name, change) for name, change in WRONG.items()),
    *(check(name, change, codes=KEPT) for name, change in DAMAGED.items()),
    *(check(name, write(header(text, bytes(64)))) for name, text in HEADERS.items()),
    *(
        train(name, write(header(HEADERS[name], bytes(64))))
        for name in ("header-cut", "header-400-digits", "header-terabyte", "header-nested")
    ),
    *(train(name, WRONG[name]) for name in ("fifo", "endless", "missing", "noise")),
    check(
        "version-3",
        write(header("{'descr': '<f4', 'fortran_order': False, 'shape': (68, 2)}", bytes(544), (3, 0))),
        codes=KEPT,
    ),
    check("nan", write(npy(POINTS * np.nan))),
    check("1e300", write(npy(POINTS.astype(np.float64) + 1e300))),
    check("objects", write(header("{'descr': '|O', 'fortran_order': False, 'shape': (68, 2)}", bytes(544)))),
    *(check(name, change, "imgs", ".png") for name, change in WRONG.items() if name not in ("a-quarter", "missing")),
    *(check(name, change, "imgs", ".png", KEPT) for name, change in DAMAGED.items()),
    check("2-gigapixels", write(png(50_000, 50_000)), "imgs", ".png"),
    check("largest", write(png(0x7FFFFFFF, 0x7FFFFFFF)), "imgs", ".png"),
    check("100-megapixels", picture("L", (10_000, 10_000)), "imgs", ".png", (0, 3)),
    check("400-megapixels", write(png(20_000, 20_000, colour=0, rows=20_001 * 20_000)), "imgs", ".png"),
    check("not-square", picture("RGB", (64, 32)), "imgs", ".png"),
    train("2-gigapixels", write(png(50_000, 50_000)), "imgs", ".png"),
    train("noise", WRONG["noise"], "imgs", ".png"),
    *(
        check(name, change, "segs", ".png")
        for name, change in WRONG.items()
        if name in ("fifo", "noise", "empty", "folder", "endless")
    ),
    check("2-gigapixels", write(png(50_000, 50_000, colour=0)), "segs", ".png"),
    *(check(name, write(header(HEADERS[name], bytes(64))), "coords") for name in list(HEADERS)[:8]),
    *(
        check(name, change, "coords")
        for name, change in WRONG.items()
        if name in ("fifo", "noise", "empty", "folder", "endless")
    ),
    check(
        "terabyte", write(header("{'descr': '<f2', 'fortran_order': False, 'shape': (700000, 700000, 2)}")), "coords"
    ),
    check("float64-inf", write(npy(np.full((64, 64, 2), 1e300))), "coords", codes=KEPT),
    layout("no-frames", lambda root: shutil.rmtree(root / "imgs/train/p0/v/0"), codes=KEPT),
    layout("no-folder", shutil.rmtree),
    layout("a-file-for-a-folder", lambda root: (shutil.rmtree(root / "imgs"), (root / "imgs").write_text("x"))),
    layout("a-loop", lambda root: (root / "imgs/train/p0/v/again").symlink_to("."), codes=(0, 3)),
    layout("empty-person", lambda root: (root / "imgs/train/p9").mkdir(), codes=(0, 3)),
    layout(
        "name-of-lines",
        lambda root: (root / "imgs/train/p0/v/0/00000.png").rename(root / "imgs/train/p0/v/0/a\nb\x1b[2J.png"),
    ),
    *(compare(name, change) for name, change in WRONG.items() if name != "a-quarter"),
    *(compare(name, change, KEPT) for name, change in DAMAGED.items()),
    compare("2-gigapixels", write(png(60_000, 40_000))),
    compare("other-size", picture("RGB", (64, 64))),
    *(
        heads(name, lambda path, change=change: change(path, b"{}"))
        for name, change in WRONG.items()
        if name not in ("missing", "a-quarter", "one-byte", "link-to-itself")
    ),
    *(
        heads(name, text)
        for name, text in {
            "null": b"null",
            "nested": b"[" * 100_000,
            "long-number": b"9" * 5000,
            "400-digits": b'{"version": ' + b"9" * 400 + b"}",
            "other": json.dumps({"format": "x"}).encode(),
        }.items()
    ),
]
