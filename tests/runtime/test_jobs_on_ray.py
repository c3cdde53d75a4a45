"""Jobs on a Ray cluster of two nodes on this machine: each has its result, and a lost worker or node loses none."""

import os
import signal
import subprocess
import sys

import pytest

from bilayer.runtime.errors import InputError, OutputError
from bilayer.runtime.jobs.run import Workers, run_jobs
from tests.documents import ROOT

ray = pytest.importorskip("ray", reason="Ray is not installed")
CLUSTER = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of a core each; a test may add and lose more."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    try:
        yield cluster
    finally:
        cluster.shutdown()


CONNECTING = """
import gc, ray, sys, time
from bilayer.runtime.jobs.run import Workers, run_jobs
from tests.process.state import changes, snapshot

def told_of(adding):
    before = snapshot()
    assert len(list(run_jobs(abs, range(2), Workers(ray=sys.argv[1])))) == 2
    for _ in range(50):  # threads and sockets of Ray take a moment to be gone
        told = changes(before, snapshot(), adding=adding)
        # Its core's own: how it tells of a crash, and its log, which is another file each time
        told = [one for one in told if not one.startswith("signals of the system") and "/logs/python-core" not in one]
        if not told:
            break
        time.sleep(0.1)
        gc.collect()
    return told

told = told_of(adding=True)
assert not told, ("at first", told)
# What is left grows by each run; gRPC's own threads, which stay, come to be more now and then
turns = []
while len(turns) < 4 and (not turns or turns[-1]):
    turns.append(told_of(adding=False))
assert not turns[-1], turns
"""


def square(number):
    if number == 3:
        raise InputError("3: not a number to square")
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def fail(number):
    raise OutputError(f"{number}: disk full")


def die_once(note):
    if note.name == "b" and not note.exists():
        note.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@CLUSTER
def test_each_job_has_its_result_or_its_own_fault(cluster):
    found = dict(run_jobs(square, range(8), Workers(ray=cluster.address)))
    assert {number: result for number, result in found.items() if number not in (3, 5)} == {
        number: number**2 for number in (0, 1, 2, 4, 6, 7)
    }
    assert str(found[3]) == "3: not a number to square"
    assert "a worker process was killed at this, 2 times" in str(found[5])
    assert "--jobs" not in str(found[5])  # which goes for processes of this machine


@CLUSTER
def test_a_job_whose_worker_was_killed_is_done_by_another(cluster, tmp_path):
    found = dict(run_jobs(die_once, [tmp_path / name for name in "abc"], Workers(ray=cluster.address)))
    assert set(found.values()) == {"done"}


@CLUSTER
def test_a_path_is_from_the_folder_of_the_command(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").touch()
    found = dict(run_jobs(os.path.exists, ["here", "not here"], Workers(ray=cluster.address)))
    assert found == {"here": True, "not here": False}


def test_a_run_leaves_its_process_as_it_was(cluster):
    command = [sys.executable, "-c", CONNECTING, cluster.address]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@CLUSTER
def test_what_stops_all_jobs_stops_the_run(cluster):
    with pytest.raises(OutputError, match="disk full"):
        list(run_jobs(fail, range(4), Workers(ray=cluster.address)))


@CLUSTER
def test_a_cluster_that_ends_in_the_middle_ends_the_run_in_place_of_failing_each_job(cluster, monkeypatch):
    get, asked = ray.get, []

    def ended(reference):
        asked.append(reference)
        if len(asked) > 2:
            raise ray.exceptions.LocalRayletDiedError
        return get(reference)

    monkeypatch.setattr(ray, "get", ended)
    with pytest.raises(InputError, match="node that this command was connected to has ended"):
        list(run_jobs(abs, range(1000), Workers(ray=cluster.address)))
    assert len(asked) == 3


@CLUSTER
def test_a_cluster_that_is_not_there_is_told():
    with pytest.raises(InputError, match=r"--ray 127\.0\.0\.1:9: no cluster answers there"):
        list(run_jobs(square, [1, 2], Workers(ray="127.0.0.1:9")))
