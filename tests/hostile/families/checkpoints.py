"""Weights: the authors' folders of pickles and args.txt, and our .safetensors."""

import io
import json
import pickle
import shutil
import struct
import warnings
import zipfile

from tests.hostile.case import Case
from tests.hostile.damage import DAMAGED, KEPT, WRONG
from tests.hostile.raw_safetensors import safetensors

HUGE = 10**400
EMBEDDER = "tiny_main/checkpoints/2_keypoints_embedder.pth"


def ours(name, content, codes=(3,), words=("inspect",), says=""):
    def lay(goods, folder):
        path = folder / "model.safetensors"
        content(path, goods) if callable(content) else path.write_bytes(content)
        return [*words, path.name]

    return Case("checkpoints", name, "checkpoint", lay, codes, says)


def theirs(name, change, codes=(3,), words=("convert", "--out", "out.safetensors"), says="", file=EMBEDDER):
    """`change` gets one file of the authors' folder and may do to it what it likes."""

    def lay(goods, folder):
        shutil.copytree(goods.runs, folder / "runs")
        path = folder / "runs" / file
        good = path.read_bytes()
        path.unlink()
        change(path, good)
        return [*words, "runs"]

    return Case("checkpoints", f"runs-{name}", "checkpoint", lay, codes, says)


def damaged(change):
    return lambda path, goods: change(path, goods.checkpoint.read_bytes())


def with_header(change):
    """Our checkpoint with another header; `change` gets what the metadata holds, and the header."""

    def lay(path, goods):
        content = goods.checkpoint.read_bytes()
        (size,) = struct.unpack_from("<Q", content)
        header = json.loads(content[8 : 8 + size])
        inner = json.loads(header["__metadata__"]["bilayer"])
        change(inner, header)
        header["__metadata__"]["bilayer"] = json.dumps(inner)
        path.write_bytes(safetensors(header, content[8 + size :]))

    return lay


def metadata(text):
    return safetensors(
        {"__metadata__": {"bilayer": text}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)
    )


def tensor(**fields):
    return safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **fields}}, bytes(4))


def setting(name, value):
    return with_header(lambda inner, header: inner["config"].update({name: value}))


def asks(function, *arguments, protocol=2):
    """A pickle of few bytes that calls what torch allows."""

    class Asks:
        def __reduce__(self):
            return function, arguments

    return pickle.dumps({"a": Asks()}, protocol)


def bytearray_of(count):
    """32 bytes that ask for `count`."""
    return b"\x80\x02c__builtin__\nbytearray\n" + b"\x8a\x05" + count.to_bytes(5, "little") + b"\x85R."


def torch_zip(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"archive/{name}", content)
    return file.getvalue()


def legacy(body):
    """torch's format before zip: magic number, version, system, then the pickle."""
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "protocol_version": 1001})
    return b"".join(pickle.dumps(part, 2) for part in head) + body


def saved(make, **options):
    def change(path, good):
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch has words for what few do
            torch.save(make(torch), path, **options)

    return change


def altered(change):
    def lay(path, good):
        import torch

        state = torch.load(io.BytesIO(good), map_location="cpu", weights_only=True)
        change(torch, state)
        torch.save(state, path)

    return lay


def first(state):
    return next(key for key in state if key.endswith(("weight", "weight_orig")))


def write(content):
    return lambda path, good: path.write_bytes(content)


CYCLE = b"\x80\x02]q\0h\0a."  # a list that holds itself
CASES = [
    *(ours(name, damaged(change)) for name, change in WRONG.items()),
    *(ours(name, damaged(change), KEPT) for name, change in DAMAGED.items()),
    *(theirs(name, change) for name, change in WRONG.items()),
    *(theirs(name, change, KEPT) for name, change in DAMAGED.items()),
    *(
        theirs(f"args-{name}", change, file="tiny_enhancer/args.txt")
        for name, change in WRONG.items()
        if name not in ("a-quarter", "one-byte", "missing", "link-to-itself")
    ),
    ours("header-longer-than-the-file", safetensors("{}", length=1 << 62)),
    ours("header-of-100-mb", safetensors("{}", length=100_000_001)),
    ours("header-nested", safetensors("[" * 100_000)),
    ours("header-nested-objects", safetensors('{"a":' * 50_000)),
    ours("header-no-json", safetensors("{'a': 1}")),
    ours("header-not-utf-8", safetensors(b'{"\xff": 1}')),
    ours("header-a-list", safetensors("[]")),
    ours("header-empty", safetensors("{}")),
    ours(
        "header-long-number",
        safetensors('{"a": {"dtype": "F32", "shape": [' + "9" * 400 + '], "data_offsets": [0, 4]}}', bytes(4)),
    ),
    ours("shape-terabyte", tensor(shape=[1 << 40])),
    ours("shape-overflows", tensor(shape=[1 << 62, 1 << 62])),
    ours("shape-negative", tensor(shape=[-1])),
    ours("shape-deep", tensor(shape=[1] * 5000)),
    ours("offsets-outside", tensor(data_offsets=[0, 1 << 40])),
    ours("offsets-swapped", tensor(data_offsets=[4, 0])),
    ours("offsets-one", tensor(data_offsets=[0])),
    ours("dtype-unknown", tensor(dtype="F1")),
    ours("dtype-f8", tensor(dtype="F8_E4M3", shape=[4])),
    ours("dtype-complex", tensor(dtype="C64", shape=[0], data_offsets=[0, 0])),
    *(
        ours(f"metadata-{name}", metadata(text))
        for name, text in {
            "none": "",
            "null": "null",
            "number": "1",
            "cut": '{"format": ',
            "nested": "[" * 100_000,
            "nested-objects": '{"a":' * 50_000,
            "long-number": "9" * 5000,
            "400-digits": '{"version": ' + "9" * 400 + "}",
            "nan": "NaN",
            "surrogate": '{"format": "\\ud800"}',
        }.items()
    ),
    ours("version-400-digits", with_header(lambda inner, header: inner.update(version=HUGE))),
    ours("networks-400-digits", with_header(lambda inner, header: inner.update(networks=HUGE))),
    *(
        ours(f"setting-{label}", setting(name, value))
        for label, name, value in [
            ("size-400-digits", "image_size", HUGE),
            ("size-0", "image_size", 0),
            ("size-negative", "image_size", -256),
            ("size-billion", "image_size", 1 << 30),
            ("size-not-a-power", "image_size", 65),
            ("size-text", "image_size", "64"),
            ("size-nan", "image_size", float("nan")),
            ("size-true", "image_size", True),
            ("channels-billion", "inf_num_channels", 1 << 30),
            ("channels-0", "emb_num_channels", 0),
            ("channels-64-bits", "tex_max_channels", (1 << 63) - 1),
            ("blocks-billion", "enh_num_blocks", 1 << 30),
            ("unknown", "no_such_setting", 1),
            ("norm-unknown", "inf_norm_layer_type", "no such"),
            ("unrolling-billion", "enh_unrolling_depth", 1 << 31),
            ("input-billion", "inf_input_tensor_size", 1 << 31),
            ("bottleneck-0", "enh_bottleneck_tensor_size", 0),
        ]
    ),
    ours("a-tensor-nobody-knows", with_header(lambda inner, header: header.update(zzz=header.pop(first(header))))),
    theirs("32-bytes-ask-for-gigabytes", write(bytearray_of(2_500_000_000))),
    theirs("32-bytes-in-a-zip", write(torch_zip({"data.pkl": bytearray_of(2_500_000_000), "version": "3\n"}))),
    theirs("32-bytes-legacy", write(legacy(bytearray_of(2_500_000_000)))),
    theirs("32-bytes-of-a-terabyte", write(bytearray_of(1 << 39))),
    theirs(
        "asks-for-many",
        write(
            b"\x80\x02]"
            + (b"c__builtin__\nbytearray\n" + b"\x8a\x05" + (300 << 20).to_bytes(5, "little") + b"\x85Ra") * 8
            + b"."
        ),
    ),
    theirs("list-in-itself", write(CYCLE)),
    theirs("deep-tuples", write(b"\x80\x02" + b")" + b"\x85" * 200_000 + b".")),
    theirs("stack-empty", write(b"\x80\x02R.")),
    theirs("memo-missing", write(b"\x80\x02h\x05.")),
    theirs("memo-of-billions", write(b"\x80\x02]r\xff\xff\xff\x7f.")),
    theirs("text-of-4-gb", write(b"\x80\x02X\xff\xff\xff\xff.")),
    theirs("long-of-2-gb", write(b"\x80\x02\x8b\xff\xff\xff\x7f.")),
    theirs("calls-system", write(b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.")),
    theirs(
        "calls-eval", write(torch_zip({"data.pkl": b"\x80\x02c__builtin__\neval\nX\x011\0\0\x85R.", "version": "3\n"}))
    ),
    theirs("a-model-not-a-state", saved(lambda torch: torch.nn.Linear(2, 2))),
    theirs("a-list", saved(lambda torch: [torch.zeros(2)])),
    theirs("keys-are-numbers", saved(lambda torch: {1: torch.zeros(2)})),
    theirs("values-are-numbers", saved(lambda torch: {"a": 1})),
    theirs("value-of-400-digits", saved(lambda torch: {"a": HUGE})),
    theirs("a-sparse-tensor", saved(lambda torch: {"a": torch.eye(2).to_sparse()})),
    theirs(
        "a-sparse-tensor-of-terabytes",
        saved(lambda torch: {"a": torch.sparse_coo_tensor([[0], [0]], [1.0], (1 << 20, 1 << 20))}),
    ),
    theirs("a-meta-tensor", saved(lambda torch: {"a": torch.empty(1 << 20, 1 << 20, device="meta")})),
    theirs("an-expanded-tensor", saved(lambda torch: {"a": torch.zeros(1).expand(1 << 20, 1 << 20)})),
    theirs("a-complex-tensor", saved(lambda torch: {"a": torch.zeros(2, dtype=torch.complex64)})),
    theirs(
        "a-quantized-tensor", saved(lambda torch: {"a": torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8)})
    ),
    theirs(
        "legacy-half",
        lambda path, good: (
            saved(lambda torch: {"a": torch.zeros(1000)}, _use_new_zipfile_serialization=False)(path, good),
            path.write_bytes(path.read_bytes()[:-2000]),
        ),
    ),
    theirs("nan", altered(lambda torch, state: state.update({first(state): state[first(state)] * float("nan")}))),
    theirs(
        "dead-layer",  # 0 / 0 in its spectral norm
        altered(lambda torch, state: state.update({k: t * 0 for k, t in state.items() if k.endswith("_orig")})),
    ),
    theirs(
        "too-large", altered(lambda torch, state: state.update({first(state): state[first(state)] * 0 + 3e38})), (0, 3)
    ),
    theirs("other-shape", altered(lambda torch, state: state.update({first(state): torch.zeros(3, 5)}))),
    theirs("one-missing", altered(lambda torch, state: state.pop(first(state)))),
    theirs("one-more", altered(lambda torch, state: state.update(zzz=torch.zeros(3)))),
    theirs(
        "whole-numbers",
        altered(lambda torch, state: state.update({first(state): state[first(state)].to(torch.int64)})),
        (0, 3),
    ),
    *(
        theirs(f"args-{name}", write(text), file="tiny_enhancer/args.txt")
        for name, text in {
            "a-megabyte-line": b"image_size: " + b"9" * 1_000_000,
            "long-number": b"image_size: " + b"9" * 5000 + b"\n",
            "no-colon": b"image_size 64\n",
            "twice": b"image_size: 64\nimage_size: 128\n",
            "nan": b"image_size: nan\n",
            "zero-bytes": b"image_size: 6\0004\n",
            "utf-16": "image_size: 64\n".encode("utf-16"),
            "infinite": b"inf_num_channels: inf\n",
            "negative": b"image_size: -64\n",
            "billions": b"image_size: 1073741824\ninf_num_channels: 1073741824\n",
        }.items()
    ),
    ours("good", damaged(lambda path, good: path.write_bytes(good)), (0,), says="missing: nothing"),
    theirs("good", lambda path, good: path.write_bytes(good), (0,), says="keypoints_embedder|texture_generator"),
]
