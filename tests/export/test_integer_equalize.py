"""Channels scaled before they are rounded: the float network stays, and the integers are no worse."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bilayer.benchmarks.parity.layer_errors import compare_layers
from bilayer.benchmarks.parity.rungs.integers import float_layers, integer_rungs
from bilayer.benchmarks.parity.rungs.rung import Float64
from bilayer.export.inspect import bundle_show
from bilayer.export.integers import make
from bilayer.export.integers.calibrate import calibration_poses, network_outputs
from bilayer.export.integers.equalize import equalized
from bilayer.export.integers.gate import Gate
from bilayer.export.integers.qdq import build_qdq
from bilayer.export.integers.quantize import quantize
from bilayer.export.network.evaluate import evaluate
from bilayer.export.network.layers import (
    INPUT,
    Activation,
    Adjustment,
    Concat,
    ConvTranspose,
    FoldedGenerator,
    Gemm,
    LeakyRelu,
    Weighted,
)
from bilayer.runtime.bundle import Channels, Outputs, PoseInput
from bilayer.runtime.sampler.compositor import FrameCompositor
from tests.benchmarks.avatars import export_tiny, subject_of
from tests.export.test_graph import UPSAMPLES, generators  # noqa: F401 (a fixture)

GIVEN = PoseInput("pose", 136, 0)
POSES = torch.rand(4, 136, generator=torch.Generator().manual_seed(7)) * 2 - 1


def made_alike(generator):
    with torch.inference_mode():
        return equalized(generator, POSES)


def by_name(generator):
    return {layer.name: layer for layer in generator.layers}


def uneven(generator):
    """The same network; of every block's hidden channels each second one is 100 times as large."""
    layers = by_name(generator)
    for name in [name for name in layers if name.endswith("_conv1")]:
        before, after = layers[name], layers[name.replace("conv1", "conv2")]
        factors = np.where(np.arange(len(before.bias)) % 2, 100.0, 1.0)
        layers[name] = replace(before, weight=before.weight * factors[:, None, None, None], bias=before.bias * factors)
        axis = (slice(None), None) if isinstance(after, ConvTranspose) else (None, slice(None))
        layers[after.name] = replace(after, weight=after.weight / factors[(*axis, None, None)])
    return replace(generator, layers=tuple(layers.values()))


@pytest.mark.parametrize("variant", [*UPSAMPLES, "norms kept", "three heads"])
def test_the_results_stay(generators, variant):  # noqa: F811
    generator = generators[variant]
    suited = made_alike(generator)
    expected, found = evaluate(generator, POSES.double()), evaluate(suited, POSES.double())
    for tensor in generator.output_tensors:
        torch.testing.assert_close(found[tensor], expected[tensor], rtol=0, atol=1e-12)
    assert [layer.name for layer in suited.layers] == [layer.name for layer in generator.layers]
    assert suited.macs() == generator.macs()
    told = suited.adjusted
    assert max(float(one.factor.max() / one.factor.min()) for one in told.values()) > 1.2
    for name, values in expected.items():
        factor = torch.from_numpy(told[name].factor) if name in told else torch.ones(values.shape[1])
        scaled = values * factor.view(1, -1, *[1] * (values.ndim - 2))
        torch.testing.assert_close(found[name], scaled, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("reads", [True, False])
def test_a_factor_that_is_forgotten_shows(generators, reads):  # noqa: F811
    """The test above fails where one layer of a block is not scaled."""
    generator = generators["deconv"]
    layers, before = by_name(made_alike(generator)), by_name(generator)
    name = "block1_conv2" if reads else "block1_skip"
    layers[name] = before[name]
    broken = replace(generator, layers=tuple(layers.values()))
    expected, found = evaluate(generator, POSES.double()), evaluate(broken, POSES.double())
    assert (found["layers"] - expected["layers"]).abs().max() > 1e-3


def small_network(**changed):
    random = np.random.default_rng(2)
    layers = {
        "first": Gemm("first", (INPUT,), random.normal(size=(3, 136)), random.normal(size=3)),
        "act": LeakyRelu("act", ("first",), 0.2),
        "second": Gemm("second", ("act",), random.normal(size=(4, 3)) * [0.1, 1, 10], random.normal(size=4)),
        "out": Activation("out", ("second",), "tanh"),
    }
    outputs = Outputs(Channels("out", 0, 2), Channels("out", 0, 3), None)
    return FoldedGenerator(136, tuple((layers | changed).values()), outputs)


def test_it_is_the_papers_formula():
    """s = sqrt(r1 r2) / r2: the second layer's weights times s, the first one's by s."""
    generator = small_network()
    first, _, second, _ = generator.layers
    made = evaluate(generator, POSES)
    r1 = made["first"].abs().amax(0).double().numpy()
    weight = np.abs(second.weight)
    r2 = (weight / weight.max(1, keepdims=True)).max(0)
    s = np.sqrt(r1 * r2) / r2
    found = by_name(made_alike(generator))
    np.testing.assert_allclose(found["first"].weight, first.weight / s[:, None], rtol=1e-6)
    np.testing.assert_allclose(found["first"].bias, first.bias / s, rtol=1e-6)
    np.testing.assert_allclose(found["second"].weight, second.weight * s, rtol=1e-6)


@pytest.mark.parametrize(
    "changed",
    [
        {"act": Activation("act", ("first",), "sigmoid")},  # sigmoid(s x) is not s sigmoid(x)
        {"act": Concat("act", ("first",))},
        {"out": Activation("out", ("second",), "tanh"), "more": Activation("more", ("act",), "tanh")},
        {"act": LeakyRelu("act", ("first",), 0.2), "out": Activation("out", ("act",), "tanh")},
    ],
)
def test_what_hands_no_factors_on_is_left_alone(changed):
    generator = small_network(**changed)
    found = made_alike(generator)
    assert found.adjusted == {}
    for layer, before in zip(found.layers, generator.layers, strict=True):
        if isinstance(before, Weighted):
            np.testing.assert_array_equal(layer.weight, before.weight)


def test_channels_that_nothing_reads_or_makes_stay():
    plain = small_network()
    first, act, second, out = plain.layers
    unread = replace(second, weight=second.weight * [0, 1, 1])
    unmade = replace(first, weight=first.weight * [[1], [0], [1]], bias=first.bias * [1, 0, 1])
    generator = replace(plain, layers=(unmade, act, unread, out))
    found = made_alike(generator)
    factors = found.adjusted["act"].factor
    assert factors[0] == 1
    assert np.isfinite(factors).all()
    assert factors[1] == 1
    torch.testing.assert_close(
        evaluate(found, POSES.double())["out"], evaluate(generator, POSES.double())["out"], rtol=0, atol=1e-12
    )


def test_what_was_scaled_for_fp16_is_told_together():
    factor, shift = np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.0, 1.0])
    generator = replace(small_network(), adjusted={"first": Adjustment(factor, shift)})
    found = made_alike(generator).adjusted
    np.testing.assert_allclose(found["first"].factor, factor * found["act"].factor)
    np.testing.assert_allclose(found["first"].shift, shift * found["act"].factor)


def test_uneven_channels_spoil_no_integers(generators):  # noqa: F811
    """A network with channels a hundred times as large as others is the same in integers, once they are alike."""
    even = generators["deconv"]
    with torch.inference_mode():
        exact = network_outputs(even, POSES)["layers"]

        def error(generator):
            found = quantize(generator, "w8a16", POSES)
            return float(
                (network_outputs(found.generator, POSES, found.grids)["layers"] - exact).square().mean().sqrt()
            )

        spoilt, suited, expected = error(uneven(even)), error(made_alike(uneven(even))), error(made_alike(even))
    assert spoilt > 1.5 * suited
    assert suited == pytest.approx(expected, rel=0.1)


def test_the_given_network_is_left_alone_and_the_result_is_always_the_same(generators):  # noqa: F811
    generator = generators["deconv"]
    before = {name: weight.copy() for name, weight in generator.weights()}
    first, second = (dict(made_alike(generator).weights()) for _ in range(2))
    for name, weight in generator.weights():
        np.testing.assert_array_equal(weight, before[name])
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize("better", [True, False])
def test_the_better_form_is_taken(generators, case_a_avatar, monkeypatch, better):  # noqa: F811
    """The network whose channels are uneven is the worse one, whichever of the two it is."""
    even, source = generators["deconv"], case_a_avatar[2].pose
    given, other = (uneven(even), even) if better else (even, uneven(even))
    monkeypatch.setattr(make, "equalized", lambda generator, poses: make.with_heads_apart(other))
    texture = np.random.default_rng(3).uniform(-1, 1, (3, 64, 64)).astype(np.float32)
    compositor = FrameCompositor(texture, False, size=64, engine="numpy")
    found = make.make_integers(given, "w8a8", GIVEN, source, compositor)
    assert found.equalized == better
    with torch.inference_mode():
        alone = quantize(make.with_heads_apart(even), "w8a8", calibration_poses(source, GIVEN))
    assert build_qdq(found).SerializeToString(deterministic=True) == build_qdq(alone).SerializeToString(
        deterministic=True
    )
    assert make.describe_integers(found).equalized == (True if better else None)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gate, "rank", lambda gate, made: (True, 0.0))  # then the first is taken, which is equalised
        return export_tiny(tmp_path_factory.mktemp("equalized"), precision="w8a16")


def test_the_bundle_tells_it(exported):
    assert exported.contract.quantization.equalized
    assert "cross-layer equalisation" in bundle_show.as_text(exported)
    assert bundle_show.describe(exported)["quantization"]["equalized"]


@pytest.mark.parametrize("told", [True, None])
def test_layers_are_compared_as_the_float_network_has_them(exported, told):
    """Where the contract does not say that channels were scaled, they are taken for wrong."""
    quantization = replace(exported.contract.quantization, equalized=told)
    bundle = replace(exported, contract=replace(exported.contract, quantization=quantization))
    subject = subject_of(bundle)
    rung, _ = integer_rungs(subject, simulated=False)
    report = compare_layers(subject.generator, Float64(subject, ""), rung)
    assert (report.layers[0].sqnr_db > 15) == bool(told)
    assert report.fault is None
    outputs = subject.generator.output_tensors
    assert all((float_layers(rung)[name] == rung.layers(0)[name]).all() for name in outputs)
