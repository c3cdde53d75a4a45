"""What an export's options ask for is looked at before anything is loaded or made."""

import sys

import pytest
from click.testing import CliRunner

from bilayer.export.cli import main
from bilayer.export.options import ExportOptions, check_usual
from bilayer.runtime.errors import ToolMissingError

FURTHER = {"pte-xnnpack": "executorch", "pte-vulkan": "executorch", "coreml": "coremltools", "tflite": "ai_edge_litert"}


def asked(**options):
    check_usual(ExportOptions(photo="me.jpg", out="avatar.dlc", **options))


@pytest.mark.parametrize("file", FURTHER)
def test_a_file_whose_package_is_missing_is_refused_before_the_photo_is_read(
    file, tmp_path, astronaut_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, FURTHER[file], None)
    monkeypatch.setattr("bilayer.export.pipeline.export_avatar", lambda *_: pytest.fail("it began"))
    words = [str(astronaut_path), "--out", str(tmp_path / "avatar"), "--also", file]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 5, done.output
    assert f"error: {FURTHER[file]} is not installed; pip install 'bilayer[" in done.stderr
    assert not (tmp_path / "avatar").exists()


def test_what_runs_a_file_is_needed_for_its_verification_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    for options in ({"target": "litert"}, {"also": ("tflite-fp16",)}):
        with pytest.raises(ToolMissingError, match=r"ai_edge_litert is not installed; pip install 'bilayer\[litert\]'"):
            asked(**options)
        asked(**options, verify=False)


def test_without_further_files_no_package_is_needed(monkeypatch):
    for module in FURTHER.values():
        monkeypatch.setitem(sys.modules, module, None)
    asked()
