"""An exported avatar: its contract, network and texture."""

import copy
import hashlib
import json
import shutil

from tests.hostile.case import Case
from tests.hostile.damage import DAMAGED, KEPT, WRONG
from tests.hostile.raw_safetensors import safetensors

HUGE = 10**400


def bundle(name, change, codes=(3,), command="render", says=""):
    """`change` gets the folder of a copy."""

    def lay(goods, folder):
        shutil.copytree(goods.bundle, folder / "avatar")
        change(folder / "avatar")
        more = ["--demo-motion", "--frames", 1, "--out", "out"] if command == "render" else []
        return ["avatar", *more]

    return Case("bundles", name, command, lay, codes, says)


def contract(name, *path, value, codes=(3,), says=""):
    """One field of avatar.json has another value."""

    def change(folder):
        content = json.loads((folder / "avatar.json").read_text())
        at = content
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = (
            value(copy.deepcopy(at.get(path[-1]) if isinstance(at, dict) else at[path[-1]]))
            if callable(value)
            else value
        )
        (folder / "avatar.json").write_text(json.dumps(content))

    return bundle(name, change, codes, says=says)


def text(name, content, codes=(3,)):
    def change(folder):
        (folder / "avatar.json").write_bytes(content.encode() if isinstance(content, str) else content)

    return bundle(name, change, codes)


def whole_file(name, key, change, rehash=True, codes=(3,), command="render"):
    """One of the files is damaged; with `rehash` the contract agrees with what it is now."""

    def apply(folder):
        content = json.loads((folder / "avatar.json").read_text())
        path = folder / content["files"][key]["name"]
        good = path.read_bytes()
        path.unlink()
        change(path, good)
        if rehash and path.is_file():
            data = path.read_bytes()
            content["files"][key] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            (folder / "avatar.json").write_text(json.dumps(content))

    return bundle(name, apply, codes, command)


def damaged_json(change):
    def apply(folder):
        path = folder / "avatar.json"
        good = path.read_bytes()
        path.unlink()
        change(path, good)

    return apply


def texture(header, data=b"", **more):
    return lambda path, good: path.write_bytes(safetensors(header, data, **more))


REGULAR = ("empty", "one-byte", "a-quarter", "zeros", "noise", "a-web-page", "gzipped")
SPECIAL = ("missing", "folder", "fifo", "endless", "link-to-itself", "a-thousand-gigabytes")
VALUES = {
    "400-digits": HUGE,
    "nan": float("nan"),
    "negative": -1,
    "text": "1",
    "null": None,
    "list": [1],
    "65-bits": 1 << 64,
}
CASES = [
    *(bundle(f"json-{name}", damaged_json(change)) for name, change in WRONG.items()),
    *(bundle(f"json-{name}", damaged_json(change), KEPT) for name, change in DAMAGED.items()),
    *(contract(f"image-size-{name}", "image_size", value=value) for name, value in VALUES.items()),
    *(contract(f"gmacs-{name}", "graph", "gmacs", value=value) for name, value in VALUES.items() if name != "65-bits"),
    *(contract(f"poses-{name}", "verification", "poses", value=value) for name, value in VALUES.items()),
    *(
        contract(f"pose-{name}", "source", "pose", value=lambda pose, value=value: [value, *pose[1:]])
        for name, value in VALUES.items()
        if name != "negative"
    ),
    *(contract(f"bytes-{name}", "files", "onnx", "bytes", value=value) for name, value in VALUES.items()),
    contract("pose-too-long", "source", "pose", value=lambda pose: pose * 1000),
    contract("pose-a-point", "source", "pose", value=lambda pose: [0.0] * 136),
    contract("pose-1e300", "source", "pose", value=lambda pose: [1e300] * 136),
    contract("harmonics-billion", "input", "harmonics", value=1 << 40),
    contract("width-billion", "input", "width", value=1 << 40),
    contract("tensor-unknown", "input", "tensor", value="no such"),
    contract("channels-swapped", "outputs", "delta_uv", "start", value=5),
    contract(
        "channels-64-bits", "outputs", "delta_uv", value=lambda uv: uv | {"start": (1 << 63) - 3, "stop": (1 << 63) - 1}
    ),
    contract("scale-1e999", "outputs", "delta_uv", "scale", value=1e999),
    contract("scale-1e300", "outputs", "delta_uv", "scale", value=1e300, codes=(0, 3)),
    contract("size-4096", "image_size", value=4096),
    contract("opset-64-bits", "graph", "opset", value=(1 << 63) - 1, codes=(0, 3)),
    contract("file-outside", "files", "onnx", "name", value="../../etc/passwd"),
    contract("file-absolute", "files", "onnx", "name", value="/etc/passwd"),
    contract("file-a-dot", "files", "onnx", "name", value="."),
    contract("file-empty", "files", "onnx", "name", value=""),
    contract("file-zero-byte", "files", "onnx", "name", value="a\0b"),
    contract("file-too-long", "files", "onnx", "name", value="n" * 300),
    contract("file-surrogate", "files", "onnx", "name", value="\ud800.onnx"),
    contract("file-of-lines", "files", "onnx", "name", value="a\nb\x1b[2J"),
    contract("versions-of-a-megabyte", "origin", "versions", value={"v" * 300_000: "x"}, codes=(0, 3)),
    text("nested", "[" * 100_000),
    text("nested-objects", '{"a":' * 50_000),
    text("long-number", "9" * 5000),
    text("null", "null"),
    text("utf-16", "{}".encode("utf-16")),
    text("key-twice", '{"format": "bilayer-avatar", "format": 1}'),
    bundle("two-jsons", lambda folder: (folder / "b.json").write_text("{}")),
    bundle("no-json", lambda folder: (folder / "avatar.json").unlink()),
    *(
        whole_file(f"{key}-{name}", key, WRONG[name], rehash=False)
        for key in ("onnx", "texture", "preview")
        for name in SPECIAL
    ),
    *(whole_file(f"{key}-{name}", key, WRONG[name]) for key in ("onnx", "texture") for name in REGULAR),
    *(whole_file(f"onnx-{name}", "onnx", DAMAGED[name], codes=KEPT) for name in DAMAGED),
    *(
        whole_file(f"parity-onnx-{name}", "onnx", WRONG[name], command="parity")
        for name in ("empty", "noise", "a-quarter")
    ),
    *(
        whole_file(f"parity-onnx-{name}", "onnx", DAMAGED[name], command="parity", codes=(0, 3, 4))
        for name in ("half", "200-bits-flipped")
    ),
    *(
        whole_file(f"texture-{name}", "texture", texture(*given))
        for name, given in {
            "terabyte": ({"texture": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}},),
            "other-size": ({"texture": {"dtype": "F32", "shape": [1, 1, 4], "data_offsets": [0, 16]}}, bytes(16)),
            "other-name": ({"picture": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
            "long-number": (
                '{"texture": {"dtype": "F32", "shape": [' + "9" * 400 + '], "data_offsets": [0, 4]}}',
                bytes(4),
            ),
            "nested": ("[" * 100_000,),
            "nothing": ("{}",),
        }.items()
    ),
    bundle("good", lambda folder: None, (0,)),
]
