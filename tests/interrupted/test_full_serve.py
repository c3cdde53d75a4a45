"""`bilayer-serve` out of disk from a call on: an answer in a sentence, a service that lives, nothing half left."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from tests import golden
from tests.interrupted.interruption import compile_library
from tests.runtime.conftest import CASE

pytest.importorskip("fastapi", reason="extra [serve]")
pytest.importorskip("multipart", reason="extra [serve]")

from tests.export.test_serve import TOKEN, Server, ready

MANY = 1 << 40  # a call that is never made


@dataclass(frozen=True)
class Ended:
    """How a service answered and ended."""

    started: bool
    answers: tuple[tuple[int, bytes], ...]  # of two photos, one after the other
    alive: bool
    code: int
    err: str
    calls: int


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = compile_library(tmp_path_factory.mktemp("interposed"))
    if path is None:
        pytest.skip("no C compiler: apt install gcc")
    return path


def photo_and_keypoints():
    photo, points = io.BytesIO(), io.BytesIO()
    Image.fromarray(CASE["source_image"]).save(photo, "PNG")
    np.save(points, CASE["source_landmarks"])
    return photo.getvalue(), points.getvalue()


def served(library, folder, number):
    """A service whose disk is full from a call on, asked twice and ended."""
    for name in ("cache", "tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "count").write_bytes(bytes(8))
    fault = {"PLACES": f"{folder / 'cache'}:{folder / 'tmp'}", "NUMBER": number, "ACTION": "full"}
    environment = {f"INTERPOSED_{name}": str(value) for name, value in (fault | {"COUNT": folder / "count"}).items()}
    command = [sys.executable, "-m", "bilayer.export.serve.cli", "--port", "0", "--json", "--target", "none",
               "--cache", folder / "cache", "--checkpoint", golden.CASE_A / "runs"]  # fmt: skip
    own = {"LD_PRELOAD": str(library), "TMPDIR": str(folder / "tmp"), "BILAYER_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | environment | own,
    ) as process:  # fmt: skip
        answers, alive, server = [], False, None
        try:
            try:
                server = Server(process, folder / "cache")
            except (AssertionError, ValueError):
                assert process.wait(60) is not None
            if server is not None:
                ready(server)
                photo, keypoints = photo_and_keypoints()
                for _ in range(2):
                    answer, content = server.post(photo, keypoints, mask="false")
                    answers.append((answer.status, content))
                alive = server.ask("/health/live")[0].status == 200
                process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    calls = int.from_bytes((folder / "count").read_bytes(), "little")
    return Ended(server is not None, tuple(answers), alive, process.returncode, err, calls)


def wrong(folder, ended, expected):
    """What is not as promised, in words."""
    found = []
    if "Traceback" in ended.err:
        found.append(f"a traceback: {ended.err[-2000:]}")
    if not ended.started and not (ended.code == 3 and ended.err.strip().count("\n") == 0):
        found.append(f"did not start, and told: {ended.code} {ended.err[-500:]}")
    for status, content in ended.answers:
        if status == 200 and content != expected:
            found.append("another avatar")
        elif status != 200:
            told = json.loads(content)
            if status != 503 or not told["message"] or "\n" in told["message"] or str(folder) in told["message"]:
                found.append(f"answered {status} {content[:500]!r}")
    if ended.started and not (ended.alive and ended.code == 143):
        found.append(f"did not live, or ended with {ended.code}: {ended.err[-500:]}")
    left = sorted(str(path.relative_to(folder)) for path in (folder / "tmp").rglob("*"))
    if left:
        found.append(f"left {left[:5]}")
    for path in (folder / "cache").rglob("*"):
        if path.is_file() and path.name.endswith(".zip") and zipfile.ZipFile(path).testzip() is not None:
            found.append(f"a half avatar: {path.name}")
    return found


def test_a_full_disk_is_an_answer(library, tmp_path, request):
    whole = served(library, tmp_path / "whole", MANY)
    assert [status for status, _ in whole.answers] == [200, 200]
    assert whole.calls
    expected = whole.answers[0][1]
    assert not wrong(tmp_path / "whole", whole, expected)
    wanted = request.config.getoption("--points")
    everywhere = range(1, whole.calls + 1)
    points = everywhere if not 0 < wanted < whole.calls else random.Random(5).sample(everywhere, wanted)
    found = []
    for number in points:
        folder = tmp_path / str(number)
        met = served(library, folder, number)
        found += [f"call {number}: {words}" for words in wrong(folder, met, expected)]
    print(f"serve: full at {len(points)} of {whole.calls} calls, {len(found)} wrong", flush=True)
    assert not found, "\n".join(found)
