"""What training does to the networks: spectral norm, starts from other weights, statistics, averages."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from bilayer.model import random_model
from bilayer.model.avatar import embed
from bilayer.model.config import AVATAR_NETWORKS
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.runtime.errors import CheckpointError
from bilayer.training.average import WeightAverage
from bilayer.training.data.dataset import FramePairs, collate
from bilayer.training.loop import learning_rate
from bilayer.training.networks import prepare_network, start_from, weights_of
from bilayer.training.prediction import source_of
from bilayer.training.progressive_growing import keep_results
from bilayer.training.regions import blur, feature_mask
from bilayer.training.settings import Optimisation
from bilayer.training.standing_statistics import standing_statistics
from tests.training import tiny


def states_of(model):
    return {name: model.get_submodule(name).state_dict() for name in model.networks}


def test_spectral_norm_starts_at_the_true_largest_singular_value():
    network = random_model(tiny.CONFIG).identity_embedder
    weights = {name: p.detach().clone() for name, p in network.named_parameters() if name.endswith("weight")}
    prepare_network(network, "identity_embedder", Optimisation(), eps=1e-7)
    network.eval()
    resolved = weights_of(network)
    for name, weight in weights.items():
        expected = weight / torch.linalg.matrix_norm(weight.flatten(1), ord=2)
        torch.testing.assert_close(resolved[name], expected, rtol=0.05, atol=0.01)


def test_networks_that_are_not_named_stay_without_spectral_norm():
    network = random_model(tiny.CONFIG).keypoints_embedder
    prepare_network(network, "keypoints_embedder", Optimisation(spectral_norm=()), eps=1e-7)
    assert not [name for name in network.state_dict() if name.endswith("_orig")]


def test_a_start_from_the_same_settings_copies_everything():
    old, new = random_model(tiny.CONFIG, seed=1), random_model(tiny.CONFIG, seed=2)
    copied = start_from(new, tiny.CONFIG, states_of(old))
    for name, state in states_of(old).items():
        assert copied[name] == len(state)
        for key, tensor in new.get_submodule(name).state_dict().items():
            assert torch.equal(tensor, state[key]), key


def grown_config():
    halved = {n: v // 2 for n, v in tiny.MODEL.items() if n in ("emb_num_channels", "tex_num_channels")}
    return replace(
        tiny.CONFIG, image_size=128, inf_num_channels=4, dis_num_channels=4, enh_bottleneck_tensor_size=64,
        dis_num_blocks=5, **halved,
    )  # fmt: skip


def test_growing_keeps_what_works_at_the_sizes_that_were_there():
    """The first blocks of both generators, given the same embeddings, compute what they did at half the size."""
    old, new = random_model(tiny.CONFIG, seed=1), random_model(grown_config(), seed=2)
    copied = start_from(new, tiny.CONFIG, states_of(old))
    assert copied["keypoints_embedder"] == len(old.keypoints_embedder.state_dict())
    assert copied["texture_enhancer"] == len(old.texture_enhancer.state_dict())

    blocks = tiny.CONFIG.num_blocks
    embeddings = [torch.randn(2, channels, 8, 8) for channels in grown_config().texture_channels[1:]]
    with torch.inference_mode():
        before = old.inference_generator.predict_parameters(embeddings[:blocks])
        after = new.inference_generator.predict_parameters(embeddings)
        x = y = torch.randn(2, 16, 4, 4)
        for k in range(blocks):
            x = old.inference_generator.gen_inf.blocks[k](x, before.blocks[k])
            y = new.inference_generator.gen_inf.blocks[k](y, after.blocks[k])
        assert torch.equal(x, y)
        last = old.inference_generator.gen_inf.blocks[blocks](x, before.final_norm)
        first_of_new = new.inference_generator.gen_inf.blocks[blocks].block_feats["0"](y, after.blocks[blocks].norm1)
        assert torch.equal(last, first_of_new)


@pytest.mark.parametrize("architecture", [{}, {"tex_norm_layer_type": "ada_bn", "inf_skip_layer_type": "conv"}])
def test_a_grown_model_begins_with_the_smaller_ones_results_enlarged(tiny_heads, architecture):
    """All but the texture's finest detail, and what is far below the mean, whatever the weights."""
    names = ("emb", "tex", "inf")
    widths = {f"{name}_max_channels": 32 for name in names} | {f"{name}_num_channels": 16 for name in names}
    small = replace(tiny.CONFIG, **widths, **architecture)
    large = replace(
        small, **{f"{name}_num_channels": 8 for name in names}, image_size=128, enh_bottleneck_tensor_size=64
    )
    old, new = random_model(small, seed=1), random_model(large, seed=2)
    start_from(new, small, states_of(old))
    people = [FramePairs(Path(tiny_heads), "train", size, 1, target_frames=2) for size in (64, 128)]
    batches = [collate([pairs[i] for i in range(len(pairs))]) for pairs in people]

    def results_of(model, embeddings):
        poses = batches[0].target.poses.flatten(0, 1)
        parameters = model.inference_generator.predict_parameters(embeddings).repeat_frames(2)
        layers = model.inference_generator(model.keypoints_embedder(poses), parameters)
        return layers.delta_uv, layers.lf_rgb, layers.seg_logits, model.texture_generator(embeddings)

    for network in (old, new):
        prepare_network(network, "", Optimisation(spectral_norm=(), batch_norm_momentum=1.0), eps=1e-7)
    with torch.no_grad():
        embeddings = embed(old, source_of(batches[0].source))
        expected = results_of(old, embeddings)  # its batch norms know the data then
        keep_results(new, old, batches[1])
        finest = torch.randn(len(embeddings[0]), 8, *embeddings[0].shape[2:])  # is not to matter
        found = results_of(new, [*embeddings, finest])
    for before, after, closeness in zip(expected, found, (0.95, 0.95, 0.95, 0.8), strict=True):
        enlarged = F.interpolate(before, scale_factor=2)
        assert torch.corrcoef(torch.stack([enlarged.flatten(), after.flatten()]))[0, 1] > closeness
        assert after.mean() == pytest.approx(enlarged.mean().item(), abs=0.1 * enlarged.std().item())
        assert after.std() == pytest.approx(enlarged.std().item(), rel=0.2)


def test_growing_moves_the_embedder_and_the_discriminator_to_the_small_end():
    old, new = random_model(tiny.CONFIG, seed=1), random_model(grown_config(), seed=2)
    start_from(new, tiny.CONFIG, states_of(old))
    x = torch.randn(1, 16, 16, 16)
    with torch.inference_mode():
        assert torch.equal(old.identity_embedder.net["enc"][3](x)[0], new.identity_embedder.net["enc"][4](x)[0])
        y = torch.randn(1, 8, 64, 64)
        old_blocks, new_blocks = old.discriminator.net["blocks"], new.discriminator.net["blocks"]
        assert torch.equal(old_blocks[0](y)[0], new_blocks[1](y)[0])


def test_a_start_of_which_nothing_fits_is_refused():
    new = BilayerModel(replace(tiny.CONFIG, inf_max_channels=32, inf_num_channels=16), AVATAR_NETWORKS)
    states = {"keypoints_embedder": {"net.mlp.0.weight": torch.zeros(3, 3)}}
    with pytest.raises(CheckpointError, match="keypoints_embedder: no tensor of the start fits"):
        start_from(new, tiny.CONFIG, states)


def test_a_start_from_a_larger_picture_is_refused():
    new = random_model(tiny.CONFIG)
    with pytest.raises(CheckpointError, match="image_size"):
        start_from(new, grown_config(), {})


def test_standing_statistics_are_the_mean_over_batches_and_leave_no_trace():
    norm = torch.nn.BatchNorm2d(3, momentum=1.0).train()
    norm(torch.randn(4, 3, 5, 5))
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    batches = [torch.randn(4, 3, 5, 5) * k + k for k in range(1, 5)]
    network = torch.nn.Sequential(torch.nn.Dropout(), norm).train()
    with standing_statistics([network], batches, norm):
        assert not norm.training
        assert not network[0].training
        means = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in batches]).mean(dim=0)
        variances = torch.stack([batch.transpose(0, 1).flatten(1).var(dim=1) for batch in batches]).mean(dim=0)
        torch.testing.assert_close(norm.running_mean, means)
        torch.testing.assert_close(norm.running_var, variances)
    assert norm.training
    assert network[0].training
    assert norm.momentum == 1.0
    for name, buffer in norm.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_the_average_is_the_formula_to_the_bit_and_goes_on_from_a_checkpoint():
    generator = torch.Generator().manual_seed(3)
    weights = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((5, 7), (3,), ())]
    expected = [weight.detach().clone() for weight in weights]
    average = WeightAverage(weights, decay=0.95)
    for iteration in range(300):  # the warm-up ends after 171
        with torch.no_grad():
            for weight in weights:
                weight += torch.randn(weight.shape, generator=generator)
        decay = min(0.95, (1 + iteration) / (10 + iteration))
        torch._foreach_lerp_(expected, [weight.detach() for weight in weights], 1 - decay)
        if iteration % 100 == 50:
            state = [tensor.clone() for tensor in average.state()]
            average = WeightAverage(weights, decay=0.95)
            average.load(state)
        average.update(iteration)
        assert all(map(torch.equal, average.state(), expected)), iteration
    with pytest.raises(ValueError, match="other shapes"):
        average.load(average.state()[:2])


def test_the_average_follows_slowly_and_is_put_aside_for_training():
    weight = torch.nn.Parameter(torch.zeros(3))
    average = WeightAverage([weight], decay=0.9)
    with torch.no_grad():
        weight.fill_(1.0)
    for iteration in range(1000, 1010):
        average.update(iteration)
    with average.applied():
        torch.testing.assert_close(weight.detach(), torch.full((3,), 1 - 0.9**10))
    assert torch.equal(weight.detach(), torch.ones(3))


def test_without_averaging_the_weights_themselves_are_used():
    weight = torch.nn.Parameter(torch.ones(3))
    average = WeightAverage([weight], decay=0.0)
    average.update(0)
    with average.applied():
        assert torch.equal(weight.detach(), torch.ones(3))
    assert average.state() == []


@given(st.integers(0, 2**32 - 1))
def test_the_feature_mask_covers_eyes_and_mouth_alone(seed):
    rng = np.random.default_rng(seed)
    poses = torch.from_numpy(rng.uniform(-0.6, 0.6, (2, 136)).astype(np.float32))
    mask = feature_mask(poses, 64)
    assert mask.shape == (2, 1, 64, 64)
    assert mask.min() >= 0
    assert mask.max() <= 1
    points = ((poses.view(2, 68, 2) + 1) * 32).long()
    for person in range(2):
        x, y = points[person, 36:].unbind(dim=1)
        assert (mask[person, 0, y, x] > 0.5).all()
    far = torch.full((1, 136), -3.0)
    assert feature_mask(far, 64).max() == 0


def test_the_blur_is_a_gaussian():
    from scipy.ndimage import gaussian_filter

    picture = np.random.default_rng(0).normal(size=(1, 2, 20, 24)).astype(np.float32)
    expected = gaussian_filter(picture, (0, 0, 1.5, 1.5), mode="nearest", radius=(0, 0, 5, 5))
    np.testing.assert_allclose(blur(torch.from_numpy(picture), 1.5), expected, atol=1e-5)


def test_the_learning_rate_rises_falls_by_a_cosine_and_ends_at_its_share():
    settings = Optimisation(learning_rate=1e-3, warm_up=9, final_learning_rate=0.1)
    rates = [learning_rate(settings, i, 100) for i in range(100)]
    assert rates[0] == pytest.approx(1e-4)
    assert rates.index(max(rates)) in (9, 10)
    assert rates[50] == pytest.approx(0.55e-3)
    assert rates[99] == pytest.approx(1e-4, rel=0.01)
    assert {learning_rate(Optimisation(learning_rate=1e-3), i, 100) for i in range(100)} == {1e-3}
