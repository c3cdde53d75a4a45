"""A .dlc that is looked into."""

import io
import json
import random
import struct
import zipfile

from tests.export import dlc_writer
from tests.hostile.case import Case
from tests.hostile.damage import DAMAGED, KEPT, WRONG


def inspect(name, content, codes=(3,), words=("--json",), says=""):
    def lay(goods, folder):
        path = folder / "a.dlc"
        content(path, goods) if callable(content) else path.write_bytes(content)
        return ["--inspect", path.name, *words]

    return Case("dlcs", name, "export", lay, codes, says)


def damaged(change, kind="v4 inline"):
    return lambda path, goods: change(path, goods.dlcs[kind])


def members(change, kind="v4 inline"):
    """The file with its members as `change` leaves them."""

    def lay(path, goods):
        with zipfile.ZipFile(io.BytesIO(goods.dlcs[kind])) as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
        change(found)
        path.write_bytes(dlc_writer.pack(found))

    return lay


def scrambled(seed, kind, count):
    """Offsets of the graph point elsewhere: `count` words of the model get another value."""

    def change(found):
        chosen, model = random.Random(seed), bytearray(found["model"])
        for _ in range(count):
            at = 8 + 4 * chosen.randrange((len(model) - 12) // 4)
            struct.pack_into("<I", model, at, chosen.choice((0, 1, 4, 0x7FFFFFFF, 0xFFFFFFFF, chosen.getrandbits(16))))
        found["model"] = bytes(model)

    return members(change, kind)


def patched(offset, value, kind="v3"):
    """Bytes of the first entry of the zip's directory."""

    def lay(path, goods):
        data = goods.dlcs[kind]
        at = data.index(b"PK\x01\x02") + offset
        path.write_bytes(data[:at] + value + data[at + len(value) :])

    return lay


def many_layers(count, name_length):
    """A v3 graph of `count` layers that share one long name: a few MB that ask for gigabytes of text."""
    writer = dlc_writer.Writer()
    name = dlc_writer.Offset(writer.string("n" * name_length))
    node = writer.table({0: dlc_writer.int32(1), 1: name, 2: "Convolutional"})
    nodes = writer.table({0: "net", 1: [node] * count, 2: []})
    return dlc_writer.pack({"dlc.metadata": "", "model": dlc_writer.header(3) + writer.finish(nodes, b"NETD")})


def big_metadata(text):
    return members(lambda found: found.update({"dlc.metadata.json": text.encode() if isinstance(text, str) else text}))


CASES = [
    *(inspect(name, damaged(change)) for name, change in WRONG.items()),
    *(
        inspect(f"{kind[:5].replace(' ', '-')}-{name}", damaged(change, kind), KEPT)
        for kind in ("v3", "v4 inline")
        for name, change in DAMAGED.items()
    ),
    *(
        inspect(f"{kind.replace(' ', '-')}-words-{seed}", scrambled(seed, kind, 3), KEPT)
        for kind in ("v3", "v4 inline", "v4 NR64")
        for seed in range(4)
    ),
    *(inspect(f"text-words-{seed}", scrambled(seed, "v3", 2), KEPT, words=()) for seed in range(10, 14)),
    *(
        inspect(f"metadata-{name}", big_metadata(text), codes)
        for name, text, codes in [
            ("nested", "[" * 100_000, (3,)),
            ("nested-objects", '{"a":' * 50_000, (3,)),
            ("long-number", "9" * 5000, (0, 3)),
            ("400-digits", "9" * 400, (0, 3)),
            ("no-json", "{", (3,)),
            ("not-utf-8", b'{"a": "\xff"}', (0, 3)),
            ("long-keys", json.dumps({"k" * 900: {"k" * 90: list(range(20_000))}}), (0, 3)),
            ("many-entries", json.dumps({f"k{i}": i for i in range(60_000)}), (0, 3)),
            ("escapes", json.dumps({"\x1b[2J": "\x1b]0;x\x07"}), (0, 3)),
        ]
    ),
    inspect(
        "metadata-lines",
        members(lambda found: found.update({"dlc.metadata": b"k" * 500_000 + b"=" + b"v" * 500_000})),
        KEPT,
    ),
    inspect("no-members", dlc_writer.pack({})),
    inspect("no-model", dlc_writer.pack({"other": b"x"})),
    inspect("many-members", dlc_writer.pack({f"m{i}": b"" for i in range(100)})),
    inspect("member-names-control", dlc_writer.pack({"\x1b[2J": b""})),
    inspect("version-9", members(lambda found: found.update(model=dlc_writer.header(9) + found["model"][8:]))),
    inspect("model-empty", members(lambda found: found.update(model=b""))),
    inspect("model-short", members(lambda found: found.update(model=found["model"][:12]))),
    inspect("model-zeros", members(lambda found: found.update(model=found["model"][:8] + bytes(4000)))),
    inspect(
        "params-of-another-version",
        members(lambda found: found.update({"model.params": dlc_writer.header(3) + found["model.params"][8:]})),
    ),
    inspect("params-empty", members(lambda found: found.update({"model.params": b""}))),
    inspect("params-missing", members(lambda found: found.pop("model.params")), KEPT),
    inspect("size-of-4-gb", patched(24, b"\xff\xff\xff\xff")),
    inspect("packed-of-4-gb", patched(20, b"\xfe\xff\xff\xff")),
    inspect("offset-of-4-gb", patched(42, b"\xfe\xff\xff\xff")),
    inspect("compressed", patched(10, b"\x08\0")),
    inspect("checksum", patched(16, b"\1\2\3\4")),
    inspect("name-of-60-kb", patched(28, b"\xff\xff")),
    *(
        inspect(f"{count}-layers-of-one-name-{'json' if words else 'text'}", many_layers(count, 60_000), KEPT, words)
        for count in (100, 100_000)
        for words in (("--json",), ())
    ),
    inspect("good", damaged(lambda path, good: path.write_bytes(good)), (0,), says='"layers"'),
    inspect("good-text", damaged(lambda path, good: path.write_bytes(good), "v3"), (0,), (), says="parameters"),
]
