"""Tables of many photos, and folders of them."""

import json
import shutil

from tests.hostile.case import Case
from tests.hostile.damage import DAMAGED, KEPT, WRONG

GOOD = b"photo,name\nno-such-photo.png,a\n"


def table(name, content, suffix=".csv", codes=(3,), says=""):
    def lay(goods, folder):
        path = folder / f"all{suffix}"
        content(path, GOOD) if callable(content) else path.write_bytes(content.encode("utf-8", "surrogatepass"))
        return [path.name, "--target", "none", "--out", "out", "--jobs", 1]

    return Case("manifests", name, "export", lay, codes, says, begun=True)  # results.jsonl tells of what failed


def row(title, codes=(3,), **fields):
    """Of a photo that is right, but for these fields."""

    def lay(goods, folder):
        shutil.copy(goods.photo, folder / "face.png")
        shutil.copy(goods.landmarks, folder / "face.npy")
        content = json.dumps({"photo": "face.png", "landmarks": "face.npy", **fields})
        (folder / "all.jsonl").write_text(content + "\n")
        more = ["--checkpoint", goods.runs, "--no-mask", "--refine", "none", "--jobs", 1]
        return ["all.jsonl", "--target", "none", "--out", "out", *more]

    return Case("manifests", title, "export", lay, codes, begun=True)


def places(name, words, lay_more=lambda goods, folder: None, says=""):
    def lay(goods, folder):
        (folder / "photos").mkdir()
        lay_more(goods, folder / "photos")
        return [*words, "--target", "none", "--jobs", 1]

    return Case("manifests", name, "export", lay, (2, 3), says)


TEXTS = {
    "no-rows": "photo,name\n",
    "no-photo": "name\na\n",
    "a-column-too-many": "photo\na.png,b,c\n",
    "an-unknown-column": "photo,colour\na.png,red\n",
    "a-column-twice": "photo,photo\na.png,b.png\n",
    "an-open-quote": 'photo\n"a.png\n',
    "a-zero-byte": "photo\na\0b.png\n",
    "a-field-of-a-megabyte": "photo\n" + "a" * (1 << 20) + ".png\n",
    "a-name-twice": "photo,name\na.png,a\nb.png,A\n",
    "nothing-but-a-mark": "\ufeff",
}
ROWS = {
    "name-above": {"name": "../a"},
    "name-absolute": {"name": "/tmp/a"},
    "name-of-lines": {"name": "a\nb\x1b[2J"},
    "name-a-zero-byte": {"name": "a\0b"},
    "name-too-long": {"name": "n" * 300},
    "name-half-a-pair": {"name": "\ud800"},
    "photo-half-a-pair": {"photo": "\ud800.png"},
    "photo-unknown-store": {"photo": "nostore://a/b.png", "name": "a"},
    "photo-of-another-host": {"codes": (3, 5), "photo": "http://127.0.0.1:9/b.png", "name": "a"},
    "photo-a-device": {"photo": "/dev/zero", "name": "a"},
    "size-400-digits": {"size": 10**400},
    "face-0": {"face": 0},
    "rotate-45": {"rotate": 45},
    "others-a-text": {"others": "a.png"},
    "refine-unknown": {"refine": "best"},
    "a-number-for-photo": {"photo": 1},
}
LINES = {
    "nested": "[" * 100_000,
    "nested-objects": '{"a":' * 50_000,
    "long-number": '{"photo": ' + "9" * 5000 + "}",
    "a-list": "[]",
    "null": "null",
    "two-a-line": "{}{}",
}
CASES = [
    *(table(name, change) for name, change in WRONG.items()),
    *(table(name, DAMAGED[name], codes=KEPT) for name in ("half", "head-flipped", "16-bits-flipped")),
    *(table(name, text) for name, text in TEXTS.items()),
    *(row(title, **fields) for title, fields in ROWS.items()),
    *(table(name, text, ".jsonl") for name, text in LINES.items()),
    places("an-empty-folder", ["photos"], says="expected photos"),
    places("a-pattern-of-nothing", ["photos/*.png"], says="expected photos"),
    places("an-odd-pattern", ["photos/[z-a].png"]),
    places("an-unknown-store", ["nostore://a"]),
    places("a-store-without-a-name", ["://"]),
    places("out-to-an-unknown-store", ["photos", "--out", "nostore://a"], lambda g, f: shutil.copy(g.photo, f)),
    places("a-cluster-that-is-none", ["photos", "--ray", "no such:9"], lambda g, f: shutil.copy(g.photo, f)),
    places("a-port-beyond", ["photos", "--ray", "127.0.0.1:99999"], lambda g, f: shutil.copy(g.photo, f)),
]
