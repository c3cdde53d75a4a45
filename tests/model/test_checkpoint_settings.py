"""Settings of the authors' args.txt: how they are read, and which the weights contradict."""

import numpy as np
import pytest
import torch

from bilayer.model import NETWORKS, load_model
from bilayer.model.files.authors_checkpoint import read_args
from bilayer.model.files.overrides import parse_value
from bilayer.runtime.errors import CheckpointError
from tests.model.checkpoint_files import ENHANCER, MAIN, checkpoint, edit_args, edit_weights

# Settings against weights: the setting is named


@pytest.mark.parametrize(
    ("settings", "network", "words"),
    [
        ({"pse_use_harmonic_enc": True}, "keypoints_embedder", "pse_use_harmonic_enc is True, but the weights have"),
        ({"pse_num_channels": 256}, "keypoints_embedder", "pse_num_channels is 256, but the weights have 24"),
        ({"pse_in_channels": 394}, "keypoints_embedder", "pse_in_channels is 394, but the weights have 136"),
        ({"pse_num_blocks": 5}, "keypoints_embedder", "pse_num_blocks is 5, but the weights have 4"),
        ({"emb_no_stickman": True}, "identity_embedder", "emb_no_stickman is True, but the weights have False"),
        ({"emb_num_channels": 8}, "identity_embedder", "emb_num_channels is 8, but the weights have 4"),
        ({"tex_max_channels": 32}, "identity_embedder", "tex_max_channels is 32, but the weights have 16"),
        ({"image_size": 128}, "identity_embedder", "emb_output_tensor_size is 8, but the weights have 16"),
        ({"inf_num_channels": 4}, "inference_generator", "inf_num_channels is 4, but the weights have 2"),
        ({"inf_max_channels": 16}, "keypoints_embedder", "inf_max_channels is 16, but the weights have 8"),
        ({"inf_pred_segmentation": False}, "inference_generator", "inf_pred_segmentation is False"),
        ({"tex_norm_layer_type": "ada_bn"}, "texture_generator", "tex_norm_layer_type is ada_bn, but"),
        ({"inf_skip_layer_type": "conv"}, "inference_generator", "inf_skip_layer_type is conv, but the weights have"),
        ({"enh_num_blocks": 8}, "texture_enhancer", "enh_num_blocks is 8, but the weights have 3"),
        ({"enh_bottleneck_tensor_size": 16}, "texture_enhancer", "enh_bottleneck_tensor_size is 16, but .* 32"),
        ({"dis_num_blocks": 6}, "discriminator", "dis_num_blocks is 6, but the weights have 4"),
        ({"dis_max_channels": 8}, "discriminator", "dis_max_channels is 8, but the weights have 16"),
    ],
    ids=str,
)
def test_a_setting_that_the_weights_contradict_is_named(runs, settings, network, words):
    edit_args(runs, **settings)
    with pytest.raises(CheckpointError, match=words) as error:
        load_model(runs, NETWORKS)
    assert f"_{network}.pth" in str(error.value)
    assert "--set" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_checkpoint_without_segmentation_head_is_named(runs):
    def drop(tensors):
        for key in [key for key in tensors if ".heads.2." in key]:
            del tensors[key]

    edit_weights(checkpoint(runs, "inference_generator"), drop)
    with pytest.raises(CheckpointError, match="inf_pred_segmentation is True, but the weights have False"):
        load_model(runs)
    assert load_model(runs, overrides={"inf_pred_segmentation": False}).config.inf_pred_segmentation is False


def test_the_identity_grid_tells_the_image_size(runs):
    edit_weights(checkpoint(runs, "inference_generator"), lambda t: t.update(identity_grid=torch.zeros(1, 128, 128, 2)))
    with pytest.raises(CheckpointError, match="image_size is 64, but the weights have 128"):
        load_model(runs)


def test_overrides_beat_args(runs):
    edit_args(runs, pse_use_harmonic_enc=True)
    assert load_model(runs, overrides={"pse_use_harmonic_enc": False}).config.pse_use_harmonic_enc is False


def test_masks_of_the_rendering_are_off_unless_asked_for(runs):
    assert read_args(runs / MAIN / "args.txt")["inf_apply_masks"] is True
    assert load_model(runs).config.inf_apply_masks is False
    assert load_model(runs, overrides={"inf_apply_masks": True}).config.inf_apply_masks is True


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"inf_norm_layer_type": "ada_in"}, "inf_norm_layer_type: expected ada_bn, the only published choice"),
        ({"emb_activation_type": "relu"}, "emb_activation_type: expected leakyrelu"),
        ({"tex_norm_layer_type": "spade"}, "tex_norm_layer_type: expected ada_bn or ada_spade_bn, found 'spade'"),
        ({"image_size": "big"}, "image_size: expected int, found 'big'"),
        ({"image_size": "-1"}, "image_size: expected int, found -1.0"),
        ({"image_size": 48}, "emb_output_tensor_size: expected image_size = 48 over a power of two"),
        ({"wgv_mode": "avg"}, "wgv_mode: expected none"),
    ],
    ids=str,
)
def test_settings_that_no_published_model_has_are_refused(runs, settings, words):
    edit_args(runs, **settings)
    with pytest.raises(CheckpointError, match=words):
        load_model(runs)


# args.txt


def test_values_are_read_as_the_authors_do():
    values = {"5": 5, "1e-07": 1e-7, "-1": -1.0, "True": True, "False": False, "": "", "a: b": "a: b", "inf": np.inf}
    for text, value in values.items():
        assert parse_value("x", text) == value
        assert type(parse_value("x", text)) is type(value)
    assert parse_value("pix_loss_weights", "10.0") == "10.0"
    assert parse_value("x", "9" * 5000) == np.inf  # Python itself refuses to read it as a whole number


def test_an_endless_args_file_is_not_read(runs):
    (runs / ENHANCER / "args.txt").write_bytes(b"a: 1\n" * 300_000)
    with pytest.raises(CheckpointError, match="expected at most 1048576 bytes for a file of settings, found 1500000"):
        load_model(runs)


def test_unknown_settings_empty_values_and_blank_lines_are_tolerated(runs):
    with (runs / ENHANCER / "args.txt").open("a") as file:
        file.write("\nsome_new_setting: 1, 2: 3\nstripped:\nempty: \n")
    args = read_args(runs / ENHANCER / "args.txt")
    assert (args["some_new_setting"], args["stripped"], args["empty"]) == ("1, 2: 3", "", "")
    load_model(runs)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"image_size 64", r"line \d+: expected `name: value`, found 'image_size 64'"),
        (b"{'json': 1}", "expected `name: value`"),
        (b"a b: 1", "expected `name: value`"),
        (b"image_size:64", "expected `name: value`"),
        (b"image_size: 32", r"line \d+: image_size is 32 here and 64 before"),
        (b"\xff\xfe\x00", "expected text in UTF-8"),
    ],
)
def test_broken_lines_are_named(runs, line, words):
    with (runs / ENHANCER / "args.txt").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(CheckpointError, match=words):
        load_model(runs)
