"""The .mlpackage: no Mac is here to run it, so its operations and weights are read back and computed in torch."""

import importlib.util
import io
import json
import struct
import sys
import zipfile

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bilayer.export.network.coreml_write import PACKAGE, build_mlpackage
from bilayer.export.network.evaluate import evaluate
from bilayer.runtime.agreement import psnr
from bilayer.runtime.errors import ToolMissingError
from tests.export.test_graph import POSE, UPSAMPLES, generators  # noqa: F401 (a fixture)
from tests.export.test_tflite import export, photo  # noqa: F401 (a fixture)

needs_coremltools = pytest.mark.skipif(
    not importlib.util.find_spec("coremltools"), reason="coremltools is not installed: pip install 'bilayer[coreml]'"
)


def files(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name.removeprefix(f"{PACKAGE}/"): archive.read(name) for name in archive.namelist()}


def specification(package):
    from coremltools.proto import Model_pb2

    return Model_pb2.Model.FromString(package["Data/com.apple.CoreML/model.mlmodel"])


def value_of(value, blobs):
    """A constant: in the model, or at an offset of weight.bin, behind a header of its own."""
    shape = [dimension.constant.size for dimension in value.type.tensorType.dimensions]
    if value.HasField("blobFileValue"):
        assert value.blobFileValue.fileName == "@model_path/weights/weight.bin"
        mark, kind, size, start = struct.unpack_from("<IIQQ", blobs, value.blobFileValue.offset)
        assert (mark, kind) == (0xDEADBEEF, 2)  # 2: float32
        return np.frombuffer(blobs, "<f4", size // 4, start).reshape(shape)
    kind = value.immediateValue.tensor.WhichOneof("value")
    values = getattr(value.immediateValue.tensor, kind).values
    return str(values[0]) if kind == "strings" else np.array(list(values)).reshape(shape)


def operations(package):
    """(kind, name, arguments) of the program's one block; a constant's argument is its value, others' are names."""
    spec, blobs = specification(package), package["Data/com.apple.CoreML/weights/weight.bin"]
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    constants, found = {}, []
    for one in block.operations:
        (output,) = one.outputs
        if one.type == "const":
            constants[output.name] = value_of(one.attributes["val"], blobs)
            continue
        arguments = {}
        for key, given in one.inputs.items():
            names = [constants.get(part.name, part.name) for part in given.arguments]
            arguments[key] = names[0] if len(names) == 1 else names
        found.append((one.type, output.name, arguments))
    return found, list(block.outputs)


def spread(x):
    """depth_to_space by 2: block offsets outermost in the channels, as TensorFlow's; pixel_shuffle's are innermost."""
    _, channels, height, width = x.shape
    blocks = x.reshape(1, 2, 2, channels // 4, height, width).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(1, channels // 4, 2 * height, 2 * width)


def computed(package, pose):
    """The outputs in float64, by what Apple's documents say of each operation."""
    values = {"pose": torch.from_numpy(pose).double()}

    def number(given):
        return values[given] if isinstance(given, str) else torch.from_numpy(np.array(given)).double()

    def padded(x, arguments):
        top, bottom, left, right = (int(n) for n in arguments["pad"])
        assert arguments["pad_type"] == "custom"
        return F.pad(x, (left, right, top, bottom))

    run = {
        "linear": lambda a: F.linear(number(a["x"]), number(a["weight"]), number(a["bias"])),
        "reshape": lambda a: number(a["x"]).reshape(*(int(n) for n in a["shape"])),
        "conv": lambda a: F.conv2d(padded(number(a["x"]), a), number(a["weight"]), number(a["bias"])),
        "conv_transpose": lambda a: F.conv_transpose2d(
            number(a["x"]), number(a["weight"]), number(a["bias"]), stride=2, padding=int(a["pad"][0])
        ),
        "upsample_nearest_neighbor": lambda a: F.interpolate(number(a["x"]), scale_factor=2.0, mode="nearest"),
        "leaky_relu": lambda a: F.leaky_relu(number(a["x"]), float(a["alpha"])),
        "tanh": lambda a: torch.tanh(number(a["x"])),
        "sigmoid": lambda a: torch.sigmoid(number(a["x"])),
        "add": lambda a: number(a["x"]) + number(a["y"]),
        "mul": lambda a: number(a["x"]) * number(a["y"]),
        "concat": lambda a: torch.cat([number(part) for part in a["values"]], dim=int(a["axis"])),
        "depth_to_space": lambda a: spread(number(a["x"])),
    }
    steps, outputs = operations(package)
    for kind, name, arguments in steps:
        values[name] = run[kind](arguments)
    return {name: values[name].numpy() for name in outputs}


@needs_coremltools
@pytest.mark.parametrize("variant", [*UPSAMPLES, "norms kept", "three heads"])
def test_its_operations_give_the_generators_numbers(generators, variant):  # noqa: F811
    generator = generators[variant]
    package = files(build_mlpackage(generator))
    expected = evaluate(generator, torch.from_numpy(POSE).double())
    found = computed(package, POSE)
    assert tuple(found) == generator.output_tensors
    for name, values in found.items():
        assert psnr(values, expected[name].numpy(), 2.0) > 120, name
    steps, _ = operations(package)
    assert all(list(a["strides"]) == [2, 2] for kind, _, a in steps if kind == "conv_transpose")
    kept = {name: values for _, layer, arguments in steps for name, values in named(layer, arguments)}
    for name, weight in generator.weights():
        np.testing.assert_array_equal(kept[name].ravel(), weight.astype(np.float32).ravel())


def named(layer, arguments):
    """A layer's weights as the generator calls them; a norm's are the second terms of two operations."""
    for key in ("weight", "bias"):
        if key in arguments:
            yield f"{layer}.{key}", arguments[key]
    if isinstance(arguments.get("y"), np.ndarray):
        scaled = layer.endswith("_scaled")
        yield f"{layer.removesuffix('_scaled')}.{'scale' if scaled else 'shift'}", arguments["y"]


@needs_coremltools
def test_the_package_is_one_that_core_ml_knows_and_has_the_same_bytes(generators):  # noqa: F811
    generator = generators["deconv"]
    content = build_mlpackage(generator, {"b": "2", "a": "1"})
    assert content == build_mlpackage(generator, {"a": "1", "b": "2"})
    package = files(content)
    manifest = json.loads(package["Manifest.json"])
    paths = {key: item["path"] for key, item in manifest["itemInfoEntries"].items()}
    assert paths[manifest["rootModelIdentifier"]] == "com.apple.CoreML/model.mlmodel"
    assert all(any(name.startswith(f"Data/{path}") for name in package) for path in paths.values())
    spec = specification(package)
    assert spec.specificationVersion == 6  # iOS 15
    assert dict(spec.description.metadata.userDefined) | {"a": "1", "b": "2"} == spec.description.metadata.userDefined
    (pose,) = spec.description.input
    assert (pose.name, list(pose.type.multiArrayType.shape)) == ("pose", [1, generator.input_width])
    shapes = {one.name: list(one.type.multiArrayType.shape) for one in spec.description.output}
    assert list(shapes) == list(generator.output_tensors)
    kinds = [kind for kind, *_ in operations(package)[0]]
    assert len(kinds) == len(generator.layers)  # one for each


@needs_coremltools
def test_nothing_is_said_and_nothing_is_left(generators, tmp_path, capfd, monkeypatch):  # noqa: F811
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    build_mlpackage(generators["nearest"])
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_without_coremltools_its_extra_is_named(generators, monkeypatch):  # noqa: F811
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(ToolMissingError, match=r"coremltools is not installed; pip install 'bilayer\[coreml\]'"):
        build_mlpackage(generators["nearest"])


@needs_coremltools
@pytest.mark.slow
def test_a_bundle_has_it_where_it_is_asked_for(photo, tmp_path):  # noqa: F811
    plain = export(photo, tmp_path / "plain").bundle
    first, second = (export(photo, tmp_path / name, also=("coreml",)).bundle for name in "ab")
    assert "coreml" not in plain.contract.to_json()
    file = first.contract.files.coreml
    assert (file.name, file) == ("avatar.mlpackage.zip", second.contract.files.coreml)
    described = specification(files(first.path(file).read_bytes())).description
    assert described.metadata.userDefined["checkpoint_sha256"] == first.contract.origin.checkpoint_sha256
    again = export(photo, first.folder).bundle  # over it: the file that is no more its own goes
    assert again.contract.files.coreml is None
    assert not (again.folder / file.name).exists()
