"""Files that Qualcomm's package wrote (QAIRT 2.51), and that Netron reads as ours: the same network."""

import json

import numpy as np
import pytest

from bilayer.export.dlc.check import check_io, compare_weights
from bilayer.export.dlc.read import as_text, describe, read_dlc
from tests.export import dlc_writer
from tests.export.dlc.dlc_files import NETWORKS, WRITTEN
from tests.export.networks import constants, shapes


@pytest.mark.parametrize("name", NETWORKS)
def test_a_real_file_has_the_models_weights_to_the_bit(real, name):
    path, model = real(name)
    dlc = read_dlc(path)
    report = compare_weights(dlc, model)
    expected = [node.name for node in model.graph.node if node.op_type in dlc_writer.HWIO]
    expected += [node.name for node in model.graph.node if node.op_type == "BatchNormalization"]
    assert sorted(match.node for match in report.layers) == sorted(expected)
    assert report.unchecked == ()
    for node in model.graph.node:
        if node.op_type in dlc_writer.HWIO:
            weight, bias = dlc_writer.layer_weights(node, constants(model), dlc_writer.HWIO)
            np.testing.assert_array_equal(dlc.weights[node.input[1]], weight)
            np.testing.assert_array_equal(dlc.weights[node.input[2]], bias)
            assert dlc.weights[node.input[1]].dtype == weight.dtype


@pytest.mark.parametrize("name", NETWORKS)
def test_a_real_file_keeps_the_inputs_and_outputs(real, name):
    path, model = real(name)
    ends = check_io(read_dlc(path), model)
    dtype = np.dtype(NETWORKS[name].get("dtype", np.float32)).name
    assert [end.name for end in ends] == ["pose", *(value.name for value in model.graph.output)]
    assert all(end.dlc_shape == shapes(model)[end.name] for end in ends)
    assert [end.layout for end in ends] == ["", *["NCHW"] * len(model.graph.output)]
    assert {end.dtype for end in ends} == {dtype}


def test_a_real_file_says_what_made_it_and_who_reads_it(real):
    path, _ = real("deconv")
    dlc = read_dlc(path)
    assert (dlc.version, dlc.minor) == (4, 1)
    assert dlc.converter_version.startswith("2.")
    assert dlc.converter == "qnn-net-run"
    assert "not SNPE 1.x" in dlc.readable_by
    assert dlc.metadata["metadata2.3.0.header.artifact_type"] == "DLC_METADATA"


def test_a_real_file_has_every_layer(real):
    path, model = real("nearest")
    types = [node.type for node in read_dlc(path).nodes]
    counts = {kind: sum(node.op_type == kind for node in model.graph.node) for kind in ("Conv", "Upsample", "Gemm")}
    assert types.count("Conv2d") == counts["Conv"]
    assert types.count("ResizeNearestNeighbor") == counts["Upsample"]
    assert types.count("FullyConnected") == counts["Gemm"]


def test_a_description_is_json_and_a_table(real):
    path, _ = real("deconv")
    dlc = read_dlc(path)
    description = json.loads(json.dumps(describe(dlc)))
    assert description["outputs"][0] == {"name": "delta_uv", "shape": [1, 2, 16, 16], "dtype": "float32"}
    assert [layer["name"] for layer in description["layers"]] == [node.name for node in dlc.nodes]
    assert description["parameters"] == sum(np.prod(w["shape"]) for x in description["layers"] for w in x["weights"])
    text = as_text(dlc)
    for word in (str(path), "DLC v4.1", "FullyConnected", "TransposeConv2d", "1x2x16x16", "pose"):
        assert word in text


@pytest.mark.parametrize("name", ["deconv", "norms", "float16"])
def test_netron_sees_the_same_network_in_a_real_file(netron, real, name):
    path, _ = real(name)
    dlc, seen = read_dlc(path), netron(path)
    assert seen["format"] == "DLC"
    assert [(node["name"], node["type"]) for node in seen["nodes"]] == [(node.name, node.type) for node in dlc.nodes]
    for ours, theirs in zip(dlc.nodes, seen["nodes"], strict=True):
        assert sorted(t["name"] for t in theirs["inputs"]) == sorted([*ours.inputs, *ours.weights])
        for tensor in theirs["inputs"] + theirs["outputs"]:
            mine = dlc.tensors[tensor["name"]]
            assert (tensor["shape"], tensor["dtype"]) == (list(mine.shape), mine.dtype)


@pytest.mark.parametrize("kind", WRITTEN)
def test_netron_sees_the_same_network_in_a_written_file(netron, tmp_path, kind):
    (tmp_path / "written.dlc").write_bytes(WRITTEN[kind])
    dlc, seen = read_dlc(tmp_path / "written.dlc"), netron(tmp_path / "written.dlc")
    assert [(node["name"], node["type"]) for node in seen["nodes"]] == [(node.name, node.type) for node in dlc.nodes]
    for ours, theirs in zip(dlc.nodes, seen["nodes"], strict=True):
        assert [tuple(t["shape"]) for t in theirs["outputs"]] == [dlc.tensors[name].shape for name in ours.outputs]
        for side, names in (("outputs", ours.outputs), ("inputs", (*ours.inputs, *ours.weights))):
            assert [tuple(t["shape"]) for t in theirs[side]] == [dlc.tensors[name].shape for name in names]
