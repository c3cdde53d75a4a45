"""Numbers that FP16 rounds less, and a network that is the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bilayer.export.network.equalize import FACTORS, _factors, equalize, half_rounded
from bilayer.export.network.evaluate import evaluate
from bilayer.export.network.fold import fold
from bilayer.export.network.layers import Add, Upsample
from bilayer.export.network.lower import GraphOptions, lower
from bilayer.export.network.rewrite import fold_norms

POSES = torch.rand(3, 136, generator=torch.Generator().manual_seed(7)).double() * 2 - 1
KINDS = ("nearest", "deconv", "phase", "norms kept")


@pytest.fixture
def made(tiny_predicted):
    """All the graphs that an export makes."""
    plain = fold(*tiny_predicted())
    folded, _ = fold_norms(plain)
    graphs = {kind: lower(folded, GraphOptions(kind)) for kind in ("nearest", "deconv", "phase")}
    return graphs | {"norms kept": lower(plain, GraphOptions("nearest", skip_first=False, merged_head=False))}


@pytest.mark.parametrize("kind", KINDS)
def test_the_results_stay(made, kind):
    generator, suited = made[kind], equalize(made[kind])
    expected, found = evaluate(generator, POSES), evaluate(suited, POSES)
    for tensor in generator.output_tensors:
        torch.testing.assert_close(found[tensor], expected[tensor], rtol=0, atol=1e-12)
    assert [layer.name for layer in suited.layers] == [layer.name for layer in generator.layers]
    assert suited.macs() == generator.macs()


@pytest.mark.parametrize("kind", KINDS)
def test_what_became_of_each_layer_is_told(made, kind):
    suited = equalize(made[kind])
    before, after = evaluate(made[kind], POSES), evaluate(suited, POSES)
    for name, adjustment in suited.adjusted.items():
        factor, shift = (
            torch.from_numpy(values).view(-1, *[1] * (after[name].dim() - 2))
            for values in (adjustment.factor, adjustment.shift)
        )
        torch.testing.assert_close(after[name], before[name] * factor + shift, rtol=1e-11, atol=1e-11)
    for name in before.keys() - suited.adjusted.keys():
        torch.testing.assert_close(after[name], before[name], rtol=1e-11, atol=1e-11)
    told = {"pose_fc0", "pose_fc0_act"}
    if kind in ("nearest", "deconv"):  # the others read a hidden channel four times, or through a norm
        told |= {"block0_conv1", "block0_act2", "block0_skip"}
    assert told < suited.adjusted.keys()


@pytest.mark.parametrize("kind", ["nearest", "deconv"])
def test_hidden_biases_fit_fp16(made, kind):
    scaled = {name: weight for name, weight in equalize(made[kind]).weights() if name.endswith("_conv1.bias")}
    assert len(scaled) == sum(name.endswith("_conv1.bias") for name, _ in made[kind].weights()) > 0
    for bias in scaled.values():
        large = np.abs(bias) > 2.0**-13
        np.testing.assert_allclose(bias[large], half_rounded(bias)[large], rtol=1e-12)


@pytest.mark.parametrize("kind", ["nearest", "deconv"])
def test_a_sum_has_its_bias_in_two_parts(made, kind):
    before, after = ({layer.name: layer for layer in g.layers} for g in (made[kind], equalize(made[kind])))
    sums = [layer for layer in after.values() if isinstance(layer, Add)]
    assert sums
    for add in sums:
        names = [after[n].inputs[0] if isinstance(after[n], Upsample) else n for n in add.inputs]
        first, second = (after[name].bias for name in names)
        np.testing.assert_array_equal(first, half_rounded(first))
        np.testing.assert_allclose(first + second, sum(before[name].bias for name in names), rtol=0, atol=1e-12)
        assert (np.abs(second) <= np.abs(first) * 2.0**-11 + 2.0**-25).all()


def test_rounded_weights_cost_less(tiny_predicted):
    """Over several random networks: the squared error of weights in FP16, activations exact."""

    def error(generator):
        exact = evaluate(generator, POSES)["layers"]
        rounded = replace(generator, layers=tuple(map(with_rounded_weights, generator.layers)))
        return float((evaluate(rounded, POSES)["layers"] - exact).pow(2).mean())

    ratios = []
    for seed in range(4):
        generator = lower(fold_norms(fold(*tiny_predicted(seed=seed)))[0], GraphOptions("deconv"))
        ratios.append(error(equalize(generator)) / error(generator))
    assert np.exp(np.mean(np.log(ratios))) < 0.8


def with_rounded_weights(layer):
    return replace(layer, **{f: half_rounded(getattr(layer, f)) for f in ("weight", "bias") if hasattr(layer, f)})


def test_the_given_network_is_left_alone_and_the_result_is_always_the_same(made):
    before = {name: weight.copy() for name, weight in made["deconv"].weights()}
    first, second = (dict(equalize(made["deconv"]).weights()) for _ in range(2))
    for name, weight in made["deconv"].weights():
        np.testing.assert_array_equal(weight, before[name])
        np.testing.assert_array_equal(first[name], second[name])
    assert any(not np.array_equal(first[name], before[name]) for name in before)


@given(st.floats(-(2.0**14), 2.0**14), st.sampled_from([1, 7, 64, FACTORS]))
def test_factors(bias, count):
    (factors,) = _factors(np.array([bias]), count)
    assert factors.shape == (count,)
    assert factors.min() >= 1
    assert factors.max() <= 2.01
    if abs(bias) >= 2.0**-14:
        np.testing.assert_allclose(half_rounded(factors * bias), factors * bias, rtol=1e-12)


def test_channels_choose_alone_however_many_are_looked_at_together(made, monkeypatch):
    together = equalize(made["nearest"])
    monkeypatch.setattr("bilayer.export.network.equalize._CACHED", 1)
    for layer, alone in zip(together.layers, equalize(made["nearest"]).layers, strict=True):
        for name, value in vars(layer).items():
            np.testing.assert_array_equal(getattr(alone, name), value)


def test_numbers_near_the_end_of_fp16_are_left(made):
    huge = {layer.name: layer for layer in made["deconv"].layers}
    huge["block0_conv1"] = replace(huge["block0_conv1"], weight=huge["block0_conv1"].weight * 1e6)
    huge["block1_conv2"] = replace(huge["block1_conv2"], bias=huge["block1_conv2"].bias + 1e5)
    suited = {layer.name: layer for layer in equalize(replace(made["deconv"], layers=tuple(huge.values()))).layers}
    for name in ("block0_conv1", "block0_conv2"):
        np.testing.assert_array_equal(suited[name].weight, huge[name].weight)
    for name in ("block1_conv2", "block1_skip"):
        np.testing.assert_array_equal(suited[name].bias, huge[name].bias)
