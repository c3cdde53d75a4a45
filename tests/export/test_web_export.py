"""`bilayer-export --web`: the avatar's page beside the avatar, in one go."""

import json

import numpy as np
from click.testing import CliRunner
from PIL import Image

from bilayer.export.cli import main
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.web import ort
from tests import golden
from tests.runtime.conftest import CASE


def export(folder, *options):
    Image.fromarray(CASE["source_image"]).save(folder / "face.png")
    np.save(folder / "face.npy", CASE["source_landmarks"])
    words = [
        folder / "face.png", "--keypoints", folder / "face.npy", "--checkpoint", golden.CASE_A / "runs", "--no-mask",
        "--refine", "updater", "--target", "none", "--no-verify", "--out", folder / "out" / "avatar.dlc", *options,
    ]  # fmt: skip
    return CliRunner().invoke(main, list(map(str, words)))


def test_the_page_is_written_with_the_avatar(tmp_path, monkeypatch):
    monkeypatch.setattr(ort, "load", lambda folder, webgpu: {"ort.wasm.bundle.min.mjs": b"export {}"})
    done = export(tmp_path, "--web", tmp_path / "site", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)["web"]
    assert report["out"] == str(tmp_path / "site")
    site = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*")}
    assert {"index.html", "page.json", "ort/ort.wasm.bundle.min.mjs", "avatar/avatar.json"} <= site
    assert report["bytes"]["avatar"] == sum(
        path.stat().st_size for path in (tmp_path / "site" / "avatar").iterdir()
    )  # fmt: skip
    texture = read_bundle(tmp_path / "out").contract.files.texture
    assert read_bundle(tmp_path / "site" / "avatar").contract.files.texture == texture


def test_nothing_is_exported_where_the_page_cannot_be(tmp_path, monkeypatch):
    monkeypatch.setenv("BILAYER_CACHE", str(tmp_path / "cache"))
    done = export(tmp_path, "--web", tmp_path / "site")
    assert done.exit_code == 5
    assert "run: python -m bilayer.runtime.web.ort" in done.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "site").exists()
