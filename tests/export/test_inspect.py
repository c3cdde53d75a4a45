"""`--inspect` and `--check` of ONNX models in integers, written by hand: every number is known."""

import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from bilayer.export.cli import main
from bilayer.export.formats.network_file import network_kind
from bilayer.export.formats.onnx_file import OnnxFile
from bilayer.export.formats.stored import Stored, bytes_by_type
from bilayer.export.inspect.onnx_show import as_text, describe, stored_tensors
from bilayer.export.integers.rules import check_onnx, without_rounding
from bilayer.export.tflite.build import TfliteBuilder
from bilayer.runtime.engines.onnx_runtime import onnx_tensors
from tests.export import dlc_writer
from tests.export.networks import avatar_like

WEIGHT = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
SCALES = np.array([0.5, 0.25, 2.0], np.float32)


def qdq(*, weight=WEIGHT, rounded=True):
    """pose (1, 4) -> rounded -> Gemm of int8 weights -> rounded -> Tanh -> rounded: y (1, 3)."""
    constants = {
        "w": weight,
        "w.scale": SCALES,
        "w.zero": np.zeros(3, weight.dtype),
        "b": np.array([0.5, -1, 2], np.float32),
        "step": np.array(0.25, np.float32),
        "zero": np.array(1000, np.uint16),
        "fine": np.array(2.0**-15, np.float32),
        "middle": np.array(32768, np.uint16),
    }

    def round_to(name, given, step, zero):
        return [
            helper.make_node("QuantizeLinear", [given, step, zero], [f"{name}.q"], name=f"{name}.quantize"),
            helper.make_node("DequantizeLinear", [f"{name}.q", step, zero], [name], name=f"{name}.dequantize"),
        ]

    nodes = [
        *round_to("x", "pose", "step", "zero"),
        helper.make_node("DequantizeLinear", ["w", "w.scale", "w.zero"], ["w.float"], name="w.dequantize", axis=0),
        helper.make_node("Gemm", ["x", "w.float", "b"], ["fc.float" if rounded else "fc"], name="fc", transB=1),
        *(round_to("fc", "fc.float", "step", "zero") if rounded else []),
        helper.make_node("Tanh", ["fc"], ["y.float"], name="y"),
        *round_to("y", "y.float", "fine", "middle"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in (("pose", 4), ("y", 3))]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "it", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def run(*arguments):
    return CliRunner().invoke(main, [str(one) for one in arguments])


def test_every_tensor_tells_its_bits_scales_and_bounds():
    found = {one.name: one for one in stored_tensors(OnnxFile(qdq()))}
    assert list(found) == ["w", "b", "x", "fc", "y"]
    weight, computed, fine = found["w"], found["x"], found["y"]
    assert (weight.dtype, weight.bits, weight.bytes, weight.axis, weight.symmetric) == ("int8", 8, 12, 0, True)
    assert weight.scales == (0.5, 0.25, 2.0)
    assert weight.bounds == (-256.0, 254.0)
    assert (computed.dtype, computed.bytes, computed.axis, computed.symmetric) == ("uint16", 0, None, False)
    assert computed.bounds == (-250.0, (65535 - 1000) * 0.25)
    assert fine.symmetric
    assert found["b"].scales == ()
    assert bytes_by_type(found.values()) == {"int8": 12, "float32": 12}
    assert fine.describe()["range"] == [-1.0, 1.0 - 2.0**-15]


def test_a_float_model_has_nothing_in_integers():
    plain = without_rounding(OnnxFile(qdq()))
    assert [one.name for one in stored_tensors(plain)] == ["b", "w.float"]
    assert "nothing" in as_text(plain, Path(__file__))


def test_without_its_rounding_a_model_is_the_floats_that_it_stands_for():
    plain = without_rounding(OnnxFile(qdq())).proto
    onnx.checker.check_model(plain, full_check=True)
    assert [node.op_type for node in plain.graph.node] == ["Gemm", "Tanh"]
    pose = np.array([0.01, -0.02, 0.03, 0.004], np.float32)
    expected = np.tanh((WEIGHT * SCALES[:, None]) @ pose + [0.5, -1, 2])
    np.testing.assert_allclose(onnx_tensors(plain.SerializeToString(), 1)(pose)["y"][0], expected, atol=1e-6)


ODD = [
    *(np.zeros(size, np.int8) for size in (0, 1, 2, 5)),
    np.zeros((3, 1), np.int8),
    np.array(["a", "b", "c"], object),
    np.full(3, np.nan),
    np.full(3, 1e300),
    np.full(3, 2**63 - 1),
    np.full(3, 1j),
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: f"{odd.dtype}-{'x'.join(map(str, odd.shape))}")
@pytest.mark.parametrize("name", ["w", "w.scale", "w.zero", "step", "zero"])
@pytest.mark.filterwarnings("ignore:Casting complex")
def test_numbers_that_do_not_fit_are_told_or_left_out(name, odd):
    model = qdq()
    place = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    place.CopyFrom(numpy_helper.from_array(odd, name))
    assert all(finding.describe() for finding in check_onnx(OnnxFile(model), "qairt-2"))
    assert as_text(OnnxFile(model), Path(__file__))
    assert json.dumps(describe(OnnxFile(model), Path(__file__)))


def test_the_command_prints_what_is_in_integers(tmp_path):
    path = tmp_path / "it.onnx"
    onnx.save(qdq(), path)
    text = run("--inspect", path)
    assert text.exit_code == 0
    row = ["w", "weights", "3x4", "int8", "8", "symmetric", "3 (axis 0)", "0.25 to 2", "-256", "254"]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.output.splitlines()]
    assert row in rows
    assert "| in integers | 1 constants, and 3 tensors between layers (uint16)" in text.output
    told = json.loads(run("--inspect", path, "--json").output)
    assert told["bytes_by_type"] == {"int8": 12, "float32": 12}
    assert [one["name"] for one in told["integers"]] == ["w", "x", "fc", "y"]
    assert next(node for node in told["nodes"] if node["name"] == "fc")["constants"] == ["w", "b"]
    path.write_bytes(b"no model")
    assert run("--inspect", path).exit_code == 3
    assert run("--inspect", tmp_path).exit_code == 3


@pytest.mark.parametrize("target", ["snpe-1.32", "litert"])
def test_targets_without_qdq_say_so_in_one_line(tmp_path, target):
    path = tmp_path / "it.onnx"
    onnx.save(qdq(), path)
    told = run("--check", path, "--target", target)
    assert told.exit_code == 3
    assert told.stdout.count("error: ") == 1
    assert "computes in integers (QDQ, 3 QuantizeLinear), which this target does not read" in told.stdout


def test_qairt_takes_integers_and_warns_of_what_an_npu_refuses():
    assert check_onnx(OnnxFile(qdq()), "qairt-2") == []
    wide = check_onnx(OnnxFile(qdq(weight=WEIGHT.astype(np.int16))), "qairt-2")
    assert [(one.rule, one.severity, one.where) for one in wide] == [("wide-weights", "warning", "w")]
    left = check_onnx(OnnxFile(qdq(rounded=False)), "qairt-2")
    assert [(one.rule, one.where) for one in left] == [("left-in-float", "fc")]


def test_rules_on_floats_see_what_integers_stand_for():
    model = qdq()
    scale = next(tensor for tensor in model.graph.initializer if tensor.name == "w.scale")
    scale.CopyFrom(numpy_helper.from_array(np.array([1e5, 1, 1], np.float32), "w.scale"))
    (found,) = check_onnx(OnnxFile(model), "qairt-2")
    assert (found.rule, found.where) == ("float16-value", "fc")


def test_a_zero_point_without_numbers_is_onnxs_default():
    model = qdq()
    zero = next(tensor for tensor in model.graph.initializer if tensor.name == "zero")
    zero.CopyFrom(numpy_helper.from_array(np.zeros(0, np.uint16), "zero"))
    found = {one.name: one for one in stored_tensors(OnnxFile(model))}["x"]
    assert (found.dtype, found.zeros) == ("uint8", (0,))


def test_a_scale_that_is_computed_is_left_out():
    model = qdq()
    model.graph.node.insert(0, helper.make_node("Abs", ["step"], ["computed"], name="abs"))
    model.graph.node[1].input[1] = "computed"
    assert "x" not in {one.name for one in stored_tensors(OnnxFile(model))}


@pytest.mark.parametrize(
    ("dtype", "zero", "symmetric"), [("uint8", 128, True), ("int8", 1, False), ("uint16", 0, False)]
)
def test_symmetric_is_a_zero_in_the_middle(dtype, zero, symmetric):
    bits = 8 * np.dtype(dtype).itemsize
    tensor = Stored("a", "computed", (1,), dtype, bits, 0, (0.5,), (zero,))
    assert tensor.symmetric is symmetric
    limits = np.iinfo(dtype)
    assert tensor.bounds == ((limits.min - zero) * 0.5, (limits.max - zero) * 0.5)
    assert all(map(math.isfinite, tensor.bounds))


def a_tflite():
    builder = TfliteBuilder()
    given, made = builder.tensor("pose", (1, 4)), builder.tensor("y", (1, 4))
    builder.operator("TANH", [given], made)
    return builder.finish({"pose": given}, {"y": made}, {})


@pytest.mark.parametrize("suffix", [".dlc", ".onnx", ".tflite", ".bin", ""])
@pytest.mark.parametrize("kind", [".dlc", ".onnx", ".tflite"])
def test_what_a_file_holds_is_known_by_its_content(tmp_path, kind, suffix):
    path = tmp_path / f"network{suffix}"
    path.write_bytes(
        {".dlc": dlc_writer.v3(avatar_like()), ".onnx": qdq().SerializeToString(), ".tflite": a_tflite()}[kind]
    )
    assert network_kind(path) == kind
    shown = run("--inspect", path)
    heading = {".dlc": "read by", ".onnx": "opset", ".tflite": "operators"}[kind]
    assert (shown.exit_code, f"| {heading}" in shown.output) == (0, True), shown.output


@pytest.mark.parametrize(
    "content", [b"", b"no model", bytes(100), a_tflite()[:7]], ids=["empty", "text", "zeros", "cut"]
)
def test_a_damaged_file_is_what_it_is_called(tmp_path, content):
    told = {
        "a.dlc": "not a .dlc file",
        "a.onnx": "ONNX model",
        "a.tflite": "not a .tflite",
        "a.bin": "expected a .dlc, an .onnx or a .tflite, found ",
    }
    for name, message in told.items():
        (tmp_path / name).write_bytes(content)
        done = run("--inspect", tmp_path / name)
        assert (done.exit_code, message in done.output) == (3, True), done.output
        assert name in done.output
    assert "not a .tflite" in run("--check", tmp_path / "a.tflite", "--target", "litert").output
