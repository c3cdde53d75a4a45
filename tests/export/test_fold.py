"""Folding and rewriting change the cost and not the result: against the unfolded model in float64."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bilayer.export.network.emulate import half_storage
from bilayer.export.network.evaluate import evaluate, run_layer
from bilayer.export.network.fold import BatchNorm, fold
from bilayer.export.network.layers import Conv, ConvTranspose, Layer, ScaleShift
from bilayer.export.network.lower import GraphOptions, lower
from bilayer.export.network.rewrite import fold_norms, upsampled_as_phases, upsampled_as_transposed
from bilayer.model.networks.spectral import add_spectral_norm
from bilayer.runtime.frame import NetworkOutputs
from tests.export.conftest import reference

EXACT = 1e-11  # float64's rounding through some sixty layers
POSES = torch.rand(3, 136, generator=torch.Generator().manual_seed(7)).double() * 2 - 1

VARIANTS = [
    GraphOptions(upsample, skip_first, merged)
    for upsample in ("nearest", "deconv", "phase")
    for skip_first in (False, True)
    for merged in (False, True)
]


def error(generator, model, parameters, avatar=0):
    layers = reference(model, parameters, POSES, avatar)
    expected = {"delta_uv": layers.delta_uv, "lf_rgb": layers.lf_rgb}
    if layers.seg_logits is not None:
        expected["seg"] = torch.sigmoid(layers.seg_logits)
    tensors, worst = evaluate(generator, POSES), 0.0
    for i in range(len(POSES)):
        actual = NetworkOutputs.read(generator.outputs, {name: x[i : i + 1].numpy() for name, x in tensors.items()})
        assert actual.by_name.keys() == expected.keys()
        for name, values in actual.by_name.items():
            worst = max(worst, float(np.abs(values - expected[name][i].numpy()).max()))
    return worst


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("fold_all", [False, True], ids=["norms kept", "norms folded"])
def test_every_variant_equals_the_unfolded_model(tiny_predicted, options, fold_all):
    model, parameters = tiny_predicted()
    plain = fold(model, parameters)
    if fold_all:
        plain, norms = fold_norms(plain, max_kappa=np.inf)
        assert (norms.folded, norms.kept) == (7, ())
    generator = lower(plain, options)
    assert error(generator, model, parameters) < EXACT
    kept = sum(isinstance(layer, ScaleShift) for layer in generator.layers)
    assert kept == (0 if fold_all else 7)


@pytest.mark.parametrize(
    "settings",
    [
        {"inf_skip_layer_type": "conv"},
        {"inf_pred_segmentation": False},
        {"pse_num_blocks": 2},
        {"inf_num_channels": 4, "inf_max_channels": 16},
    ],
    ids=str,
)
@pytest.mark.parametrize("merged", [False, True])
def test_every_architecture_folds(tiny_predicted, settings, merged):
    model, parameters = tiny_predicted(seed=3, **settings)
    generator = lower(fold_norms(fold(model, parameters))[0], GraphOptions(merged_head=merged))
    assert error(generator, model, parameters) < EXACT


def test_harmonic_poses_are_encoded_before_the_network(tiny_predicted):
    from bilayer.model.networks.embedders import harmonic_encoding

    model, parameters = tiny_predicted(pse_use_harmonic_enc=True)
    generator = lower(fold(model, parameters))
    assert generator.input_width == 2 * 4 * 136
    lf_rgb = generator.outputs.lf_rgb
    actual = evaluate(generator, harmonic_encoding(POSES, 4))[lf_rgb.tensor][:, lf_rgb.start : lf_rgb.stop]
    expected = reference(model, parameters, POSES)
    assert (actual - expected.lf_rgb).abs().max() < EXACT


def test_each_avatar_of_a_batch_is_folded_with_its_own_parameters(tiny_predicted):
    model, parameters = tiny_predicted()
    second = lower(fold(model, parameters, avatar=1))
    assert error(second, model, parameters, avatar=1) < EXACT
    assert error(second, model, parameters, avatar=0) > 1e-3


def test_the_model_is_left_as_it_was(tiny_predicted):
    model, parameters = tiny_predicted()
    before = copy.deepcopy(model.state_dict())
    fold_norms(fold(model, parameters))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_spectral_norm_that_is_still_in_place_is_divided_out(tiny_predicted):
    model, parameters = tiny_predicted(seed=5)
    model = copy.deepcopy(model)
    with torch.random.fork_rng():
        torch.manual_seed(5)  # its vectors begin at random: an unlucky pair scales a layer by hundreds, and errors too
        for network in (model.keypoints_embedder, model.inference_generator):
            add_spectral_norm(network, model.config.eps)
    model.eval()
    assert error(lower(fold(model, parameters)), model, parameters) < EXACT


def with_gamma(plain, gamma):
    """The first norm of block 1 with gamma = `gamma` and beta = 0.3 in every channel."""
    norm = plain.blocks[1].norm1
    tiny = replace(norm, gamma=np.full_like(norm.gamma, gamma), beta=np.full_like(norm.beta, 0.3))
    return replace(plain, blocks=(plain.blocks[0], replace(plain.blocks[1], norm1=tiny), *plain.blocks[2:]))


@pytest.mark.parametrize(("gamma", "kept"), [(0.5, 0), (0.02, 0), (0.01, 1), (1e-3, 1), (0.0, 1)])
def test_ill_conditioned_norms_are_kept_by_the_guard(tiny_predicted, gamma, kept):
    plain = with_gamma(fold(*tiny_predicted()), gamma)
    folded, norms = fold_norms(plain)
    assert len(norms.kept) == kept
    if kept:
        assert norms.kept[0].startswith("block1_norm1 (kappa ")
    expected = evaluate(lower(plain), POSES)["layers"]
    assert (evaluate(lower(folded), POSES)["layers"] - expected).abs().max() < EXACT


def test_half_storage_shows_what_the_guard_is_for(tiny_predicted):
    """The same network with and without the guard, rounded to half after every layer."""
    plain = with_gamma(fold(*tiny_predicted()), 1e-3)
    poses = POSES.float()
    expected = evaluate(lower(plain), POSES)["layers"]
    guarded, unguarded = (
        evaluate(lower(fold_norms(plain, max_kappa)[0]), poses, half_storage)["layers"] for max_kappa in (16, np.inf)
    )
    assert (unguarded - expected).abs().max() > 3 * (guarded - expected).abs().max()
    assert (guarded - expected).abs().max() < 5e-3


def test_without_the_guard_half_precision_suffers():
    """What the guard is for, on one channel: y = gamma x + beta stored in half, and x wanted back."""
    x = np.linspace(-2, 2, 1001)
    for gamma, least in ((0.5, 0.0), (0.01, 4e-3)):
        norm = BatchNorm(np.array([gamma]), np.array([0.3]), np.zeros(1), np.ones(1), 0.0)
        stored = (x * norm.scale + norm.shift).astype(np.float16).astype(np.float64)
        lost = np.abs((stored - norm.shift) / norm.scale - x).max()
        assert lost > least
        assert (norm.kappa > 16) == (gamma < 0.02)
    assert lost > 10 * np.abs(x.astype(np.float16) - x).max()


@given(
    arrays(np.float64, (3, 2, 3, 3), elements=st.floats(-2, 2)),
    arrays(np.float64, (1, 2, 4, 5), elements=st.floats(-2, 2)),
)
def test_upsampling_folds_into_transposed_and_phase_convolutions_borders_included(weight, x):
    expected = F.conv2d(F.interpolate(torch.from_numpy(x), scale_factor=2), torch.from_numpy(weight), padding=1)
    transposed = torch.from_numpy(upsampled_as_transposed(weight))
    actual = F.conv_transpose2d(torch.from_numpy(x), transposed, stride=2, padding=1)
    torch.testing.assert_close(actual, expected)
    phases = torch.from_numpy(upsampled_as_phases(weight))
    for p in (0, 1):
        for q in (0, 1):
            padded = F.pad(torch.from_numpy(x), (1 - q, q, 1 - p, p))
            torch.testing.assert_close(F.conv2d(padded, phases[p, q]), expected[:, :, p::2, q::2])


@pytest.mark.parametrize(
    ("options", "gmacs", "layers"),
    [
        (GraphOptions("nearest", skip_first=False, merged_head=False), 4.314, 63),
        (GraphOptions("nearest", skip_first=True, merged_head=False), 3.946, 63),
        (GraphOptions("nearest"), 3.946, 59),
        (GraphOptions("deconv"), 2.499, 53),
        (GraphOptions("phase"), 2.499, 83),
    ],
    ids=str,
)
def test_census_of_the_medium_generator(options, gmacs, layers):
    from bilayer.model import PRESETS, random_model

    config = PRESETS["medium"]
    model = random_model(config, 0, ("keypoints_embedder", "inference_generator"))
    embeddings = [torch.randn(1, c, 8, 8) for c in config.texture_channels[1:]]
    with torch.inference_mode():
        plain, norms = fold_norms(fold(model, model.inference_generator.predict_parameters(embeddings)))
    generator = lower(plain, options)
    assert (norms.folded, norms.kept) == (13, ())
    assert sum(generator.macs().values()) / 1e9 == pytest.approx(gmacs, abs=5e-4)
    assert len(generator.layers) == layers
    assert generator.shapes()[generator.output_tensors[0]][1:] == (256, 256)


def test_shapes_are_those_that_evaluation_finds(tiny_predicted):
    for options in (GraphOptions("phase", merged_head=False), GraphOptions("deconv"), GraphOptions("nearest")):
        generator = lower(fold(*tiny_predicted()), options)
        results = evaluate(generator, POSES[:1])
        for name, shape in generator.shapes().items():
            assert tuple(results[name].shape[1:]) == shape, name


def test_convolutions_are_counted_by_arithmetic():
    conv = Conv("c", ("pose",), np.zeros((5, 3, 3, 3)), np.zeros(5), (1, 1, 1, 1))
    deconv = ConvTranspose("d", ("pose",), np.zeros((3, 5, 4, 4)), np.zeros(5))
    from bilayer.export.network.layers import _macs, _shape

    assert _shape(conv, [(3, 8, 6)]) == (5, 8, 6)
    assert _shape(deconv, [(3, 8, 6)]) == (5, 16, 12)
    assert _macs(conv, {"pose": (3, 8, 6), "c": (5, 8, 6)}) == 5 * 3 * 9 * 48
    assert _macs(deconv, {"pose": (3, 8, 6), "d": (5, 16, 12)}) == 5 * 3 * 16 * 48


def test_an_unknown_layer_is_not_skipped_silently():
    with pytest.raises(TypeError, match="no rule to evaluate a Layer"):
        run_layer(Layer("x", ()), [torch.zeros(1)])
