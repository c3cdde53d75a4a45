"""A damaged file, and what a machine lacks, is told before torch, onnx or an engine is loaded, or any work is done."""

import io
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from bilayer.runtime.files.shell import by_this_python
from tests.file_kinds import safetensors
from tests.outcomes import check_told_at_once, of_each_file, outcomes
from tests.runtime.test_bundle import contract


def npy(array):
    content = io.BytesIO()
    np.save(content, array, allow_pickle=True)
    return content.getvalue()


def picture(kind):
    content = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (96, 80, 3), np.uint8)
    Image.fromarray(noise).save(content, kind)
    return content.getvalue()


def animation():
    content = io.BytesIO()
    Image.new("L", (8, 8)).save(content, "GIF", save_all=True, append_images=[Image.new("L", (8, 8), 255)])
    return content.getvalue()


POINTS = np.random.default_rng(1).uniform(0, 400, (68, 2))
# Of the kind that is asked for, and damaged, or of something else
DAMAGED = {
    "empty.npy": b"",
    "object.npy": npy(np.array([{}], object)),
    "text.npy": npy(np.array(["a"])),
    "shape.npy": npy(POINTS[:5]),
    "nan.npy": npy(np.where(np.arange(68)[:, None] == 3, np.nan, POINTS)),
    "parts.npy": npy(POINTS / 500),
    "place.npy": npy(np.full((68, 2), 7.0)),
    "cut.npy": npy(POINTS)[:-8],
    "cut.jpg": picture("JPEG")[:3000],
    "cut.png": picture("PNG")[:3000],
    "motion.gif": animation(),
    "cut.safetensors": safetensors(texture={"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}),
    "header.safetensors": b"\x10" + bytes(7) + b'{"a": [1, 2, "x"',
    "zeros.safetensors": bytes(100),
    "data.bin": b"\0\xff" * 50,
    "empty.onnx": b"",
    "text.onnx": b"what I wanted to say\n",
    "empty.tflite": b"",
    "landmarks.npy": npy(POINTS),
    "good.png": picture("PNG"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("damaged")
    for name, content in DAMAGED.items():
        (place / name).write_bytes(content)
    (place / "nothing").mkdir()
    (place / "photos").mkdir()
    (place / "mixed.csv").write_text("photo,name,landmarks\ngood.png,a,landmarks.npy\ngood.png,b,\n")
    (place / "photos" / "me.png").write_bytes(DAMAGED["good.png"])
    (place / "avatar").mkdir()
    for suffix in (".onnx", ".safetensors", ".preview.png", ".dlc"):
        (place / "avatar" / f"avatar{suffix}").write_bytes(b"\x12\x01" + suffix[:1].encode())
    made = contract(place / "avatar")
    made = replace(made, source=replace(made.source, pose=(POINTS / 250 - 0.8).ravel().tolist()))
    (place / "avatar" / "avatar.json").write_text(made.to_json())
    return place


# A command, and what its file named FILE is told, by the file: all that numpy, Pillow or a look at the disk can tell
OF_POINTS = {
    "empty.npy": "no .npy header",
    "object.npy": "found none to read (expected numbers, found object); save the points anew",
    "text.npy": "expected numbers, found <U1; save them as float32",
    "cut.npy": "has not the (68, 2) numbers that its header says",
    "parts.npy": "multiply x by its width",
}
OF_PHOTOS = {
    "cut.jpg": "the picture is damaged or cut short",
    "cut.png": "the picture is damaged or cut short",
    "motion.gif": "expected one picture, found an animation or several pages; extract one: ffmpeg -i motion.gif",
}
OF_WEIGHTS = {
    "cut.safetensors": "not a readable .safetensors file (expected 83 bytes, as its header has them, found 75)",
    "zeros.safetensors": "not a readable .safetensors file (its header is damaged); copy or download it again",
    "data.bin": "not a readable .safetensors file (its header is damaged); copy or download it again",
    "header.safetensors": "not a readable .safetensors file (its header is damaged); copy or download it again",
}
TOLD_OF_CONTENT = {
    "export FILE --landmarks landmarks.npy --no-mask": OF_PHOTOS,
    "parity avatar --photo FILE --landmarks landmarks.npy --no-mask": OF_PHOTOS,
    "parity avatar --photo good.png --no-mask --landmarks FILE": {"nan.npy": "point 3 is [nan, nan]"},
    "export --check FILE": {
        "empty.onnx": "not an ONNX model: found an empty file; copy it again, or write it anew",
        "text.onnx": "not an ONNX model: found text; name the network's own file",
        "empty.tflite": "not a .tflite: found an empty file; copy it again",
    },
    "export good.png --checkpoint FILE": OF_WEIGHTS,
    "checkpoint inspect FILE": OF_WEIGHTS,
    "eval checkpoint FILE --data nothing": OF_WEIGHTS,
    "export --inspect FILE": {"empty.onnx": "not an ONNX model: found an empty file; copy it again"},
    "export good.png --landmarks FILE": OF_POINTS
    | {
        "nan.npy": "point 3 is [nan, nan], expected finite pixel positions; mend it",
        "shape.npy": "expected shape (68, 2), found (5, 2); give the 68 points of iBUG's order",
        "place.npy": "expected 1 to 16384; give a face's points, in pixels of the photo",
    },
    "render avatar --out a.gif --drive FILE": OF_POINTS
    | {
        "nan.npy": "frame 0 holds a point that is not finite; leave out or fill in",
        "shape.npy": "expected shape (frames, 68, 2), found (1, 5, 2); give the 68 points",
        "place.npy": "driver: expected a face, found none: in each of its frames all points are in one place",
    },
    "parity avatar --drive FILE": {
        "object.npy": "expected numbers, found object",
        "nan.npy": "frame 0 holds a point that is not finite",
        "place.npy": "driver: all landmarks in one place; expected a face: find its points anew",
    },
    "device bench avatar --route litert --drive FILE": {"object.npy": "found object", "nan.npy": "is not finite"},
    "device run avatar --route litert --out a.gif --drive FILE": {"shape.npy": "expected shape (frames, 68, 2)"},
    "render avatar --out a.gif --demo-motion --background FILE": {"cut.jpg": "the picture is damaged or cut short"},
    "render avatar --out a.gif --demo-motion --paste-back FILE": {
        "cut.jpg": "the picture is damaged or cut short",
        "good.png": "expected a photo of 512 x 384 pixels, found 80 x 96; give the photo that the avatar was made from",
    },
}
# With the networks that look for faces
TOLD_OF_PHOTOS = {
    "demo FILE": OF_PHOTOS,
    "bench export FILE": {"cut.jpg": "the picture is damaged or cut short"},
    "export good.png FILE": OF_PHOTOS,
    "render avatar --out a.gif --drive FILE": {
        "cut.jpg": "the picture is damaged",
        "cut.png": "the picture is damaged",
    },
}
# What no file but the machine is asked
NO_NETWORKS = f"the face networks are not set up; run: {by_this_python('python -m bilayer.runtime.face.model_files')}"
TOLD_OF_THE_MACHINE = {
    "render avatar --demo-motion --out window": "window: cannot be shown here (found no screen); write a file",
    "render avatar --out a.gif --drive good.png": NO_NETWORKS,
    "demo good.png": NO_NETWORKS,
    "export good.png": NO_NETWORKS,
    "export good.png --landmarks landmarks.npy": NO_NETWORKS,  # which cut the person out
    "export good.png --landmarks landmarks.npy --no-mask --report sheet.png": NO_NETWORKS,
    "export photos": NO_NETWORKS,
    "export mixed.csv --no-mask": NO_NETWORKS,  # of its second row, which has no landmarks
    "parity avatar --photo good.png": NO_NETWORKS,
    "bench export good.png": NO_NETWORKS,
    "export abfs://box/me.jpg": "abfs://box/me.jpg: Install adlfs to access",
    "export photos --out abfs://box/avatars": "abfs://box/avatars: Install adlfs to access",
    "parity abfs://box/avatar": "Install adlfs to access",
}


def check_all_told(folder, table):
    asked = of_each_file(table).items()
    check_told_at_once(folder, {words: (3, f"error: {name}: ", told) for words, (name, told) in asked})


def test_what_is_damaged_is_told_before_anything_is_loaded(folder):
    check_all_told(folder, TOLD_OF_CONTENT)


def test_a_damaged_photo_is_told_before_anything_is_loaded(folder, face_networks):
    check_all_told(folder, TOLD_OF_PHOTOS)


@pytest.mark.skipif(find_spec("adlfs") is not None, reason="adlfs is installed")
def test_what_a_machine_lacks_is_told_before_anything_is_loaded(folder, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BILAYER_CACHE", str(folder / "nothing"))
    check_told_at_once(folder, {words: (5, told) for words, told in TOLD_OF_THE_MACHINE.items()})


TOLD_OF_WORDS = {
    "checkpoint inspect --preset demo --set nope=1": "--set nope: no such setting; bilayer-checkpoint inspect",
    "checkpoint inspect --preset demo --set imge_size=64": "--set imge_size: no such setting; perhaps image_size is m",
    "checkpoint inspect --preset demo --set image_size=abc": "--set image_size: expected int, found 'abc'; bilayer-",
    "checkpoint inspect --preset demo --set image_size=0": "--set image_size: expected 1 to 8192, found 0; bilayer-",
    "checkpoint inspect --preset demo --set tex_skip_layer_type=no": "expected ada_conv or conv, found 'no'",
    "checkpoint inspect --preset demo --set image_size=99": "--set image_size=99: emb_output_tensor_size: expected",
    "parity avatar --device-outputs nothing": "nothing/Result_0/layers.raw: missing; run the network on the inputs of",
    "parity avatar --device-outputs pulled": "layers:0.raw: 5 bytes, expected 98304: float32 of 6 x 64 x 64; run the",
    "device build-runner": "is a file and not a folder; name another place; set BILAYER_CACHE to a writable folder",
}


def test_what_can_be_seen_of_words_and_folders_is_told_before_anything_is_done(folder, monkeypatch):
    monkeypatch.setenv("BILAYER_CACHE", str(folder / "good.png"))
    (folder / "pulled" / "Result_0").mkdir(parents=True)
    (folder / "pulled" / "Result_0" / "layers:0.raw").write_bytes(b"short")
    check_told_at_once(folder, {words: (3, told) for words, told in TOLD_OF_WORDS.items()})


def test_a_webcam_that_is_not_there_is_told_before_the_avatar_is_loaded(folder, face_networks):
    ((code, told, heavy),) = outcomes(folder, [["render", "avatar", "--out", "a.gif", "--drive", "99"]])
    assert (code, heavy) == (3, ["cv2"])  # which looks for it
    assert told == "error: webcam 99: cannot be opened; check its number, and that no other program uses it\n"
