"""An exported avatar's lids: pieces of the texture in a file, and where the contract says that they belong."""

import hashlib
import json
import struct

from tests.hostile.damage import WRONG
from tests.hostile.families.bundles import SPECIAL, VALUES, bundle
from tests.hostile.raw_safetensors import safetensors

LEVELS = 2
LEFT, RIGHT = ({"tensor": name, "left": 4, "top": 4, "width": 2, "height": 2} for name in ("left", "right"))
SHAPE = [LEVELS, 2, 2, 4]
STORED = {
    "left": {"dtype": "F32", "shape": SHAPE, "data_offsets": [0, 128]},
    "right": {"dtype": "F32", "shape": SHAPE, "data_offsets": [128, 256]},
}


def lids(name, codes=(3,), stored=STORED, data=bytes(256), levels=LEVELS, eyes=(LEFT, RIGHT), change=None):
    """A bundle that has lids; with `change` its file is made another once the contract knows it."""

    def apply(folder):
        content = json.loads((folder / "avatar.json").read_text())
        path = folder / "avatar.lids.safetensors"
        good = safetensors(stored, data)
        path.write_bytes(good)
        described = {"name": path.name, "bytes": len(good), "sha256": hashlib.sha256(good).hexdigest()}
        content["files"]["lids"], content["lids"] = described, {"levels": levels, "eyes": list(eyes)}
        (folder / "avatar.json").write_text(json.dumps(content))
        if change:
            path.unlink()
            change(path, good)

    return bundle(f"lids-{name}", apply, codes, says="" if codes == (0,) else "lids")


def right(**fields):
    return LEFT, RIGHT | fields


def one(shape, end):
    return STORED | {"right": {"dtype": "F32", "shape": shape, "data_offsets": [128, end]}}


CASES = [
    lids("good", (0,)),
    *(lids(f"file-{name}", change=WRONG[name]) for name in ("empty", *SPECIAL)),
    *(lids(f"levels-{name}", levels=value) for name, value in VALUES.items()),
    *(lids(f"width-{name}", eyes=right(width=value)) for name, value in VALUES.items()),
    lids("more-levels", levels=64),
    lids("a-billion-levels", levels=1 << 30),
    lids("an-eye-too-few", eyes=(LEFT,)),
    lids("eyes-without-end", eyes=(LEFT, RIGHT) * 1000),
    lids("beyond-the-texture", eyes=right(left=4095)),
    lids("far-beyond", eyes=right(top=(1 << 63) - 2)),
    lids("one-tensor", eyes=right(tensor="left")),
    lids("no-such-tensor", eyes=right(tensor="\n\x1b[2J" * 1000)),
    lids("another-shape", stored=one([LEVELS, 4, 1, 4], 256)),
    lids("another-type", stored=STORED | {"left": STORED["left"] | {"dtype": "I32"}}),
    lids("a-tensor-too-many", stored=STORED | {"third": {"dtype": "F32", "shape": [0], "data_offsets": [256, 256]}}),
    lids("a-terabyte", stored=one([1 << 36, 4], 128 + (1 << 40))),
    lids("cut-short", data=bytes(200)),
    lids("nested", stored="[" * 100_000),
    lids("nan", data=bytes(252) + struct.pack("<f", float("nan"))),
    lids("infinite", data=struct.pack("<f", float("inf")) + bytes(252)),
]
