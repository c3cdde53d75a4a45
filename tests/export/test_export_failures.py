"""An export that fails, is ended or is refused by parity leaves what was there."""

import os
import signal
import subprocess
import sys

import pytest

from bilayer.export.network.onnx_write import build_onnx
from bilayer.export.options import ExportOptions
from bilayer.export.pipeline import export_avatar
from bilayer.runtime import read_bundle
from bilayer.runtime.errors import ParityError
from tests.export.endless import endless_converter, running
from tests.export.exporting import RUNS, rough, run_cli, tiny
from tests.waiting import wait_for


def test_a_failed_export_leaves_no_folder(photo, tmp_path):
    done = run_cli(*rough(photo, "--out", tmp_path / "new/er/a.dlc"), "--target", "snpe-1.32")
    assert done.returncode == 4, done.stderr
    assert not (tmp_path / "new").exists()


def test_a_bad_checkpoint_leaves_the_old_avatar(photo, tmp_path, earlier):
    before = {path.name: path.read_bytes() for path in tmp_path.glob("avatar*")}
    result = run_cli(*tiny(photo, "--out", earlier), "--checkpoint", tmp_path / "no.safetensors")
    assert result.returncode == 3
    assert {path.name: path.read_bytes() for path in tmp_path.glob("avatar*")} == before
    assert len(before) == 4


def test_an_avatar_that_fails_parity_is_not_shipped(photo, tmp_path):
    """Its warp is so steep that FP16's rounding moves it by over a quarter of a pixel."""
    out = tmp_path / "avatar.dlc"
    done = run_cli(*rough(photo, "--out", out))
    assert done.returncode == 0
    assert "warning: FP16 storage (emulated) against the trained model: " in done.stderr  # no phone, no refusal
    assert "delta_uv is" in done.stderr
    verification = read_bundle(tmp_path / "avatar.json").contract.verification
    assert 0.25 < verification.hybrid_uv_pixels < 5
    before = {path.name: path.read_bytes() for path in tmp_path.glob("avatar*")}
    arguments = rough(photo, "--out", out, "--target", "snpe-1.32")
    environment = {**os.environ, "SNPE_ROOT": "", "PATH": "/usr/bin:/bin"}
    refused = run_cli(*arguments, env=environment)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert refused.stderr.count("\n") == 1
    assert "expected at most 0.25" in refused.stderr
    assert "--no-verify writes it all the same" in refused.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.glob("avatar*")} == before
    again = run_cli(*arguments, "--keep-norms", env=environment)
    assert again.returncode == 4
    assert "the norms are kept already" in again.stderr
    assert "try --keep-norms" in refused.stderr
    assert "try --keep-norms" not in again.stderr
    forced = run_cli(*arguments, "--no-verify", env=environment)
    assert forced.returncode == 5  # it came as far as the converter, which is not installed
    assert not read_bundle(tmp_path / "avatar.json").contract.verification.verified


def test_a_network_that_is_not_the_trained_one_is_not_shipped(photo, tmp_path, monkeypatch):
    """A fault in the writing of the ONNX: the ladder's float32 rung."""
    from bilayer.export import pipeline

    settings = {"checkpoint": RUNS, "landmarks": photo.with_suffix(".npy"), "mask": False, "refine": "none"}
    options = ExportOptions(photo, tmp_path / "avatar.dlc", target="none", **settings)
    export_avatar(options)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("avatar*")}

    def faulty(generator, *arguments):
        generator.layers[-2].weight[0, 0, 1, 1] += 1e-2
        return build_onnx(generator, *arguments)

    monkeypatch.setattr(pipeline, "build_onnx", faulty)
    with pytest.raises(ParityError, match="expected at least 100 dB") as raised:
        export_avatar(options)
    assert raised.value.exit_code == 4
    assert {path.name: path.read_bytes() for path in tmp_path.glob("avatar*")} == before


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_end_in_the_middle_leaves_the_old_avatar(photo, tmp_path, earlier, how):
    """Killed or interrupted while it converts."""
    environment, notes = endless_converter(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("avatar*")}
    assert len(before) == 4
    arguments = [*tiny(photo, "--out", earlier), "--target", "snpe-1.32", "--refine", "none", "--no-verify"]
    command = [sys.executable, "-m", "bilayer.export", *map(str, arguments)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: any(notes.iterdir()))
    process.send_signal(how)
    _, errors = process.communicate()
    assert "Traceback" not in errors
    assert {path.name: path.read_bytes() for path in tmp_path.glob("avatar*")} == before
    assert process.returncode == (-how if how == signal.SIGKILL else 128 + how)
    left = running(notes)
    if how != signal.SIGKILL:
        assert not left
        assert not list(tmp_path.glob(".avatar*"))


def test_a_failed_parity_stops_the_converter(photo, tmp_path):
    """It runs beside the comparison, which refuses the avatar for a phone."""
    environment, notes = endless_converter(tmp_path)
    result = run_cli(*rough(photo, "--out", tmp_path / "avatar.dlc"), "--target", "snpe-1.32", env=environment)
    assert result.returncode == 4, result.stderr
    assert "expected at most 0.25" in result.stderr
    assert not running(notes)
    assert not list(tmp_path.glob("*avatar*"))
