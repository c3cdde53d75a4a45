"""Several photos of one person, and what is said of them."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from safetensors.numpy import load_file

from bilayer.export import portraits
from bilayer.export.options import ExportOptions
from bilayer.export.pipeline import export_avatar
from bilayer.runtime.errors import PhotoError

pytest.importorskip("dlib", reason="the extra [identity] is not installed")


@pytest.fixture(scope="module")
def other(astronaut_path, tmp_path_factory):
    """The astronaut mirrored and darker: the same person from the other side."""
    path = tmp_path_factory.mktemp("other") / "mirrored.png"
    picture = Image.open(astronaut_path).convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    ImageEnhance.Brightness(picture).enhance(0.8).save(path)
    return path


def exported(photo, folder, *others, size=None):
    """Texture and warnings of an export that is not compared with anything."""
    options = ExportOptions(photo, folder / "avatar.dlc", "none", verify=False, others=others, size=size)
    export = export_avatar(options)
    return load_file(folder / "avatar.safetensors")["texture"], export.warnings


def test_a_second_photo_fills_in_and_the_first_is_believed(astronaut_path, other, tmp_path):
    alone, warned = exported(astronaut_path, tmp_path / "alone")
    both, warned_too = exported(astronaut_path, tmp_path / "both", other)
    assert warned == warned_too == []
    change = np.abs(both - alone)[2:-2, 2:-2, :3].max(axis=-1)
    assert 0.01 < change.mean() < 0.15
    middle = change[90:130, 110:146]  # nose and cheeks, which both photos show
    assert np.median(middle) < 0.1


def test_somebody_else_is_said(astronaut_path, other, tmp_path, monkeypatch):
    monkeypatch.setattr(portraits, "identity_distance", lambda a, b: 0.83)
    _, warned = exported(astronaut_path, tmp_path, other)
    assert warned == [
        f"{other}: another person than {astronaut_path}? dlib's distance is 0.83, one person's photos are within 0.6"
    ]


def test_a_further_photo_without_a_face_is_named(astronaut_path, tmp_path):
    Image.new("RGB", (200, 200), "grey").save(tmp_path / "grey.png")
    with pytest.raises(PhotoError, match=r"grey\.png"):
        exported(astronaut_path, tmp_path / "out", tmp_path / "grey.png")
    assert not (tmp_path / "out").exists()


def test_a_frame_larger_than_the_photos_face_is_said(astronaut_path, tmp_path):
    texture, warned = exported(astronaut_path, tmp_path, size=512)
    assert texture.shape == (515, 515, 4)
    assert [line.partition(": ")[2] for line in warned] == [
        "the face's crop has 186 px: frames of 512 px show no more than it has"
    ]
