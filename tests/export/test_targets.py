"""The rules of each runtime: our graphs pass, and each rule catches the fault that it is for."""

import copy
import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from bilayer.export import targets
from bilayer.export.formats.onnx_file import OnnxFile
from bilayer.export.network.fold import fold
from bilayer.export.network.lower import GraphOptions, lower
from bilayer.export.network.onnx_write import build_onnx
from bilayer.export.network.rewrite import fold_norms
from bilayer.export.targets import check_target, fits_deconvolution
from bilayer.model import PRESETS, random_model
from tests import forked
from tests.documents import blocks


@pytest.fixture(scope="module")
def generators(case_a_avatar):
    model, avatar, _ = case_a_avatar
    kept = fold(model, avatar.parameters)
    folded = fold_norms(kept)[0]
    made = {upsample: lower(folded, GraphOptions(upsample)) for upsample in ("nearest", "deconv", "phase")}
    return made | {"norms kept": lower(kept, GraphOptions("nearest", skip_first=False, merged_head=False))}


def rules_broken(model, target="snpe-1.32", severity="error"):
    return {finding.rule for finding in check_target(OnnxFile(model), target) if finding.severity == severity}


@pytest.mark.parametrize("variant", ["nearest", "deconv", "norms kept"])
@pytest.mark.parametrize("target", ["snpe-1.32", "qairt-2", "litert-gpu"])
def test_our_graphs_break_no_rule(generators, variant, target):
    assert check_target(OnnxFile(build_onnx(generators[variant])), target) == []


@pytest.mark.parametrize("variant", ["nearest", "deconv", "phase"])
def test_shapes_are_those_that_onnx_infers_of_the_whole_model(generators, variant):
    proto = build_onnx(generators[variant])
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True).graph
    expected = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in [*inferred.input, *inferred.value_info, *inferred.output]
    }
    found = OnnxFile(proto).shapes
    assert len(expected) > 30
    assert {name: found[name] for name in expected} == expected


def test_phase_convolutions_are_a_risk_that_is_said(generators):
    model = build_onnx(generators["phase"])
    assert rules_broken(model) == set()
    assert rules_broken(model, severity="warning") == {"uneven-padding", "depth-to-space"}


def test_newer_opsets_are_refused_for_snpe_1_and_fit_qairt(generators):
    model = build_onnx(generators["nearest"], opset=17)
    assert {"opset", "ir-version", "initializer-input", "operator"} <= rules_broken(model)
    assert rules_broken(model, "qairt-2") == set()


def test_the_rule_that_the_docs_add_and_its_test(generators, monkeypatch):
    """docs/architecture.md: one edit of a target's rules, with its test."""
    rule, test = (block.text for block in blocks("docs/architecture.md") if block.kind == "python")
    there = dict(vars(targets))
    exec(rule, there)
    planted = dict(globals())
    exec(test, planted)
    # Who follows the page finds the rule there already
    others = tuple(known for known in targets.RULES["snpe-1.32"] if known.__name__ != "_no_dropout")
    monkeypatch.setitem(targets.RULES, "snpe-1.32", others)
    with pytest.raises(AssertionError):
        planted["test_dropout_is_warned_of"](generators)  # it fails without the rule
    monkeypatch.setitem(targets.RULES, "snpe-1.32", (*others, there["_no_dropout"]))
    planted["test_dropout_is_warned_of"](generators)


def change(model, edit):
    changed = copy.deepcopy(model)
    edit(changed)
    return changed


def add_node(model, operator, **attributes):
    node = helper.make_node(operator, [model.graph.output[0].name], ["extra"], name="extra", **attributes)
    model.graph.node.append(node)


def set_dim(model, value):
    dim = model.graph.input[0].type.tensor_type.shape.dim[0]
    dim.dim_param, dim.dim_value = ("batch", 0) if value is None else ("", value)
    if value is None:
        dim.ClearField("dim_value")
        dim.dim_param = "batch"


def computed_weight(model):
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    conv.input[2] = "pose_fc0"


def drop_scales(model):
    node = next(node for node in model.graph.node if node.op_type == "Upsample")
    del node.attribute[:]


def uneven_strides(model):
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    next(a for a in conv.attribute if a.name == "strides").ints[:] = [1, 2]


def constant_node(model):
    value = numpy_helper.from_array(np.zeros(1, np.float32))
    model.graph.node.append(helper.make_node("Constant", [], ["extra"], name="extra", value=value))


FAULTS = {
    "opset": lambda m: m.opset_import[0].__setattr__("version", 13),
    "ir-version": lambda m: m.__setattr__("ir_version", 8),
    "initializer-input": lambda m: m.graph.input.pop(),
    "operator": lambda m: add_node(m, "Erf"),
    "operator-version": lambda m: m.opset_import[0].__setattr__("version", 6),
    "constant-node": constant_node,
    "static-shape": lambda m: set_dim(m, None),
    "batch": lambda m: set_dim(m, 4),
    "float32": lambda m: m.graph.output[0].type.tensor_type.__setattr__("elem_type", TensorProto.FLOAT16),
    "constant-parameter": computed_weight,
    "upsample-scales": drop_scales,
    "stride": uneven_strides,
}


@pytest.mark.parametrize("rule", FAULTS)
def test_each_rule_catches_its_fault(generators, rule):
    model = change(build_onnx(generators["nearest"]), FAULTS[rule])
    findings = [finding for finding in check_target(OnnxFile(model), "snpe-1.32") if finding.rule == rule]
    assert findings
    assert all(finding.fix and finding.source and finding.where for finding in findings)


def test_tensors_of_five_dimensions_are_refused():
    inputs = [helper.make_tensor_value_info("pose", TensorProto.FLOAT, [1, 2, 2, 2, 2])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 2, 2, 2])]
    graph = helper.make_graph([helper.make_node("Tanh", ["pose"], ["y"], name="y")], "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=3)
    assert rules_broken(model) == {"rank"}


def test_a_warp_inside_the_network_is_refused_or_warned_of():
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8]),
        helper.make_tensor_value_info("uv", TensorProto.FLOAT, [1, 8, 8, 2]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])]
    graph = helper.make_graph([helper.make_node("GridSample", ["x", "uv"], ["y"], name="warp")], "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    assert "operator" in rules_broken(model)
    (finding,) = check_target(OnnxFile(model), "qairt-2")
    assert (finding.rule, finding.severity, finding.where) == ("warp-inside", "warning", "warp")


def test_nodes_without_names_are_warned_of(generators):
    model = change(build_onnx(generators["nearest"]), lambda m: [node.__setattr__("name", "") for node in m.graph.node])
    assert rules_broken(model, severity="warning") == {"node-name"}


@pytest.mark.parametrize(("preset", "broken"), [("medium", set()), ("large", {"gpu-deconvolution"})])
def test_a_deconvolution_too_wide_for_the_gpu_is_refused(preset, broken):
    """Channels in / 4 * channels out: the medium model is just within, the large one four times beyond."""
    config = PRESETS[preset]
    assert fits_deconvolution(config.inf_max_channels, config.inf_max_channels) == (not broken)
    model = random_model(config, 0, ("keypoints_embedder", "inference_generator"))
    embeddings = [torch.randn(1, c, 8, 8) for c in config.texture_channels[1:]]
    with torch.inference_mode():
        plain = fold_norms(fold(model, model.inference_generator.predict_parameters(embeddings)))[0]
    assert rules_broken(build_onnx(lower(plain, GraphOptions("deconv")))) == broken
    assert rules_broken(build_onnx(lower(plain, GraphOptions("nearest")))) == set()


def test_check_prints_rule_fix_and_source_and_fails(tmp_path, generators):
    path = tmp_path / "new.onnx"
    onnx.save(build_onnx(generators["nearest"], opset=13), path)
    command = ["export", "--check", path, "--target", "snpe-1.32"]
    result = forked.run(*command)
    assert result.returncode == 3
    assert "expected opset 8, found 13 [opset]; export with --opset 8" in result.stdout
    assert "source: SNPE 1.32's setup guide" in result.stdout
    assert result.stderr.startswith(f"error: {path}: ")
    as_json = forked.run(*command, "--json")
    assert {finding["rule"] for finding in json.loads(as_json.stdout)["findings"]} >= {"opset", "operator"}


def test_check_of_a_good_file(tmp_path, generators):
    path = tmp_path / "good.onnx"
    onnx.save(build_onnx(generators["nearest"]), path)
    command = ["export", "--check", path, "--target", "snpe-1.32"]
    result = forked.run(*command)
    assert (result.returncode, result.stdout) == (0, f"{path}: fits snpe-1.32\n")


def test_a_conv_of_another_domain_is_no_convolution():
    node = helper.make_node("ConvTranspose", [], ["y"], "theirs", domain="theirs", pads="text")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 8, 8]) for name in ("x", "y")]
    model = helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:]))
    for target in ("snpe-1.32", "qairt-2"):
        (found,) = [one for one in check_target(OnnxFile(model), target) if one.rule == "operator"]
        assert found.message == "theirs.ConvTranspose is not supported"
        assert rules_broken(model, target) - {"opset", "ir-version"} == {"operator"}
