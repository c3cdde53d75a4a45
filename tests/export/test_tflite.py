"""The .tflite file: the numbers of the folded generator in LiteRT, operators that GPUs take, the same bytes always."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from bilayer.export.network import layers as plain
from bilayer.export.network.emulate import half_storage
from bilayer.export.network.equalize import equalize
from bilayer.export.network.evaluate import as_is, evaluate, run_layer
from bilayer.export.network.fold import fold
from bilayer.export.network.layers import FoldedGenerator
from bilayer.export.network.lower import GraphOptions, lower
from bilayer.export.network.rewrite import fold_norms
from bilayer.export.network.tflite_write import build_tflite
from bilayer.export.options import ExportOptions
from bilayer.export.pipeline import export_avatar
from bilayer.export.tflite.read import parse_tflite
from bilayer.export.tflite.rules import check_tflite
from bilayer.model import random_model
from bilayer.model.config import PRESETS
from bilayer.runtime.agreement import psnr
from bilayer.runtime.bundle import Channels, Outputs, read_bundle
from bilayer.runtime.errors import InputError, ParityError
from tests import golden
from tests.export.test_graph import POSE, UPSAMPLES, generators  # noqa: F401 (a fixture)

VARIANTS = (*UPSAMPLES, "norms kept", "three heads", "scaled for FP16")


@pytest.fixture(scope="module")
def networks(generators):  # noqa: F811
    return {**generators, "scaled for FP16": equalize(generators["deconv"])}


def litert(content, pose=POSE, **options):
    """Every output (1, C, H, W) by its name."""
    interpreter = Interpreter(model_content=content, num_threads=1, **options)
    runner = interpreter.get_signature_runner()
    return {name: np.moveaxis(values, -1, 1) for name, values in runner(pose=pose).items()}


def with_rounded_weights(generator, poses):
    """What the folded generator gives whose weights alone are rounded to FP16, in float64."""

    def rounded(layer, inputs, store):
        return run_layer(layer, inputs, half_storage)

    return evaluate(generator, poses, as_is, frozenset(), rounded)


@pytest.mark.parametrize("variant", VARIANTS)
def test_litert_gives_the_generators_numbers(networks, variant):
    generator = networks[variant]
    expected = evaluate(generator, torch.from_numpy(POSE).double())
    found = litert(build_tflite(generator))
    assert set(found) == set(generator.output_tensors)
    for name, values in found.items():
        assert psnr(values, expected[name].numpy(), 2.0) > 120, name


@pytest.mark.parametrize("variant", VARIANTS)
def test_float16_is_the_network_with_rounded_weights(networks, variant):
    generator = networks[variant]
    expected = with_rounded_weights(generator, torch.from_numpy(POSE).double())
    content = build_tflite(generator, storage="float16")
    for name, values in litert(content).items():
        assert psnr(values, expected[name].numpy(), 2.0) > 120, name
    assert len(content) < len(build_tflite(generator))


@pytest.fixture
def photo(tmp_path):
    case = golden.load("case_a/preproc.npz")
    Image.fromarray(case["source_image"]).save(tmp_path / "face.png")
    np.save(tmp_path / "face.npy", case["source_landmarks"])
    return tmp_path / "face.png"


def export(photo, out, **settings):
    options = {"target": "none", "refine": "none", "mask": False, "checkpoint": golden.CASE_A / "runs", **settings}
    return export_avatar(ExportOptions(photo, out, landmarks=photo.with_suffix(".npy"), **options))


@pytest.mark.parametrize(("preset", "megabytes"), [("medium", 22.3), ("large", 78.9)])
def test_the_papers_sizes_run_in_litert(preset, megabytes):
    """Random weights at the published widths: the same operators, and the numbers of the layers."""
    config, random = PRESETS[preset], torch.Generator().manual_seed(0)
    model = random_model(config, 0, ("keypoints_embedder", "inference_generator"))
    embeddings = [torch.randn(1, channels, 8, 8, generator=random) for channels in config.texture_channels[1:]]
    with torch.inference_mode():
        parameters = model.inference_generator.predict_parameters(embeddings)
    generator = lower(fold_norms(fold(model, parameters))[0], GraphOptions("nearest"))
    content = build_tflite(generator)
    assert len(content) / 1e6 == pytest.approx(megabytes, abs=0.1)
    file = parse_tflite(content, preset)
    assert check_tflite(file) == []
    assert {operator.kind for operator in file.operators} == {
        "FULLY_CONNECTED", "RESHAPE", "LEAKY_RELU", "CONV_2D", "RESIZE_NEAREST_NEIGHBOR", "ADD", "TANH"
    }  # fmt: skip
    found = litert(content)["layers"]
    assert found.shape == (1, 6, config.image_size, config.image_size)
    assert psnr(found, evaluate(generator, torch.from_numpy(POSE))["layers"].numpy(), 2.0) > 100


def test_a_bundle_has_the_files_that_are_asked_for(photo, tmp_path):
    plain = export(photo, tmp_path / "plain").bundle
    assert "tflite" not in plain.contract.to_json()
    assert plain.contract.to_json() == read_bundle(plain.folder).contract.to_json()
    for size in (64, 96):  # of frame and texture: the network's is 64
        both = export(photo, tmp_path / f"both{size}", also=("tflite-fp16", "tflite"), size=size).bundle
        files = both.contract.files
        assert (files.tflite.name, files.tflite_fp16.name) == ("avatar.tflite", "avatar.fp16.tflite")
        assert both.contract.verification.litert_db > 110
        assert both.contract.verification.litert_fp16_frame_db > 40
        assert both.path(files.onnx).read_bytes() == plain.path(plain.contract.files.onnx).read_bytes() or size == 96
    alone = export(photo, tmp_path / "alone", target="litert").bundle
    assert (alone.contract.files.dlc, alone.contract.files.tflite.name) == (None, "avatar.tflite")
    again = export(photo, alone.folder, target="none").bundle  # over it: the file that is no more its own goes
    assert again.contract.files.tflite is None
    assert not (again.folder / "avatar.tflite").exists()


def test_the_same_avatar_has_the_same_bytes(photo, tmp_path):
    first, second = (export(photo, tmp_path / name, also=("tflite", "tflite-fp16")).bundle for name in "ab")
    for one, other in zip(first.contract.files.present, second.contract.files.present, strict=True):
        assert one.sha256 == other.sha256, one.name


def test_a_file_that_differs_is_not_shipped(photo, tmp_path, monkeypatch):
    from bilayer.export import further as module

    def wrong(generator, metadata=None, storage="float32"):
        layers = [
            replace(layer, bias=layer.bias + 1e-2) if layer.name == "head" else layer for layer in generator.layers
        ]
        return build_tflite(replace(generator, layers=tuple(layers)), metadata, storage)

    monkeypatch.setattr(module, "build_tflite", wrong)
    with pytest.raises(ParityError, match=r"the \.tflite in LiteRT is not the ONNX: .*expected at least 100"):
        export(photo, tmp_path / "out", target="litert")
    with pytest.raises(ParityError, match=r"the \.tflite with weights in FP16: "):
        export(photo, tmp_path / "out", also=("tflite-fp16",))
    assert not (tmp_path / "out").exists()


def test_float16_refuses_what_it_cannot_hold(networks):
    generator = networks["deconv"]
    layers = list(generator.layers)
    k = next(k for k, layer in enumerate(layers) if isinstance(layer, plain.Conv))
    layers[k] = replace(layers[k], bias=layers[k].bias + 1e5)
    with pytest.raises(InputError, match=rf"{layers[k].name}.bias: values up to 1e\+05, float16 holds 65504"):
        build_tflite(replace(generator, layers=tuple(layers)), storage="float16")


@pytest.mark.parametrize("side", [1, 2, 3, 5])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 1, 1, 1), (1, 0, 0, 1), (0, 0, 1, 1), (2, 2, 2, 2)])
def test_every_padding_of_a_convolution(side, pads):
    random = np.random.default_rng(0)
    weight, bias = random.standard_normal((6, 3, side, side)), random.standard_normal(6)
    layers = (
        plain.Gemm("rows", ("pose",), random.standard_normal((3 * 6 * 7, 136)) / 10, random.standard_normal(3 * 6 * 7)),
        plain.Reshape("grid", ("rows",), (3, 6, 7)),
        plain.Conv("layers", ("grid",), weight, bias, pads),
    )
    generator = FoldedGenerator(136, layers, Outputs(Channels("layers", 0, 2), Channels("layers", 2, 5), None))
    expected = evaluate(generator, torch.from_numpy(POSE).double())["layers"].numpy()
    found = litert(build_tflite(generator))["layers"]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_rows_that_others_read_are_not_reordered(networks):
    generator = networks["deconv"]
    rows = next(layer.inputs[0] for layer in generator.layers if isinstance(layer, plain.Reshape))
    other = plain.LeakyRelu("another", (rows,), 0.2)
    with pytest.raises(InputError, match=f"{rows}: expected a linear layer that only a Reshape reads"):
        build_tflite(replace(generator, layers=(*generator.layers, other)))


def test_nothing_is_transposed_and_metadata_are_kept(networks):
    content = build_tflite(networks["deconv"], {"b": "2", "a": "1"})
    interpreter = Interpreter(model_content=content, num_threads=1)
    kinds = {details["op_name"] for details in interpreter._get_ops_details()} - {"DELEGATE"}
    assert kinds == {"FULLY_CONNECTED", "RESHAPE", "LEAKY_RELU", "CONV_2D", "TRANSPOSE_CONV", "ADD", "TANH"} | {
        "RESIZE_NEAREST_NEIGHBOR"
    }
    assert b"a=1\nb=2\n" in content


def test_constants_lie_at_multiples_of_16(networks):
    generator = networks["deconv"]
    content = build_tflite(generator)
    for name, array in generator.weights():
        if array.ndim == 4 and not name.startswith("head"):
            turned = array.transpose(1, 2, 3, 0) if "conv2" in name else array.transpose(0, 2, 3, 1)
            assert content.index(turned.astype("<f4").tobytes()) % 16 == 0, name


BUILD = """
import hashlib, numpy as np
from bilayer.export.network import layers as plain
from bilayer.export.network.layers import FoldedGenerator
from bilayer.export.network.tflite_write import build_tflite
from bilayer.runtime.bundle import Channels, Outputs

random = np.random.default_rng(0)
layers = (
    plain.Gemm("rows", ("pose",), random.standard_normal((32, 136)), random.standard_normal(32)),
    plain.Reshape("grid", ("rows",), (8, 2, 2)),
    plain.ConvTranspose("up", ("grid",), random.standard_normal((8, 5, 4, 4)), random.standard_normal(5)),
    plain.Activation("layers", ("up",), "tanh"),
)
generator = FoldedGenerator(136, layers, Outputs(Channels("layers", 0, 2), Channels("layers", 2, 5), None))
print(hashlib.sha256(build_tflite(generator, {"x": "y"})).hexdigest())
"""


def test_the_same_bytes_in_another_process():
    runs = [
        subprocess.run([sys.executable, "-c", BUILD], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True)
        for seed in ("1", "2")
    ]
    assert [done.stderr for done in runs] == [b"", b""]
    assert [len(done.stdout) for done in runs] == [65, 65]
    assert runs[0].stdout == runs[1].stdout
