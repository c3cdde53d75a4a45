"""What an export's options ask for is looked at before anything is loaded or made."""

import sys

import pytest
from click.testing import CliRunner

from bilayer.export.cli import main
from bilayer.export.options import ExportOptions, check_finders, check_usual
from bilayer.runtime.errors import ToolMissingError
from bilayer.runtime.face import model_files

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


@pytest.mark.parametrize("landmarker", ["mediapipe", "face-alignment"])
@pytest.mark.parametrize("landmarks", [None, "points.npy"])
@pytest.mark.parametrize("others", [(), ("other.jpg",)])
@pytest.mark.parametrize("mask", [False, True])
def test_what_finds_faces_and_people_is_asked_for_where_it_is_used(monkeypatch, landmarker, landmarks, others, mask):
    asked_for: set[object] = set()
    monkeypatch.setattr(model_files, "check_set_up", lambda *models: asked_for.update(models))
    monkeypatch.setattr("bilayer.export.options.check_installed", asked_for.update)
    check_finders(
        ExportOptions("me.jpg", landmarks=landmarks, others=others, landmarker=landmarker, mask=mask)  # type: ignore[arg-type]
    )
    finding = set(model_files.FINDING) if landmarker == "mediapipe" else {"face_alignment"}
    given = landmarks is not None and not others  # landmarks are of the first photo alone
    assert asked_for == (set() if given else finding) | ({model_files.PERSON_MASK} if mask else set())
