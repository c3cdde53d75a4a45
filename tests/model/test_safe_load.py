"""Hostile and damaged files of torch are refused in one line, before they run or make room."""

import pickle
import warnings
import zipfile

import pytest
import torch

from bilayer.model import load_model
from bilayer.model.files.safe_load import read_pth
from bilayer.runtime.errors import CheckpointError
from tests.model.checkpoint_files import checkpoint, edit_weights
from tests.model.hostile_pth import HOSTILE


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_and_damaged_files_are_refused_in_one_line(runs, kind):
    path = checkpoint(runs, "keypoints_embedder")
    plant, words = HOSTILE[kind]
    plant(path)
    with pytest.raises(CheckpointError, match=words) as error:
        load_model(runs)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert "weights_only" not in str(error.value)  # torch advises to try again without
    assert not path.with_name("owned").exists()


def test_an_out_of_place_buffer_is_not_taken_for_weights(runs):
    edit_weights(checkpoint(runs, "identity_embedder"), lambda t: t.update(extra=torch.zeros(4)))
    with pytest.raises(
        CheckpointError, match=r"1 of 40 tensors do not fit .* first extra: expected none, found \(4,\)"
    ):
        load_model(runs)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "name", ["__builtin__\nbytearray", "builtins\nbytearray", "torch\nTensor", "torch.storage\nUntypedStorage"]
)
def test_a_pickle_that_makes_room_by_itself_is_refused_before_it_does(tmp_path, name, zipped):
    asks = b"\x80\x02c" + name.encode() + b"\n\x8a\x05" + (2_500_000_000).to_bytes(5, "little") + b"\x85R."
    path = tmp_path / "a.pth"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", asks)
            archive.writestr("archive/version", "3\n")
    else:
        path.write_bytes(asks)
    with pytest.raises(CheckpointError, match=f"its pickle asks for {name.replace(chr(10), '.')}, which makes room"):
        read_pth(path)


def test_a_weight_of_whole_numbers_is_none(tmp_path):
    torch.save({"a.weight": torch.ones(2, 2, dtype=torch.int64)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.weight: expected fractions, found whole numbers"):
        read_pth(tmp_path / "a.pth")


@pytest.mark.parametrize("disguise", ["an archive behind the pickle", "a second pickle of its name"])
def test_a_pickle_that_makes_room_is_found_where_torch_reads(tmp_path, disguise):
    """torch goes by a file's first bytes and takes the first of two members; zipfile by the end, and the last."""
    asks = b"\x80\x02c__builtin__\nbytearray\n\x8a\x05" + (2_500_000_000).to_bytes(5, "little") + b"\x85R."
    path = tmp_path / "a.pth"
    path.write_bytes(asks if disguise.startswith("an") else b"")
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the doubled name
        if disguise.startswith("an"):
            archive.writestr("x", "y")
        else:
            archive.writestr("archive/data.pkl", asks)
            archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
            archive.writestr("archive/version", "3\n")
    with pytest.raises(CheckpointError, match=r"its pickle asks for __builtin__\.bytearray, which makes room"):
        read_pth(path)
