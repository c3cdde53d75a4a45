"""`bilayer-parity`, `bilayer-prepare videos` and `bilayer-eval` on an S3 store, which is moto's server."""

import json
import subprocess
import sys

import pytest

from tests.benchmarks.avatars import export_tiny
from tests.training.test_evaluate import RUNS, add_sequence

pytest.importorskip("s3fs", reason="s3fs is not installed")
pytest.importorskip("moto.moto_server.werkzeug_app", reason="moto and flask are not installed")
from tests.export.bulk.test_bulk_s3 import store  # noqa: F401  # a fixture; it needs them


def run(module, *words):
    command = [sys.executable, "-m", f"bilayer.{module}", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_avatars_are_judged(store, tmp_path):  # noqa: F811
    app, fs = store
    folder = export_tiny(tmp_path).folder
    for name in ("ann", "more/ben", "denied"):
        for path in folder.iterdir():
            fs.put_file(str(path), f"avatars/run/{name}/{path.name}")
    app.denied, app.slow = ("denied/avatar.onnx",), ("ben/avatar.onnx",)
    code, out, err = run("benchmarks.parity.cli", "s3://avatars/run", "--quick", "--poses", 1, "--jobs", 2, "--json")
    assert code == 3, err
    ann, denied, ben = json.loads(out)["avatars"]
    assert [row["avatar"] for row in (ann, denied, ben)] == [
        f"{name}/avatar.json" for name in ("ann", "denied", "more/ben")
    ]
    alone = json.loads(run("benchmarks.parity.cli", folder, "--quick", "--poses", 1, "--json")[1])
    for row, name in ((ann, "ann"), (ben, "more/ben")):
        assert row["verdict"] == alone["verdict"]
        assert row["report"] | {"failures": None} == alone | {"failures": None, "bundle": f"s3://avatars/run/{name}"}
    assert denied["verdict"] == "failed"
    assert denied["reason"].startswith("s3://avatars/run/denied/avatar.onnx: access denied (")


def test_data_are_measured(store, tmp_path):  # noqa: F811
    app, fs = store
    for person in ("101", "102"):
        add_sequence(tmp_path / "data", "test", person, frames=3)
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            fs.put_file(str(path), f"photos/data/{path.relative_to(tmp_path / 'data')}")
    words = ("training.evaluate.cli", "checkpoint", RUNS, "--every", 1, "--no-landmark-errors", "--json", "--data")
    code, out, err = run(*words, "s3://photos/data", "--jobs", 2)
    assert code == 0, err
    assert json.loads(out) == json.loads(run(*words, tmp_path / "data")[1])
    app.denied = ("101/v/s/0001.npy",)
    code, _, err = run(*words, "s3://photos/data", "--jobs", 1)
    assert code == 3
    assert "s3://photos/data/keypoints/test/101/v/s/0001.npy: access denied (" in err


def test_what_is_wrong_with_a_video_is_told_by_its_url(store, face_networks, tmp_path):  # noqa: F811
    app, fs = store
    for name in ("ann.mp4", "bob/denied.mp4", "bob/notes.txt"):
        fs.pipe_file(f"photos/films/{name}", b"no film")
    app.denied = ("denied.mp4",)
    code, out, _ = run("training.prepare.cli", "videos", "s3://photos/films", "--out", tmp_path / "data", "--json")
    assert code == 3
    failed = json.loads(out)["failed"]
    assert failed["ann/ann"].startswith("s3://photos/films/ann.mp4: not a video")
    assert failed["bob/denied"].startswith("s3://photos/films/bob/denied.mp4: access denied (")
    code, _, err = run("training.prepare.cli", "videos", "s3://photos/none", "--out", tmp_path / "data")
    assert code == 3
    assert "s3://photos/none: expected videos" in err
