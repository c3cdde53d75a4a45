"""A .dlc's whole graph against the ONNX: what is equal passes and computes the same, any one difference is named."""

from dataclasses import replace
from functools import cache

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilayer.export.dlc.compare import compare_dlc
from bilayer.export.dlc.layers import NHWC, TURNS
from bilayer.export.dlc.read import parse_dlc, read_dlc
from bilayer.export.network.numpy_run import run_layers
from bilayer.runtime.errors import ParityError
from tests.export import dlc_writer
from tests.export.dlc.dlc_files import NETWORKS
from tests.export.networks import avatar_like

POSE = np.random.default_rng(0).uniform(-1, 1, 136).astype(np.float32)
FLOAT32 = [name for name, options in NETWORKS.items() if "dtype" not in options]


def by_onnx_runtime(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"pose": POSE[None]}), strict=True))


@cache
def _v3():
    model = avatar_like(deconv=False, norms=True)
    return parse_dlc(dlc_writer.v3(model), "a.dlc"), model


@pytest.mark.parametrize("name", FLOAT32)
def test_a_real_file_is_its_model_and_computes_what_onnx_runtime_does(real, name):
    path, model = real(name)
    report = compare_dlc(read_dlc(path), model)
    assert [layer.name for layer in sorted(report.graph.layers, key=lambda layer: layer.name)] == sorted(
        node.name for node in model.graph.node
    )
    assert report.graph.unchecked == ()
    assert {end.layout for end in report.ends[1:]} == {"NCHW"}
    found = run_layers(report.graph.layers, POSE)
    for output, expected in by_onnx_runtime(model).items():
        np.testing.assert_allclose(found[output], expected[0], atol=5e-6)


@pytest.mark.parametrize("options", [{}, {"deconv": False}, {"norms": True}, {"heads": False}])
def test_a_v3_file_computes_what_onnx_runtime_does_and_says_what_it_does_not_tell(options):
    model = avatar_like(**options)
    report = compare_dlc(parse_dlc(dlc_writer.v3(model), "a.dlc"), model)
    assert {end.layout for end in report.ends[1:]} == {"NHWC"}
    assert "block0_conv1: pad_amount" in report.graph.unchecked
    assert not any("slope" in setting for setting in report.graph.unchecked)
    found = run_layers(report.graph.layers, POSE)
    for output, expected in by_onnx_runtime(model).items():
        np.testing.assert_allclose(found[output], expected[0], atol=5e-6)


@pytest.mark.parametrize(("kind", "unchecked"), [("inline", 0), ("NR64", 31)])
def test_other_kinds_of_v4_files_are_read_as_far_as_they_tell(kind, unchecked):
    model = avatar_like(deconv=False)
    report = compare_dlc(parse_dlc(dlc_writer.v4(model, kind), "a.dlc"), model)
    assert len(report.graph.unchecked) == unchecked
    assert {end.layout for end in report.ends[1:]} == {"NCHW"}


def changed(value):
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, np.ndarray):
        return np.roll(value.reshape(-1), 1).reshape(value.shape) if len(set(value.ravel().tolist())) > 1 else value + 1
    return value + 1


def with_node(dlc, index, **fields):
    nodes = list(dlc.nodes)
    nodes[index] = replace(nodes[index], **fields)
    return replace(dlc, nodes=tuple(nodes))


def faults(dlc):
    """Every setting changed, every weight of a slope, every edge led elsewhere, every layer left out; one at a time."""
    by_shape = {}
    for node in dlc.nodes:
        shape = dlc.tensors[node.outputs[0]].shape
        for i, name in enumerate(node.inputs):
            for other in by_shape.get(dlc.tensors[name].shape, []):
                if other != name:
                    rewired = (*node.inputs[:i], other, *node.inputs[i + 1 :])
                    yield f"{node.name} reads {other}", with_node(dlc, dlc.nodes.index(node), inputs=rewired)
                    break
        by_shape.setdefault(shape, []).append(node.outputs[0])
    for index, node in enumerate(dlc.nodes):
        for name, value in node.settings.items():
            if name not in ("packageName", "reuse_sparse_indices") and value is not None:
                other = 1 if name == "type" else changed(value)  # a ReLU: of v3's codes only two are public
                yield f"{node.name}: {name}", with_node(dlc, index, settings={**node.settings, name: other})
        if node.type == "Prelu" and node.weights:
            weights = {**dlc.weights, node.weights[0]: dlc.weights[node.weights[0]] / 2}
            yield f"{node.name}: half the slope", replace(dlc, weights=weights)
        if node.type not in TURNS:
            others = {"Prelu": "Neuron", "Conv2d": "TransposeConv2d", "Eltwise_Binary": "Concat"}
            yield f"{node.name}: another kind", with_node(dlc, index, type=others.get(node.type, "Prelu"))
        nodes = dlc.nodes[:index] + dlc.nodes[index + 1 :]
        yield f"{node.name} left out", replace(dlc, nodes=nodes)


@pytest.mark.parametrize("name", FLOAT32)
def test_any_one_difference_in_a_real_file_is_refused(real, name):
    path, model = real(name)
    count = 0
    for what, wrong in faults(read_dlc(path)):
        with pytest.raises(ParityError, match=r"\.dlc: "):
            pytest.fail(f"{what}: passed: {compare_dlc(wrong, model)}")
        count += 1
    assert count > 60


def test_any_one_difference_in_a_v3_file_is_refused():
    dlc, model = _v3()
    for what, wrong in faults(dlc):
        if what.endswith(": order"):
            continue  # below: another order of a square picture's axes is seen by what comes of it
        with pytest.raises(ParityError, match=r"a\.dlc: "):
            pytest.fail(f"{what}: passed: {compare_dlc(wrong, model)}")


@settings(max_examples=30, deadline=None)
@given(st.permutations(NHWC))
def test_a_turn_by_any_other_order_is_refused(order):
    dlc, model = _v3()
    index = next(i for i, node in enumerate(dlc.nodes) if node.type == "Permute")
    turned = with_node(dlc, index, settings={"order": np.array(order)})
    if tuple(order) == NHWC:
        assert compare_dlc(turned, model).graph.layouts["delta_uv"] == "NHWC"
    else:
        with pytest.raises(ParityError, match="axes"):
            compare_dlc(turned, model)
