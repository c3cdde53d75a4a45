"""`bilayer-prepare videos` as a user runs it, on films made of the astronaut's photograph."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import fsspec
import numpy as np
import pytest
from PIL import Image

from bilayer.runtime.face.person_mask import PersonMasker, erode_mask
from bilayer.runtime.jobs.run import Workers
from bilayer.runtime.media.photo import read_photo
from bilayer.runtime.media.writers import open_writer
from bilayer.training.data.layout import list_sequences
from bilayer.training.prepare.videos import VideoSettings, find_videos, prepare_videos
from tests import forked

av = pytest.importorskip("av")
from tests.runtime.video_files import write_slides  # noqa: E402  # it needs PyAV

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-W", "error", "-m", "bilayer.training.prepare.cli"]
STEPS = 8  # frames of a scene


def prepare(*arguments, **environment):
    return forked.run("prepare", *arguments, strict=True, env={**os.environ, **environment})


def contents(folder):
    """All files below, with their bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_film(path, pictures):
    with open_writer(path, 25.0) as writer:
        for picture in pictures:
            writer.write(np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)]))
    return path


def scene(photo, place, zoom=1.0):
    """The photo in a 512 px frame, moving three pixels a frame to the right."""
    shifts = [np.array([[zoom, 0, place[0] + 3 * i], [0, zoom, place[1]]], np.float64) for i in range(STEPS)]
    return [cv2.warpAffine(photo, shift, (512, 512)) for shift in shifts]


@pytest.fixture(scope="module")
def photo(astronaut_path, face_networks):
    return read_photo(astronaut_path)


@pytest.fixture(scope="module")
def film(photo, tmp_path_factory):
    """Her face; no face; her face again, then at once another camera's view of it."""
    empty = [np.full((512, 512, 3), 60, np.uint8)] * 4
    pictures = scene(photo, (0, 0)) + empty + scene(photo, (20, 30)) + scene(photo, (-330, -60), 2.0)
    return write_film(tmp_path_factory.mktemp("film") / "eileen.mp4", pictures)


@pytest.fixture(scope="module")
def prepared(film, tmp_path_factory):
    root = tmp_path_factory.mktemp("prepared") / "data"
    words = ["videos", film, "--out", root, "--size", 128, "--format", "png", "--jobs", 1]
    done = subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return root, done


def test_a_film_becomes_sequences_where_the_face_is_followed(prepared):
    root, done = prepared
    sequences = list_sequences(root, "train")
    assert [sequence.label for sequence in sequences] == [f"eileen/eileen/0000{i}" for i in range(3)]
    for sequence in sequences:
        assert [path.name for path in sequence.pictures()] == [f"{i:05d}.png" for i in range(STEPS)]
        for kind, suffix in (("keypoints", "npy"), ("segs", "png")):
            names = sorted(path.name for path in sequence.folder(kind).iterdir())
            assert names == [f"{i:05d}.{suffix}" for i in range(STEPS)]
    record = json.loads((root / "videos/train/eileen/eileen.json").read_text())
    assert (record["file"], record["rate"], record["sequences"], record["frames"]) == ("eileen.mp4", 25.0, 3, 24)
    assert (record["looked_at"], record["without_face"], record["too_small"], record["too_short"]) == (28, 4, 0, 0)
    assert "|      1 |" in done.stdout
    assert done.stderr.strip() == f"next: bilayer-prepare check {root}"
    assert {path.name for path in root.iterdir()} == {"imgs", "keypoints", "segs", "videos", "videos.json"}


def test_landmarks_and_masks_fit_the_pictures(prepared, landmarker):
    root, _ = prepared
    masker = PersonMasker()
    for sequence in list_sequences(root, "train"):
        for path in sequence.pictures()[:: STEPS - 1]:
            picture = np.asarray(Image.open(path))
            assert picture.shape == (128, 128, 3)
            stored = np.load(sequence.folder("keypoints") / f"{path.stem}.npy")
            assert (stored.dtype, stored.shape) == (np.float32, (68, 2))
            found = landmarker.find(picture)[0].landmarks
            eyes = np.linalg.norm(stored[36] - stored[45])
            assert np.linalg.norm(found - stored, axis=1).mean() / eyes < 0.04
            mask = np.asarray(Image.open(sequence.folder("segs") / f"{path.stem}.png"))
            np.testing.assert_array_equal(mask, np.rint(erode_mask(masker.mask(picture)) * 255))


def test_one_square_holds_a_whole_sequence(prepared, photo, landmarker):
    """Three pixels a frame in the film are 21 over the scene, of which the pictures show their share."""
    root, _ = prepared
    span_in_photo = np.ptp(landmarker.find(photo)[0].landmarks, axis=0).max()
    for sequence, zoom in zip(list_sequences(root, "train"), (1, 1, 2), strict=True):
        first, last = (np.load(sequence.folder("keypoints") / f"{i:05d}.npy") for i in (0, STEPS - 1))
        span = float(np.ptp(first, axis=0).max())  # half of a square's side by the crop rule
        moved = (last - first).mean(axis=0) / span
        np.testing.assert_allclose(moved, [3 * (STEPS - 1) / (span_in_photo * zoom), 0], atol=0.02)
        middle = [np.load(path) for path in sorted(sequence.folder("keypoints").iterdir())]
        boxes = np.median([((m.min(axis=0) + m.max(axis=0)) / 2)[0] for m in middle])
        assert boxes == pytest.approx(64, abs=1.5)


def test_it_goes_on_where_it_ended_and_asks_nothing_twice(prepared, film, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(prepared[0], root)
    marker = root / "imgs/train/eileen/eileen/00000/00000.png"
    marker.write_bytes(b"untouched")
    again = prepare("videos", film, "--out", root, "--size", 128, "--format", "png", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == {"done": {}, "finished_before": 1, "failed": {}}
    assert marker.read_bytes() == b"untouched"
    (root / "videos/train/eileen/eileen.json").unlink()  # as if killed just before
    (root / ".unfinished/train/eileen/eileen/imgs").mkdir(parents=True)
    third = prepare("videos", film, "--out", root, "--size", 128, "--format", "png")
    assert third.returncode == 0, third.stderr
    assert contents(root) == contents(prepared[0])
    for change, words in ((("--size", 64), "size: expected 64"), (("--fps", 5), "fps: expected 5")):
        refused = prepare("videos", film, "--out", root, "--size", 128, "--format", "png", *change)
        assert refused.returncode == 3
        assert refused.stderr.startswith(f"error: {root / 'videos.json'}: ")
        assert words in refused.stderr
    refused = prepare("videos", film, "--out", root, "--size", 128, "--format", "png", "--split", "test")
    assert refused.returncode == 3
    assert "eileen asked for as test is in train already" in refused.stderr


@pytest.mark.slow
def test_a_killed_run_loses_one_video_at_most_and_half_of_none(film, tmp_path):
    films, root, whole = tmp_path / "films", tmp_path / "data", tmp_path / "whole"
    for person in "abcd":
        (films / person).mkdir(parents=True)
        shutil.copy(film, films / person / "one.mp4")
    arguments = ["videos", str(films), "--size", "64", "--min-side", "10", "--jobs"]
    assert prepare(*arguments, 2, "--out", whole).returncode == 0
    run = subprocess.Popen([*COMMAND, *arguments, "1", "--out", str(root)], cwd=ROOT, stderr=subprocess.DEVNULL)
    for _ in range(600):
        if any((root / ".unfinished/train" / person / "one/imgs").is_dir() for person in "bcd"):  # half written
            break
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait(60)
    assert prepare("check", root).returncode == 0
    finished = [json.loads(path.read_text()) for path in (root / "videos").rglob("*.json")]
    assert 1 <= len(finished) < 4
    on = prepare(*arguments, 1, "--out", root, "--json")
    assert on.returncode == 0, on.stderr
    report = json.loads(on.stdout)
    assert (report["finished_before"], len(report["done"])) == (len(finished), 4 - len(finished))
    assert contents(root) == contents(whole)  # one process or two, killed or not


def test_seconds_and_frames_are_counted_by_time_stamps(face_networks, tmp_path):
    """A browser's recording: 20 frames a second for two seconds, and a header that says 1000."""
    write_slides(tmp_path / "webcam.webm", range(0, 2000, 50), "libvpx", 1000)
    for options, looked_at in ((["--seconds", 1], 20), (["--fps", 4], 8), (["--fps", 4, "--seconds", 1], 4), ([], 40)):
        out = tmp_path / "-".join(["out", *map(str, options)])
        done = prepare("videos", tmp_path / "webcam.webm", "--out", out, *options, "--jobs", 1, "--json")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)["done"]["webcam/webcam"]
        assert (result["rate"], result["looked_at"]) == (pytest.approx(20), looked_at)


def test_a_broken_video_is_named_and_the_others_are_done(film, tmp_path):
    shutil.copy(film, tmp_path / "good.mp4")
    (tmp_path / "bad.mp4").write_text("no film")
    arguments = ["--seconds", 0.4, "--fps", 12.5, "--min-frames", 4, "--out", tmp_path / "data"]
    done = prepare("videos", tmp_path / "bad.mp4", tmp_path / "good.mp4", *arguments, "--json")
    assert done.returncode == 3
    report = json.loads(done.stdout)
    assert list(report["failed"]) == ["bad/bad"]
    assert report["done"]["good/good"]["frames"] == 4  # each second of the first eight; the face is gone then
    assert report["done"]["good/good"]["looked_at"] == 5
    assert f"failed: {tmp_path / 'bad.mp4'}: not a video" in done.stderr
    assert "error: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_small_faces_and_short_sequences_are_left_out_and_counted(film, tmp_path):
    for option, value, counted in (("--min-side", 300, "too_small"), ("--min-frames", 9, "too_short")):
        done = prepare("videos", film, "--out", tmp_path / counted, option, value, "--json")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)["done"]["eileen/eileen"]
        left_out = {"too_small": 16, "too_short": 24}[counted]
        assert (result[counted], result["frames"]) == (left_out, 24 - left_out)


def test_videos_are_named_by_where_they_stand(tmp_path):
    for name in ("anna.mp4", "bob/x.MOV", "bob/day1/y.mkv", "bob/notes.txt", ".trash/z.mp4"):
        path = tmp_path / "films" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "carol.film").touch()

    def names(*places):
        return [(job.person, job.video) for job in find_videos(places, tmp_path, "train", VideoSettings())]

    folder = tmp_path / "films"
    assert names(folder) == [("anna", "anna"), ("bob", "day1-y"), ("bob", "x")]
    assert names(tmp_path / "carol.film", folder / "bob/x.MOV") == [("carol", "carol"), ("x", "x")]
    assert names(folder / "anna.mp4", folder / "anna.mp4") == [("anna", "anna")]


def test_videos_of_a_store_become_what_files_become(prepared, film, tmp_path):
    settings = VideoSettings(size=128, picture_format="png", min_side=64)
    root, memory = tmp_path / "data", fsspec.filesystem("memory")
    for name, content in (("eileen.mp4", film.read_bytes()), ("bob/cut.mp4", b"no film"), (".trash/z.mp4", b"")):
        memory.pipe_file(f"/films/{name}", content)
    found = find_videos(["memory://films"], root, "train", settings)
    assert [(job.person, job.video, job.path) for job in found] == [
        ("bob", "cut", "memory://films/bob/cut.mp4"),
        ("eileen", "eileen", "memory://films/eileen.mp4"),
    ]
    report = prepare_videos(found, Workers(1))
    assert list(report.done) == ["eileen/eileen"]
    assert report.failed["bob/cut"].startswith("memory://films/bob/cut.mp4: not a video")
    memory.rm("/films/bob/cut.mp4")
    assert contents(root) == contents(prepared[0])
    (alone,) = find_videos(["memory://films/eileen.mp4"], root, "train", settings)
    assert (alone.person, alone.video) == ("eileen", "eileen")
    assert prepare_videos([alone], Workers(1)).finished_before == 1
    memory.pipe_file("/films/eileen.mp4", film.read_bytes() + b"more")
    assert prepare_videos([alone], Workers(1)).finished_before == 0


def test_a_folder_by_its_url_is_prepared_by_the_command(prepared, film, tmp_path):
    words = ("--out", tmp_path / "data", "--size", 128, "--format", "png", "--jobs", 2)
    (tmp_path / "films").mkdir()
    for name in ("eileen.mp4", "ann.mp4"):
        shutil.copy(film, tmp_path / "films" / name)
    done = prepare("videos", f"file://{tmp_path}/films", *words)
    assert done.returncode == 0, done.stderr
    found = contents(tmp_path / "data")
    assert {name: content for name, content in found.items() if "ann" not in name} == contents(prepared[0])
    (tmp_path / "films/ann.mp4").write_bytes(b"no film")
    broken = prepare("videos", f"file://{tmp_path}/films", *words)
    assert broken.returncode == 3
    assert f"failed: file://{tmp_path}/films/ann.mp4: not a video" in broken.stderr
    refused = prepare("videos", film, "--out", f"file://{tmp_path}/out")
    assert refused.returncode == 2
    assert "is a URL: expected a path" in refused.stderr
    for place, code, told in (
        ("file:///no/such", 3, "expected videos (.mp4"),
        ("memory://empty.mp4", 3, "expected videos (.mp4"),
        ("nosuch://x", 3, "Protocol not known: nosuch"),
        ("dropbox://x", 5, "; pip install "),
    ):
        refused = prepare("videos", place, "--out", tmp_path / "none")
        assert refused.returncode == code, refused.stderr
        assert refused.stderr.startswith(f"error: {place}: ")
        assert told in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        assert not (tmp_path / "none").exists()


def test_places_that_are_no_videos(tmp_path):
    (tmp_path / "empty").mkdir()
    twice = tmp_path / "a.mp4", tmp_path / "a.mov"
    for path in twice:
        path.touch()
    for places, words in (
        ([tmp_path / "no.mp4"], "no such file; name a video"),
        ([tmp_path / "empty"], "expected videos (.mp4"),
        (twice, f"would be a/a, as {twice[0]}; rename one"),
    ):
        done = prepare("videos", *places, "--out", tmp_path / "data")
        assert done.returncode == 3
        assert done.stderr.startswith(f"error: {places[-1]}: ")
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "data").exists()


def test_what_is_not_installed_stops_the_run_before_it_leaves_a_trace(film, tmp_path):
    done = prepare("videos", film, "--out", tmp_path / "data", BILAYER_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 5
    assert "-m bilayer.runtime.face.model_files" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_a_run_that_reads_no_video_leaves_nothing(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(200))
    refused = prepare("videos", tmp_path / "film.mp4", "--out", tmp_path / "new" / "data")
    assert refused.returncode == 3
    assert "1 of 1 videos could not be read" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]
