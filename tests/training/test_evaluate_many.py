"""`bilayer-eval checkpoint` on several processes: the numbers of one, to the last digit, whatever is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner

from bilayer.training.evaluate.baselines import mean_head
from bilayer.training.evaluate.cli import main
from tests.training.test_evaluate import RUNS, add_sequence

PEOPLE = ("101", "102", "103")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for person in PEOPLE:
        add_sequence(root, "test", person, frames=4)
    return root


def arguments(data, out, *more):
    asked = ["checkpoint", RUNS, "--data", data, "--every", 1, "--no-landmark-errors"]
    return [str(one) for one in (*asked, "--out", out / "r.json", "--save-frames", out / "frames", *more)]


def found(out):
    """The numbers, as they were written, and every frame's bytes by its place."""
    files = {path.relative_to(out): path.read_bytes() for path in (out / "frames").rglob("*") if path.is_file()}
    return (out / "r.json").read_text(), files


@pytest.fixture(scope="module")
def by_one(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("one")
    done = CliRunner().invoke(main, arguments(data, out, "--jobs", 1))
    assert done.exit_code == 0, done.stderr
    return found(out)


def test_data_of_a_store_give_the_numbers_of_a_folders(data, tmp_path, by_one):
    memory = fsspec.filesystem("memory")
    memory.put(str(data), "/people", recursive=True)
    place = "memory://people"
    assert memory.exists("/people/imgs/test/101/v/s/0000.png")
    done = CliRunner().invoke(main, arguments(place, tmp_path, "--jobs", 1))
    assert done.exit_code == 0, done.stderr
    assert found(tmp_path) == by_one
    file = "keypoints/test/102/v/s/0001.npy"
    memory.pipe_file(f"/people/{file}", b"cut")
    for number, told in enumerate((f"{place}/{file}: expected a .npy array", f"{place}/{file}: no such file")):
        if number:
            memory.rm(f"/people/{file}")
        done = CliRunner().invoke(main, arguments(place, tmp_path / "again", "--jobs", 1))
        assert done.exit_code == 3
        assert done.stderr.splitlines()[-1].startswith(f"error: {told}")
        assert not (tmp_path / "again/frames").exists()


def test_data_by_their_url_are_measured_by_two_processes(data, tmp_path, by_one):
    command = [sys.executable, "-m", "bilayer.training.evaluate.cli"]
    words = arguments(f"file://{data}", tmp_path, "--jobs", 2)
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert found(tmp_path) == by_one


@pytest.mark.parametrize(
    ("place", "code", "words"),
    [
        ("file:///no/such", 3, "expected pictures imgs/test/PERSON"),
        ("nosuch://x", 3, "Protocol not known: nosuch"),
        ("dropbox://x", 5, "; pip install "),
    ],
)
def test_a_store_without_data_is_told_by_its_url(place, code, words, tmp_path):
    done = CliRunner().invoke(main, arguments(place, tmp_path, "--jobs", 1))
    assert done.exit_code == code
    assert done.stderr.startswith(f"error: {place}")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("masks", [True, False])
def test_the_mean_head_of_a_store_is_a_folders(masks, tmp_path):
    for number in range(5):
        add_sequence(tmp_path, "train", str(200 + number), frames=2, masks=masks)
    place = f"heads-{masks}"
    fsspec.filesystem("memory").put(str(tmp_path), f"/{place}", recursive=True)
    assert np.array_equal(mean_head(f"memory://{place}", 64), mean_head(tmp_path, 64))


def children(process):
    tasks = Path(f"/proc/{process}/task").iterdir()
    return [int(one) for task in tasks for one in (task / "children").read_text().split()]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes as Linux shows them")
def test_two_processes_give_what_one_gives_though_one_is_killed(data, tmp_path, by_one):
    command = [sys.executable, "-m", "bilayer.training.evaluate.cli", *arguments(data, tmp_path, "--jobs", 2)]
    # Ray's workers have one thread, if nobody says otherwise
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    begun = time.monotonic()
    while not list(tmp_path.rglob("landmarks/*")):
        assert process.poll() is None
        assert time.monotonic() < begun + 60
        time.sleep(0.02)
    workers = [one for one in children(process.pid) if "spawn_main" in Path(f"/proc/{one}/cmdline").read_text()]
    os.kill(workers[0], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert len(workers) == 2
    numbers, files = found(tmp_path)
    assert numbers == by_one[0]
    assert files == by_one[1]
    assert json.loads(numbers)["identities"] == len(PEOPLE)


def test_a_damaged_file_of_one_identity_ends_the_run(data, tmp_path):
    add_sequence(tmp_path / "data", "test", "101", frames=2)
    add_sequence(tmp_path / "data", "test", "102", frames=2)
    broken = tmp_path / "data" / "keypoints/test/102/v/s/0001.npy"
    broken.write_bytes(broken.read_bytes()[:-9])
    done = CliRunner().invoke(main, arguments(tmp_path / "data", tmp_path, "--jobs", 1))
    assert done.exit_code == 3
    assert "102/v/s/0001.npy" in done.stderr
    assert not (tmp_path / "frames").exists()
    assert not (tmp_path / "r.json").exists()
