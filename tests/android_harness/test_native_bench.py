"""`bilayer-device bench` with the sampler: the native runner on the test phone, frames compared, times dropped."""

import importlib
import json
import re
import shutil
import sys

import pytest
from click.testing import CliRunner

from bilayer.android_harness.cli import main
from bilayer.android_harness.device.workspace import ROOT
from bilayer.android_harness.results import read_result
from bilayer.android_harness.routes.runner_build import built_runner
from bilayer.android_harness.routes.sdk import is_android_program
from tests.android_harness.conftest import make_bundle
from tests.android_harness.native_builds import runner_of_the_command, sampler_runner
from tests.android_harness.test_native_runner import make_sysfs

pytestmark = pytest.mark.slow

ONE = ("--repeats", 1, "--warm-up", 0, "--processes", 1, "--poses", 2, "--cool-down", 0, "--mode", "cpu")
CORES = [1785600, 2419200]
# The runner with times put into what it says: invented, to see where they go
INVENTED = """#!{python}
import json, subprocess, sys
from pathlib import Path
subprocess.run([{runner!r}, *sys.argv[1:], "--sysfs", {sysfs!r}], check=True)
path = Path(sys.argv[sys.argv.index("--json") + 1])
said = json.loads(path.read_text())
said["machine"]["emulation"] = []
for kernel in said["kernels"]:
    kernel["frame_us"] = dict(min=31337, median=31338, p90=31339, p99=31340, max=31341, mean=31338.5)
path.write_text(json.dumps(said))
"""


@pytest.fixture(scope="module")
def runner(once_for_all):
    return sampler_runner("host", once_for_all)


@pytest.fixture
def inventing(runner, tmp_path):
    path = tmp_path / "inventing"
    sysfs = make_sysfs(tmp_path / "sys", CORES)
    path.write_text(INVENTED.format(python=sys.executable, runner=str(runner), sysfs=str(sysfs)))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_the_sampler_on_the_device_gives_the_python_samplers_frames(
    command, exported_folder, runner, tmp_path, layout, phone
):
    bundle = make_bundle(exported_folder, tmp_path / "b", 3, layout)
    phone.environment["STAND_IN"] = "wrong layout" if layout == "NCHW" else ""
    out = tmp_path / "a.json"
    done = command("bench", bundle, *ONE, "--runner", runner, "--sampler-runs", 5, "--out", out)
    assert done.exit_code == 0, done.stderr
    result = read_result(out)
    sampler = result.sampler
    assert (sampler.runs, sampler.warm_up, sampler.layout) == (5, 1, "merged" if layout == "NHWC" else "planar")
    rows = {(row.kernel, row.cores, row.threads): row for row in sampler.rows}
    assert {("portable", "any", 1), ("numba", "any", 1)} <= set(rows)
    for row in rows.values():
        assert (row.frames, row.differing_bytes, row.worst_levels, row.frame_ms) == (2, 0, 0, None)
    assert "## Sampler on the processor" in done.stdout
    assert "## A whole frame" not in done.stdout
    assert not (phone.inside(ROOT) / "out").exists()


def test_times_are_kept_of_a_device_alone(command, bundle, inventing, tmp_path, monkeypatch, phone):
    arguments = ("bench", bundle, *ONE, "--runner", inventing, "--json", "--out")
    dropped = command(*arguments, tmp_path / "a.json")
    assert dropped.exit_code == 0, dropped.stderr
    assert "31.3" not in dropped.stdout + dropped.stderr
    assert {row["frame_ms"] for row in json.loads(dropped.stdout)["sampler"]["rows"]} == {None}

    for module in ("bench.outcome", "bench.steps"):
        monkeypatch.setattr(importlib.import_module(f"bilayer.android_harness.{module}"), "is_android_program", bool)
    phone.environment["STAND_IN_VERSION"] = "1.32.0.555"
    kept = command(*arguments, tmp_path / "b.json")
    assert kept.exit_code == 0, kept.stderr
    sampler = read_result(tmp_path / "b.json").sampler
    where = [(row.cores, row.threads, row.core_mhz) for row in sampler.rows if row.kernel == "numba"]
    assert where == [("any", 1, None), ("little", 1, 1785.6), ("big", 1, 2419.2)]
    assert {(row.frame_ms.min, row.frame_ms.p99, row.frame_ms.mean) for row in sampler.rows} == {
        (31.337, 31.34, 31.338)
    }
    assert {(row.hottest_celsius, row.held_back) for row in sampler.rows} == {(41.0, False)}
    assert sampler.felt.cores == "any"
    shown = command("report", tmp_path / "b.json")
    assert "## A whole frame" in shown.stdout


@pytest.mark.parametrize(
    ("script", "code", "message"),
    [
        (
            "echo 'error: core 4: threads cannot be put there: Invalid argument' >&2; exit 3",
            3,
            "ended with code 3: error: core 4",
        ),
        ("exit 0", 3, r"out/result.json: no such file|copying it here failed|result.json"),
        ("echo '{}' > out/result.json", 3, "build it again with bilayer-device build-runner"),
    ],
)
def test_a_runner_that_fails_is_one_line(command, bundle, tmp_path, script, code, message):
    runner = tmp_path / "runner"
    runner.write_text(f"#!/bin/sh\n{script}\n")
    out = tmp_path / "a.json"
    done = command("bench", bundle, *ONE, "--runner", runner, "--out", out)
    assert done.exit_code == code
    assert re.search(message, done.stderr.splitlines()[-1]), done.stderr
    assert not out.exists()
    assert out.with_name("a.json.partial").exists()  # what was measured before is kept
    with_none = command("bench", bundle, *ONE, "--no-sampler", "--out", out)
    assert (with_none.exit_code, read_result(out).sampler) == (0, None)
    assert "going on where it stopped: 1 of 1 timed processes are done" in with_none.stderr


def test_frames_unlike_the_python_samplers_end_with_4(command, bundle, runner, tmp_path):
    bad = tmp_path / "bad"
    bad.write_text(f'#!/bin/sh\n{runner} "$@" --rounding nearest --alpha premultiplied\n')
    out = tmp_path / "a.json"
    done = command("bench", bundle, *ONE, "--runner", bad, "--out", out)
    assert done.exit_code == 4, done.stderr
    assert "sampler portable, numba: frames unlike the Python sampler's" in done.stderr
    assert "WRONG RESULTS" in done.stdout


def test_without_a_runner_it_says_so(command, bundle, tmp_path):
    out = tmp_path / "a.json"
    done = command("bench", bundle, *ONE, "--out", out, BILAYER_CACHE=str(tmp_path / "cache"))
    assert done.exit_code == 0, done.stderr
    assert "the sampler is left out: bilayer-device build-runner" in done.stderr
    assert read_result(out).sampler is None
    missing = command("bench", bundle, *ONE, "--out", out, BILAYER_RUNNER="/nowhere/runner")
    assert missing.exit_code == 5
    assert "/nowhere/runner: no such file; make it with bilayer-device build-runner" in missing.stderr


def test_build_runner_compiles_or_says_how(tmp_path, monkeypatch, once_for_all):
    environment = {"BILAYER_CACHE": str(tmp_path / "cache"), "ANDROID_NDK_HOME": "", "ANDROID_NDK_ROOT": ""}
    none = CliRunner().invoke(main, ["build-runner"], env=environment | {"PATH": "/nowhere"})
    assert (none.exit_code, none.stdout, none.stderr.count("\n")) == (5, "", 1)
    assert "apt install g++-aarch64-linux-gnu. By hand: bilayer-sampler build" in none.stderr
    if not shutil.which("aarch64-linux-gnu-g++"):
        pytest.skip("aarch64-linux-gnu-g++ is not installed")
    monkeypatch.setenv("BILAYER_CACHE", str(tmp_path / "cache"))
    assert built_runner() is None
    cache, program = runner_of_the_command(once_for_all)
    assert is_android_program(program)
    monkeypatch.setenv("BILAYER_CACHE", str(cache))
    assert built_runner() == program  # where bench looks
    assert program.stat().st_mode & 0o111
