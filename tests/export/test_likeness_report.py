"""`bilayer-export --report`: an avatar's likeness, where the recogniser is not installed, too."""

import json
import sys

import pytest
from click.testing import CliRunner
from PIL import Image

from bilayer.export.cli import main
from bilayer.runtime.bundle import read_bundle


@pytest.mark.slow
def test_the_report_says_plainly_that_it_has_no_recogniser(tmp_path, astronaut_path, face_networks, monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    sheet = tmp_path / "new" / "likeness.png"
    words = [str(astronaut_path), "--out", str(tmp_path / "avatar"), "--target", "none", "--no-verify", "--json"]
    done = CliRunner().invoke(main, [*words, "--report", str(sheet)])
    assert done.exit_code == 0, done.stderr
    assert "warning: the report has no identity" in done.stderr
    assert "pip install 'bilayer[identity]'" in done.stderr
    likeness = json.loads(done.stdout)["likeness"]
    assert likeness["recogniser"] is None
    assert len(likeness["poses"]) == 20
    assert 0.1 < likeness["sharpness"] < 2
    assert likeness["mouth_follows"] > 0.2  # of the demo weights
    assert likeness["eyes_follow"] > 0.15  # by drawn lids; the landmarker finds 0.34 of truly shut ones
    assert read_bundle(tmp_path / "avatar").contract.files.lids is not None
    with Image.open(sheet) as picture:
        assert picture.size == (7 * 260 - 4, 3 * 292 - 4)


def test_a_report_that_cannot_be_written_is_told_before_the_export(tmp_path, astronaut_path):
    words = [str(astronaut_path), "--out", str(tmp_path / "avatar"), "--report", f"{__file__}/sheet.png"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 3
    assert "is a file" in done.stderr
    assert not (tmp_path / "avatar").exists()
