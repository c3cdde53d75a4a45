"""A network in integers: what is written and reads back, which layers are kept wide, what is refused."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from bilayer.export.integers.calibrate import extreme_poses, motion_poses, network_outputs
from bilayer.export.integers.heads import with_heads_apart
from bilayer.export.integers.qdq import build_qdq, is_qdq, read_qdq
from bilayer.export.integers.quantize import fewest_wide, quantize
from bilayer.export.network.evaluate import evaluate
from bilayer.export.network.layers import Weighted
from bilayer.export.network.onnx_read import read_layers
from bilayer.runtime.errors import BundleError, InputError
from bilayer.runtime.motion.poses import choose_poses
from tests.export.integers.integer_bundles import GIVEN, WIDE
from tests.export.test_graph import UPSAMPLES


def test_a_qdq_model_reads_back(integers):
    model = build_qdq(integers, {"a": "b"})
    read = read_qdq(model, "it")
    assert is_qdq(model)
    assert not is_qdq(read.plain)
    assert dict(read.grids) == dict(integers.grids)
    for found, made in zip(read_layers(read.plain, "it"), integers.generator.layers, strict=True):
        assert (found.name, found.inputs, type(found)) == (made.name, made.inputs, type(made))
        if isinstance(made, Weighted):
            np.testing.assert_array_equal(found.weight, made.weight.astype(np.float32))
            np.testing.assert_array_equal(found.bias, made.bias.astype(np.float32))
    stored = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert {stored[name] for name in stored if name.endswith(".weight")} == {onnx.TensorProto.INT8}
    assert {stored[name] for name in stored if name.endswith(".bias")} == {onnx.TensorProto.INT32}
    assert integers.wide == WIDE


def test_another_qdq_model_is_told(integers):
    model = build_qdq(integers)
    del model.graph.node[5].input[1:]
    with pytest.raises(BundleError, match=r"it: not a network in integers as bilayer-export writes it"):
        read_qdq(model, "it")


@pytest.mark.parametrize("variant", [*UPSAMPLES, "three heads"])
def test_heads_apart_are_the_same_network(generators, poses, variant):
    generator = generators[variant]
    apart = with_heads_apart(generator)
    expected = evaluate(generator, poses[:2].double())
    found = evaluate(apart, poses[:2].double())
    for name in generator.output_tensors:
        torch.testing.assert_close(found[name], expected[name])
    if variant == "three heads":
        assert apart.layers == generator.layers
    else:
        assert {"head.delta_uv", "head.lf_rgb", "head.seg"} <= {layer.name for layer in apart.layers}
        assert apart.macs().keys() - generator.macs().keys() == {"head.delta_uv", "head.lf_rgb", "head.seg"}


def test_other_poses_judge(source):
    every = [*motion_poses(source, GIVEN, "calibrate"), *motion_poses(source, GIVEN, "search")]
    every += list(extreme_poses(source, GIVEN))
    judges = {pose.tobytes() for count in (2, 3, 4, 8) for pose in choose_poses(source, count)}
    assert not judges & {pose.numpy().tobytes() for pose in every}
    motion, extremes = torch.stack(every[:16]), torch.stack(every[20:])
    assert extremes.amax() > motion.amax() or extremes.amin() < motion.amin()
    furthest = [float((poses - torch.from_numpy(source)).abs().max()) for poses in (motion, extremes)]
    assert furthest[1] > 1.2 * furthest[0]


@pytest.mark.parametrize(("limit", "wide"), [(0.0, None), (1e9, ())])
def test_a_gate_that_all_or_nothing_passes(generators, poses, limit, wide):
    generator = generators["deconv"]
    with torch.inference_mode():
        found = fewest_wide(generator, "w8a16", poses[:4], poses[4:6], lambda made: 1.0 if limit else 2.0)
    expected = tuple(layer.name for layer in generator.layers if isinstance(layer, Weighted)) if wide is None else wide
    assert found.wide == expected


def test_the_fewest_are_found(generators, poses):
    """The gate is the error of the output against the float network; one weight less in 16 bits, and it is over."""
    generator, judging = generators["deconv"], poses[16:18]
    with torch.inference_mode():
        exact = network_outputs(generator, judging)["layers"]

        def error(made):
            return float((made["layers"] - exact).square().mean().sqrt())

        def of(wide):
            made = quantize(generator, "w8a16", poses[:8], wide)
            return error(network_outputs(made.generator, judging, made.grids))

        names = [layer.name for layer in generator.layers if isinstance(layer, Weighted)]
        limit = (of(()) * of(names)) ** 0.5
        found = fewest_wide(generator, "w8a16", poses[:8], judging, lambda made: error(made) / limit)
        assert 0 < len(found.wide) < len(names)
        assert of(found.wide) <= limit


@pytest.mark.parametrize("wide", [(), ("block1_conv1", "head.seg"), WIDE])
def test_what_is_known_of_other_widths_changes_nothing(generators, poses, integers, wide):
    heard: list[str] = []
    with torch.inference_mode():
        generator = with_heads_apart(generators["deconv"])
        alone = quantize(generator, "w8a16", poses, wide)
        found = quantize(generator, "w8a16", poses, wide, integers, heard.append)
    assert build_qdq(found).SerializeToString(deterministic=True) == build_qdq(alone).SerializeToString(
        deterministic=True
    )
    assert heard == [f"rounding {layer.name}" for layer in generator.layers if isinstance(layer, Weighted)]


def _changed(generator, name, **fields):
    layers = [replace(layer, **fields) if layer.name == name else layer for layer in generator.layers]
    return replace(generator, layers=tuple(layers))


def test_numbers_that_are_none_are_refused(generators, poses):
    generator = generators["deconv"]
    weight = next(layer.weight for layer in generator.layers if layer.name == "block0_conv1")
    broken = _changed(generator, "block0_conv1", weight=np.where(weight == weight.max(), np.nan, weight))
    with pytest.raises(InputError, match="w8a16: layer block0_conv1 gives numbers that are not finite"):
        quantize(broken, "w8a16", poses[:2])


def test_a_constant_network_is_refused(generators, poses):
    generator = generators["deconv"]
    zeros = _changed(generator, "pose_fc0", weight=np.zeros(generator.layers[0].weight.shape), bias=np.zeros(1))
    first = generator.layers[0]
    zeros = _changed(generator, first.name, weight=np.zeros_like(first.weight), bias=np.zeros_like(first.bias))
    with pytest.raises(InputError, match=rf"w8a16: layer {first.name}: is 0 in every pose and pixel"):
        quantize(zeros, "w8a16", poses[:2])


def test_kept_norms_are_refused(generators, poses):
    with pytest.raises(InputError, match=r"is a norm that was kept; leave --keep-norms out"):
        quantize(generators["norms kept"], "w8a16", poses[:2])
