"""What goes wrong while `bilayer-device` works, through the real adb client: one line, its code, and it goes on."""

import importlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bilayer.android_harness.cli import main
from bilayer.android_harness.device.workspace import ROOT
from bilayer.android_harness.results import read_result
from tests.android_harness.conftest import make_bundle
from tests.android_harness.test_device_cli import running
from tests.runtime.conftest import CASE

ONCE = ("--repeats", 2, "--warm-up", 0, "--processes", 1, "--poses", 2, "--mode", "cpu")
HOSTILE = ['-n it\'s "q" $(touch pwned) `touch pwned`; touch pwned & * é %s\nb\x07', "--json"]


def fails(done, message, code=3):
    """IoSpec with the code, and says why in one line."""
    assert done.exit_code == code, (done.exit_code, done.stderr)
    *others, last = done.stderr.splitlines()
    assert last.startswith("error: ")
    assert last.isprintable()
    assert not any(line.startswith("error: ") for line in others)
    assert re.search(message, last), last
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def arrived(phone):
    """Our files on the phone."""
    here = phone.inside(ROOT)
    return {str(path.relative_to(here)) for path in here.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "message"), [
    ("unplug_after", r"the device is gone .*; plug it in and run the same command again: it goes on where it stopped"),
    ("full_after", "no space left on the device; free some and run the same command again: what is already there"),
])  # fmt: skip
def test_a_push_that_breaks_off_goes_on_with_what_is_missing(command, bundle, tmp_path, phone, plug_in, fault, message):
    arguments = ("bench", bundle, *ONCE, "--out", tmp_path / "a.json")
    setattr(phone.faults, fault, 30_000)  # in the middle of the .dlc
    fails(command(*arguments), message)
    assert not (tmp_path / "a.json").exists()
    setattr(phone.faults, fault, None)
    first = {path.removesuffix(".part") for path in phone.faults.pushed}
    if fault == "unplug_after":
        phone.plug_in()
        plug_in()
    phone.faults.pushed.clear()
    again = command(*arguments)
    assert again.exit_code == 0, again.stderr
    assert read_result(tmp_path / "a.json").rows[0].parity.psnr_db["frame"] == 200
    second = {path.removesuffix(".part") for path in phone.faults.pushed}
    assert first
    assert f"{ROOT}/avatar.dlc" in second
    assert not first & second  # nothing that had arrived whole
    assert not [name for name in arrived(phone) if name.endswith(".part")]


def wait_for_program(phone, process=None):
    deadline = time.monotonic() + 60
    while not (phone.inside(ROOT) / "run.pid").exists():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the program was not begun"
        time.sleep(0.05)


@pytest.mark.slow
def test_unplugged_while_it_runs_the_program_left_behind_is_stopped(command, bundle, tmp_path, phone, plug_in):
    arguments = ("bench", bundle, *ONCE, "--out", tmp_path / "a.json")
    phone.environment["STAND_IN"] = "hang"

    def pull_the_cable():
        wait_for_program(phone)
        phone.unplug()

    cable = threading.Thread(target=pull_the_cable, daemon=True)
    cable.start()
    fails(command(*arguments), "the device is gone")
    cable.join()
    assert running(phone)
    phone.environment["STAND_IN"] = ""
    phone.plug_in()
    plug_in()
    again = command(*arguments)
    assert again.exit_code == 0, again.stderr
    assert running(phone) == []
    assert read_result(tmp_path / "a.json").rows[0].processes == 1


@pytest.mark.slow
def test_interrupted_at_the_keyboard_the_next_call_stops_what_is_left(variables, plug_in, bundle, tmp_path, phone):
    phone.environment["STAND_IN"] = "hang"
    program = Path(sys.executable).parent / "bilayer-device"
    words = [program, "bench", bundle, *ONCE, "--out", tmp_path / "a.json", "--serial", plug_in()]
    environment = os.environ | variables
    with subprocess.Popen(
        [*map(str, words)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        wait_for_program(phone, process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode not in (0, -signal.SIGINT), said
    assert b"Traceback" not in said
    phone.environment["STAND_IN"] = ""
    again = subprocess.run([*map(str, words)], env=environment, capture_output=True, check=False, timeout=120)
    assert again.returncode == 0, again.stderr
    assert running(phone) == []


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_here_are_only_names(command, exported_folder, tmp_path, phone, monkeypatch, name):
    """Of the bundle's folder and file, the track, the result and the logs; relative, so that dashes lead."""
    monkeypatch.chdir(tmp_path)
    bundle = make_bundle(exported_folder, tmp_path / name, 3, "NHWC")
    contract = json.loads((bundle / "avatar.json").read_text())
    contract["files"]["dlc"]["name"] = f"{name}.dlc"
    (bundle / "avatar.dlc").rename(bundle / f"{name}.dlc")
    (bundle / "avatar.json").write_text(json.dumps(contract))
    np.save(f"{name}.npy", CASE["target_landmarks"])
    named = [f"--drive={name}.npy", f"--out={name}.json", f"--logs={name} logs"]
    done = command("bench", *ONCE, *named, "--", name)
    assert done.exit_code == 0, done.stderr
    result = read_result(Path(f"{name}.json"))
    assert (result.model.name, result.rows[0].parity.psnr_db["frame"]) == (name, 200)
    assert [path.name for path in sorted(Path(f"{name} logs").iterdir())][:2] == ["cpu-1.log", "cpu-1.txt"]
    told = re.search(r"^next: bilayer-device report (.*) --html report.html", done.stderr, re.MULTILINE | re.DOTALL)
    assert Path(shlex.split(told[1])[-1]) == Path(f"{name}.json")  # ./ before a dash
    assert not list(tmp_path.rglob("pwned"))
    missing = command("bench", *ONCE, *named, "--", f"{name} not there")
    fails(missing, "not there")


def test_a_place_that_cannot_be_written_is_seen_before_the_work(command, bundle, tmp_path, phone):
    (tmp_path / "file").write_text("")
    fails(command("bench", bundle, *ONCE, "--out", tmp_path / "file" / "a.json"), "file")
    assert phone.faults.pushed == []


def test_a_viewer_that_fails_is_named(command, bundle, tmp_path, snpe_root):
    out = tmp_path / "a.json"
    for viewer, message, code in (
        ("#!/bin/sh\nexit 3\n", "snpe-diagview ended with code 3", 3),
        ("#!/bin/sh\necho hello\n", "expected a Total Inference Time, found 'hello'", 3),
        ("#!/nowhere/interpreter\n", "snpe-diagview: cannot be started", 5),
    ):
        (snpe_root / "bin/x86_64-linux-clang/snpe-diagview").write_text(viewer)
        fails(command("bench", bundle, *ONCE, "--out", out), message, code)
        assert not out.exists()
        assert json.loads(out.with_name("a.json.partial").read_text())["parity"]["cpu"]["poses"] == 2


def test_a_program_of_another_processor_is_named(command, bundle, tmp_path, snpe_root):
    program = snpe_root / "bin/aarch64-android-clang6.0/snpe-net-run"
    program.write_bytes(b"\x7fELF" + bytes(100))
    fails(command("bench", bundle, *ONCE, "--out", tmp_path / "a.json"), r"snpe-net-run \(cpu\) ended with code 12\d: ")


@pytest.mark.slow
def test_a_device_that_stops_answering_is_given_up(command, bundle, tmp_path, phone, monkeypatch):
    module = importlib.import_module("bilayer.android_harness.device.adb")
    monkeypatch.setattr(module, "QUICK", 2.0)
    phone.faults.stall_after = 30_000
    arguments = ("bench", bundle, *ONCE, "--out", tmp_path / "a.json")
    fails(command(*arguments), "adb push did not end within 2 s and was stopped; is the device awake, the cable sound")
    phone.faults.stall_after = None
    again = command(*arguments)
    assert again.exit_code == 0, again.stderr


@pytest.mark.parametrize("words", ["bench", "bench a --processes 0", "run a", "report", "nothing"])
def test_wrong_usage_ends_with_2(words):
    assert CliRunner().invoke(main, words.split()).exit_code == 2
