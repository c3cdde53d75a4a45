"""The documents hold: what they tell to run is run, or marked; their commands, links and named tests are there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import pytest

from bilayer.cli import main as bilayer
from bilayer.entry import COMMANDS
from bilayer.runtime import demo_motion, read_bundle, write_track
from tests import forked
from tests.documents import PAGES, ROOT, blocks
from tests.runtime.conftest import POSES, usual_bundle

RUNNABLE = [block for page in PAGES for block in blocks(page) if block.runs]
OURS = [block for block in RUNNABLE if not block.mark]


def named(block):
    return block.where


@pytest.fixture(scope="session")
def workshop(tmp_path_factory, once_for_all):
    """A folder as the pages assume it: out/ is an avatar, driver.npz a landmark track."""
    folder = tmp_path_factory.mktemp("workshop")
    shutil.copytree(usual_bundle(once_for_all), folder / "out")
    pose = np.float32(read_bundle(folder / "out").contract.source.pose).reshape(68, 2)
    track = demo_motion(pose, seconds=0.4)
    write_track(folder / "driver.npz", track)
    write_track(folder / "track.npz", track)
    return folder


@pytest.fixture
def names(workshop):
    """What the Python of the pages takes as given."""
    rng = np.random.default_rng(0)
    track = demo_motion(POSES[0].reshape(68, 2), seconds=0.2)
    return {
        "pose": POSES[0], "poses": POSES, "track": track, "landmarks": track.landmarks[0],
        "texture": rng.uniform(-1, 1, (3, 16, 16)), "delta_uv": rng.uniform(-0.1, 0.1, (2, 8, 8)),
        "lf_rgb": rng.uniform(-1, 1, (3, 8, 8)), "mask": rng.uniform(0, 1, (8, 8)),
        "grid": rng.uniform(-1, 1, (8, 8, 2)),
    }  # fmt: skip


@pytest.mark.parametrize("block", [block for block in OURS if block.kind == "python"], ids=named)
def test_python_of_the_pages_runs(block, names, workshop, monkeypatch):
    monkeypatch.chdir(workshop)
    exec(compile(block.text, block.where, "exec"), names)
    for name, shape in (("frame", (4,)), ("poses", (136,)), ("warped", (8,))):
        if name in names and f"{name} = " in block.text:
            assert names[name].shape[-1:] == shape


@pytest.mark.parametrize("block", [block for block in OURS if block.commands], ids=named)
def test_commands_of_the_pages_run(block, workshop):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in block.commands:
        program, *words = shlex.split(command)
        if program.removeprefix("bilayer-") in COMMANDS:
            done = forked.run(program.removeprefix("bilayer-"), *words, cwd=workshop, env=environment)
        else:
            done = subprocess.run(
                [program, *words], cwd=workshop, env=environment, capture_output=True, text=True, check=False
            )
        assert done.returncode == 0, f"{block.where}: {command}\n{done.stderr}"
        if "$ " in block.text:  # its beginning stands below
            assert done.stdout.startswith(block.output.strip()), block.where


def parse(command, name, words, parent=None):
    """As click takes them, down to the last option, without running anything."""
    with command.make_context(name, list(words), parent=parent) as context:
        if isinstance(command, click.Group):
            rest = [*context._protected_args, *context.args]
            sub_name, sub, rest = command.resolve_command(context, rest)
            parse(sub, sub_name, rest, context)


@pytest.mark.parametrize("block", [block for block in RUNNABLE if block.commands], ids=named)
def test_every_command_and_option_of_the_pages_is_there(block):
    for command in block.commands:
        for part in command.split(" && "):
            words = shlex.split(part)
            program = words[0].removeprefix(".venv/bin/")
            if program == "bilayer":
                parse(bilayer, program, words[1:])
            elif program.startswith("bilayer-") and program != "bilayer-sampler-runner":  # that is a C++ program
                module, _ = COMMANDS[program.removeprefix("bilayer-")]
                parse(import_module(module).main, program, words[1:])
            elif program in ("python", "torchrun") and "-m" in words:
                package = words[words.index("-m") + 1].replace("bilayer.", "", 1).replace(".", "/")
                assert (ROOT / f"{package}.py").is_file() or (ROOT / package / "__main__.py").is_file(), command
            elif words[1:2] == ["-c"]:
                compile(words[2], block.where, "exec")
            elif program in ("python", "node"):
                assert (ROOT / words[1]).is_file(), command


def options_of(command):
    """All options of a command and of those below it."""
    found = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found |= options_of(command.get_command(context, name))
    return found


def test_every_option_that_the_pages_name_is_there():
    """By itself, `--so`; one of our C++ programs or of a vendor's stands in the source that calls it."""
    known = {"--help", "--version"}
    for module, _ in COMMANDS.values():
        known |= options_of(import_module(module).main)
    sources = [path for kind in ("py", "hpp", "cpp") for path in (ROOT / "android_harness").rglob(f"*.{kind}")]
    elsewhere = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    for page in PAGES:
        if page != "CHANGELOG.md":  # which tells of former ones
            text = (ROOT / page).read_text(encoding="utf-8")
            for option in re.findall(r"`(?:bilayer-[\w -]+? )?(--[a-z][\w-]*)", text):
                assert option in known or option in elsewhere, f"{page}: {option}"


def functions_of(path):
    return set(re.findall(r"^def (test_\w+)", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE))


def test_what_is_run_elsewhere_is_run_there():
    for block in RUNNABLE:
        if block.mark == "run by":
            path, _, test = block.why.partition("::")
            assert test in functions_of(path), block.where
        elif block.mark:
            assert len(block.why) > 10, block.where


def test_no_command_hides_in_an_indented_block():
    for page in PAGES:
        hidden = re.findall(
            r"^    +(?:bilayer-|python -m|make |pip )\S.*", (ROOT / page).read_text(encoding="utf-8"), re.M
        )
        assert not hidden, page


def test_named_tests_are_there():
    for page in PAGES:
        text, path = (ROOT / page).read_text(encoding="utf-8"), ""
        for file, test in re.findall(r"(tests/[\w/]+\.py)?::(test_\w+)", text):
            path = file or path
            assert test in functions_of(path), f"{page}: {path}::{test}"


def test_links_and_named_files_are_there():
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert ((ROOT / page).parent / link).exists(), f"{page}: {link}"
        rooms = "android_harness|benchmarks|bilayer|docs|examples|export|model|runtime|tests|training"
        for name in re.findall(rf"(?<![\w/.$-])((?:{rooms})/[\w/.-]+\.(?:py|pyi|md|hpp|h|cpp|toml|json|mjs))\b", text):
            assert (ROOT / name).exists() or ((ROOT / page).parent / name).exists(), f"{page}: {name}"
