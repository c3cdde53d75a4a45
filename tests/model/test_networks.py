import csv
import math
from dataclasses import replace

import pytest
import torch

from bilayer.model.config import NETWORKS, PRESETS, ModelConfig
from bilayer.model.macs import count_costs, macs_per_frame
from bilayer.model.networks.bilayer import BUILDERS, BilayerModel, random_model
from bilayer.model.networks.embedders import KeypointsEmbedder
from bilayer.model.networks.resized_conv import ConvThenPool, UpsampleThenConv
from bilayer.model.networks.spectral import add_spectral_norm, resolve_spectral_norm
from bilayer.model.render import render
from bilayer.model.reparameterize import for_training, reparameterize_model
from bilayer.runtime.errors import CheckpointError
from tests import golden

TINY = ModelConfig(
    image_size=32,
    emb_num_channels=4,
    emb_max_channels=16,
    emb_output_tensor_size=8,
    pse_num_channels=8,
    tex_num_channels=4,
    tex_max_channels=16,
    inf_num_channels=2,
    inf_max_channels=8,
    enh_num_channels=4,
    enh_max_channels=8,
    enh_num_blocks=1,
    enh_bottleneck_tensor_size=16,
    dis_num_channels=4,
    dis_max_channels=8,
    dis_num_blocks=3,
)


def published_keys(network, ending=""):
    with (golden.ROOT / "keys" / f"{network}{ending}.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["key"] != "identity_grid"]  # follows from the image size
    return [(row["key"], row["shape"]) for row in rows]


def own_keys(network):
    return [(key, "x".join(map(str, tensor.shape)) or "scalar") for key, tensor in network.state_dict().items()]


@pytest.mark.parametrize("name", NETWORKS)
def test_state_dict_is_the_published_one(name):
    network = BUILDERS[name](PRESETS["medium"])
    assert sorted(own_keys(network)) == sorted(published_keys(name, ".nospn"))
    add_spectral_norm(network, eps=1e-7)
    assert own_keys(network) == published_keys(name)  # with spectral norm in the same order, too


def test_costs_of_the_medium_model_are_the_papers():
    costs = count_costs(PRESETS["medium"])
    table = {cost.part or cost.network: (cost.parameters, cost.macs / 1e9) for cost in costs}
    expected = {
        "identity_embedder": (31_442_304, 52.765),
        "keypoints_embedder": (1_219_328, 0.0012),
        "prj_inf": (7_720_286, 1.577),
        "gen_inf": (4_123_782, 4.3128),
        "prj_tex": (23_115_550, 9.551),
        "gen_tex": (32_549_443, 34.792),
        "texture_enhancer": (2_715_331, 61.812),
        "discriminator": (19_517_633, 52.001),
    }
    assert table.keys() == expected.keys()
    for name, (parameters, gmacs) in expected.items():
        assert table[name][0] == parameters, name
        assert table[name][1] == pytest.approx(gmacs, abs=6e-4), name


@pytest.mark.parametrize(("preset", "gmacs"), [("small", 1.1072), ("medium", 4.3140), ("large", 17.0269)])
def test_macs_of_the_papers_family(preset, gmacs):
    assert macs_per_frame(count_costs(PRESETS[preset])) / 1e9 == pytest.approx(gmacs, abs=5e-5)


def test_macs_of_one_convolution_are_what_arithmetic_says():
    """The head of the tiny generator alone: an oracle for the counter that shares no code with it."""
    wide = count_costs(TINY)
    without = count_costs(replace(TINY, inf_pred_segmentation=False))
    head = 32 * 32 * TINY.inf_num_channels * 3 * 3
    assert macs_per_frame(wide) - macs_per_frame(without) == head


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_builds(preset):
    with torch.device("meta"):
        model = BilayerModel(PRESETS[preset])
    assert model.networks == NETWORKS


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"inf_num_channels": 4, "inf_max_channels": 16},  # 1:1 with the embedder, as in the large model
        {"inf_num_channels": 1, "inf_max_channels": 4},  # one channel: a squeeze would break it
        {"tex_norm_layer_type": "ada_bn", "tex_pixelwise_bias_type": "bias", "tex_skip_layer_type": "conv"},
        {"inf_skip_layer_type": "conv"},
        {"pse_use_harmonic_enc": True},
        {"inf_pred_segmentation": False},
        {"emb_no_stickman": True, "emb_apply_masks": False},
        {"emb_output_tensor_size": 4, "tex_input_tensor_size": 8, "inf_input_tensor_size": 8},
    ],
    ids=str,
)
def test_every_variant_makes_an_avatar_and_renders_it(change):
    from bilayer.model import Source, create_avatar

    config = replace(TINY, **change)
    model = random_model(config, seed=1)
    pictures = torch.rand(2, 3, 32, 32) * 2 - 1
    source = Source(pictures, torch.rand(2, 136), pictures, torch.rand(2, 1, 32, 32))
    avatar = create_avatar(model, source)
    frames = avatar.render(model, torch.rand(6, 136))
    assert frames.image.shape == (6, 3, 32, 32)
    assert (frames.seg_logits is not None) == config.inf_pred_segmentation
    assert torch.isfinite(frames.image).all()
    assert not torch.equal(avatar.texture, avatar.base_texture)


@pytest.mark.parametrize("preset", ["medium", "baseline"])
def test_a_batch_is_its_members_one_by_one(preset):
    from bilayer.model import Source, create_avatar

    skips = {name: getattr(PRESETS[preset], name) for name in ("tex_norm_layer_type", "tex_pixelwise_bias_type")}
    model = random_model(replace(TINY, **skips, tex_skip_layer_type=PRESETS[preset].tex_skip_layer_type), seed=2)
    generator = torch.Generator().manual_seed(3)
    pictures = torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1
    poses = torch.rand(2, 136, generator=generator)
    masks = torch.rand(2, 1, 32, 32, generator=generator)
    together = create_avatar(model, Source(pictures, poses, pictures, masks)).render(model, poses)
    for i in range(2):
        one = slice(i, i + 1)
        alone = create_avatar(model, Source(pictures[one], poses[one], pictures[one], masks[one]))
        torch.testing.assert_close(alone.render(model, poses[one]).image, together.image[one], rtol=0, atol=2e-4)


def test_harmonic_encoding_orders_sines_then_cosines_keypoint_by_keypoint():
    embedder = KeypointsEmbedder(replace(TINY, pse_use_harmonic_enc=True))
    seen = []
    embedder.net["mlp"][0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pose = torch.linspace(-1, 1, 136)[None]
    embedder(pose)
    waves = [[f(float(x) * math.pi * 2**i) for x in pose[0] for i in range(4)] for f in (math.sin, math.cos)]
    torch.testing.assert_close(seen[0], torch.tensor([waves[0] + waves[1]]), rtol=0, atol=1e-5)


def test_random_models_depend_on_the_seed_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (random_model(TINY, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_spectral_norm_of_files_older_than_torch_1():
    """They hold no weight_v: it follows from weight_u where that is converged."""
    layer = torch.nn.Conv2d(3, 5, 3)
    matrix = layer.weight.detach().flatten(1)
    left, _, right = torch.linalg.svd(matrix)
    state = {"c.weight_orig": layer.weight.detach(), "c.weight_u": left[:, 0], "c.bias": layer.bias.detach()}
    old = resolve_spectral_norm(dict(state))
    new = resolve_spectral_norm({**state, "c.weight_v": right[0]})
    assert old.keys() == new.keys() == {"c.weight", "c.bias"}
    torch.testing.assert_close(old["c.weight"], new["c.weight"])
    assert torch.linalg.matrix_norm(new["c.weight"].flatten(1), 2) == pytest.approx(1, abs=1e-5)


def test_masks_need_no_second_model():
    model = random_model(TINY, seed=4)
    model.config = replace(TINY, inf_apply_masks=True)
    embeddings = tuple(torch.randn(1, c, 8, 8) for c in TINY.texture_channels[1:])
    parameters = model.inference_generator.predict_parameters(embeddings)
    with torch.inference_mode():
        frame = render(model, parameters, torch.zeros(1, 3, 32, 32), torch.rand(1, 136))
    mask = torch.sigmoid(frame.seg_logits)
    background = (mask < 0.5).expand_as(frame.image)
    assert (frame.image[background] <= 0).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"image_size": 100}, "emb_output_tensor_size: expected image_size = 100 over a power of two, found 8"),
        ({"inf_num_channels": 0}, "inf_num_channels: expected 1 to 8192, found 0"),
        ({"dis_num_blocks": 10**9}, "dis_num_blocks: expected 1 to 32"),
        ({"eps": 2.0}, "eps: expected a number between 0 and 1"),
        ({"inf_input_tensor_size": 8}, "inf_input_tensor_size: expected 4, as tex_input_tensor_size is"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings, words):
    with pytest.raises(CheckpointError, match=words):
        ModelConfig(**settings)


def test_channels_that_do_not_fit_together_are_refused():
    with pytest.raises(CheckpointError, match="check the channel settings"):
        BUILDERS["inference_generator"](replace(TINY, emb_num_channels=8))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"inf_chanels": 3}, "x.json: inf_chanels: unknown; perhaps inf_num_channels is meant"),
        ({"image_size": 64.0}, "x.json: image_size: expected int, found 64.0"),
        ({"inf_pred_segmentation": 1}, "expected bool, found 1"),
        ({"tex_norm_layer_type": "in"}, "expected ada_bn or ada_spade_bn, found 'in'"),
    ],
)
def test_settings_from_a_file_are_checked_by_name_and_type(settings, words):
    with pytest.raises(CheckpointError, match=words):
        ModelConfig.from_dict(settings, "x.json")


def test_settings_survive_the_way_through_json():
    for config in PRESETS.values():
        assert ModelConfig.from_dict(config.to_dict(), "x") == config


@pytest.mark.parametrize("preset", ["medium", "baseline"])
def test_fast_forms_are_exact_and_keep_the_state_dict(preset):
    from bilayer.model import Source, create_avatar

    names = ("tex_norm_layer_type", "tex_pixelwise_bias_type", "tex_skip_layer_type")
    config = replace(TINY, **{name: getattr(PRESETS[preset], name) for name in names})
    plain = random_model(config, seed=6).double()
    fast = reparameterize_model(plain)
    assert list(plain.state_dict()) == list(fast.state_dict())
    assert count_joined(fast) == 15
    generator = torch.Generator().manual_seed(1)
    pictures = torch.rand(1, 3, 32, 32, generator=generator, dtype=torch.float64) * 2 - 1
    source = Source(pictures, torch.rand(1, 136, dtype=torch.float64), pictures, torch.ones(1, 1, 32, 32).double())
    first, second = create_avatar(plain, source), create_avatar(fast, source)
    torch.testing.assert_close(first.texture, second.texture, rtol=0, atol=1e-10)
    scores = [model.discriminator(pictures, pictures)[0] for model in (plain, fast)]
    torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=1e-10)


def count_joined(model):
    return sum(isinstance(module, ConvThenPool | UpsampleThenConv) for module in model.modules())


def test_only_in_place_is_a_model_itself_rewritten_and_only_once():
    model = random_model(TINY, seed=6)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fast = reparameterize_model(model)
    assert count_joined(model) == 0
    assert not any(
        p.is_contiguous(memory_format=torch.channels_last) and p.ndim == 4 and min(p.shape[1:]) > 1
        for p in model.parameters()
    )
    joined = count_joined(fast)
    for tensor in fast.parameters():
        tensor.detach().zero_()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, weights[name], rtol=0, atol=0)
    assert reparameterize_model(model, inplace=True) is model
    assert count_joined(model) == joined > 0
    assert count_joined(reparameterize_model(model, inplace=True)) == joined


def test_the_form_for_training_has_the_same_results_and_gradients():
    config = PRESETS["demo"]
    config = replace(config, image_size=64, enh_bottleneck_tensor_size=32)
    models = [random_model(config, seed=6).double().train() for _ in range(2)]
    for_training(models[1])
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(2, 1, 6, 64, 64, generator=generator, dtype=torch.float64)
    poses = torch.rand(2, 136, generator=generator, dtype=torch.float64)
    results = []
    for model in models:
        embeddings = model.identity_embedder(frames)
        parameters = model.inference_generator.predict_parameters(embeddings)
        layers = model.inference_generator(model.keypoints_embedder(poses), parameters)
        results.append((model.texture_generator(embeddings), layers.delta_uv, layers.lf_rgb, layers.seg_logits))
        torch.stack([result.square().mean() for result in results[-1]]).sum().backward()
    for plain, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, rtol=0, atol=1e-11)
    gradients = [{n: p.grad for n, p in model.named_parameters() if p.grad is not None} for model in models]
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-7, atol=1e-11, msg=name)
