"""A photo that a command has looked at is not decoded again by what the command calls: 0.01 s a megapixel."""

from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bilayer.benchmarks.parity.cli import main as parity
from bilayer.benchmarks.speed import export_stages
from bilayer.benchmarks.speed.cli import main as bench
from bilayer.model import photo_source
from bilayer.runtime.media import photo
from tests.benchmarks.avatars import RUNS


@pytest.fixture
def decoded(monkeypatch):
    """The names of the photos that are decoded, in turn."""
    names, read_photo = [], photo.read_photo

    def read(path):
        names.append(str(path))
        return read_photo(path)

    for module in (photo, photo_source):
        monkeypatch.setattr(module, "read_photo", read)
    return names


def test_by_parity(made, decoded):
    folder, bundle = made
    of_export = ["--photo", folder / "face.png", "--checkpoint", RUNS, "--landmarks", folder / "face.npy", "--no-mask"]
    words = [bundle.folder, *of_export, "--quick", "--poses", 1, "--json"]
    done = CliRunner().invoke(parity, list(map(str, words)))
    assert '"trained"' in done.stdout, done.output
    assert decoded == [str(folder / "face.png")]


def test_by_a_benchmark_of_exports(tmp_path, monkeypatch, decoded, face_networks):
    given = []

    def export(options, watch, photos=None):
        given.append(photos)
        return SimpleNamespace(bundle=SimpleNamespace(contract=SimpleNamespace(graph=SimpleNamespace(gmacs=1.0))))

    monkeypatch.setattr(export_stages, "export_avatar", export)
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    done = CliRunner().invoke(bench, ["export", str(tmp_path / "a.png"), "--repeats", "2"])
    assert done.exit_code == 0, done.output
    assert decoded == [str(tmp_path / "a.png")]
    assert len(given) == 3
    for photos in given:
        np.testing.assert_array_equal(photos, [pixels])
