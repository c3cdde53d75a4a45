"""The scripts in examples/ run as they stand, on a small avatar."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bilayer
from bilayer.runtime.bundle import read_bundle
from tests.benchmarks.avatars import copied, export_tiny, write_rough_checkpoint

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def bundle(case_a_folder, tmp_path_factory):
    return copied(read_bundle(case_a_folder / "avatar"), tmp_path_factory.mktemp("examples") / "avatar")


def example(name, *arguments):
    command = [sys.executable, "-W", "error", EXAMPLES / name, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def test_every_example_is_run_here():
    assert {path.name for path in EXAMPLES.glob("*")} == {"check_in_ci.py", "drive_from_video.py", "own_engine.py"}


def test_an_avatar_follows_the_face_in_a_video(bundle, face_networks, astronaut_path, tmp_path):
    pytest.importorskip("av")
    from PIL import Image

    from bilayer.runtime import VideoFrames, open_writer

    with Image.open(astronaut_path) as photo, open_writer(tmp_path / "driver.mp4", 25) as writer:
        for turn in (0, 4, 8):
            writer.write(np.asarray(photo.convert("RGBA").rotate(turn)))
    done = example("drive_from_video.py", bundle.folder, tmp_path / "driver.mp4", tmp_path / "avatar.mp4")
    assert done.returncode == 0, done.stderr
    with VideoFrames(tmp_path / "avatar.mp4") as frames:
        shown = [frame.copy() for frame in frames]
    assert [frame.shape for frame in shown] == [(64, 64, 3)] * 3
    assert np.abs(shown[2].astype(int) - shown[0]).max() > 20


def test_an_own_engine_gives_the_frames_of_the_built_in_one(bundle):
    done = example("own_engine.py", bundle.folder)
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[:3] == ["own", "and", "onnxruntime:"]
    assert float(words[3]) > 50


def test_a_good_bundle_passes_the_check(face_networks, astronaut_path, tmp_path):
    bilayer.export_avatar(astronaut_path, tmp_path / "out", target="none")  # of the demo weights
    done = example("check_in_ci.py", tmp_path / "out", "snpe-1.32")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["onnx: passed", "fp16-hybrid: passed", "snpe-1.32: fits"]


def test_a_bundle_that_fp16_costs_too_much_fails_it(tmp_path):
    bundle = export_tiny(tmp_path, checkpoint=write_rough_checkpoint(tmp_path / "rough.safetensors"))
    done = example("check_in_ci.py", bundle.folder)
    assert (done.returncode, done.stdout.splitlines()) == (4, ["onnx: passed", "fp16-hybrid: broken"])
    assert "fp16-hybrid: delta_uv is" in done.stderr


def test_a_folder_without_a_bundle_is_bad_input(tmp_path):
    done = example("check_in_ci.py", tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: ")
