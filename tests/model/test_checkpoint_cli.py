"""`bilayer-checkpoint` as a user runs it."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from bilayer.model import NETWORKS
from tests import forked, golden
from tests.model.checkpoint_files import ENHANCER, checkpoint
from tests.model.hostile_pth import HOSTILE

run_cli = partial(forked.run, "checkpoint")


@pytest.mark.parametrize("before", [["-o"], []])
def test_convert_then_inspect(tmp_path, before):
    out = tmp_path / "tiny.safetensors"
    converted = run_cli("convert", golden.CASE_A, *before, out, "--precision", "fp16", "--no-discriminator")
    assert converted.returncode == 0, converted.stderr
    assert f"next: bilayer-export PHOTO --checkpoint {out}" in converted.stderr
    report = json.loads(run_cli("inspect", out, "--json").stdout)
    assert list(report["missing"]) == ["discriminator"]
    assert report["settings"]["image_size"] == 64
    assert {row["network"] for row in report["networks"]} == set(NETWORKS) - {"discriminator"}


def test_inspect_prints_the_papers_number_beside_ours():
    shown = run_cli("inspect", "--preset", "medium")
    assert shown.returncode == 0
    assert "4.314 GMAC a frame (the paper's Table 2: 4.32)" in shown.stdout
    assert "31,442,304" in shown.stdout


def test_inspect_tells_what_is_missing_and_fails_without_an_avatar(runs):
    checkpoint(runs, "discriminator", ENHANCER).unlink()
    checkpoint(runs, "discriminator").unlink()
    shown = run_cli("inspect", runs)
    assert shown.returncode == 0
    assert "missing: discriminator: " in shown.stdout
    checkpoint(runs, "identity_embedder").unlink()
    shown = run_cli("inspect", runs)
    assert shown.returncode == 3
    assert "missing: identity_embedder: " in shown.stdout
    assert shown.stderr.startswith("error: missing network files")


@pytest.mark.parametrize("kind", ["empty", "rce", "zip bomb", "nan", "another model", "weight of zeros"])
def test_a_refused_file_ends_the_command_with_3_and_leaves_nothing(runs, tmp_path, kind):
    HOSTILE[kind][0](checkpoint(runs, "keypoints_embedder"))
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"an older file")
    result = run_cli("convert", runs, "--out", out)
    assert result.returncode == 3
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert out.read_bytes() == b"an older file"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.safetensors", "runs"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads a process's peak memory from Linux's /proc")
def test_hostile_files_are_refused_within_a_gigabyte(runs):
    """Peak memory of the whole process, torch included. (getrusage would count the process that it was forked from.)"""
    code = (
        "import pathlib, sys; from bilayer.model.cli import main\n"
        "try: main()\n"
        "finally: print(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0], file=sys.stderr)"
    )
    for kind in ("zip bomb", "expanded", "truncated"):
        path = checkpoint(runs, "keypoints_embedder")
        original = path.read_bytes()
        HOSTILE[kind][0](path)
        command = [sys.executable, "-c", code, "convert", str(runs), "--out", str(runs / "out.safetensors")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 3
        assert 50_000 < int(result.stderr.splitlines()[-1]) < 1 << 20  # KiB
        path.write_bytes(original)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["inspect"], 2, "give either PATH or --preset"),
        (["inspect", "nowhere.safetensors"], 3, "nowhere.safetensors: no such file"),
        (["inspect", "--preset", "medium", "--set", "image_size"], 2, "expected NAME=VALUE"),
        (
            ["inspect", "--preset", "medium", "--set", "image_size=99"],
            3,
            "expected image_size = 99 over a power of two",
        ),
        (["convert", "nowhere", "--out", "x.pth"], 2, "expected a name that ends in .safetensors"),
        (["convert", "nowhere", "--out", "x.safetensors"], 3, "nowhere: no such file or folder"),
        (["convert", "nowhere", "x.pth"], 2, "x.pth: expected a name that ends in .safetensors"),
        (["convert", "nowhere", "x.safetensors"], 3, "nowhere: no such file or folder"),
        (["convert", "nowhere", "x.safetensors", "--out", "y.safetensors"], 2, "give either x.safetensors or --out"),
        (["convert", "nowhere", "x.safetensors", "y.safetensors"], 2, "unexpected extra argument (y.safetensors)"),
        (
            ["convert", str(golden.CASE_A), "--out", "x.safetensors", "--set", "epochs=1"],
            3,
            "--set epochs: no such setting",
        ),
    ],
)
def test_wrong_arguments(arguments, code, words):
    result = run_cli(*arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert words in result.stderr
    assert not Path("x.safetensors").exists()


def test_help_does_not_import_torch():
    code = "import sys; from bilayer.model.cli import main; main(['--help'], standalone_mode=False); "
    code += "assert not {'torch', 'numpy', 'cv2', 'rich'} & set(sys.modules), 'slow imports'"
    assert "convert" in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
