"""Checkpoints of our own: what a .safetensors keeps at each precision, and which are refused."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bilayer.model import ModelConfig, load_model, read_checkpoint, save_checkpoint
from bilayer.runtime.errors import CheckpointError, OutputError
from tests import golden
from tests.model.checkpoint_files import states


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
