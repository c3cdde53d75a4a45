"""A service whose disk is full, from each call on by which it changes files: every answer is told, and it goes on.

What one request writes is the photo, its landmarks, the avatar's files, and the zip that is kept; what its start writes
is the folders and the lock.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager

import pytest

from tests import golden
from tests.export.serving import landmarks_file, photo_file, serving
from tests.hostile.sandbox import listed
from tests.interrupted.commands import hidden
from tests.interrupted.interruption import compile_library


class Disk:
    """One that a service and all its processes write to, and that is full from a call on."""

    def __init__(self, folder, library):
        self.cache, self.temporary, self._counter = folder / "cache", folder / "tmp", folder / "count"
        self.temporary.mkdir(parents=True)
        self.fill(0)
        self._own = set()  # in the temporary folder, as long as the service is there
        places = f"{self.cache}:{self.temporary}"
        fault = {"PLACES": places, "NUMBER": 0, "ACTION": "full", "COUNT": self._counter}
        self.environment = {f"INTERPOSED_{name}": str(value) for name, value in fault.items()}
        self.environment |= {"LD_PRELOAD": str(library), "TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1"}

    def fill(self, number):
        """From the call of that number on, counted from now; 0: there is room."""
        with self._counter.open("r+b" if self._counter.exists() else "wb") as counter:  # processes have it mapped
            counter.write(bytes(8) + number.to_bytes(8, "little"))

    @property
    def left(self):
        """Drafts, parts of requests and temporary files, by name."""
        passing = (hidden(self.cache), listed(self.cache / "work"), listed(self.temporary) - self._own)
        return sorted({name for names in passing for name in names})

    def settle(self):
        """What the service has in its temporary folder now is its own."""
        self._own = listed(self.temporary)

    @property
    def calls(self):
        """Made since then."""
        return int.from_bytes(self._counter.read_bytes()[:8], "little")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    library = compile_library(tmp_path_factory.mktemp("library"))
    return library or pytest.skip("no C compiler: apt install gcc")


@contextmanager
def served(disk):
    """A service on that disk; at its end it has logged lines, and no traceback."""
    with serving(disk.cache, **disk.environment) as server:
        disk.settle()
        yield server
        server.process.terminate()
        _, told = server.process.communicate(timeout=60)
    assert server.process.returncode == 143, told
    assert "Traceback" not in told
    others = [line for line in told.splitlines() if not line.startswith(("WARNING: ", "ERROR: ", "ready: "))]
    assert not others, f"{others}\n{told}"
    assert not listed(disk.temporary)


def _refusal(answer, content):
    """What is wrong with an answer that is no avatar."""
    told = json.loads(content)
    if set(told) != {"error", "field", "message", "way_out"} or not told["message"] or not told["way_out"]:
        return [f"not a whole sentence: {told}"]
    if answer.status != 503 or told["error"] != "service" or "\n" in told["message"]:
        return [f"{answer.status} {told}"]
    return [f"tells a path: {told}"] if "/cache" in str(told) or "/tmp" in str(told) else []


def empty(cache):
    """Let the service make its avatar anew: what somebody removed is not kept."""
    for path in (cache / "avatars").iterdir():
        path.unlink()


def met(server, disk, ask, whole, number):
    """The status of a request's answer where the disk is full from that call of it on, and what is wrong then."""
    disk.fill(number)
    answer, content = ask()
    found = [] if disk.calls >= number else ["not reached"]
    if answer.status == 200:
        found += [] if content == whole else ["the zip is another one"]
    else:
        found += _refusal(answer, content)
    if server.ask("/health/ready")[0].status != 200:
        found.append("is not ready any more")
    if disk.left:
        found.append(f"left: {disk.left[:3]}")
    kept = [path.read_bytes() for path in (disk.cache / "avatars").iterdir()]
    if kept not in ([], [whole]):
        found.append(f"{len(kept)} kept, or not whole")
    disk.fill(0)
    again, content = ask()
    if (again.status, content) != (200, whole):
        found.append(f"with room again: {again.status} {content[:200]}")
    empty(disk.cache)
    return answer.status, [f"full at {number}: {words}" for words in found]


def points_of(request, calls, most):
    """Numbers of the calls at which the disk is full: `most` of them where not all are asked for."""
    everywhere = range(1, calls + 1)
    few = min(calls, max(most, request.config.getoption("--points")))
    return everywhere if not request.config.getoption("--points") else sorted(random.Random(0).sample(everywhere, few))


def test_each_answer_of_a_full_disk_is_told_and_the_service_goes_on(request, library, tmp_path):
    disk, found, statuses = Disk(tmp_path, library), [], Counter()
    photo, landmarks = photo_file(), landmarks_file()
    with served(disk) as server:

        def ask():
            return server.post(photo, landmarks, mask="false", refine="none")

        disk.fill(0)
        answer, whole = ask()
        assert answer.status == 200, whole
        calls = disk.calls
        empty(disk.cache)
        numbers = points_of(request, calls, 4)
        for number in numbers:
            status, wrong = met(server, disk, ask, whole, number)
            statuses[status] += 1
            found += wrong
        tried = f"full at {len(numbers)} of {calls} calls of a request"
        print(f"bilayer-serve: {tried}, answers {dict(statuses)}, {len(found)} wrong", flush=True)
        assert not found, "\n".join(found)
        assert "bilayer_worker_restarts 0.0" in server.ask("/metrics")[1].decode()


def begun(disk):
    """Begin a service, and end it once it tells its address; that, its exit code, and what it logged."""
    command = [sys.executable, "-m", "bilayer.export.serve.cli", "--port", "0", "--cache", str(disk.cache),
               "--target", "none", "--checkpoint", str(golden.CASE_A / "runs")]  # fmt: skip
    with subprocess.Popen(
        command,
        env=os.environ | disk.environment | {"PYTHONFAULTHANDLER": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            address = process.stdout.readline()
            if address:
                process.send_signal(signal.SIGTERM)
            try:
                _, told = process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                ended = process.poll()  # an exit code where a child alone is left, which holds the pipe
                process.send_signal(signal.SIGABRT)  # where each thread stands
                pytest.fail(f"hangs, exit code {ended}: {process.communicate(timeout=60)[1]}")
        finally:
            process.kill()
    return address, process.returncode, told


def test_a_service_that_cannot_begin_says_so_in_a_line_and_begins_on_the_same_folder_later(request, library, tmp_path):
    undisturbed, found = Disk(tmp_path / "undisturbed", library), []
    assert begun(undisturbed)[0]
    numbers = points_of(request, undisturbed.calls, 2)
    for number in numbers:
        disk = Disk(tmp_path / str(number), library)
        disk.fill(number)
        address, code, told = begun(disk)
        if "Traceback" in told or not (address or (code == 3 and len(told.splitlines()) == 1)):
            found.append(f"full at {number}: exit code {code}: {told[-1500:]}")
        if disk.left:
            found.append(f"full at {number}: left {disk.left[:3]}")
        disk.fill(0)
        if not begun(disk)[0]:
            found.append(f"full at {number}: does not begin with room again")
    print(f"bilayer-serve: full at {len(numbers)} of {undisturbed.calls} calls of its start, {len(found)} wrong")
    assert not found, "\n".join(found)
