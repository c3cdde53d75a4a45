"""`bilayer-prepare heads` as a user runs it, on the built-in ellipsoid head."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bilayer.runtime.errors import InputError
from bilayer.training.data.dataset import FramePairs, collate
from bilayer.training.data.layout import list_sequences
from bilayer.training.heads.identity import sample_identity
from bilayer.training.heads.load import load_head_model
from bilayer.training.heads.pose import sample_pose
from bilayer.training.heads.render import render_head
from bilayer.training.prepare.heads import HeadSettings, frame_seed, head_jobs, model_fingerprint, prepare_heads
from tests.training.test_prepare_videos import COMMAND, ROOT, contents, prepare

SIZE = 48
OPTIONS = ("--size", str(SIZE), "--supersampling", "1", "--frames", "3")


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Three identities for training from 5 on, one for testing."""
    root = tmp_path_factory.mktemp("heads") / "data"
    for arguments in (("--identities", 3, "--first-identity", 5), ("--identities", 1, "--split", "test")):
        done = prepare("heads", "--out", root, *OPTIONS, *arguments, "--jobs", 1)
        assert done.returncode == 0, done.stderr
        assert done.stderr.strip() == f"next: bilayer-prepare check {root}"
    return root


def test_each_frame_is_what_the_renderer_draws_for_its_seed(heads):
    model = load_head_model(None)
    assert [s.label for s in list_sequences(heads, "train")] == [f"head0000{i}/0/0" for i in (5, 6, 7)]
    assert [s.label for s in list_sequences(heads, "test")] == ["head00000/0/0"]
    sequence = list_sequences(heads, "train")[1]
    assert [path.name for path in sequence.pictures()] == ["00000.png", "00001.png", "00002.png"]
    identity = sample_identity(model, 6)
    for frame, path in enumerate(sequence.pictures()):
        head = render_head(model, identity, sample_pose(model, frame_seed(6, frame)), SIZE, 1)
        np.testing.assert_array_equal(np.asarray(Image.open(path)), head.image)
        np.testing.assert_array_equal(np.asarray(Image.open(sequence.folder("segs") / path.name)), head.mask)
        landmarks = np.load(sequence.folder("keypoints") / f"{path.stem}.npy")
        np.testing.assert_array_equal(landmarks, head.landmarks - np.float32(0.5))  # pixel centres
        assert landmarks.dtype == np.float32
        coords = np.load(sequence.folder("coords") / f"{path.stem}.npy")
        np.testing.assert_array_equal(coords, head.coords)
        assert coords.dtype == np.float16
    assert set(json.loads((heads / "heads.json").read_text())) == {"model", "frames", "size", "supersampling"}


def test_heads_are_sound_data_that_trains(heads):
    done = prepare("check", heads, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    data = FramePairs(heads, "train", 24, 1, source_frames=1, target_frames=2)
    batch = collate([data[i] for i in range(3)])
    assert (data.has_masks, data.has_coords) == (True, True)
    known = batch.target.coords.isfinite().all(dim=-1)
    assert 0.1 < known.float().mean() < 0.9
    assert batch.target.coords[known].abs().max() <= 1
    assert (batch.target.masks[:, :, 0][known] > 0.2).all()  # what has a place on the head is of the person


@given(st.integers(0, 10**6), st.integers(0, 10**5), st.integers(0, 10**6), st.integers(0, 10**5))
def test_frames_have_seeds_of_their_own(identity, frame, other, another):
    assert (frame_seed(identity, frame) == frame_seed(other, another)) == ((identity, frame) == (other, another))
    assert frame_seed(identity, frame) >= 0


def test_it_goes_on_where_it_ended_with_the_same_settings_only(heads, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(heads, root)
    for kind in ("imgs", "segs"):  # as if killed between the two
        shutil.rmtree(root / kind / "train/head00006/0")
    on = prepare("heads", "--out", root, *OPTIONS, "--identities", 3, "--first-identity", 5, "--json")
    assert on.returncode == 0, on.stderr
    assert json.loads(on.stdout) == {"identities": 1, "frames": 3, "finished_before": 2}
    assert contents(root) == contents(heads)
    settings = HeadSettings(model_fingerprint(None), 3, SIZE, 1)
    for change, words in (
        ({"size": 32}, "size: expected 32 as asked for now, found 48"),
        ({"frames": 4}, "frames: expected 4 as asked for now, found 3"),
        ({"supersampling": 2}, "supersampling: expected 2"),
        ({"model": "other"}, "model: expected other"),
    ):
        with pytest.raises(InputError, match=words):
            prepare_heads(head_jobs(None, root, "train", range(9, 10), replace(settings, **change)), 1)
    refused = prepare("heads", "--out", root, *OPTIONS, "--identities", 1)
    assert refused.returncode == 3
    assert "head00000 asked for as train is in test already; move --first-identity" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert contents(root) == contents(heads)


@pytest.mark.slow
def test_processes_and_a_kill_change_nothing(tmp_path):
    arguments = ["heads", *OPTIONS, "--identities", "6", "--jobs"]
    assert prepare(*arguments, 1, "--out", tmp_path / "one").returncode == 0
    root = tmp_path / "two"
    run = subprocess.Popen([*COMMAND, *arguments, "2", "--out", str(root)], cwd=ROOT, stderr=subprocess.DEVNULL)
    for _ in range(6000):
        if (root / "imgs/train").is_dir():  # one is done, others are in work
            break
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait(60)
    assert prepare("check", root).returncode == 0
    assert prepare(*arguments, 2, "--out", root).returncode == 0
    assert contents(root) == contents(tmp_path / "one")


def test_a_model_that_is_none_is_named(tmp_path):
    done = prepare("heads", "--out", tmp_path / "data", "--model", tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: {tmp_path}: expected a folder with head_model.npz")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("arguments", [(), ("videos",), ("heads",), ("check",)])
def test_help_is_there_and_imports_nothing_heavy(arguments):
    code = (
        "import sys\n"
        "from bilayer.training.prepare.cli import main\n"
        f"main([*{arguments!r}, '--help'], standalone_mode=False)\n"
        "print({'numpy', 'torch', 'cv2', 'numba'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(ROOT))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage:")
    assert done.stdout.splitlines()[-1] == "set()"
