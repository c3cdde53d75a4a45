"""A .tflite read back and held to the GPU delegate's rules; faults planted in files that break none."""

import json
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from bilayer.export.network.tflite_write import build_tflite
from bilayer.export.tflite.build import Quantisation, TfliteBuilder
from bilayer.export.tflite.read import parse_tflite, read_tflite
from bilayer.export.tflite.rules import _TAKEN, check_tflite
from bilayer.export.tflite.show import as_text, describe
from bilayer.runtime.errors import InputError
from tests import forked
from tests.export.test_graph import UPSAMPLES, generators  # noqa: F401 (a fixture)


def one_operator(kind, options="", *, shape=(1, 4, 4, 8), dtype="float32", constants=(), version=1, **fields):
    """A file whose one operator reads a tensor and constants."""
    build = TfliteBuilder()
    x, y = build.tensor("x", shape, dtype), build.tensor("y", shape, dtype)
    inputs = [x, *(build.constant(f"c{k}", array) for k, array in enumerate(constants))]
    build.operator(kind, inputs, y, options, version, **fields)
    return parse_tflite(build.finish({"x": x}, {"y": y}, {}), "a.tflite")


def rules(file):
    return {(finding.rule, finding.severity) for finding in check_tflite(file)}


@pytest.mark.parametrize("storage", ["float32", "float16"])
@pytest.mark.parametrize("variant", [*UPSAMPLES, "norms kept", "three heads"])
def test_what_is_written_is_read_and_breaks_no_rule(generators, variant, storage):  # noqa: F811
    generator = generators[variant]
    file = parse_tflite(build_tflite(generator, {"avatar": "x"}, storage), "a.tflite")
    assert check_tflite(file) == []
    assert file.metadata == {"avatar": "x"}
    numbers = sum(array.size for _, array in generator.weights())
    assert describe(file)["parameters"] == numbers
    assert describe(file)["stored_as"] == {storage.upper(): numbers}
    names = {tensor.name for tensor in file.tensors}
    assert {layer.name for layer in generator.layers} <= names
    text = as_text(file)
    assert all(layer.name in text for layer in generator.layers)


def test_numbers_and_quantisation_are_read_as_written():
    build = TfliteBuilder()
    array = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
    scales = Quantisation(np.array([0.5, 0.25, 2.0], np.float32), np.zeros(3, np.int64), axis=0)
    x = build.tensor("x", (1, 4), "int8", Quantisation(np.array([0.1], np.float32), np.array([-3])))
    y = build.tensor("y", (1, 3), "int16", Quantisation(np.array([0.2], np.float32), np.array([0])))
    build.operator("FULLY_CONNECTED", [x, build.constant("w", array, scales), -1], y, "FullyConnectedOptions", 4)
    file = parse_tflite(build.finish({"x": x}, {"y": y}, {}), "a.tflite")
    weight = next(tensor for tensor in file.tensors if tensor.name == "w")
    np.testing.assert_array_equal(weight.data, array)
    assert (weight.scale, weight.zero_point, weight.axis) == ((0.5, 0.25, 2.0), (0, 0, 0), 0)
    assert (file.tensors[x].zero_point, file.tensors[x].dtype) == ((-3,), "INT8")
    assert (file.operators[0].kind, file.operators[0].version) == ("FULLY_CONNECTED", 4)
    assert "3x4 int8, 3 scales" in as_text(file)
    assert rules(file) == {("type", "error")}  # y: the delegate has no INT16


@pytest.mark.parametrize(
    ("file", "rule", "words"),
    [
        (lambda: one_operator("GATHER_ND"), "operator", "y: GATHER_ND runs on the CPU"),
        (lambda: one_operator("CONV_2D", "Conv2DOptions", padding=0), "setting", "stride or dilation of 0"),
        (lambda: one_operator("ADD", "AddOptions", fusedActivationFunction=5), "setting", "fused SIGN_BIT"),
        (lambda: one_operator("DEPTH_TO_SPACE", "DepthToSpaceOptions", blockSize=1), "setting", "block size 1"),
        (lambda: one_operator("ADD", "AddOptions"), "setting", "1 inputs"),
        (lambda: one_operator("SOFTMAX", "SoftmaxOptions", beta=2.0), "setting", "beta 2"),
        (lambda: one_operator("TANH", shape=(1, 2, 3, 4, 5)), "rank", "1 to 4 dimensions, found 5"),
        (lambda: one_operator("TANH", shape=(1, -1, 3, 4)), "static-shape", "size not known"),
        (lambda: one_operator("TANH", dtype="int16"), "type", "INT16 is computed on the CPU"),
        (lambda: one_operator("TRANSPOSE", constants=[np.int32([0, 3, 1, 2])]), "transpose", "moves a whole tensor"),
        (
            lambda: one_operator("PAD", constants=[np.zeros((5, 2), np.int32)]),
            "setting",
            r"paddings of shape \(5, 2\)",
        ),
        (
            lambda: one_operator("MUL", "MulOptions", constants=[np.float32([1e6] * 8)]),
            "float16-value",
            r"c0: values up to 1e\+06, FP16 holds 65504",
        ),
        (
            lambda: one_operator("RESIZE_BILINEAR", "ResizeBilinearOptions", alignCorners=True, halfPixelCenters=True),
            "setting",
            "align_corners and half_pixel_centers at once",
        ),
    ],
)
def test_a_planted_fault_is_found_with_its_source(file, rule, words):
    found = check_tflite(file())
    assert {finding.rule for finding in found} == {rule}
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(found[0].describe())
    assert all(finding.source.startswith(("https://", "IEEE")) for finding in found)


def test_the_list_of_operators_is_the_schemas():
    assert {name for name in vars(schema.BuiltinOperator) if not name.startswith("_")} >= _TAKEN


def test_every_cut_and_many_flips_are_one_error(generators):  # noqa: F811
    content = build_tflite(generators["deconv"], {"a": "b"}, "float16")
    random = np.random.default_rng(0)
    table = content.rindex(b"serving_default")  # strings and tables lie together, before the constants or behind them
    for length in (*range(0, 64), *random.integers(64, len(content), 40)):
        with pytest.raises(InputError, match=r"^a\.tflite: "):
            parse_tflite(content[:length], "a.tflite")
    for _ in range(300):
        changed = bytearray(content)
        place = int(random.integers(4, len(content))) if random.random() < 0.3 else int(random.integers(0, 2 * table))
        changed[place % len(content)] = int(random.integers(256))
        with suppress(InputError):
            file = parse_tflite(bytes(changed), "a.tflite")
            as_text(file), describe(file), check_tflite(file)


cli = partial(forked.run, "export")


def test_the_command_checks_and_inspects_by_content(generators, tmp_path):  # noqa: F811
    path = tmp_path / "network"  # whatever it is called
    path.write_bytes(build_tflite(generators["deconv"]))
    checked = cli("--check", path)
    assert (checked.returncode, checked.stdout) == (0, f"{path}: fits litert-gpu\n")
    told = json.loads(cli("--inspect", path, "--json").stdout)
    assert told["inputs"] == [{"name": "pose", "shape": [1, 136], "dtype": "FLOAT32", "scales": 0}]
    other = cli("--check", path, "--target", "qairt")
    assert (other.returncode, "is a .tflite, which --target qairt does not read" in other.stderr) == (2, True)
    generator = generators["deconv"]
    layers = tuple(replace(one, bias=one.bias * 1e9) if one.name == "head" else one for one in generator.layers)
    path.write_bytes(build_tflite(replace(generator, layers=layers)))
    refused = cli("--check", path, "--target", "litert")
    assert refused.returncode == 3
    assert "head.bias: values up to " in refused.stdout
    path.write_bytes(path.read_bytes()[:1000])
    assert cli("--inspect", path).returncode == 3


def test_a_file_is_read_from_disk(tmp_path):
    with pytest.raises(InputError, match=r"none\.tflite: no such file; name a \.tflite"):
        read_tflite(tmp_path / "none.tflite")
