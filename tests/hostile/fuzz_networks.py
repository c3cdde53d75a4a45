"""Readers of networks that are fuzzed, each by a file's path; and right inputs for them, by extension and bytes."""

import io
import json

import numpy as np

from tests.hostile.raw_safetensors import safetensors


def read_pth(path):
    from bilayer.model.files.safe_load import read_pth

    read_pth(path)


def pth_seeds(goods):
    import torch

    seeds = []
    for zipped in (True, False):
        file = io.BytesIO()
        torch.save(
            {"a.weight": torch.ones(3, 2), "b": torch.zeros(4).half()}, file, _use_new_zipfile_serialization=zipped
        )
        seeds.append((".pth", file.getvalue()))
    return seeds


def read_safetensors(path):
    from bilayer.model.checkpoint import read_checkpoint

    read_checkpoint(path, networks=())


def safetensors_seeds(goods):
    from bilayer.model.config import ModelConfig

    inner = {"format": "bilayer-checkpoint", "version": 1, "config": ModelConfig().to_dict(), "networks": []}
    tensor = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    named = {"__metadata__": {"bilayer": json.dumps(inner)}, "texture_enhancer.a": tensor}
    return [(".safetensors", safetensors(named, bytes(16)))]


def read_dlc(path):
    from bilayer.export.dlc.read import as_text, describe, read_dlc

    dlc = read_dlc(path)
    as_text(dlc)
    json.dumps(describe(dlc))


def dlc_seeds(goods):
    return [(".dlc", content) for content in goods.dlcs.values()]


def read_onnx(path):
    from bilayer.export.formats.onnx_file import read_model
    from bilayer.export.targets import RULES, check_target

    model = read_model(path)
    for target in RULES:
        for finding in check_target(model, target):
            assert finding.describe().isprintable(), finding


def onnx_seeds(goods):
    import onnx
    from onnx import helper

    from tests.hostile.families.onnx_models import ONE, constant, conv, graph

    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["a"], "up", kernel_shape=[1, 1], strides=[1, 1]),
        helper.make_node("BatchNormalization", ["a", "g", "b", "m", "v"], ["c"], "norm"),
        helper.make_node("LeakyRelu", ["c"], ["d"], alpha=0.2),
        helper.make_node("Tanh", ["d"], ["y"], "tanh"),
    ]
    norm = [constant(name, np.ones(4)) for name in "gbmv"]
    model = graph(nodes, [constant("w", ONE), *norm], outputs=[("y", (1, 4, 8, 8))])
    newer = onnx.ModelProto.FromString(model)
    newer.ir_version, newer.opset_import[0].version = 8, 17
    return [(".onnx", content) for content in (model, conv(ONE), newer.SerializeToString())]


def read_tflite(path):
    from bilayer.export.formats.network_file import network_kind
    from bilayer.export.tflite.read import read_tflite
    from bilayer.export.tflite.rules import check_tflite
    from bilayer.export.tflite.show import as_text, describe

    network_kind(path)
    file = read_tflite(path)
    as_text(file)
    json.dumps(describe(file))
    for finding in check_tflite(file):
        assert finding.describe().isprintable(), finding


def tflite_seeds(goods):
    """One in floats, whose weights are float16, and one in integers."""
    from bilayer.export.tflite.build import Quantisation, TfliteBuilder

    floats = TfliteBuilder()
    x, w, y = floats.tensor("x", (1, 4, 4, 2)), floats.tensor("w", (2, 1, 1, 2)), floats.tensor("y", (1, 4, 4, 2))
    floats.operator("DEQUANTIZE", [floats.constant("w16", np.ones((2, 1, 1, 2), np.float16))], w)
    bias = floats.constant("b", np.zeros(2, np.float32))
    floats.operator("CONV_2D", [x, w, bias], y, "Conv2DOptions", strideW=1, strideH=1, padding=1)
    z, sizes = floats.tensor("z", (1, 8, 8, 2)), floats.constant("sizes", np.int32([8, 8]))
    floats.operator("RESIZE_BILINEAR", [y, sizes], z, "ResizeBilinearOptions", 3, halfPixelCenters=True)
    integers = TfliteBuilder()
    one, each = (Quantisation(np.full(n, 0.5, np.float32), np.zeros(n, np.int64)) for n in (1, 3))
    ends = [integers.tensor("x", (1, 4), "int8", one), integers.tensor("y", (1, 3), "int8", one)]
    weights = integers.constant("w", np.ones((3, 4), np.int8), each)
    integers.operator("FULLY_CONNECTED", [ends[0], weights, -1], ends[1], "FullyConnectedOptions", 4)
    built = floats.finish({"x": x}, {"z": z}, {"avatar": "a"}), integers.finish({"x": ends[0]}, {"y": ends[1]}, {})
    return [(".tflite", content) for content in built]


def read_integers(path):
    from bilayer.export.formats.onnx_file import read_model
    from bilayer.export.inspect.onnx_show import as_text, describe
    from bilayer.export.integers.rules import check_onnx
    from bilayer.export.targets import RULES

    model = read_model(path)
    as_text(model, path)
    json.dumps(describe(model, path))
    for target in RULES:
        for finding in check_onnx(model, target):
            assert finding.describe().isprintable(), finding


def integers_seeds(goods):
    """A layer between two roundings, its weights with a scale for each channel."""
    from onnx import helper, numpy_helper

    from tests.hostile.families.onnx_models import graph

    constants = {
        "s": np.float32(0.1), "z": np.uint8(128), "w8": np.ones((4, 4, 1, 1), np.int8),
        "ws": np.full(4, 0.5, np.float32), "wz": np.zeros(4, np.int8),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"], "q"),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"], "d"),
        helper.make_node("DequantizeLinear", ["w8", "ws", "wz"], ["w"], "dw", axis=0),
        helper.make_node("Conv", ["xd", "w"], ["c"], "conv", kernel_shape=[1, 1]),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["cq"], "qc"),
        helper.make_node("DequantizeLinear", ["cq", "s", "z"], ["y"], "dc"),
    ]
    model = graph(nodes, [numpy_helper.from_array(np.asarray(one), name) for name, one in constants.items()], opset=13)
    return [(".onnx", model)]
