"""`bilayer` and what all commands share, as a user's shell runs them."""

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bilayer.cli import main
from bilayer.entry import COMMANDS
from bilayer.runtime.errors import InputError
from tests import golden
from tests.option_table import option_table, options, written

HEAVY = {"numpy", "torch", "onnx", "onnxruntime", "numba", "PIL", "cv2", "av"}
ROOT = Path(__file__).parent.parent


def run(*arguments, module="bilayer.cli", **environment):
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


def is_group(module):
    return isinstance(import_module(module).main, click.Group)


def test_the_list_of_commands_imports_none_of_them():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bilayer.cli", "--help"], capture_output=True, text=True, check=True
    )
    names = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "bilayer.runtime.command.console" in names
    assert not {name.split(".")[0] for name in names} & HEAVY
    assert not {module for module, _ in COMMANDS.values()} & names
    for name in ("demo", *COMMANDS):
        assert re.search(rf"^  {name} ", done.stdout, re.MULTILINE), name


@pytest.mark.parametrize("name", ["demo", *COMMANDS])
def test_every_command_has_help_and_a_version_and_loads_nothing_heavy(name):
    code = f"""
import sys
from bilayer.cli import main
for asked in ("-h", "--help", "--version"):
    main(["{name}", asked], standalone_mode=False)
print(sorted({HEAVY} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("Usage: ") == 2
    assert done.stdout.splitlines()[-1] == "[]"
    assert f" {name}, version {version('bilayer')}\n" in done.stdout


def test_the_page_tells_every_option_of_every_command():
    assert written() == option_table(), "write it anew: make options"


def test_no_option_asks_for_more_threads_or_processes_than_machines_have():
    """30,000 threads of ONNX Runtime hold a machine for minutes, deaf to SIGTERM."""
    counts = ("threads", "jobs", "workers")
    found = {name: option.type.max for name, option in options() if option.name in counts}
    assert len(found) >= 8
    assert all(most <= 1024 for most in found.values()), found


def test_an_option_is_a_flag_in_all_commands_or_in_none():
    kinds = {}
    for command, option in options():
        kinds.setdefault(option.opts[-1], {}).setdefault(option.is_flag, []).append(command)
    assert not {name: kind for name, kind in kinds.items() if len(kind) > 1}


def test_a_command_of_the_group_is_the_program_itself(tmp_path):
    group = run("render", tmp_path / "none", "--demo-motion", "--out", "a.mp4")
    alone = run(tmp_path / "none", "--demo-motion", "--out", "a.mp4", module="bilayer.runtime.rendering.cli")
    assert (group.returncode, group.stderr) == (alone.returncode, alone.stderr)
    assert group.returncode == 3


@pytest.mark.parametrize("name", ["", *(name for name, (module, _) in COMMANDS.items() if is_group(module))])
def test_a_group_alone_prints_what_help_does_and_ends_with_2(name):
    words = [name] if name else []
    alone, asked = run(*words), run(*words, "--help")
    assert (alone.returncode, alone.stdout) == (2, "")
    assert alone.stderr == asked.stdout
    assert "\nCommands:\n" in alone.stderr


def test_no_such_command():
    done = run("nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such command 'nonsense'" in done.stderr


def test_completion_of_the_docs():
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    words = re.findall(r"^eval .*?(_BILAYER\w*)=bash_source (bilayer[a-z-]*)", text, re.MULTILINE)
    assert [program for _, program in words] == ["bilayer", "bilayer-export"]
    for variable, program in words:
        path = Path(sys.executable).with_name(program)
        if not path.is_file():
            pytest.skip(f"{program} is not beside this Python")
        environment = os.environ | {variable: "bash_source"}
        shown = subprocess.run([path], capture_output=True, text=True, check=False, env=environment)
        assert "complete -o nosort" in shown.stdout, shown.stderr
        environment = os.environ | {variable: "bash_complete", "COMP_WORDS": f"{program} --he", "COMP_CWORD": "1"}
        shown = subprocess.run([path], capture_output=True, text=True, check=False, env=environment)
        assert shown.stdout == "plain,--help\n"


def test_demo_makes_an_avatar_and_a_video(astronaut_path, face_networks, tmp_path):
    done = run("demo", astronaut_path, "--out", tmp_path / "new" / "me", "--seconds", 0.2, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["frames"] == 5
    assert Path(report["out"]).stat().st_size > 1000
    assert Path(report["out"]).parent == Path(report["bundle"]) == tmp_path / "new" / "me"


@pytest.mark.parametrize(
    ("out", "avatar", "video"),
    [
        ("new", "new/avatar.dlc", "new/demo"),
        ("new/me.json", "new/me.dlc", "new/me.demo"),
        ("me.preview.png", "me.dlc", "me.demo"),
        ("me.fp16.tflite", "me.dlc", "me.demo"),
    ],
)
def test_demo_takes_the_name_that_an_export_takes(out, avatar, video, tmp_path, monkeypatch):
    asked = []

    def stop(options):
        asked.append(options)
        raise InputError("enough")

    looked = []
    monkeypatch.setattr("bilayer.export.cli.run_export", stop)
    monkeypatch.setattr("bilayer.cli.check_output", looked.append)
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["demo", "me.jpg", "--out", out]).exit_code == 3
    assert asked[0].out == Path(avatar)
    assert looked[0].with_suffix("") == Path(video)


def test_demo_does_not_write_its_video_over_the_photo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("demo.gif", "demo.mp4"):
        Path(name).write_bytes(b"GIF89a")
        done = CliRunner().invoke(main, ["demo", name, "--out", "."])
        assert done.exit_code == 3
        assert Path(name).read_bytes() == b"GIF89a"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo.gif", "demo.mp4"]


def test_demo_of_no_photo_writes_nothing(tmp_path):
    done = run("demo", tmp_path / "no.jpg", "--out", tmp_path / "me")
    assert (done.returncode, done.stdout) == (3, "")
    assert "no such file" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_bench_of_no_avatar_ends_before_torch_is_loaded(tmp_path):
    (tmp_path / "me.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    for place, told in ((tmp_path / "none", "no such file"), (tmp_path / "me.png", "and not an avatar")):
        command = [sys.executable, "-X", "importtime", "-m", "bilayer.cli", "bench", "frame", "--bundle", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        names = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
        assert done.returncode == 3
        assert told in done.stderr
        assert not {name.split(".")[0] for name in names} & {"torch", "onnx", "numba"}


@pytest.mark.parametrize("words", ["export --help", "checkpoint inspect --preset demo"])
def test_what_cannot_be_printed_is_told_in_a_line(words):
    full_disk = "No space left on device; print to another place"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bilayer.cli", *words.split()], stdout=full, stderr=subprocess.PIPE
        )
    assert (done.returncode, done.stderr) == (3, f"error: stdout cannot be written to: {full_disk}\n".encode())


def test_a_command_that_the_shell_would_not_find_is_told_by_its_path(tmp_path):
    command = Path(sys.executable).with_name("bilayer-checkpoint")
    asked = [command, "convert", golden.CASE_A / "runs", "--out", tmp_path / "a.safetensors"]
    for path, told in ((str(tmp_path), command.with_name("bilayer-export")), (str(command.parent), "bilayer-export")):
        done = subprocess.run(asked, env=os.environ | {"PATH": path}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert f"next: {told} PHOTO --checkpoint {tmp_path}/a.safetensors" in done.stderr
