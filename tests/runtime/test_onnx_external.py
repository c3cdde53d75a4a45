"""Weights in other files are found wherever ONNX has a tensor, and such a network is no avatar's."""

import contextlib
import re

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data

from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.errors import BundleError
from bilayer.runtime.files.onnx_external import external_data
from bilayer.runtime.player import AvatarPlayer

WEIGHTS = np.arange(2000, dtype=np.float32)


def weights():
    return numpy_helper.from_array(WEIGHTS, "w")


def moved():
    """The same, in another file."""
    tensor = weights()
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def graph_of(**parts):
    return helper.make_graph(parts.pop("nodes", []), "g", [], [], **parts)


def attribute(**value):
    node = helper.make_node("Any", [], [])
    found = node.attribute.add(name="a")
    for name, content in value.items():
        field = getattr(found, name)
        (field.extend if isinstance(content, list) else field.CopyFrom)(content)
    return node


PLACES = {
    "initializer": lambda t: helper.make_model(graph_of(initializer=[t])),
    "constant": lambda t: helper.make_model(graph_of(nodes=[helper.make_node("Constant", [], ["w"], value=t)])),
    "tensors": lambda t: helper.make_model(graph_of(nodes=[attribute(tensors=[weights(), t])])),
    "subgraph": lambda t: helper.make_model(graph_of(nodes=[attribute(g=graph_of(initializer=[t]))])),
    "subgraphs": lambda t: helper.make_model(
        graph_of(nodes=[attribute(graphs=[graph_of(nodes=[attribute(g=graph_of(initializer=[t]))])])])
    ),
    "sparse values": lambda t: helper.make_model(
        graph_of(sparse_initializer=[onnx.SparseTensorProto(values=t, indices=weights())])
    ),
    "sparse indices": lambda t: helper.make_model(
        graph_of(nodes=[attribute(sparse_tensor=onnx.SparseTensorProto(values=weights(), indices=t))])
    ),
    "sparse attribute": lambda t: helper.make_model(
        graph_of(nodes=[attribute(sparse_tensors=[onnx.SparseTensorProto(values=t)])])
    ),
    "function": lambda t: onnx.ModelProto(functions=[onnx.FunctionProto(node=[attribute(t=t)])]),
    "function's default": lambda t: onnx.ModelProto(
        functions=[onnx.FunctionProto(attribute_proto=attribute(t=t).attribute)]
    ),
    "training": lambda t: onnx.ModelProto(
        training_info=[onnx.TrainingInfoProto(initialization=graph_of(initializer=[t]))]
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_it_is_found_wherever_a_tensor_may_be(place):
    assert not external_data(PLACES[place](weights()).SerializeToString())
    assert external_data(PLACES[place](moved()).SerializeToString())


def test_either_mark_alone_counts():
    only_location, only_data = weights(), weights()
    only_location.data_location = TensorProto.EXTERNAL
    only_data.external_data.add(key="location", value="x")
    default = weights()
    default.data_location = TensorProto.DEFAULT
    found = [external_data(PLACES["initializer"](t).SerializeToString()) for t in (only_location, only_data, default)]
    assert found == [True, True, False]


def test_no_message_of_onnx_that_leads_to_a_tensor_is_forgotten():
    """Of onnx's own description: every way from a model to a tensor is one that is looked at."""
    from bilayer.runtime.files.onnx_external import _LEADS

    names = {"TrainingInfoProto": "Training", "SparseTensorProto": "Sparse"}

    def short(kind):
        return names.get(kind.name, kind.name.removesuffix("Proto"))

    def leads(kind, seen=()):
        return kind.name == "TensorProto" or any(
            field.message_type and field.message_type not in seen and leads(field.message_type, (*seen, kind))
            for field in kind.fields
        )

    waiting, looked_at = [onnx.ModelProto.DESCRIPTOR], set()
    while waiting:
        kind = waiting.pop()
        if kind.name in looked_at or kind.name == "TensorProto":
            continue
        looked_at.add(kind.name)
        inner = {field.number: field.message_type for field in kind.fields if field.message_type}
        expected = {number: short(one) for number, one in inner.items() if leads(one)}
        assert _LEADS[short(kind)] == expected
        waiting += [one for one in inner.values() if leads(one)]
    assert {"GraphProto", "SparseTensorProto", "FunctionProto"} <= looked_at


def test_fields_that_a_reader_skips_or_cuts_do_not_hide_it():
    model = PLACES["initializer"](moved()).SerializeToString()
    assert external_data(b"\xf8\x07\x01" + model)  # field 127, which nobody knows
    assert external_data(model + b"\x08\x0a")
    body = PLACES["initializer"](moved()).graph.SerializeToString()
    length = bytes([len(body) & 0x7F | 0x80, len(body) >> 7])
    assert external_data(b"\x3a" + length + body)
    assert external_data(b"\xba\x80\x80\x80\x10" + length + body)  # the same tag with a 33rd bit
    with pytest.raises(ValueError, match="wire type 3"):
        external_data(b"\xfb\x07\xfc\x07" + model)  # a group, as protobuf 2 had


@given(st.binary(max_size=200))
def test_any_bytes_are_told_or_refused(content):
    with contextlib.suppress(ValueError):
        assert external_data(content) in (True, False)


def to_external(folder):
    """What an attacker makes of a bundle: weights in a file beside it, hashes made to fit."""
    path = folder / "avatar.onnx"
    model = onnx.load(path)
    convert_model_to_external_data(model, all_tensors_to_one_file=True, location="w.bin", size_threshold=64)
    onnx.save(model, path)


@pytest.fixture
def outside(editable, tmp_path, monkeypatch):
    """A bundle whose weights lie beside it and in the current folder, where engines look for them."""
    folder = editable(lambda contract: None)
    to_external(folder)
    (tmp_path / "w.bin").write_bytes((folder / "w.bin").read_bytes())
    monkeypatch.chdir(tmp_path)
    return editable(lambda contract: None)


WORDS = r"avatar.onnx: expected all weights in this file, found some in another one \(ONNX external data\)"


@pytest.mark.parametrize("engine", ["auto", "onnxruntime", "openvino", "ncnn"])
def test_no_engine_plays_a_bundle_with_external_data(outside, engine):
    with pytest.raises(BundleError, match=WORDS):
        AvatarPlayer.load(outside, engine=engine)
    with pytest.raises(BundleError, match=WORDS):
        read_bundle(outside / "avatar.json")


def test_parity_and_render_go_through_the_same_door(outside, tmp_path):
    from bilayer.benchmarks.parity.cli import main as parity
    from bilayer.runtime.rendering.cli import main as render

    for command, arguments in ((parity, []), (render, ["--demo-motion", "--out", str(tmp_path / "a.gif")])):
        done = CliRunner().invoke(command, [str(outside), *arguments])
        assert done.exit_code == 3
        assert re.search(WORDS, done.stderr)
        assert done.stderr.count("\n") == 1
