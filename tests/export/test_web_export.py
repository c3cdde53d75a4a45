"""`bilayer-export --web`: the avatar's page beside the avatar, in one go."""

import json

import numpy as np
from click.testing import CliRunner
from PIL import Image

from bilayer.export.cli import main
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.web import engines, network
from bilayer.runtime.web import site as web_site
from tests import golden
from tests.runtime.conftest import CASE


def export(folder, *options):
    Image.fromarray(CASE["source_image"]).save(folder / "face.png")
    np.save(folder / "face.npy", CASE["source_landmarks"])
    words = [
        folder / "face.png", "--landmarks", folder / "face.npy", "--checkpoint", golden.CASE_A / "runs", "--no-mask",
        "--refine", "updater", "--target", "none", "--no-verify", "--out", folder / "out" / "avatar.dlc", *options,
    ]  # fmt: skip
    return CliRunner().invoke(main, list(map(str, words)))


def test_the_page_is_written_with_the_avatar(tmp_path, monkeypatch):
    made_up = {"litert_wasm_internal.js": b"export {}"}
    monkeypatch.setattr(engines, "check_engines", lambda: None)
    monkeypatch.setattr(web_site, "engine_files", lambda *wanted: made_up)
    monkeypatch.setattr(network, "LEAST_SAME", 0.9)  # a network of random numbers is sensitive
    done = export(tmp_path, "--web", tmp_path / "site", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)["web"]
    assert report["out"] == str(tmp_path / "site")
    site = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*")}
    assert {"index.html", "page.json", "litert/litert_wasm_internal.js", "avatar/avatar.json"} <= site
    assert report["bytes"]["avatar"] == sum(
        path.stat().st_size for path in (tmp_path / "site" / "avatar").iterdir()
    )  # fmt: skip
    written = json.loads((tmp_path / "site" / "avatar" / "avatar.json").read_text())["files"]
    kept = json.loads(read_bundle(tmp_path / "out").contract.to_json())["files"]
    for role in ("texture", "tflite_fp16"):
        assert written[role] == kept[role]
        assert (tmp_path / "site" / "avatar" / kept[role]["name"]).is_file()


def test_nothing_is_exported_where_the_page_cannot_be(tmp_path, monkeypatch):
    monkeypatch.setenv("BILAYER_CACHE", str(tmp_path / "cache"))
    done = export(tmp_path, "--web", tmp_path / "site")
    assert done.exit_code == 5
    assert "-m bilayer.runtime.web.engines litert" in done.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "site").exists()
