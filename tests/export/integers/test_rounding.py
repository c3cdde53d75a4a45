"""How a network is rounded to integers: grids, weights, biases, and that ONNX Runtime computes what was simulated."""

import numpy as np
import pytest
import torch

from bilayer.export.integers import calibrate
from bilayer.export.integers.calibrate import network_outputs
from bilayer.export.integers.make import make_integers
from bilayer.export.integers.qdq import build_qdq
from bilayer.export.integers.quantize import quantize
from bilayer.export.integers.rounding import _compensated, _inputs, rounded_layer
from bilayer.export.integers.scheme import MOST, activation_grid, make_grid
from bilayer.export.network.evaluate import evaluate, run_layer
from bilayer.export.network.layers import Add, Conv, ConvTranspose, Gemm
from bilayer.runtime.agreement import psnr
from bilayer.runtime.engines.onnx_runtime import onnx_tensors
from bilayer.runtime.errors import InputError
from bilayer.runtime.sampler.compositor import FrameCompositor
from tests.export.integers.integer_bundles import GIVEN, RANDOM
from tests.export.test_graph import UPSAMPLES


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.5, 2.0), (-4.0, -1.0), (-1e-9, 1e6)])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_grid_holds_zero_and_its_range(low, high, bits):
    grid = make_grid(low, high, bits)
    values = torch.tensor([0.0, low, high, 10 * high + 10])
    rounded = grid.rounded(values)
    assert rounded[0] == 0
    assert torch.all((rounded[1:3] - values[1:3]).abs() <= grid.scale)
    assert rounded[3] <= max(high, 0) + grid.scale
    np.testing.assert_array_equal(grid.nearest(values.numpy()), rounded.numpy())


def test_numpy_and_torch_round_alike():
    values = RANDOM.normal(size=4096).astype(np.float32)
    grid = make_grid(-2.5, 3.5, 8)
    np.testing.assert_array_equal(grid.nearest(values), grid.rounded(torch.from_numpy(values)).numpy())


@pytest.mark.parametrize(
    "layer",
    [
        Gemm("a", ("x",), RANDOM.normal(size=(5, 7)), np.zeros(5)),
        Conv("a", ("x",), RANDOM.normal(size=(5, 3, 3, 3)), np.zeros(5), (1, 1, 1, 1)),
        Conv("a", ("x",), RANDOM.normal(size=(5, 3, 2, 2)), np.zeros(5), (1, 0, 0, 1)),
        ConvTranspose("a", ("x",), RANDOM.normal(size=(3, 5, 4, 4)), np.zeros(5)),
    ],
)
def test_what_is_multiplied_with_the_weights_makes_the_layers_output(layer):
    given = torch.from_numpy(RANDOM.normal(size=(2, 7) if isinstance(layer, Gemm) else (2, 3, 6, 5)))
    expected = run_layer(layer, [given])
    axis = 1 if isinstance(layer, ConvTranspose) else 0
    for number, (inputs, part) in enumerate(_inputs(layer, given)):
        rows = np.moveaxis(layer.weight[part], axis, 0).reshape(5, -1)
        found = inputs @ torch.from_numpy(rows).T
        place = expected[:, :, number // 2 :: 2, number % 2 :: 2] if axis else expected
        torch.testing.assert_close(found, place.movedim(1, -1).reshape(-1, 5))


def test_weights_make_up_for_each_others_rounding():
    """Inputs that are nearly alike: the nearest integers leave a multiple of the error."""
    random = np.random.default_rng(5)  # its own: tests run in any order
    inputs = torch.from_numpy(random.normal(size=(400, 1)) + 0.05 * random.normal(size=(400, 32)))
    rows, scale = random.normal(size=(6, 32)), np.full(6, 0.1)
    errors = [
        float((inputs @ torch.from_numpy(found * scale[:, None] - rows).T).square().mean())
        for found in (_compensated(rows, inputs, scale), np.rint(rows / 0.1))
    ]
    assert errors[0] < errors[1] / 3
    assert np.abs(_compensated(rows, inputs, scale)).max() <= MOST


def test_a_channels_mean_error_goes_into_its_bias():
    layer = Conv("a", ("x",), RANDOM.normal(size=(4, 3, 3, 3)), RANDOM.normal(size=4), (1, 1, 1, 1))
    given = torch.from_numpy(RANDOM.normal(size=(2, 3, 16, 16)) + 1).float()
    target = run_layer(layer, [given]) + 0.25
    ((made, scale),) = rounded_layer(layer, given, target, 1e-4, wide=False)
    error = (target - run_layer(made, [given])).mean((0, 2, 3))
    assert error.abs().max() < 1e-4
    np.testing.assert_allclose(np.rint(made.bias / (1e-4 * scale)), made.bias / (1e-4 * scale), atol=1e-2)


def test_16_bits_are_two_layers_of_8_and_their_sum():
    layer = ConvTranspose("a", ("x",), RANDOM.normal(size=(3, 5, 4, 4)), RANDOM.normal(size=5))
    given = torch.from_numpy(RANDOM.normal(size=(1, 3, 8, 8)))
    expected = run_layer(layer, [given])
    (high, coarse), (low, fine), (total, none) = rounded_layer(layer, given, expected, 1e-5, wide=True)
    assert (high.name, low.name, total) == ("a.high", "a.low", total)
    assert none is None
    assert isinstance(total, Add)
    assert total.name == "a"
    assert total.inputs == (high.name, low.name)
    for part, scale in ((high, coarse), (low, fine)):
        steps = part.weight / scale.reshape(1, -1, 1, 1)
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
        assert np.abs(steps).max() <= MOST
    assert np.abs(high.weight + low.weight - layer.weight).max() <= fine.max() / 2 * (1 + 1e-6)
    found = run_layer(high, [given]) + run_layer(low, [given])
    assert psnr(found.numpy(), expected.numpy(), 2.0) > 70


@pytest.mark.parametrize("variant", [*UPSAMPLES, "three heads"])
def test_onnx_runtime_computes_what_was_simulated(generators, poses, variant):
    with torch.inference_mode():
        made = quantize(generators[variant], "w8a16", poses[::3], ["block0_conv1"])
        expected = network_outputs(made.generator, poses[1:2], made.grids)
    found = onnx_tensors(build_qdq(made).SerializeToString(), 1)(poses[1].numpy())
    assert found.keys() == expected.keys()
    for name, values in found.items():
        # sums in another order round to a neighbour here and there
        assert psnr(values, expected[name].numpy(), 2.0) > 75


def test_an_activations_grid_is_qualcomms(integers):
    assert integers.grids["layers"] == integers.grids["layers.seg"] == activation_grid("tanh", 16)
    assert activation_grid("sigmoid", 8).rounded(torch.tensor([0.0, 0.25, 1.0])).tolist() == [0, 0.25, 255 / 256]


def test_reshaped_and_upsampled_numbers_keep_their_grid(integers):
    assert integers.grids["pose_grid"] == integers.grids["pose_fc3" if "pose_fc3" in integers.grids else "pose_fc1"]
    assert integers.grids["block0_skip_up"] == integers.grids["block0_skip"]


def test_threads_do_not_change_a_byte(generators, source):
    texture = RANDOM.uniform(-1, 1, (3, 64, 64)).astype(np.float32)
    before, found = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        made = make_integers(
            generators["deconv"], "w8a16", GIVEN, source, FrameCompositor(texture, False, size=64, engine="numpy")
        )
        found.append(build_qdq(made).SerializeToString(deterministic=True))
    torch.set_num_threads(before)
    assert found[0] == found[1]


def test_evaluation_without_grids_is_the_float_network(generators, poses):
    generator = generators["nearest"]
    expected = evaluate(generator, poses[:2])
    for name, values in network_outputs(generator, poses[:2]).items():
        torch.testing.assert_close(values, expected[name])


def test_a_range_that_is_none_is_told():
    with pytest.raises(InputError, match=r"it: is not finite"):
        calibrate.grid_over(torch.tensor([1.0, np.inf]), 8, 0.0, "it")
