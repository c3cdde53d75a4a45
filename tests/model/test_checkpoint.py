"""Checkpoints in, ours and the authors': the same numbers whichever way, and a reason where they cannot be had."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import warnings
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bilayer.model import NETWORKS, ModelConfig, load_model, read_checkpoint, save_checkpoint
from bilayer.model.files.authors_checkpoint import find_run, parse_value, read_args
from bilayer.model.files.safe_load import read_pth
from bilayer.runtime.errors import CheckpointError, OutputError
from tests import forked, golden

MAIN, ENHANCER = "tiny_main", "tiny_enhancer"


@pytest.fixture
def runs(tmp_path):
    shutil.copytree(golden.CASE_A / "runs", tmp_path / "runs")
    return tmp_path / "runs"


def checkpoint(runs, network, experiment=MAIN):
    return runs / experiment / "checkpoints" / f"{2 if experiment == MAIN else 3}_{network}.pth"


def edit_args(runs, experiment=ENHANCER, **settings):
    path = runs / experiment / "args.txt"
    lines = [line for line in path.read_text().splitlines() if line.split(":")[0] not in settings]
    path.write_text("\n".join(lines + [f"{name}: {value}" for name, value in settings.items()]) + "\n")


def edit_weights(path, edit, **options):
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    edit(tensors)
    torch.save(tensors, path, **options)


def states(model):
    return {key: tensor.numpy() for key, tensor in model.state_dict().items()}


def assert_same(first, second):
    first, second = states(first), states(second)
    assert first.keys() == second.keys()
    for key, value in first.items():
        np.testing.assert_array_equal(value, second[key], err_msg=key)


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


def test_safetensors_hold_the_same_model(runs, tmp_path):
    config, tensors = read_checkpoint(runs)
    save_checkpoint(tmp_path / "a.safetensors", config, tensors)
    ours = load_model(tmp_path / "a.safetensors")
    assert ours.config == load_model(runs).config
    for key, value in states(load_model(runs)).items():
        if not key.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(value, states(ours)[key], err_msg=key)


def test_half_precision_halves_the_file_and_keeps_the_statistics(runs, tmp_path):
    config, tensors = read_checkpoint(runs)
    full, half = tmp_path / "full.safetensors", tmp_path / "half.safetensors"
    save_checkpoint(full, config, tensors)
    save_checkpoint(half, config, tensors, "fp16")
    assert half.stat().st_size < 0.56 * full.stat().st_size  # the tiny model's headers and vectors weigh 6 %
    exact, rounded = load_file(full), load_file(half)
    for key, value in exact.items():
        if value.dim() < 2 and "gen_inf.heads." not in key:
            assert torch.equal(value, rounded[key]), key
        else:
            assert rounded[key].dtype == torch.float16
            torch.testing.assert_close(rounded[key].float(), value, rtol=1e-3, atol=1e-7)


def test_eight_bits_are_the_texture_generators_alone_and_off_by_half_a_step(runs, tmp_path):
    config, tensors = read_checkpoint(runs)
    half, small = tmp_path / "half.safetensors", tmp_path / "small.safetensors"
    save_checkpoint(half, config, tensors, "fp16")
    save_checkpoint(small, config, tensors, "int8")
    assert small.stat().st_size < half.stat().st_size
    stored, other = load_file(small), load_file(half)
    _, read = read_checkpoint(small)
    eight = 0
    for name, state in read.items():
        for key, value in state.items():
            if stored[f"{name}.{key}"].dtype != torch.int8:
                assert torch.equal(value, other[f"{name}.{key}"])
                continue
            eight += 1
            assert name == "texture_generator"
            steps = stored[f"{name}.{key}.eight_bit_steps"]
            assert ((value - tensors[name][key]).abs() <= steps * 0.5001).all(), key
            assert sum(size > 1 for size in steps.shape) <= 1
    assert eight > 10


@pytest.mark.parametrize("spoilt", ["steps lost", "matrix lost", "steps of another", "a plain matrix", "steps are NaN"])
def test_eight_bits_without_their_steps_are_refused(runs, tmp_path, spoilt):
    config, tensors = read_checkpoint(runs)
    out = tmp_path / "small.safetensors"
    save_checkpoint(out, config, tensors, "int8")
    with safe_open(out, "pt") as file:
        metadata = file.metadata()
    flat = load_file(out)
    name = max((key for key in flat if flat[key].dtype == torch.int8), key=lambda key: flat[key].numel())
    steps = name + ".eight_bit_steps"
    if spoilt == "steps lost":
        del flat[steps]
    elif spoilt == "matrix lost":
        del flat[name]
    elif spoilt == "steps of another":
        flat[steps] = torch.ones(7, 3)
    elif spoilt == "a plain matrix":
        flat[name] = flat[name].half()
    else:
        flat[steps].view(-1)[0] = torch.nan
    save_file(flat, out, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"small.safetensors: texture_generator\..*(int8|NaN)"):
        read_checkpoint(out)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_what_is_not_finite_is_not_written(runs, tmp_path, value, precision):
    config, tensors = read_checkpoint(runs)
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"an older file")
    for key in ("net.mlp.0.bias", "net.mlp.0.weight"):
        spoilt = tensors["keypoints_embedder"][key].clone()
        spoilt.view(-1)[0] = value
        state = {**tensors["keypoints_embedder"], key: spoilt}
        with pytest.raises(CheckpointError, match=f"keypoints_embedder.{key}: 1 of .* values are NaN or infinite"):
            save_checkpoint(out, config, {**tensors, "keypoints_embedder": state}, precision)
        assert out.read_bytes() == b"an older file"


def test_half_precision_refuses_what_it_cannot_hold(runs, tmp_path):
    config, tensors = read_checkpoint(runs)
    tensors["texture_generator"]["gen_tex_input"] = tensors["texture_generator"]["gen_tex_input"] * 1e6
    with pytest.raises(CheckpointError, match=r"gen_tex_input: values up to .* do not fit half precision"):
        save_checkpoint(tmp_path / "h.safetensors", config, tensors, "fp16")
    assert not list(tmp_path.glob("*.safetensors*"))


def test_the_same_checkpoint_gives_the_same_bytes_in_every_process(tmp_path):
    files = []
    for seed, threads in (("0", "1"), ("1", "2")):
        files.append(tmp_path / f"{seed}.safetensors")
        command = ["convert", str(golden.CASE_A / "runs"), "--out", str(files[-1])]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads}
        subprocess.run([sys.executable, "-m", "bilayer.model", *command], env=environment, check=True)
    assert files[0].read_bytes() == files[1].read_bytes()


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


# Hostile and damaged files


class Exploit:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def plant_rce(path, marker, **options):
    torch.save({"net.mlp.0.weight": Exploit(marker)}, path, **options)


HOSTILE = {
    "empty": (lambda path: path.write_bytes(b""), "the file is empty"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-3000]), "truncated or of another format"),
    "text": (lambda path: path.write_text("not found\n" * 9), "not a readable torch state dict"),
    "rce": (lambda path: plant_rce(path, path.with_name("owned")), "asks for posix.system"),
    "rce, old format": (
        lambda path: plant_rce(path, path.with_name("owned"), _use_new_zipfile_serialization=False),
        "asks for posix.system",
    ),
    "bare rce pickle": (
        lambda path: path.write_bytes(pickle.dumps(Exploit(path.with_name("owned")))),
        "asks for posix.system",
    ),
    "zip bomb": (lambda path: write_zip_bomb(path), "refused as a zip bomb"),
    "not a dict": (lambda path: torch.save([torch.zeros(3)], path), "expected a state dict .* found a list"),
    "numbers for tensors": (lambda path: torch.save({"net.mlp.0.bias": 3}, path), "expected a tensor, found a int"),
    "another model": (
        lambda path: torch.save({"conv1.weight": torch.zeros(3, 3)}, path),
        "not a keypoints_embedder of the bi-layer model: it holds conv1.weight",
    ),
    "nan": (lambda path: edit_weights(path, lambda t: t["net.mlp.2.bias"].fill_(torch.nan)), "24 of 24 values are NaN"),
    "infinity": (
        lambda path: edit_weights(path, lambda t: t["net.mlp.0.weight_orig"].view(-1)[:1].fill_(torch.inf)),
        "1 of 3264 values are NaN or infinite",
    ),
    "expanded": (
        lambda path: torch.save({"net.mlp.0.weight": torch.zeros(1).expand(10**5, 10**6)}, path),
        "claims shape .* without the values",
    ),
    "sparse": (
        lambda path: torch.save({"net.mlp.0.weight": torch.eye(3).to_sparse()}, path),
        "expected a dense float tensor",
    ),
    "no u": (lambda path: edit_weights(path, lambda t: t.pop("net.mlp.0.weight_u")), "spectral-norm vectors"),
    "short v": (
        lambda path: edit_weights(path, lambda t: t.update({"net.mlp.0.weight_v": torch.ones(3)})),
        r"v \(136,\), found \(\(24,\), \(3,\)\)",
    ),
    "weight of zeros": (
        lambda path: edit_weights(path, lambda t: t["net.mlp.0.weight_orig"].zero_()),
        "net.mlp.0.weight: no finite spectral norm",
    ),
    "u of zeros": (
        lambda path: edit_weights(path, lambda t: t["net.mlp.0.weight_u"].zero_()),
        "net.mlp.0.weight: no finite spectral norm",
    ),
    "norm too small": (
        lambda path: edit_weights(path, lambda t: t["net.mlp.0.weight_v"].mul_(1e-42)),
        "net.mlp.0.weight: no finite spectral norm",
    ),
    "averaged": (
        lambda path: edit_weights(path, lambda t: t.update({"net.mlp.0.weight_avg": torch.ones(24, 136)})),
        "averaged weights",
    ),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is a folder; name a checkpoint"),
}


def write_zip_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x/data/0", "w") as member:
        for _ in range(256):
            member.write(bytes(1 << 20))


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


@pytest.fixture
def ours(tmp_path):
    config, tensors = read_checkpoint(golden.CASE_A / "runs")
    save_checkpoint(tmp_path / "ours.safetensors", config, tensors)
    return tmp_path / "ours.safetensors"


def test_damaged_safetensors_are_refused(ours):
    whole = ours.read_bytes()
    ours.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"not a readable .safetensors file"):
        load_model(ours)
    ours.write_bytes((1 << 60).to_bytes(8, "little") + b"{}")  # a header that claims an exabyte
    with pytest.raises(CheckpointError, match=r"not a readable .safetensors file"):
        load_model(ours)


def header_of(path, **change):
    header = {"format": "bilayer-checkpoint", "version": 1, "config": {}, "networks": []} | change
    save_file({"inference_generator.x": torch.zeros(1)}, path, {"bilayer": json.dumps(header)})


def test_safetensors_of_others_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"not a bilayer checkpoint; .* make one with"):
        load_model(path)
    header_of(path, version=7)
    with pytest.raises(CheckpointError, match="version 7, expected 1; update bilayer"):
        load_model(path)
    header_of(path, config={"image_size": "256"})
    with pytest.raises(CheckpointError, match="image_size: expected int, found '256'"):
        load_model(path)
    header_of(path)
    with pytest.raises(CheckpointError, match="has no identity_embedder, keypoints_embedder, texture_generator;"):
        read_checkpoint_networks(path)
    save_file({"a.b": torch.zeros(1)}, path, {"bilayer": json.dumps({"format": "bilayer-checkpoint", "version": 1})})
    with pytest.raises(CheckpointError, match="config: missing"):
        load_model(path)


def read_checkpoint_networks(path):
    state = {f"inference_generator.{key}": torch.zeros(shape) for key, shape in inference_shapes().items()}
    header = {"format": "bilayer-checkpoint", "version": 1, "config": ModelConfig().to_dict(), "networks": []}
    save_file(state, path, {"bilayer": json.dumps(header)})
    return read_checkpoint(path)


def inference_shapes():
    from bilayer.model.files.shapes import expected_shapes

    return expected_shapes(ModelConfig(), "inference_generator")


def test_safetensors_whose_settings_were_edited_are_refused(ours):
    tensors = load_file(ours)
    config = read_checkpoint(ours)[0].to_dict() | {"pse_num_channels": 32}
    header = {"format": "bilayer-checkpoint", "version": 1, "config": config, "networks": []}
    save_file(tensors, ours, {"bilayer": json.dumps(header)})
    with pytest.raises(CheckpointError, match="pse_num_channels is 32, but the weights have 24"):
        load_model(ours)


def test_nothing_is_written_where_nothing_can_be(ours, tmp_path):
    config, tensors = read_checkpoint(ours)
    with pytest.raises(OutputError, match="is a file and not a folder"):
        save_checkpoint(ours / "x.safetensors", config, tensors)
    with pytest.raises(OutputError, match="is a folder"):
        save_checkpoint(tmp_path, config, tensors)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours.safetensors"]


# The command


run_cli = partial(forked.run, "checkpoint")


@pytest.mark.parametrize("before", [["-o"], []])
def test_convert_then_inspect(tmp_path, before):
    out = tmp_path / "tiny.safetensors"
    converted = run_cli("convert", golden.CASE_A, *before, out, "--precision", "fp16", "--no-discriminator")
    assert converted.returncode == 0, converted.stderr
    assert f"next: bilayer-export PHOTO --checkpoint {out}" in converted.stderr
    report = json.loads(run_cli("inspect", out, "--json").stdout)
    assert list(report["missing"]) == ["discriminator"]
    assert report["settings"]["image_size"] == 64
    assert {row["network"] for row in report["networks"]} == set(NETWORKS) - {"discriminator"}


def test_inspect_prints_the_papers_number_beside_ours():
    shown = run_cli("inspect", "--preset", "medium")
    assert shown.returncode == 0
    assert "4.314 GMAC a frame (the paper's Table 2: 4.32)" in shown.stdout
    assert "31,442,304" in shown.stdout


def test_inspect_tells_what_is_missing_and_fails_without_an_avatar(runs):
    checkpoint(runs, "discriminator", ENHANCER).unlink()
    checkpoint(runs, "discriminator").unlink()
    shown = run_cli("inspect", runs)
    assert shown.returncode == 0
    assert "missing: discriminator: " in shown.stdout
    checkpoint(runs, "identity_embedder").unlink()
    shown = run_cli("inspect", runs)
    assert shown.returncode == 3
    assert "missing: identity_embedder: " in shown.stdout
    assert shown.stderr.startswith("error: missing network files")


@pytest.mark.parametrize("kind", ["empty", "rce", "zip bomb", "nan", "another model", "weight of zeros"])
def test_a_refused_file_ends_the_command_with_3_and_leaves_nothing(runs, tmp_path, kind):
    HOSTILE[kind][0](checkpoint(runs, "keypoints_embedder"))
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"an older file")
    result = run_cli("convert", runs, "--out", out)
    assert result.returncode == 3
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert out.read_bytes() == b"an older file"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.safetensors", "runs"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads a process's peak memory from Linux's /proc")
def test_hostile_files_are_refused_within_a_gigabyte(runs):
    """Peak memory of the whole process, torch included. (getrusage would count the process that it was forked from.)"""
    code = (
        "import pathlib, sys; from bilayer.model.cli import main\n"
        "try: main()\n"
        "finally: print(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0], file=sys.stderr)"
    )
    for kind in ("zip bomb", "expanded", "truncated"):
        path = checkpoint(runs, "keypoints_embedder")
        original = path.read_bytes()
        HOSTILE[kind][0](path)
        command = [sys.executable, "-c", code, "convert", str(runs), "--out", str(runs / "out.safetensors")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 3
        assert 50_000 < int(result.stderr.splitlines()[-1]) < 1 << 20  # KiB
        path.write_bytes(original)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["inspect"], 2, "give either PATH or --preset"),
        (["inspect", "nowhere.safetensors"], 3, "nowhere.safetensors: no such file"),
        (["inspect", "--preset", "medium", "--set", "image_size"], 2, "expected NAME=VALUE"),
        (
            ["inspect", "--preset", "medium", "--set", "image_size=99"],
            3,
            "expected image_size = 99 over a power of two",
        ),
        (["convert", "nowhere", "--out", "x.pth"], 2, "expected a name that ends in .safetensors"),
        (["convert", "nowhere", "--out", "x.safetensors"], 3, "nowhere: no such file or folder"),
        (["convert", "nowhere", "x.pth"], 2, "x.pth: expected a name that ends in .safetensors"),
        (["convert", "nowhere", "x.safetensors"], 3, "nowhere: no such file or folder"),
        (["convert", "nowhere", "x.safetensors", "--out", "y.safetensors"], 2, "give either x.safetensors or --out"),
        (["convert", "nowhere", "x.safetensors", "y.safetensors"], 2, "unexpected extra argument (y.safetensors)"),
        (
            ["convert", str(golden.CASE_A), "--out", "x.safetensors", "--set", "epochs=1"],
            3,
            "--set epochs: no such setting",
        ),
    ],
)
def test_wrong_arguments(arguments, code, words):
    result = run_cli(*arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert words in result.stderr
    assert not Path("x.safetensors").exists()


def test_help_does_not_import_torch():
    code = "import sys; from bilayer.model.cli import main; main(['--help'], standalone_mode=False); "
    code += "assert not {'torch', 'numpy', 'cv2', 'rich'} & set(sys.modules), 'slow imports'"
    assert "convert" in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


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
