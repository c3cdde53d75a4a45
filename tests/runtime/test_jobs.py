"""Jobs on several processes give what one gives, report their own faults, and end with their owner."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from bilayer.runtime.errors import InputError, OutputError, ToolMissingError
from bilayer.runtime.jobs import processes
from bilayer.runtime.jobs.run import Workers, run_jobs
from tests.waiting import is_running, wait_for

ROOT = Path(__file__).parents[2]


def square(number):
    if number == 3:
        raise InputError("3: not a number to square")
    return number * number, os.getpid()


def fail(number):
    raise {1: OutputError("disk full"), 2: ToolMissingError("no tool")}[number]


def die_at_two(number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def die_once(note):
    if note.name == "b" and not note.exists():
        note.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def kill_the_idle(note):
    """The second job, once: end the process that has done the first, and waits."""
    if note.name == "b" and not note.exists():
        note.touch()
        time.sleep(1)
        for task in Path(f"/proc/{os.getppid()}/task").iterdir():
            for one in (task / "children").read_text().split():
                if int(one) != os.getpid() and "spawn_main" in Path(f"/proc/{one}/cmdline").read_text():
                    os.kill(int(one), signal.SIGKILL)
        time.sleep(1)
    return "done"


def die_fetching(number):
    """The second job: end the process where it takes the next one, with the lock of its pipe closed behind it."""
    if number == 1:
        from pebble.pool import process

        def fetch(channel):
            channel.mutex.acquire()
            os.kill(os.getpid(), signal.SIGKILL)

        process.task_transaction = fetch
    return number * number


def wait_long(path):
    Path(path).write_text(f"{os.getpid()} {tempfile.mkdtemp()}")
    time.sleep(600)


@pytest.mark.parametrize("processes", [1, 2])
def test_each_job_has_its_result_or_its_own_fault(processes):
    found = dict(run_jobs(square, range(6), Workers(processes)))
    assert {n: result[0] for n, result in found.items() if n != 3} == {0: 0, 1: 1, 2: 4, 4: 16, 5: 25}
    assert str(found[3]) == "3: not a number to square"
    here = {result[1] == os.getpid() for n, result in found.items() if n != 3}
    assert here == {processes == 1}


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(("job", "kind"), [(1, OutputError), (2, ToolMissingError)])
def test_what_stops_all_jobs_stops_the_run(processes, job, kind):
    with pytest.raises(kind):
        list(run_jobs(fail, [job, job, job], Workers(processes)))


def test_a_job_that_kills_its_worker_is_a_fault_of_its_own():
    found = dict(run_jobs(die_at_two, range(6), Workers(2)))
    assert {number: result for number, result in found.items() if number != 2} == {0: 0, 1: 1, 3: 9, 4: 16, 5: 25}
    assert "a worker process was killed at this, 2 times" in str(found[2])


def test_a_job_whose_worker_was_killed_is_done_by_another(tmp_path):
    found = dict(run_jobs(die_once, [tmp_path / name for name in "abc"], Workers(2)))
    assert set(found.values()) == {"done"}


def test_a_worker_that_is_killed_with_a_lock_closes_no_other_out():
    found = dict(run_jobs(die_fetching, range(12), Workers(2)))
    assert found == {number: number * number for number in range(12)}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes as Linux shows them")
def test_an_idle_worker_that_is_killed_stops_nothing(tmp_path):
    found = dict(run_jobs(kill_the_idle, [tmp_path / name for name in "ab"], Workers(2)))
    assert set(found.values()) == {"done"}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes as Linux shows them")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_end_with_their_owner_and_leave_no_file(tmp_path, how):
    code = (
        "from bilayer.runtime.jobs.run import Workers, run_jobs\n"
        "from tests.runtime.test_jobs import wait_long\n"
        "import sys\n"
        "if __name__ == '__main__':\n"
        "    list(run_jobs(wait_long, sys.argv[1:], Workers(2)))\n"
    )
    (tmp_path / "run.py").write_text(code)
    notes = [tmp_path / "a", tmp_path / "b"]
    command = [sys.executable, str(tmp_path / "run.py"), *map(str, notes)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    owner = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: all(note.exists() and note.read_text() for note in notes))
        workers, folders = zip(*(note.read_text().split() for note in notes), strict=True)
        assert all(Path(folder).is_dir() for folder in folders)
        owner.send_signal(how)
        owner.wait(60)
        wait_for(lambda: not any(is_running(worker) for worker in workers))
        assert not any(Path(folder).exists() for folder in folders)
    finally:
        owner.kill()


def test_a_worker_leaves_where_the_disk_is_full(tmp_path, monkeypatch):
    def full():
        raise FileNotFoundError("No usable temporary directory found")  # tempfile tries whether it can write there

    folder, left = tmp_path / "bilayer-jobs-0", []
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "gettempdir", full)
    monkeypatch.setattr(os, "_exit", left.append)
    end, held = processes.SPAWNED.Pipe(duplex=False)
    held.close()
    processes._leave_with(end)
    assert left == [1]
    assert not folder.exists()


def test_a_process_that_cannot_be_started_is_told(monkeypatch):
    def refuse(*_, **__):
        raise BrokenProcessPool from OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("pebble.ProcessPool.schedule", refuse)
    told = "a process cannot be started: Too many open files; allow more open files, as by ulimit -n 4096, or ask for"
    with pytest.raises(InputError, match=told):
        list(run_jobs(square, [1, 2], Workers(2)))
