"""Every fault of the table in docs/parity.md is told, without the photo and with it; a right bundle is not accused."""

from functools import cache

import pytest

from bilayer.benchmarks.parity.rungs import trained
from bilayer.runtime.bundle import read_bundle
from tests.benchmarks.avatars import export_tiny
from tests.benchmarks.fault_table import FAULTS, MADE, planted, told


@pytest.fixture(scope="module")
def made(once_for_all):
    pytest.importorskip("onnxruntime_qnn", reason="the extra [qairt] is not installed")
    folder = once_for_all("faults", lambda place: export_tiny(place, **MADE))
    with pytest.MonkeyPatch.context() as patch:  # which is read a hundred times, and never changed
        patch.setattr(trained, "load_checkpoint", cache(trained.load_checkpoint))
        yield folder, read_bundle(folder / "avatar")


@pytest.mark.parametrize("with_photo", [False, True], ids=["alone", "photo"])
def test_a_right_bundle_passes(made, with_photo):
    folder, bundle = made
    assert told(folder, bundle, with_photo) == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.file}: {fault.name}")
def test_a_fault_is_told_with_and_without_the_photo(made, fault, tmp_path):
    folder, bundle = made
    wrong = planted(bundle, fault, tmp_path / "avatar")
    if isinstance(wrong, str):  # it could not even be read
        return
    for with_photo in (False, True):
        assert told(folder, wrong, with_photo), (fault.name, with_photo)
