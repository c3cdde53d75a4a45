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
