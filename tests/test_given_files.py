"""A file of another kind than a command wants is told what it is, before torch, onnx or an engine is loaded."""

import shlex

import numpy as np
import pytest

from bilayer.export.bulk.photos import list_photos
from bilayer.runtime.errors import InputError
from bilayer.runtime.files.kinds import HEAD, describe_head
from tests.file_kinds import KINDS, archive
from tests.outcomes import check_told_at_once, outcomes
from tests.runtime.test_bundle import contract


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("given")
    for name, (content, _) in KINDS.items():
        (place / name).write_bytes(content)
    (place / "avatar").mkdir()
    for suffix in (".onnx", ".safetensors", ".preview.png", ".dlc"):
        (place / "avatar" / f"avatar{suffix}").write_bytes(b"\x12\x01" + suffix[:1].encode())
    (place / "avatar" / "avatar.json").write_text(contract(place / "avatar").to_json())
    (place / "settings.toml").write_text("")
    (place / "files.toml").write_text('[perceptual]\nvgg19 = "me.png"\n')
    for below in (
        "none",
        "bare/imgs/train",
        "data/imgs/train/a/b/c",
        "half/imgs/train/a/b/c",
        "half/imgs/test",
        "masked/imgs/train/a/b/c",
        "masked/segs/train",
    ):
        (place / below).mkdir(parents=True)
    for name in ("frames/a.png", "twice/a.jpg", "twice/a.png", "other/b.png", "begun/state.pt", "begun/settings.json"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text('{"seed": 7}')
    return place


# A command, and what it is given as FILE
WANTED = {
    "export FILE": ["me.npy", "film.mp4", "net.onnx", "net.tflite", "net.dlc", "notes.txt", "texture.safetensors"],
    "demo FILE": ["me.npy", "net.onnx", "net.dlc", "tool", "book.pdf", "empty"],
    "export me.png --checkpoint FILE": [*KINDS.keys() - {"weights.safetensors"}],
    "export me.png --landmarks FILE": [*KINDS.keys() - {"me.npy"}],
    "export --check FILE": [
        "me.png",
        "me.npy",
        "film.mp4",
        "net.dlc",
        "some.npz",
        "new.pth",
        "weights.safetensors",
        "notes.txt",
        "empty",
    ],
    "export --inspect FILE": [
        "me.png",
        "me.npy",
        "film.mp4",
        "some.npz",
        "old.pth",
        "weights.safetensors",
        "notes.txt",
    ],
    "render FILE --demo-motion --out a.mp4": [
        "me.png",
        "me.npy",
        "net.onnx",
        "net.dlc",
        "film.mp4",
        "weights.safetensors",
    ],
    "render avatar --out a.mp4 --drive FILE": [
        "net.onnx",
        "net.tflite",
        "net.dlc",
        "notes.txt",
        "tool",
        "old.pth",
        "empty",
    ],
    "web FILE": ["me.png", "net.onnx", "film.mp4", "new.pth"],
    "parity FILE": ["me.png", "net.onnx", "film.mp4", "new.pth"],
    "parity avatar --photo FILE": ["net.onnx", "film.mp4", "notes.txt", "empty"],
    "parity avatar --photo me.png --other FILE": ["net.onnx", "film.mp4", "notes.txt", "empty"],
    "parity avatar --photo me.png --checkpoint FILE": ["me.png", "net.onnx", "texture.safetensors", "old.pth"],
    "parity avatar --photo me.png --landmarks FILE": ["me.png", "net.onnx", "some.npz"],
    "parity avatar --drive FILE": ["me.png", "film.mp4", "net.onnx"],
    "parity avatar --device-outputs FILE": ["me.png"],
    "bench export FILE": ["net.onnx", "film.mp4", "notes.txt"],
    "bench export me.png --checkpoint FILE": ["me.png", "net.onnx", "texture.safetensors"],
    "bench bulk avatar --checkpoint FILE": ["me.png", "net.onnx"],
    "bench frame --bundle FILE": ["me.png", "net.onnx"],
    "device bench FILE": ["me.png", "net.onnx"],
    "device bench avatar --drive FILE": ["me.png", "film.mp4"],
    "device bench avatar --runner FILE": ["me.png", "net.onnx"],
    "device bench avatar --route ncnn --ncnn-runner FILE": ["me.png", "net.onnx"],
    "device run avatar --out a.mp4 --route litert --benchmark-model FILE": ["me.png", "net.tflite"],
    "device run avatar --out a.mp4 --route executorch --executor-runner FILE": ["me.png", "net.pte"],
    "device report FILE": ["me.png", "net.onnx", "film.mp4"],
    "checkpoint inspect FILE": ["me.png", "net.onnx", "old.pth", "texture.safetensors"],
    "checkpoint convert FILE": ["me.png", "net.onnx", "new.pth", "notes.txt"],
    "train base --out run --config FILE": ["me.png", "net.onnx", "weights.safetensors"],
    "train base --out run --config settings.toml --data FILE": ["me.png"],
    "train base --out run --config settings.toml --init FILE": ["me.png", "old.pth", "texture.safetensors"],
    "train enhancer --out run --config settings.toml --base FILE": ["me.png", "net.onnx"],
    "eval checkpoint FILE --data avatar": ["me.png", "net.onnx", "texture.safetensors"],
    "eval checkpoint weights.safetensors --data FILE": ["me.png"],
    "eval checkpoint weights.safetensors --data avatar --arcface FILE": ["me.png", "net.tflite"],
    "eval frames a=avatar --truth avatar --lpips-vgg16 FILE --lpips-heads old.pth": ["me.png", "net.onnx"],
    "serve --checkpoint FILE": ["me.png", "net.onnx", "texture.safetensors"],
    "prepare check FILE": ["me.png"],
}
# What other words than the kind's tell
TOLD = {
    "texture.safetensors": "an avatar's texture",
    "new.pth": "one network of several",
    "old.pth": "one network of several",
}


def test_what_is_of_another_kind_is_told_before_anything_is_loaded(folder):
    asked = [(words, name) for words, names in WANTED.items() for name in sorted(names)]
    ends = outcomes(folder, [shlex.split(words.replace("FILE", name)) for words, name in asked])
    wrong = []
    for (words, name), end in zip(asked, ends, strict=True):
        _, kind = KINDS[name]
        kinds = [kind, TOLD.get(name, kind), "expected a folder, found a file", "no extension"]
        if words.endswith(("--landmarks FILE", "--drive FILE")):
            kinds.append(f"found .{name.rpartition('.')[2]}")
        if not any(end.is_at_once(3, kind) for kind in kinds):
            wrong.append((words, name, end))
    assert not wrong, "\n".join(map(str, wrong))


def test_an_avatar_in_place_of_a_checkpoint_or_of_photos_is_told(folder):
    commands = [
        ["export", "me.png", "--checkpoint", "avatar"],
        ["export", "avatar"],
        ["export", "avatar", "--out", "elsewhere"],
        ["export", "--check", "avatar"],
    ]
    words = [
        "the authors' `runs` folder",
        "found an avatar that was made already; to see it: bilayer-render avatar/avatar.json",
    ]
    for told_of, (code, told, heavy) in zip([*words, words[1], "is a folder"], outcomes(folder, commands), strict=True):
        assert (code, heavy) == (3, [])
        assert told_of in told


TOLD_AT_ONCE = {
    "render avatar --demo-motion --out a.mp4 --engine litert": (3, "avatar: has no .tflite in fp32; export it again"),
    "render avatar --demo-motion --out a.mp4 --precision w8a16": (3, "avatar.onnx: precision w8a16: it has no network"),
    "render avatar --demo-motion --out a.mp4 --precision w8a8 --engine openvino": (
        3,
        "precision w8a8: engine openvino",
    ),
    "render avatar --demo-motion --out /dev/full": (3, "/dev/full is a device, pipe or socket and not a folder"),
    "render avatar --drive http://127.0.0.1/film.mp4 --out a.mp4": (2, "is a URL: expected a file of this machine"),
    "render avatar --drive avatar/avatar.json --out a.mp4": (3, 'avatar.json: track: expected the field "landmarks"'),
    "parity avatar --drive avatar/avatar.json": (3, 'avatar.json: track: expected the field "landmarks"'),
    "device bench avatar --drive avatar/avatar.json": (3, 'avatar.json: track: expected the field "landmarks"'),
    "export me.png --landmarks avatar/avatar.json": (3, 'avatar.json: landmarks: expected the field "landmarks"'),
    "export avatar/avatar.preview.png": (3, "found the preview of an avatar; to see that move: bilayer-render avatar/"),
    "demo avatar/avatar.preview.png": (3, "found the preview of an avatar"),
    "parity avatar --photo avatar/avatar.preview.png": (3, "found the preview of an avatar"),
    "export avatar/*.png": (3, "found an avatar that was made already; to see it: bilayer-render avatar/avatar.json"),
    "export me.png --out /proc/a.dlc": (3, "/proc/a.dlc: cannot write here: the system makes no files in /proc"),
    "export me.png --out /dev/null/a.dlc": (3, "/dev/null is a device, pipe or socket and not a folder"),
    "render avatar --demo-motion --out /sys/a.mp4": (3, "the system makes no files in /sys"),
    "prepare heads --out avatar": (3, "avatar: holds the avatar avatar.json, and is for no other files"),
    "prepare videos film.mp4 --out avatar": (3, "avatar: holds the avatar avatar.json"),
    "parity avatar --write-inputs avatar": (3, "avatar: holds the avatar avatar.json"),
    "train base --config settings.toml --out avatar": (3, "avatar: holds the avatar avatar.json"),
    "train base --config settings.toml --out run --device tpu": (
        2,
        "'--device': expected auto, cpu, cuda or cuda:N, found 'tpu'",
    ),
    "train enhancer --base weights.safetensors --config settings.toml --out run --device cuda:": (2, "found 'cuda:'"),
    "eval checkpoint weights.safetensors --data avatar --device auto": (
        2,
        "expected cpu, cuda or cuda:N, found 'auto'",
    ),
    "eval frames a=avatar --truth avatar --device tpu": (2, "expected cpu, cuda or cuda:N, found 'tpu'"),
    "eval checkpoint weights.safetensors --data avatar": (3, "avatar: expected a folder imgs/test of PERSON/VIDEO/SEQ"),
    "eval frames a=none --truth none": (3, "none: expected frames (.jpg, "),
    "eval frames a=frames --truth frames --drive none": (3, "none/a.npy: no such file; name a file of 68 points"),
    "eval frames a=other --truth frames": (
        3,
        "other: expected a frame by each name in frames, found 0 of 1; add what is missing, from a on",
    ),
    "eval frames a=twice --truth frames": (3, "twice/a.png: expected one file per frame, found a.jpg, too; rename one"),
    "train base --config settings.toml --out run": (3, "[data] root: expected a folder, none is named; give --data"),
    "train base --config settings.toml --out run --data none": (3, "none: expected a folder imgs/train of PERSON/"),
    "train base --config settings.toml --out run --data bare": (3, "bare/imgs/train: expected folders PERSON/VIDEO/"),
    "train base --config settings.toml --out run --data half": (3, "half/imgs/test: expected folders PERSON/VIDEO/"),
    "train base --config settings.toml --out run --data data": (3, "data: has no segs/, which [losses] segmentation n"),
    "train base --config files.toml --out run --data masked": (3, "me.png: expected weights (.pth), found a picture"),
    "train base --config settings.toml --out begun --data masked": (
        3,
        "begun/settings.json: stage: the run began with N",
    ),
    "web notes.txt": (3, "notes.txt: not an avatar: not readable as JSON (Expecting value: line 1"),
    "parity empty": (3, "empty: not an avatar: not readable as JSON (Expecting value: line 1"),
    "web avatar --host ''": (2, "Invalid value for '--host': expected a word, found an empty one"),
    "device bench avatar --serial ''": (2, "Invalid value for '--serial': expected a word, found an empty one"),
    "serve --cache me.png": (3, "me.png is a file and not a folder"),
    "demmo me.png": (2, "No such command 'demmo'. Did you mean 'demo'?"),
    "exprot me.png": (2, "No such command 'exprot'. Did you mean 'export'?"),
}


def test_what_can_be_seen_at_once_is_told_before_anything_is_loaded(folder):
    (folder / "avatar" / "avatar.preview.png").write_bytes(KINDS["me.png"][0])
    (folder / "avatar" / "avatar.json").write_text(contract(folder / "avatar").to_json())
    check_told_at_once(folder, TOLD_AT_ONCE)


def test_the_preview_of_an_avatar_is_no_photo(folder, tmp_path):
    for name in ("me.preview.png", "you.png", "avatar.json", "deep/avatar.preview.png", "deep/avatar.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [below for _, below in list_photos(str(tmp_path))] == ["me.preview.png", "you.png"]  # there is no me.json
    (tmp_path / "me.json").touch()
    assert [below for _, below in list_photos(str(tmp_path))] == ["you.png"]
    with pytest.raises(InputError, match="found an avatar that was made already"):
        list_photos(str(tmp_path / "deep"))


@pytest.mark.parametrize("name", KINDS)
def test_the_kinds_themselves(name):
    content, kind = KINDS[name]
    assert describe_head(content[:HEAD]) == kind


@pytest.mark.parametrize(
    ("major", "further", "kind"),
    [
        (b"MiHE", b"mif1heic", "a HEIC picture"),
        (b"abcd", b"xxxxmif1", "a HEIC picture"),
        (b"avif", b"avifmif1", "an AVIF picture"),
        (b"isom", b"isommp42", "a video"),
        (b"qt  ", b"qt  ", "a video"),
    ],
)
def test_a_picture_among_videos_is_known_by_its_further_brands(major, further, kind):
    box = b"ftyp" + major + bytes(4) + further
    assert describe_head((len(box) + 4).to_bytes(4, "big") + box + b"mif1 behind the box") == kind


@pytest.mark.parametrize("start", range(0, 60, 7))
def test_an_archive_cut_anywhere_has_a_kind(start):
    content = archive("archive/data.pkl")
    assert describe_head(content[: 4 + start]) in ("a .dlc or another zip archive", "a torch file (.pth)")


def test_arrays_that_numpy_wrote_are_known(tmp_path):
    np.savez(tmp_path / "a.npz", landmarks=np.zeros((1, 68, 2)))
    np.save(tmp_path / "a.npy", np.zeros(3))
    assert describe_head((tmp_path / "a.npz").read_bytes()[:HEAD]) == "arrays (.npz)"
    assert describe_head((tmp_path / "a.npy").read_bytes()[:HEAD]) == "an array (.npy)"


def test_what_torch_wrote_is_known(tmp_path):
    import torch

    for zipped in (True, False):
        torch.save({"a": torch.zeros(3)}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
        assert describe_head((tmp_path / "a.pth").read_bytes()[:HEAD]) == "a torch file (.pth)"
