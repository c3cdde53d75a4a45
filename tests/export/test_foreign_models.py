"""Models of others, as `bilayer-export --check` reads them: names, text, weights in any form and beside the file."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from bilayer.export.formats.onnx_file import OnnxFile, read_model
from bilayer.export.targets import check_target
from bilayer.runtime.errors import InputError


def test_a_file_of_another_kind_is_told_by_it(tmp_path, astronaut_path):
    (tmp_path / "a.dlc").write_bytes(b"PK\3\4" + bytes(100))
    with pytest.raises(InputError, match=r"a\.dlc: expected an ONNX model, found a \.dlc or another zip.*--inspect"):
        read_model(tmp_path / "a.dlc")
    with pytest.raises(InputError, match=r"expected an ONNX model, found a (picture|photo)"):
        read_model(astronaut_path)


@pytest.mark.parametrize("content", [b"", b"not onnx at all", b"\x08\x03"])
def test_files_that_are_no_onnx_are_refused(tmp_path, content):
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.onnx: (not a valid|expected an) ONNX model"):
        read_model(path)


def model_file(path, nodes, initializers=(), opset=8):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 8, 8]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    path.write_bytes(model.SerializeToString())
    return model


WEIGHT = np.arange(16, dtype=np.float32).reshape(4, 4, 1, 1)
CONV = helper.make_node("Conv", ["x", "w"], ["y"], "conv")


def test_a_name_does_not_make_a_file_text(tmp_path):
    for name in ("a.json", "a.textproto", "a.onnxtxt", "a"):
        model = model_file(tmp_path / name, [CONV], [numpy_helper.from_array(WEIGHT, "w")])
        assert read_model(tmp_path / name).proto == model


@pytest.mark.parametrize("text", [
    b"NODE", b"IN_0", b"OUT0", b"ATTR", b"TEXT", b"DOMA", b"WEIG", b"INPU", b"AXIS", b"GRAP", b"MAKE", b"KEY0", b"NEST",
])  # fmt: skip
def test_text_that_is_not_utf8_is_refused_wherever_it_stands(tmp_path, text):
    """Protobuf's Python gives bytes for it, of which no rule knows."""
    node = helper.make_node("Op", ["x", "IN_0"], ["y", "OUT0"], "NODE", "TEXT", "DOMA", ATTR=1.0)
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["z"], "NEST")], "i", [], [])
    node.attribute.append(helper.make_attribute("body", inner))
    ends = [helper.make_tensor_value_info(*one) for one in (("INPU", TensorProto.FLOAT, ["AXIS", 4]), ("y", 1, [4]))]
    graph = helper.make_graph([node], "GRAP", ends[:1], ends[1:], [numpy_helper.from_array(WEIGHT, "WEIG")])
    model = helper.make_model(graph, producer_name="MAKE")
    model.metadata_props.add(key="KEY0", value="v")
    content = model.SerializeToString()
    assert content.count(text) == 1
    path = tmp_path / "a.onnx"
    path.write_bytes(content.replace(text, b"\xff" + text[1:]))
    with pytest.raises(InputError, match=r"not a valid ONNX model \(a \w+ that is not UTF-8: b'\\xff"):
        read_model(path)


@pytest.mark.parametrize("offset", [0, 4096])
def test_weights_beside_the_model_are_read_wherever_one_starts_from(tmp_path, monkeypatch, offset):
    monkeypatch.chdir("/")
    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=WEIGHT.shape, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "w.bin", "offset": offset, "length": WEIGHT.nbytes}.items():
        outside.external_data.add(key=key, value=str(value))
    path = tmp_path / "a.onnx"
    model_file(path, [CONV], [outside])
    with pytest.raises(InputError, match=r"w\.bin: expected weights of .*a\.onnx, found no such file"):
        read_model(path)
    (tmp_path / "w.bin").write_bytes(bytes(offset) + WEIGHT.tobytes())
    assert np.array_equal(read_model(path).array("w"), WEIGHT)
    (tmp_path / "w.bin").write_bytes(bytes(offset) + WEIGHT.tobytes()[:-1])
    with pytest.raises(InputError, match=rf"expected 64 bytes from {offset}, found {offset + 63}"):
        read_model(path)


def test_constants_by_another_name_are_constant(tmp_path):
    value = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(WEIGHT))
    again = helper.make_node("Identity", ["c"], ["w"])
    model_file(tmp_path / "a.onnx", [value, again, CONV])
    assert {one.rule for one in check_target(read_model(tmp_path / "a.onnx"), "qairt-2")} == {"node-name"}
    on_the_way = [helper.make_node("Identity", ["x"], ["i"], "i"), helper.make_node("Relu", ["i"], ["y"], "r")]
    model_file(tmp_path / "b.onnx", on_the_way)
    assert [one.rule for one in check_target(read_model(tmp_path / "b.onnx"), "qairt-2")] == ["operator"]


def test_an_unnamed_node_is_told_by_its_place(tmp_path):
    uneven = helper.make_node("Conv", ["r", "w"], ["y"], pads=[0, 1, 0, 1], strides=[1, 1])
    model_file(tmp_path / "a.onnx", [helper.make_node("Relu", ["x"], ["r"], "r"), uneven],
               [numpy_helper.from_array(WEIGHT, "w")])  # fmt: skip
    found = check_target(read_model(tmp_path / "a.onnx"), "qairt-2")
    assert {finding.rule: finding.where for finding in found} == {
        "uneven-padding": "node 1 (Conv to y)", "node-name": "node 1 (Conv to y)",
    }  # fmt: skip


@pytest.mark.parametrize(("value", "said"), [
    (np.nan, "NaN in w"), (np.inf, "values up to inf in w"), (1e6, "up to 1e+06 in w"), (-65520, "up to 6.55e+04"),
])  # fmt: skip
def test_a_weight_that_fp16_cannot_hold_is_an_error(tmp_path, value, said):
    weight = WEIGHT.copy()
    weight[1, 2] = value
    model_file(tmp_path / "a.onnx", [CONV], [numpy_helper.from_array(weight, "w")])
    for target in ("snpe-1.32", "qairt-2"):
        found = [one for one in check_target(read_model(tmp_path / "a.onnx"), target) if one.rule == "float16-value"]
        assert [(one.severity, one.where) for one in found] == [("error", "conv")]
        assert said in found[0].message


def test_bounds_may_be_beyond_fp16_and_a_norms_variance_too(tmp_path):
    limits = [numpy_helper.from_array(np.float32(value), name) for name, value in (("low", -3e38), ("high", 3e38))]
    norm = [numpy_helper.from_array(np.full(4, value, np.float32), name)
            for name, value in (("gamma", 1), ("beta", 0), ("mean", 5), ("variance", 1e9))]  # fmt: skip
    nodes = [
        helper.make_node("Clip", ["x", "low", "high"], ["c"], "clip"),
        helper.make_node("BatchNormalization", ["c", "gamma", "beta", "mean", "variance"], ["y"], "norm"),
    ]
    model_file(tmp_path / "a.onnx", nodes, [*limits, *norm], opset=13)
    assert check_target(read_model(tmp_path / "a.onnx"), "qairt-2") == []
    norm[3] = numpy_helper.from_array(np.full(4, -1, np.float32), "variance")
    model_file(tmp_path / "a.onnx", nodes, [*limits, *norm], opset=13)
    assert {one.rule for one in check_target(read_model(tmp_path / "a.onnx"), "qairt-2")} == {"float16-value"}


def test_odd_weights_and_types_are_findings_not_crashes(tmp_path):
    for weight in (np.ones(4, np.float32), np.float32(1)):
        node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], "t")
        model_file(tmp_path / "a.onnx", [node], [numpy_helper.from_array(np.asarray(weight), "w")])
        (found,) = [one for one in check_target(read_model(tmp_path / "a.onnx"), "qairt-2") if one.rule == "weight"]
        assert found.message == f"expected a float32 weight of 4 dimensions, found float of {weight.ndim}"
    model = model_file(tmp_path / "a.onnx", [CONV], [numpy_helper.from_array(WEIGHT, "w")])
    model.graph.output[0].type.tensor_type.elem_type = 99
    (found,) = [one for one in check_target(OnnxFile(model), "qairt-2") if one.rule == "float32"]
    assert found.message == "expected float32, found unknown type 99"
    model.graph.initializer[0].data_type = 99
    (found,) = [one for one in check_target(OnnxFile(model), "qairt-2") if one.rule == "weight"]
    assert found.message == "expected a float32 weight of 4 dimensions, found unknown type 99 of 4"
