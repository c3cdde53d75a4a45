"""Runs in the authors' layout that are unlike case_a: written from our own networks, then loaded from disk alone."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from bilayer.model import NETWORKS, ModelConfig, create_avatar, load_model, make_source, random_model
from bilayer.model.networks.spectral import add_spectral_norm
from bilayer.runtime import Crop, CropBox
from tests.model.test_networks import TINY

VARIANTS = {
    # as the paper's large model: the inference generator as wide as the texture generator
    "1:1 channels, zip, thickness 1": (
        replace(TINY, inf_num_channels=4, inf_max_channels=16, stickmen_thickness=1),
        {"_use_new_zipfile_serialization": True},
    ),
    "quarter channels, harmonics, old pickle": (
        replace(TINY, emb_num_channels=8, emb_max_channels=32, tex_num_channels=8, tex_max_channels=32,
                inf_num_channels=2, inf_max_channels=8, pse_use_harmonic_enc=True, pse_num_harmonics=3),
        {"_use_new_zipfile_serialization": False},
    ),
    "no masks, no stickmen, other sizes": (
        replace(TINY, image_size=64, emb_output_tensor_size=4, tex_input_tensor_size=8, inf_input_tensor_size=8,
                enh_bottleneck_tensor_size=16, inf_pred_segmentation=False, emb_no_stickman=True, emb_apply_masks=False,
                dis_no_stickman=True, enh_unrolling_depth=2, eps=1e-5),
        {"_use_new_zipfile_serialization": True},
    ),
}  # fmt: skip


def write_run(folder, config, **save_options):
    """One experiment with all networks, spectral norm in place; the model that was written, for comparison."""
    model = random_model(config, seed=9)
    checkpoints = folder / "runs" / "one" / "checkpoints"
    checkpoints.mkdir(parents=True)
    for name in NETWORKS:
        network = model.get_submodule(name)
        add_spectral_norm(network, config.eps)
        converge(network)
        state = network.state_dict()
        if name == "inference_generator":
            state["identity_grid"] = torch.zeros(1, config.image_size, config.image_size, 2)
        if name == "keypoints_embedder" and config.pse_use_harmonic_enc:
            state["frequencies"] = torch.zeros(1, 1, config.pse_num_harmonics)
        torch.save(state, checkpoints / f"17_{name}.pth", **save_options)
    lines = [f"{f.name}: {getattr(config, f.name)}" for f in fields(ModelConfig) if f.name != "align_corners"]
    lines += ["experiment_name: one", "init_experiment_dir: ", "num_gpus: 8", "folder_postfix: 2d_crop"]
    (folder / "runs" / "one" / "args.txt").write_text("\n".join(sorted(lines)) + "\n")
    return model.eval()


def converge(network):
    """Spectral norm's vectors as training leaves them: the leading singular ones."""
    for layer in network.modules():
        if hasattr(layer, "weight_orig"):
            left, _, right = torch.linalg.svd(layer.weight_orig.detach().flatten(1), full_matrices=False)
            layer.weight_u.copy_(left[:, 0])
            layer.weight_v.copy_(right[0])


def some_source(config):
    generator = np.random.default_rng(3)
    size = config.image_size
    image = generator.integers(0, 256, (size, size, 3), np.uint8)
    crop = Crop(image, generator.uniform(-0.9, 0.9, 136).astype(np.float32), CropBox(0, 0, 1))
    return make_source(crop, config, generator.random((size, size), np.float32))


@pytest.mark.parametrize("variant", VARIANTS)
def test_everything_follows_from_args_and_files(tmp_path, variant):
    config, save_options = VARIANTS[variant]
    written = write_run(tmp_path, config, **save_options)
    loaded = load_model(tmp_path, NETWORKS)
    assert loaded.config == config
    source = some_source(config)
    poses = torch.rand(3, 136, generator=torch.Generator().manual_seed(2)) * 2 - 1
    expected, actual = (create_avatar(model, source) for model in (written, loaded))
    for first, second in zip(expected.embeddings, actual.embeddings, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-5)
    torch.testing.assert_close(expected.base_texture, actual.base_texture, rtol=0, atol=1e-4)
    torch.testing.assert_close(expected.texture, actual.texture, rtol=0, atol=1e-3)
    frames = [avatar.render(model, poses) for avatar, model in ((expected, written), (actual, loaded))]
    torch.testing.assert_close(frames[0].delta_uv, frames[1].delta_uv, rtol=0, atol=1e-4)
    torch.testing.assert_close(frames[0].image, frames[1].image, rtol=0, atol=1e-3)
    scores = [model.discriminator(source.images, source.stickmen)[0] for model in (written, loaded)]
    torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=1e-4)


def test_thickness_changes_the_landmark_image(tmp_path):
    config = VARIANTS["1:1 channels, zip, thickness 1"][0]
    thin, thick = (some_source(replace(config, stickmen_thickness=t)).stickmen for t in (1, 2))
    assert (thin > 0).sum() < (thick > 0).sum()
