"""`bilayer-prepare check` counts what is there and names each fault."""

import json
import re
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bilayer.runtime.errors import InputError
from bilayer.runtime.jobs.run import Workers
from bilayer.training.prepare import heads as prepared_heads
from bilayer.training.prepare import videos as prepared_videos
from bilayer.training.prepare.check import check_dataset
from bilayer.training.prepare.files import agreeing_on_settings, staging
from bilayer.training.prepare.options import HeadSettings, VideoSettings
from tests import forked
from tests.training.test_dataset_refusals import BREAKS
from tests.training.written_frames import SIZE, face_points, write_data, write_frame

ROOT = Path(__file__).parents[2]


check = partial(forked.run, "prepare", "check", strict=True)


def test_sound_data_is_counted(tmp_path):
    write_data(tmp_path, 3, 4, coords=True)
    rng = np.random.default_rng(1)
    for name in "012":
        write_frame(tmp_path, "t/v/0", name, rng, split="test")
        write_frame(tmp_path, "t/v/1", name, rng, split="test", suffix="jpg")
    done = check(tmp_path, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "splits": {
            "train": {"persons": 3, "videos": 3, "sequences": 3, "frames": 12, "masks": True, "coords": True},
            "test": {"persons": 1, "videos": 1, "sequences": 2, "frames": 6, "masks": True, "coords": False},
        },
        "sizes": {str(SIZE): 18},
        "problems": [],
        "notes": [],
    }
    text = check(tmp_path)
    assert "| train |       3 |      3 |         3 |     12 | yes   | yes    |" in text.stdout
    assert "18 of 32 px" in text.stdout
    assert text.stderr.startswith(f"\nnext: bilayer-train base --data {tmp_path} ")


@pytest.mark.parametrize(("kind", "harm", "words"), BREAKS)
def test_each_fault_is_one_problem(tmp_path, kind, harm, words):
    write_data(tmp_path, 1, 1, coords=True)
    (path,) = (path for path in (tmp_path / kind).rglob("*") if path.is_file())
    harm(path)
    (problem,) = check_dataset(tmp_path).problems
    assert re.search(words, problem)
    assert "\n" not in problem


def test_all_faults_are_counted_and_the_first_ones_shown(tmp_path):
    write_data(tmp_path, 3, 5)
    for path in sorted((tmp_path / "keypoints").rglob("*.npy"))[1:]:
        path.unlink()
    done = check(tmp_path)
    assert done.returncode == 3
    lines = done.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == ["problem"] * 10 + ["error"]
    assert "p0/v/0/00001.npy: expected this file, found none" in lines[0]
    assert "14 problems; the first 10 are above" in lines[-1]
    assert json.loads(check(tmp_path, "--json").stdout)["splits"]["train"]["frames"] == 15


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("keypoints", lambda points: points / SIZE, "landmarks: expected pixels of this picture, found 100% of them"),
        ("keypoints", lambda points: points + 3 * SIZE, "found 0% of them inside"),
        ("segs", lambda mask: mask // 255, "mask: expected 255 where the person is"),
        ("coords", lambda coords: coords * 2 + np.float16(1.5), "coords: expected -1..1 or NaN, found up to"),
    ],
)
def test_what_can_be_read_but_not_meant_is_a_problem(tmp_path, kind, value, words):
    stored = write_data(tmp_path, 1, 1, coords=True)[0, 0]
    (path,) = (path for path in (tmp_path / kind).rglob("*") if path.is_file())
    if kind == "segs":
        Image.fromarray(value(stored[kind])).save(path)
    else:
        np.save(path, value(stored[kind]))
    (problem,) = check_dataset(tmp_path).problems
    assert words in problem


def test_what_may_be_meant_is_a_note(tmp_path):
    rng = np.random.default_rng(0)
    write_frame(tmp_path, "p/v/0", "0", rng)
    write_frame(tmp_path, "p/v/0", "1", rng, size=2 * SIZE)
    write_frame(tmp_path, "p/v/0", "0", rng, split="test")
    shutil.rmtree(tmp_path / "segs/test")
    done = check(tmp_path)
    assert done.returncode == 0
    notes = done.stderr.splitlines()
    assert len(notes) == 5  # and the next command
    assert all(note.startswith(f"note: {tmp_path}: ") for note in notes[:3])
    assert "test has no segs" in notes[0]
    assert "2 of 32 px, 1 of 64 px" in notes[1]
    assert "persons in both splits: 1, first p" in notes[2]


def test_a_place_without_data(tmp_path):
    (tmp_path / "empty").mkdir()
    for place, expected in (("no", "expected a folder, found nothing"), ("empty", "expected a folder imgs/train")):
        done = check(tmp_path / place)
        assert done.returncode == 3
        assert done.stderr.startswith(f"error: {tmp_path / place}: {expected}")
        assert len(done.stderr.splitlines()) == 1


def test_a_failure_leaves_the_old_frames_and_no_new_ones(tmp_path):
    frame = np.zeros((8, 8, 3), np.uint8), np.full((8, 8), 255, np.uint8), face_points(np.random.default_rng(0), 8)
    with staging(tmp_path, "train", "p", "v") as stage:
        stage.write("0", "00000", *frame)
        assert not (tmp_path / "imgs").exists()
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())

    def stop_halfway():
        with staging(tmp_path, "train", "p", "v") as stage:
            stage.write("1", "00000", *frame)
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        stop_halfway()
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before
    with staging(tmp_path, "train", "p", "v") as stage:
        stage.write("2", "00000", *frame)
    assert [path.name for path in (tmp_path / "imgs/train/p/v").iterdir()] == ["2"]


def agree(path, settings):
    with agreeing_on_settings(path, settings):
        (path.parent / "imgs").mkdir(exist_ok=True)


def test_settings_are_kept_and_damage_is_named(tmp_path):
    path = tmp_path / "new" / "heads.json"
    agree(path, {"size": 8, "frames": 2})
    agree(path, {"frames": 2, "size": 8})
    for other, words in (
        ({"size": 8, "frames": 3}, "frames: expected 3 as asked for now, found 2"),
        ({"size": 8}, "frames: expected None"),
        ({"size": 8, "frames": 2, "more": 1}, "more: expected 1"),
    ):
        with pytest.raises(InputError, match=words):
            agree(path, other)
    for damage in ("{", "[]"):
        path.write_text(damage)
        with pytest.raises(InputError, match=r"heads\.json: .*; delete what bilayer-prepare wrote there"):
            agree(path, {"size": 8})


@pytest.mark.parametrize("ended", [None, KeyError, KeyboardInterrupt, SystemExit])
def test_settings_of_which_no_data_came_go_with_the_folders_made_for_them(tmp_path, ended):
    def begin(path, folder=None):
        with suppress(*([ended] if ended else [])), agreeing_on_settings(path, {"size": 8}):
            assert json.loads(path.read_text()) == {"size": 8}
            if folder is not None:
                (path.parent / folder).mkdir()
            if ended is not None:
                raise ended

    begin(tmp_path / "a/b/videos.json")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "own").mkdir()
    begin(tmp_path / "own/videos.json")
    assert [path.name for path in tmp_path.rglob("*")] == ["own"]
    begin(tmp_path / "own/videos.json", "imgs")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["imgs", "own", "videos.json"]
    (tmp_path / "own/imgs").rmdir()
    begin(tmp_path / "own/videos.json")  # another run's, which may be at work
    assert (tmp_path / "own/videos.json").is_file()


def test_settings_stay_with_data_where_the_run_that_wrote_them_came_to_nothing(tmp_path):
    path = tmp_path / "data/videos.json"
    with agreeing_on_settings(path, {"size": 8}):
        other = agreeing_on_settings(path, {"size": 8})
        other.__enter__()
    assert not path.exists()
    (path.parent / "imgs").mkdir(parents=True)
    other.__exit__(None, None, None)
    assert json.loads(path.read_text()) == {"size": 8}


@pytest.mark.parametrize("ended", [None, KeyError])
def test_settings_of_which_no_data_came_go_from_a_folder_of_other_files(tmp_path, ended):
    (tmp_path / "notes.txt").touch()
    (tmp_path / "heads.json").touch()
    with suppress(KeyError), agreeing_on_settings(tmp_path / "videos.json", {"size": 8}):
        if ended is not None:
            raise ended
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heads.json", "notes.txt"]
    agree(tmp_path / "videos.json", {"size": 16})  # which is no other than before


def test_a_folder_that_cannot_be_looked_at_hides_nothing_that_ended_a_run(tmp_path):
    def fail():
        raise InputError("cannot be listed")

    with pytest.raises(KeyError, match="first"), agreeing_on_settings(tmp_path / "a.json", {}, fail):
        raise KeyError("first")
    with pytest.raises(InputError, match="cannot be listed"), agreeing_on_settings(tmp_path / "a.json", {}, fail):
        pass


@pytest.mark.parametrize("kind", ["heads", "videos"])
@pytest.mark.parametrize("others", [True, False])
def test_settings_of_heads_and_of_videos_have_nothing_to_do_with_each_other(tmp_path, monkeypatch, kind, others):
    """Whose run comes to nothing leaves none beside the other's data, but beside those that another run has made."""

    def stop(*_):
        if others:
            made = tmp_path / {"heads": "imgs/test/head00007/0", "videos": "videos/test/p/v.json"}[kind]
            made.parent.mkdir(parents=True)
            made.touch()
        raise KeyError

    for module in (prepared_heads, prepared_videos):
        monkeypatch.setattr(module, "run_jobs", stop)
    for tool in ("load_av", "_faces", "_masker"):
        monkeypatch.setattr(prepared_videos, tool, lambda *_: None)
    if kind == "heads":  # beside a video's data
        (tmp_path / "imgs/train/p/v/0").mkdir(parents=True)
        (tmp_path / "videos/train/p").mkdir(parents=True)
        (tmp_path / "videos/train/p/v.json").touch()
        jobs = prepared_heads.head_jobs(None, tmp_path, "train", range(1), HeadSettings("a model"))
        run = partial(prepared_heads.prepare_heads, jobs)
    else:  # beside heads, in a folder that videos lie in, too
        (tmp_path / "imgs/train/head00001/0/0").mkdir(parents=True)
        (tmp_path / "videos").mkdir()
        (tmp_path / "videos/a.mp4").touch()
        found = prepared_videos.find_videos([tmp_path / "videos/a.mp4"], tmp_path, "train", VideoSettings())
        run = partial(prepared_videos.prepare_videos, found)
    with pytest.raises(KeyError):
        run(Workers(1))
    assert (tmp_path / f"{kind}.json").exists() is others
