"""A library call leaves the process as it found it: only a command may change what the whole process shares."""

import gc
import json
import logging
import os
import shutil
import subprocess
import sys
import warnings

import pytest

from tests.benchmarks.avatars import export_tiny
from tests.documents import ROOT
from tests.process.state import changes, snapshot

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the state is read as Linux shows it")


def after_calls(kind, folder):
    """The calls of a kind, made in a process of their own, and what each has changed of it."""
    command = [sys.executable, "-m", "tests.process.calls", kind, str(folder)]
    environment = {**os.environ, "SDL_VIDEODRIVER": "dummy"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    told = json.loads((folder / "told" / f"{kind}.json").read_text())
    return told["made"], told["changed"]


@pytest.fixture
def folder(tmp_path):
    bundle = export_tiny(tmp_path, also=("tflite", "tflite-fp16"))
    bundle.folder.rename(tmp_path / "bundle")
    return tmp_path


@pytest.mark.slow
def test_playing_reading_and_writing_leave_the_process_as_it_was(folder):
    made, changed = after_calls("player", folder)
    assert changed == {}
    assert len(made) > 30


def test_looking_for_faces_leaves_the_process_as_it_was(folder, astronaut_path, face_networks):
    shutil.copy(astronaut_path, folder / "photo.png")
    made, changed = after_calls("faces", folder)
    assert changed == {}
    assert "finding a face" in made


@pytest.mark.slow
def test_exports_leave_the_process_as_it_was(folder):
    made, changed = after_calls("exports", folder)
    assert changed == {}
    assert {"many exports", "a check"} <= set(made)


@pytest.mark.slow
def test_training_leaves_the_process_as_it_was(folder):
    made, changed = after_calls("training", folder)
    assert changed == {}
    assert {"training", "measuring checkpoints"} <= set(made)


@pytest.mark.slow
def test_measuring_leaves_the_process_as_it_was(folder):
    made, changed = after_calls("numbers", folder)
    assert changed == {}
    assert {"timing avatars", "judging avatars"} <= set(made)


@pytest.mark.parametrize(
    ("change", "undo", "told"),
    [
        (lambda: os.umask(0o077), os.umask, "rights of new files"),
        (gc.disable, lambda _: gc.enable(), "garbage collection"),
        (lambda: os.environ.setdefault("BILAYER_X", "1"), lambda _: os.environ.pop("BILAYER_X"), "environment"),
        (lambda: logging.disable(logging.ERROR), lambda _: logging.disable(logging.NOTSET), "logging"),
        (lambda: os.chdir("/"), lambda _: os.chdir(ROOT), "folder"),
    ],
)
def test_what_is_changed_is_seen(monkeypatch, change, undo, told):
    monkeypatch.chdir(ROOT)
    before = snapshot()
    kept = change()
    after = snapshot()
    undo(kept)
    found = [line.partition(":")[0] for line in changes(before, after, adding=True)]
    assert [name for name in found if name == told or name != "threads"] == [told]  # an earlier test's may just end


def test_what_a_library_adds_as_it_is_loaded_is_let_through_the_first_time_alone():
    before = snapshot()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "of a library")
        after = snapshot()
    assert changes(before, after, adding=True) == []
    assert [line.partition(":")[0] for line in changes(before, after)] == ["filters of warnings"]
    assert changes(after, before, adding=True) != []  # nothing may be taken away
