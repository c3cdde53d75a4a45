"""Emulated FP16 against the same arithmetic written out in NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bilayer.export.network.emulate import _sums, emulate, fused_layers, half_storage
from bilayer.export.network.emulate_kernel import accumulate
from bilayer.export.network.evaluate import evaluate
from bilayer.export.network.layers import Conv, ConvTranspose, FoldedGenerator, Gemm, LeakyRelu
from bilayer.runtime.bundle import Channels, Outputs

OUTPUTS = Outputs(Channels("out", 0, 2), Channels("out", 2, 5), None)


def halves(seed, *shape, scale=1.0):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float16).astype(np.float32)


def written_out(padded, taps, offsets, size, lanes):
    """One number at a time, in NumPy's float16."""
    out = np.empty((taps.shape[1], *size), np.float32)
    for m, y, x in np.ndindex(out.shape):
        sums = [np.float16(0)] * lanes
        for t, (top, left) in enumerate(offsets):
            for c in range(padded.shape[0]):
                product = taps[t, m, c] * padded[c, top + y, left + x]
                sums[c % lanes] = np.float16(np.float32(sums[c % lanes]) + product)
        total = sums[0]
        for other in sums[1:]:
            total = np.float16(np.float32(total) + np.float32(other))
        out[m, y, x] = total
    return out


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    channels=st.integers(1, 9),
    columns=st.integers(1, 19),
    lanes=st.sampled_from([1, 4]),
    scale=st.sampled_from([1e-4, 1.0, 60.0]),
)
def test_every_sum_is_rounded_as_numpy_rounds(seed, channels, columns, lanes, scale):
    padded, taps = halves(seed, channels, 3, columns + 1, scale=scale), halves(seed + 1, 2, 3, channels)
    offsets = np.array([(0, 0), (1, 1)])
    found = accumulate(padded, taps, offsets, (2, columns), lanes)
    np.testing.assert_array_equal(found, written_out(padded, taps, offsets, (2, columns), lanes))


def test_a_sum_beyond_the_range_is_infinite():
    ones = np.ones((70, 1, 1), np.float32)
    found = accumulate(ones, 1000 * ones.reshape(1, 1, 70), np.zeros((1, 2), np.int64), (1, 1), 1)
    assert found.item() == np.inf


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("kind", ["conv3", "conv1", "phase", "transposed", "gemm"])
def test_sums_are_those_of_the_layer(kind, lanes):
    """Small whole numbers, which FP16 adds exactly: any wrong tap or border shows."""
    random = np.random.default_rng(1)

    def whole(*shape):
        return random.integers(-3, 4, shape).astype(np.float64)

    side = {"conv1": 1, "phase": 2}.get(kind, 3)
    pads = {"conv1": (0, 0, 0, 0), "phase": (1, 0, 0, 1)}.get(kind, (1, 1, 1, 1))
    if kind == "gemm":
        layer, x = Gemm("out", ("pose",), whole(6, 5), np.zeros(6)), whole(5)
    elif kind == "transposed":
        layer, x = ConvTranspose("out", ("pose",), whole(5, 6, 4, 4), np.zeros(6)), whole(5, 3, 7)
    else:
        layer, x = Conv("out", ("pose",), whole(6, 5, side, side), np.zeros(6), pads), whole(5, 3, 7)
    expected = evaluate(FoldedGenerator(5, (layer,), OUTPUTS), torch.from_numpy(x)[None])["out"][0].numpy()
    given_x = x.reshape(-1, 1, 1) if kind == "gemm" else x
    found = _sums(layer, layer.weight.astype(np.float32), given_x.astype(np.float32), lanes)
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


def small(seed=0, bias=0.1):
    random = np.random.default_rng(seed)
    layers = (
        Gemm("a", ("pose",), random.standard_normal((12, 8)), np.full(12, bias)),
        LeakyRelu("act", ("a",), 0.2),
        Gemm("out", ("act",), random.standard_normal((6, 12)), np.full(6, bias)),
    )
    return FoldedGenerator(8, layers, OUTPUTS)


def test_what_only_an_activation_reads_is_not_rounded():
    generator = small()
    assert fused_layers(generator) == {"a"}
    pose = halves(3, 8)
    found = emulate(generator, pose, "hybrid")
    assert not np.array_equal(found["a"], found["a"].astype(np.float16))
    for name in ("act", "out"):
        np.testing.assert_array_equal(found[name], found[name].astype(np.float16))
    read_twice = replace(generator, layers=(*generator.layers, LeakyRelu("again", ("a",), 0.2)))
    assert fused_layers(read_twice) == frozenset()
    stored = evaluate(read_twice, torch.from_numpy(pose)[None], half_storage)
    for name, values in emulate(read_twice, pose, "hybrid").items():
        np.testing.assert_array_equal(values, stored[name].numpy())


def test_less_precision_gives_a_larger_error():
    random = np.random.default_rng(0)
    layer = Gemm("out", ("pose",), random.standard_normal((64, 2000)), np.zeros(64))
    generator, pose = FoldedGenerator(2000, (layer,), OUTPUTS), halves(5, 2000)
    expected = evaluate(generator, torch.from_numpy(pose).double()[None])["out"].numpy()
    errors = [
        np.abs(emulate(generator, pose, arithmetic)["out"] - expected).mean()
        for arithmetic in ("hybrid", "half4", "sequential")
    ]
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("arithmetic", ["hybrid", "half4", "sequential"])
def test_the_weights_are_rounded_and_the_generator_is_not_changed(arithmetic):
    generator, pose = small(), halves(3, 8)
    before = [array.copy() for _, array in generator.weights()]
    found = emulate(generator, pose, arithmetic)
    for kept, (name, array) in zip(before, generator.weights(), strict=True):
        np.testing.assert_array_equal(array, kept, err_msg=name)
    stored = [
        replace(layer, **{f: getattr(layer, f).astype(np.float16).astype(np.float64) for f in ("weight", "bias")})
        if isinstance(layer, Gemm)
        else layer
        for layer in generator.layers
    ]
    assert not np.array_equal(stored[0].weight, before[0])
    for name, values in emulate(replace(generator, layers=tuple(stored)), pose, arithmetic).items():
        np.testing.assert_array_equal(found[name], values)
