"""What `bilayer-export` is given wrong is told in one line, before anything is written."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.export.exporting import RUNS, run_cli, tiny

# Wrong input


PHOTO, LANDMARKS = "the photo", "its landmarks"


def write(path, content):
    path.write_bytes(content)
    return path


def animated(path):
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


PHOTOS = {
    "missing": (lambda folder: folder / "no.jpg", "no such file"),
    "empty": (lambda folder: write(folder / "x.jpg", b""), "an empty file"),
    "text": (lambda folder: write(folder / "x.jpg", b"hello there\n" * 9), "found text"),
    "truncated": (lambda folder: write(folder / "x.png", (folder / "face.png").read_bytes()[:3000]), "damaged or cut"),
    "animated": (lambda folder: animated(folder / "x.gif"), "expected one picture, found an animation"),
}


@pytest.mark.parametrize("kind", PHOTOS)
def test_photos_that_are_none(photo, tmp_path, kind):
    make, words = PHOTOS[kind]
    result = run_cli(make(tmp_path), *tiny(photo)[1:], "--out", tmp_path / "avatar.dlc")
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.startswith("error: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.glob("avatar*"))


def test_no_face(face_networks, tmp_path):
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "wall.png")
    result = run_cli(tmp_path / "wall.png", "--checkpoint", RUNS, "--out", tmp_path / "avatar.dlc")
    assert result.returncode == 3
    assert "expected a face, found none" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (np.zeros((5, 2)), "expected shape (68, 2), found (5, 2)"),
        (np.full((68, 2), np.nan), "point 0 is [nan, nan]"),
        (np.zeros((68, 2)), "span 0 pixels"),
    ],
    ids=["shape", "NaN", "no extent"],
)
def test_landmarks_that_are_none(photo, tmp_path, points, words):
    np.save(photo.with_suffix(".npy"), points)
    result = run_cli(*tiny(photo, "--out", tmp_path / "avatar.dlc"))
    assert (result.returncode, result.stdout) == (3, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "give one of PHOTO, --check FILE and --inspect FILE"),
        (["a.jpg", "--inspect", "b.dlc"], 2, "give one of"),
        (["--inspect", "b.dlc", "--report", "a.png"], 2, "give one"),
        (["--inspect", "b.dlc", "--web", "site"], 2, "give one"),
        ([PHOTO, "--out", "x/a.dlc", "--web", "x"], 3, "the avatar goes there; give --web a folder of its own"),
        ([PHOTO, "--out", "x/y/a.dlc", "--web", "x"], 3, "the avatar goes there; give --web a folder of its own"),
        ([PHOTO, "--report", "sheet.jpg"], 2, "sheet.jpg: expected a name that ends in .png"),
        ([PHOTO, "--report", PHOTO], 3, "is read here, and would be written over"),
        ([PHOTO, "--out", "x/a.dlc", "--report", "x/a.preview.png"], 3, "the avatar or its page goes there"),
        (
            ["a.jpg", "--out", "avatar.png", "--checkpoint", "x"],
            2,
            "a folder or a name that ends in .dlc, .onnx",
        ),
        (["a.jpg", "--out", f"{__file__}/avatar.dlc", "--checkpoint", "x"], 3, "is a file and not a folder"),
        ([PHOTO, "--checkpoint", "no/runs"], 3, "no/runs: no such file or folder"),
        ([PHOTO, "--landmarks", "no.npy"], 3, "no.npy: no such file or folder"),
        ([PHOTO, "--keypoints", "me.npy"], 3, "me.npy: no such file or folder"),  # --landmarks, as 0.2 called it
        ([PHOTO, "-o", "x.dlc", "--target", "none", "--check", "a.onnx"], 2, "give one of"),
        (["--check", PHOTO, "--target", "none"], 2, "there is nothing to check; name a target"),
        (["--inspect", "no.dlc"], 3, "no.dlc"),
        ([PHOTO, "--landmarker", "face-alignment"], 5, "face-alignment"),
        ([PHOTO, "--out", "/proc/avatar.dlc", "--landmarks", LANDMARKS, "--target", "none"], 3, "/proc/avatar.dlc"),
        (["--check", "no.onnx"], 3, "no.onnx: no such file"),
        (["a.jpg", "--target", "tflite"], 2, "is not one of"),
    ],
)
def test_wrong_arguments(photo, arguments, code, words):
    if "face-alignment" in arguments and importlib.util.find_spec("face_alignment"):
        pytest.skip("the extra [face-alignment] is installed")
    names = {PHOTO: photo, LANDMARKS: photo.with_suffix(".npy")}
    result = run_cli(*(names.get(argument, argument) for argument in arguments), "--json")
    assert (result.returncode, result.stdout) == (code, "")
    assert words in result.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["--out", "a.png"], ["--checkpoint", "no.safetensors"], ["--landmarks", "no"]]
)
def test_what_is_wrong_is_said_before_libraries_are_loaded(photo, arguments):
    given = [str(photo) if arguments else "no.jpg", *arguments]
    code = """
import sys
from bilayer.export.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print(end.code)
print([name for name in ('torch', 'onnx', 'numpy', 'PIL') if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].lower().startswith("error: ")
    assert done.stdout == ("2\n[]\n" if "--out" in arguments else "3\n[]\n")
