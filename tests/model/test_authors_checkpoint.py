"""Checkpoints as the authors' code leaves them: the same numbers whichever way, and a reason where there are none."""

import shutil
import zipfile

import numpy as np
import pytest
import torch

from bilayer.model import NETWORKS, load_model
from bilayer.model.files.authors_checkpoint import find_run
from bilayer.runtime.errors import CheckpointError
from tests.model.checkpoint_files import ENHANCER, MAIN, assert_same, checkpoint, edit_args, edit_weights, states

# Ways to the same model


@pytest.mark.parametrize("path", ["", MAIN, ENHANCER, ".."])
def test_project_runs_folder_and_experiments_all_load(runs, path):
    model = load_model(runs / path)
    assert set(NETWORKS[:4]) <= set(model.networks)
    assert ("texture_enhancer" in model.networks) == (path != MAIN)


def test_the_enhancers_discriminator_wins_over_the_bases(runs):
    files = find_run(runs).files
    assert files["discriminator"].parent.parent.name == ENHANCER
    assert find_run(runs, experiment=MAIN).files["discriminator"].parent.parent.name == MAIN


def test_zip_format_loads_as_the_old_pickle_does(runs):
    before = load_model(runs)
    for file in runs.glob("*/checkpoints/*.pth"):
        edit_weights(file, lambda tensors: None, _use_new_zipfile_serialization=True)
        assert zipfile.is_zipfile(file)
    assert_same(before, load_model(runs))


WRAPPED = {
    "module.": lambda tensors: {f"module.{key}": tensor for key, tensor in tensors.items()},
    "state_dict": lambda tensors: {"state_dict": tensors},
    "a trainer's": lambda tensors: {"epoch": 3, "best": 0.5, "optimizer": {"lr": [1e-4]}, "model_state_dict": tensors},
    "both": lambda tensors: {"epoch": 3, "state_dict": {f"module.{key}": tensor for key, tensor in tensors.items()}},
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_what_trainers_wrap_around_a_state_dict_is_taken_off(runs, kind):
    before = load_model(runs)
    for file in runs.glob("*/checkpoints/*.pth"):
        torch.save(WRAPPED[kind](torch.load(file, map_location="cpu", weights_only=True)), file)
    assert_same(before, load_model(runs))


def test_a_prefix_of_some_tensors_alone_stays_and_is_named(runs):
    def edit(tensors):
        tensors["module.net.mlp.0.weight_orig"] = tensors.pop("net.mlp.0.weight_orig")

    edit_weights(checkpoint(runs, "keypoints_embedder"), edit)
    with pytest.raises(CheckpointError, match=r"module\.net\.mlp\.0\.weight"):
        load_model(runs)


@pytest.mark.parametrize("suffix", [".pt", ".ckpt"])
def test_other_suffixes_of_torch_are_found(runs, suffix):
    before = load_model(runs)
    for file in runs.glob("*/checkpoints/*.pth"):
        file.rename(file.with_suffix(suffix))
    assert_same(before, load_model(runs))
    shutil.copy(checkpoint(runs, "identity_embedder").with_suffix(suffix), checkpoint(runs, "identity_embedder"))
    with pytest.raises(
        CheckpointError, match=r"2_identity_embedder\.\w+: 2_identity_embedder\.\w+ is the same network"
    ):
        load_model(runs)


def test_a_byte_order_mark_before_the_settings_is_no_part_of_them(runs):
    before = load_model(runs)
    for path in runs.glob("*/args.txt"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert_same(before, load_model(runs))


def test_missing_batch_counters_do_not_matter(runs):
    def drop(tensors):
        for key in [key for key in tensors if key.endswith("num_batches_tracked")]:
            del tensors[key]

    before = load_model(runs)
    for network in ("texture_generator", "inference_generator"):
        edit_weights(checkpoint(runs, network), drop)
    after = load_model(runs)
    for key, value in states(after).items():
        if not key.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(value, states(before)[key])


def test_weights_without_spectral_norm_load(runs):
    before = load_model(runs)
    run = find_run(runs)
    for network, path in run.files.items():
        torch.save(run.load(network), path)
    assert_same(before, load_model(runs))


def test_the_epoch_can_be_chosen_and_defaults_to_the_last(runs):
    shutil.copy(checkpoint(runs, "texture_enhancer", ENHANCER), runs / ENHANCER / "checkpoints/12_texture_enhancer.pth")
    assert find_run(runs).files["texture_enhancer"].name == "12_texture_enhancer.pth"
    assert find_run(runs, epoch=3).files["texture_enhancer"].name == "3_texture_enhancer.pth"
    with pytest.raises(CheckpointError, match="nothing saved at epoch 7; the last is 12"):
        find_run(runs, epoch=7)


def test_the_bases_epoch_is_the_one_that_the_enhancer_was_trained_on(runs):
    for network in NETWORKS[:4]:
        shutil.copy(checkpoint(runs, network), runs / MAIN / "checkpoints" / f"9_{network}.pth")
    assert find_run(runs).files["identity_embedder"].name == "2_identity_embedder.pth"
    edit_args(runs, init_which_epoch="none")
    assert find_run(runs).files["identity_embedder"].name == "9_identity_embedder.pth"


# Incomplete runs


def test_missing_network_files_are_named(runs):
    checkpoint(runs, "texture_generator").unlink()
    with pytest.raises(CheckpointError, match=r"missing network files: .*/2_texture_generator.pth; copy them there"):
        load_model(runs)
    with pytest.raises(CheckpointError, match=r"3_texture_enhancer|_texture_enhancer.pth"):
        load_model(runs / MAIN, NETWORKS)


def test_a_missing_base_experiment_is_named(runs):
    shutil.rmtree(runs / MAIN)
    with pytest.raises(CheckpointError, match="init_experiment_dir names 'tiny_main' as the base experiment"):
        load_model(runs)


def test_of_several_experiments_one_must_be_chosen(runs):
    shutil.copytree(runs / ENHANCER, runs / "second_enhancer")
    with pytest.raises(CheckpointError, match=r"several experiments .*second_enhancer.*choose one with --experiment"):
        load_model(runs)
    assert "texture_enhancer" in load_model(runs, experiment="second_enhancer").networks
    with pytest.raises(CheckpointError, match="no experiment third; there are second_enhancer, tiny_enhancer, tiny_m"):
        load_model(runs, experiment="third")


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_folders_that_are_no_runs_are_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=name):
        load_model(tmp_path / name)


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.ckpt", "a.pth.tar", "a.PT", "a", "a.safetensors"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_single_file_of_torch_is_answered_with_what_is_needed(runs, tmp_path, name, zipped):
    edit_weights(checkpoint(runs, "identity_embedder"), lambda t: None, _use_new_zipfile_serialization=zipped)
    shutil.copy(checkpoint(runs, "identity_embedder"), tmp_path / name)
    with pytest.raises(CheckpointError, match=r"one network of several; give the folder with its args.txt"):
        load_model(tmp_path / name)
