"""The README's commands do what it says, and print what it shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from bilayer.model.checkpoint import read_checkpoint
from bilayer.model.config import DEMO_CHECKPOINT
from bilayer.runtime.bundle import read_bundle
from tests.documents import blocks

ROOT = Path(__file__).parent.parent
BLOCKS = [block.text for block in blocks("README.md") if not block.kind]


def masked(text):
    """Words and tables without the numbers, which differ from machine to machine."""
    lines = [re.sub(r"[\d.]+", "#", line) for line in text.splitlines() if line.strip()]
    return [re.sub(r"[ -]+", " ", line).strip() for line in lines]


@pytest.mark.slow
def test_make_avatar_prints_what_the_readme_shows(face_networks):
    if not (ROOT / ".venv" / ".installed").exists():
        pytest.skip("not set up by `make`, which this test would do all over")
    command, shown = BLOCKS[:2]
    assert command.strip() == "make avatar"
    done = subprocess.run(["make", "--silent", "avatar"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert masked(done.stdout) == masked(shown)
    assert {path.name for path in (ROOT / "out").iterdir()} >= {
        "avatar.dlc",
        "avatar.onnx",
        "avatar.json",
        "avatar.preview.png",
    }


def save_as_the_authors_do(checkpoint, experiment):
    """The demo weights, which pass the gate for a phone, in the form of the authors' files."""
    config, networks = read_checkpoint(checkpoint)
    (experiment / "checkpoints").mkdir(parents=True)
    for name, tensors in networks.items():
        torch.save(tensors, experiment / "checkpoints" / f"1_{name}.pth")
    lines = [f"{name}: {value}\n" for name, value in config.to_dict().items()]
    (experiment / "args.txt").write_text("".join(lines))


@pytest.mark.slow
def test_the_second_command(face_networks, astronaut_path, tmp_path):
    pytest.importorskip("onnxruntime_qnn", reason="the extra [qairt] is not installed")
    command = BLOCKS[2].strip()
    assert command.startswith(".venv/bin/bilayer-export me.jpg --checkpoint runs ")
    with Image.open(astronaut_path) as photo:
        photo.save(tmp_path / "me.jpg", quality=95)
    save_as_the_authors_do(DEMO_CHECKPOINT, tmp_path / "runs" / "demo")
    program = Path(sys.executable).with_name("bilayer-export")
    done = subprocess.run([program, *command.split()[1:]], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "me.dlc").stat().st_size > 10_000
    assert read_bundle(tmp_path).contract.verification.verified


FIVE_LINES = [block.text for block in blocks("README.md") if block.kind == "python"]


def test_the_five_lines_of_python(face_networks, astronaut_path, tmp_path):
    program = FIVE_LINES[0]
    assert program in (ROOT / "docs/package.md").read_text(encoding="utf-8")
    lines = [line for line in program.splitlines() if line and not line.startswith((" ", "import"))]
    assert len(lines) <= 5
    with Image.open(astronaut_path) as photo:
        photo.save(tmp_path / "me.jpg", quality=95)
    checked = program + "\nassert frame.shape == (256, 256, 4)\n"
    done = subprocess.run([sys.executable, "-c", checked], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (tmp_path / "out/avatar.onnx").is_file()


def test_every_program_that_the_readme_names_is_there():
    named = set(re.findall(r"`(bilayer-[a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert {"bilayer-export", "bilayer-checkpoint", "bilayer-sampler"} <= named
    for program in named:
        path = Path(sys.executable).with_name(program)
        done = subprocess.run([path, "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, program
