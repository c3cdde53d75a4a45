"""What is refused of a file of weights before torch is loaded is what its reader would refuse, and nothing else."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from bilayer.model.files.safe_load import read_pth, read_safetensors
from bilayer.runtime.errors import CheckpointError
from bilayer.training.data.given import check_weight_files
from bilayer.training.settings import read_settings
from bilayer.training.weight_files import LPIPS_HEADS, VGG16, VGG19, VGG_FACE
from tests.file_kinds import KINDS
from tests.outcomes import check_told_at_once

FILES = {"vgg19": VGG19, "vgg_face": VGG_FACE}
WEIGHTS = {"vgg19": "perceptual", "vgg_face": "face_perceptual"}


@pytest.fixture
def written(tmp_path):
    state = {"features.0.weight": torch.rand(3, 3)}
    for name, zipped in (("zip.pth", True), ("pickle.pth", False), ("other.pt", True)):
        torch.save(state, tmp_path / name, _use_new_zipfile_serialization=zipped)
    save_file(state, tmp_path / "a.safetensors")
    return tmp_path


def settings(folder, **perceptual):
    (folder / "a.toml").write_text("[perceptual]\n" + "".join(f'{k} = "{v}"\n' for k, v in perceptual.items()))
    return read_settings(folder / "a.toml")


def without(settings_, loss):
    return replace(settings_, losses=replace(settings_.losses, **{loss: 0.0}))


@pytest.mark.parametrize("name", ["zip.pth", "pickle.pth", "other.pt", "a.safetensors"])
def test_what_the_reader_takes_is_taken(written, name):
    path = written / name
    assert (read_safetensors(path)[0] if name.endswith("safetensors") else read_pth(path)).keys()
    for setting in FILES:
        check_weight_files(settings(written, **{setting: path}))
    for file in (VGG16, LPIPS_HEADS):
        file.check(path)


@pytest.mark.parametrize("setting", FILES)
def test_a_file_that_is_not_there_is_named_with_where_it_is_to_be_had(written, setting):
    asked = settings(written, **{setting: written / "none.pth"})
    with pytest.raises(CheckpointError) as told:
        check_weight_files(asked)
    file = FILES[setting]
    assert str(told.value) == f"{written / 'none.pth'}: no such file; expected {file.name}, {file.source}"
    check_weight_files(without(asked, WEIGHTS[setting]))  # nobody reads it then


@pytest.mark.parametrize("setting", FILES)
def test_a_file_of_another_kind_is_told(written, setting):
    (written / "me.safetensors").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    asked = settings(written, **{setting: written / "me.safetensors"})
    found = r"me\.safetensors: expected weights \(\.safetensors\), found a picture \(PNG\); give vgg"
    with pytest.raises(CheckpointError, match=found):
        check_weight_files(asked)
    check_weight_files(without(asked, WEIGHTS[setting]))


TOLD = {
    "train base --config face.toml --out run --data masked": (3, "give vgg16_face_caffe.pth of the authors"),
    "train base --config absent.toml --out run --data masked": (
        3,
        "absent.pth: no such file; expected VGG19 (ImageNet), vgg19-dcbb9e9d.pth of torchvision",
    ),
    "eval frames a=frames --truth frames --lpips-vgg16 absent.pth --lpips-heads old.pth": (
        3,
        "absent.pth: no such file; expected VGG16 (ImageNet), vgg16-397923af.pth of torchvision",
    ),
    "eval frames a=frames --truth frames --lpips-vgg16 weights.safetensors --lpips-heads weights.safetensors.png": (
        3,
        "weights.safetensors.png: expected weights (.pth), found a picture (PNG); give lpips/weights/v0.1/vgg.pth of",
    ),
}


def test_commands_tell_of_them_before_anything_is_loaded(tmp_path):
    for name in ("weights.safetensors.png", "frames/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(KINDS["me.png"][0])
    for name in ("weights.safetensors", "old.pth"):
        (tmp_path / name).write_bytes(KINDS[name][0])
    for below in ("imgs/train/a/b/c", "segs/train"):
        (tmp_path / "masked" / below).mkdir(parents=True)
    (tmp_path / "absent.toml").write_text('[perceptual]\nvgg19 = "absent.pth"\n')
    (tmp_path / "face.toml").write_text('[perceptual]\nvgg_face = "weights.safetensors.png"\n')
    check_told_at_once(tmp_path, TOLD)
