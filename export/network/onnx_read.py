"""An avatar's ONNX read back as a folded generator: its own weights, to be evaluated in any precision."""

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bilayer.export.network import layers as plain
from bilayer.export.network.layers import Array, FoldedGenerator, Layer
from bilayer.runtime.bundle import Contract
from bilayer.runtime.errors import BundleError


def read_generator(model: onnx.ModelProto, contract: Contract, where: str) -> FoldedGenerator:
    """Return the layers of a network that `bilayer.export.network.onnx_write` wrote, at any opset.

    Args:
        model: of the bundle.
        contract: which says what the outputs mean.
        where: the file, for messages.

    Raises:
        BundleError: a node of another kind, or with other settings, than such networks have; names it.
    """
    generator = FoldedGenerator(contract.input.width, read_layers(model, where), contract.outputs)
    try:
        generator.shapes()
    except (ValueError, KeyError, IndexError) as error:
        raise BundleError(f"{where}: {error}: not a network of bilayer-export's; export again") from error
    return generator


def read_layers(model: onnx.ModelProto, where: str) -> tuple[Layer, ...]:
    """Return the layers alone, with what each reads; arguments and errors are `read_generator`'s."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    layers = []
    for node in model.graph.node:
        try:
            layers.append(_layer(node, constants))
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise BundleError(
                f"{where}: node {node.name or node.op_type}: not as bilayer-export writes it ({error}); export again"
            ) from error
    return tuple(layers)


def _layer(node: onnx.NodeProto, constants: dict[str, Any]) -> Layer:
    name = node.output[0]
    sources = tuple(source for source in node.input if source and source not in constants)
    given: list[Array] = [constants[source].astype(np.float64) for source in node.input if source in constants]
    settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    match node.op_type:
        case "Gemm":
            _expect(settings.get("transB") == 1, "transB")
            return plain.Gemm(name, sources, given[0], given[1])
        case "Conv":
            _expect(settings.get("strides", [1, 1]) == [1, 1], "strides")
            top, left, bottom, right = settings["pads"]
            return plain.Conv(name, sources, given[0], given[1], (top, left, bottom, right))
        case "ConvTranspose":
            expected = {"strides": [2, 2], "pads": [1] * 4, "kernel_shape": [4, 4]}
            _expect(all(settings.get(key) == value for key, value in expected.items()), "strides, pads and kernel")
            return plain.ConvTranspose(name, sources, given[0], given[1])
        case "BatchNormalization":
            gamma, beta, mean, variance = given
            scale = gamma / np.sqrt(variance + settings.get("epsilon", 1e-5))
            return plain.ScaleShift(name, sources, scale, beta - mean * scale)
        case "Reshape":
            channels, height, width = (int(side) for side in given[0][1:])
            return plain.Reshape(name, sources, (channels, height, width))
        case "Upsample" | "Resize":
            scales = settings.get("scales", given[-1].tolist() if given else [])
            _expect(list(scales) == [1, 1, 2, 2] and settings.get("mode") == b"nearest", "scales and mode")
            return plain.Upsample(name, sources)
        case "LeakyRelu":
            return plain.LeakyRelu(name, sources, float(settings["alpha"]))
        case "Tanh":
            return plain.Activation(name, sources, "tanh")
        case "Sigmoid":
            return plain.Activation(name, sources, "sigmoid")
        case "Add":
            return plain.Add(name, sources)
        case "Concat":
            return plain.Concat(name, sources)
        case "DepthToSpace":
            _expect(settings.get("mode", b"DCR") == b"DCR" and settings["blocksize"] == 2, "mode and blocksize")
            return plain.DepthToSpace(name, sources)
    raise ValueError(f"a {node.op_type}")


def _expect(right: bool, what: str) -> None:
    if not right:
        raise ValueError(f"other {what}")
