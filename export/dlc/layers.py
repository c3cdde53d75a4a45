"""A .dlc's graph as the plain layers that it computes, each the counterpart of one layer of the ONNX model.

Converters turn pictures to NHWC and back; here these turns are followed, so that what is left are the ONNX model's own
layers and edges. Every setting of every layer is read; one that the ONNX model does not have ends the reading.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bilayer.export.dlc.graph import DlcNode, Setting, Steps, base_name
from bilayer.export.dlc.read import Dlc
from bilayer.export.network import layers as plain
from bilayer.export.network.layers import INPUT, Array, Layer, Shape
from bilayer.runtime.errors import ParityError

Axes = tuple[int, ...]  # which axis of the ONNX model's tensor (N, C, H, W) stands at each place
NCHW: Axes = (0, 1, 2, 3)
NHWC: Axes = (0, 2, 3, 1)

# What each kind of layer is called in v4 (QNN's operators) and in v3 (Netron's dlc-metadata.json)
KINDS: dict[str, type[Layer]] = {
    "FullyConnected": plain.Gemm,
    "Conv2d": plain.Conv,
    "Convolutional": plain.Conv,
    "TransposeConv2d": plain.ConvTranspose,
    "Deconvolution": plain.ConvTranspose,
    "Batchnorm": plain.ScaleShift,
    "BatchNorm": plain.ScaleShift,
    "Prelu": plain.LeakyRelu,
    "Neuron": plain.Activation,
    "ElementWiseNeuron": plain.Activation,
    "Eltwise_Binary": plain.Add,
    "ElementWise": plain.Add,
    "ResizeNearestNeighbor": plain.Upsample,
    "Resize": plain.Upsample,
    "Reshape": plain.Reshape,
    "Concat": plain.Concat,
    "DepthToSpace": plain.DepthToSpace,
}
TURNS = ("Transpose", "Permute")

# Codes of the public QnnOpDef.h (v4), and of Netron's Activation (v3, which does not tell tanh's)
_SIGMOID = {3: 3, 4: 6}
_TANH = {4: 8}
# What is read below, and what changes no number
_KNOWN = {
    "stride",
    "dilation",
    "group",
    "pad_amount",
    "output_padding",
    "operation",
    "type",
    "axis",
    "block_size",
    "mode",
}
_KNOWN |= {"align_corners", "half_pixel_centers", "alpha", "coeff", "packageName", "reuse_sparse_indices"}
# Settings that layers of a kind always have: code 0 is the sum, and DepthToSpace's order DCR
_FIXED: dict[type[Layer], dict[str, Setting]] = {
    plain.Conv: {"stride": np.array([1, 1]), "dilation": np.array([1, 1]), "group": 1},
    plain.ConvTranspose: {
        "stride": np.array([2, 2]),
        "pad_amount": np.array([[1, 1], [1, 1]]),
        "output_padding": np.array([0, 0]),
        "group": 1,
    },
    plain.Add: {"operation": 0},
    plain.Upsample: {"align_corners": False, "half_pixel_centers": False},
    plain.DepthToSpace: {"block_size": np.array([2, 2]), "mode": 0},
}
_IN_NHWC = (plain.Conv, plain.ConvTranspose, plain.ScaleShift, plain.Upsample, plain.DepthToSpace)


@dataclass(frozen=True, eq=False)
class DlcLayers:
    """A .dlc's network as plain layers, as `read_layers` returns it."""

    layers: tuple[Layer, ...]  # in the .dlc's order, named and wired as in the ONNX model, with the .dlc's own numbers
    layouts: Mapping[str, str]  # by output tensor: NCHW or NHWC; empty for fewer than four dimensions
    steps: Mapping[str, Steps | None]  # of the input and each layer's output, by its ONNX name; None in float32
    unchecked: tuple[str, ...]  # "layer: setting" of unknown meaning, or held where nothing public says: taken as right


def read_layers(dlc: Dlc, expected: Sequence[Layer], weight_layouts: Mapping[str, str]) -> DlcLayers:
    """Follow the .dlc's graph from its input, and find for each layer the one of the ONNX model that it must be.

    Args:
        dlc: the file.
        expected: the ONNX model's layers.
        weight_layouts: order of the axes of each layer's weight, such as HWIO, by its ONNX name (`compare_weights`).

    Raises:
        ParityError: a layer, a setting or an edge that the ONNX model has not, or one that it has and the .dlc has
            not; names it.
    """
    reader = _Reader(dlc, expected, weight_layouts)
    for node in dlc.nodes:
        reader.read(node)
    if reader.free:
        missing = ", ".join(reader.free)
        raise ParityError(f"{dlc.name}: lacks {len(reader.free)} layers of the ONNX model: {missing[:200]}")
    return DlcLayers(tuple(reader.layers), reader.output_layouts(), reader.steps, tuple(reader.unchecked))


@dataclass(frozen=True)
class _Value:
    """What a tensor of the .dlc holds: the output of an ONNX layer, its axes turned."""

    source: str
    axes: Axes


@dataclass(eq=False)
class _Reader:
    dlc: Dlc
    expected: Sequence[Layer]
    weight_layouts: Mapping[str, str]
    layers: list[Layer] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free = {layer.name: layer for layer in self.expected}
        self.values = {tensor.name: _Value(INPUT, (0, 1)) for tensor in self.dlc.inputs}
        self.steps: dict[str, Steps | None] = {}
        for tensor in self.dlc.inputs:
            self.steps[INPUT] = self.dlc.tensors[tensor.name].steps

    def fail(self, node: DlcNode, what: str) -> ParityError:
        return ParityError(f"{self.dlc.name}: layer {node.name} ({node.type}): {what}")

    def read(self, node: DlcNode) -> None:
        unknown = [name for name in node.inputs if name not in self.values]
        if unknown or not node.inputs or len(node.outputs) != 1:
            raise self.fail(node, f"reads {', '.join(unknown) or 'nothing'}, which nothing before it gives")
        given = [self.values[name] for name in node.inputs]
        if node.type in TURNS:
            self.values[node.outputs[0]] = _Value(given[0].source, self.turned(node, given[0].axes))
            return
        if node.type not in KINDS:
            raise self.fail(node, "the ONNX model has no such layer")
        wanted = self.counterpart(node, KINDS[node.type], tuple(value.source for value in given))
        if isinstance(wanted, _IN_NHWC):
            self.expect_axes(node, given[0].axes, NHWC)
        for name, value in _FIXED.get(type(wanted), {}).items():
            self.expect(node, name, value)
        read = _READERS.get(type(wanted), _as_wanted)
        layer, axes = read(self, node, wanted, [value.axes for value in given])
        self.layers.append(layer)
        self.steps[wanted.name] = self.dlc.tensors[node.outputs[0]].steps
        self.unchecked += [f"{node.name}: {name}" for name in node.settings if name not in _KNOWN]
        self.values[node.outputs[0]] = _Value(wanted.name, axes)

    def turned(self, node: DlcNode, axes: Axes) -> Axes:
        """Return the axes after a transpose."""
        held = [np.asarray(value) for value in node.settings.values() if value is not None]
        orders = [tuple(map(int, value)) for value in held if value.ndim == 1 and value.dtype.kind in "iu"]
        order = next((order for order in orders if sorted(order) == list(range(len(axes)))), ())
        if not order and None in node.settings.values():
            self.unchecked.append(f"{node.name}: order of the axes")
            order = {NCHW: NHWC, NHWC: (0, 3, 1, 2)}.get(axes, ())
        if not order:
            raise self.fail(node, f"expected an order of {len(axes)} axes, found none")
        return tuple(axes[i] for i in order)

    def counterpart(self, node: DlcNode, kind: type[Layer], sources: tuple[str, ...]) -> Layer:
        """Return the ONNX layer of that kind that reads these layers; by name where there are several."""
        alike = [layer for layer in self.free.values() if isinstance(layer, kind)]
        named = [layer for layer in alike if layer.name in (base_name(node.name), *map(base_name, node.outputs))]
        wired = [layer for layer in alike if _same_inputs(layer, sources)]
        if named and named[0] not in wired:
            raise self.fail(node, f"reads {', '.join(sources)}, expected {', '.join(named[0].inputs)}")
        found = named or sorted(wired, key=lambda layer: not self.same_weight(layer, node))
        if not found:
            raise self.fail(node, f"reads {', '.join(sources)}: the ONNX model has no {kind.__name__} there")
        return self.free.pop(found[0].name)

    def same_weight(self, layer: Layer, node: DlcNode) -> bool:
        """Return whether a layer's numbers may be those of a node whose name tells nothing."""
        expected = getattr(layer, "weight", None)
        if expected is None or not node.weights:
            return True
        found = self.dlc.weights[node.weights[0]]
        return found.size == expected.size and bool(np.isclose(float(found.sum()), float(expected.sum()), rtol=1e-3))

    def setting(self, node: DlcNode, name: str, fallback: Setting) -> NDArray[np.generic]:
        """Return a setting as an array; the ONNX model's where it stands in a place that nothing public tells."""
        found = node.settings.get(name)
        if found is not None:
            return np.asarray(found)
        if self.dlc.version != 3 and name not in node.settings:
            raise self.fail(node, f"expected a setting {name}, found {', '.join(node.settings) or 'none'}")
        self.unchecked.append(f"{node.name}: {name}")
        return np.asarray(fallback)

    def expect(self, node: DlcNode, name: str, expected: Setting) -> None:
        """Refuse a setting that is not the ONNX model's."""
        found = self.setting(node, name, expected)
        if not np.array_equal(found, np.asarray(expected)):
            raise self.fail(node, f"{name}: expected {np.asarray(expected).tolist()}, found {found.tolist()}")

    def expect_axes(self, node: DlcNode, axes: Axes, wanted: Axes) -> None:
        if axes != wanted:
            raise self.fail(node, f"expected its input's axes as {wanted}, found {axes} of (N, C, H, W)")

    def arrays(self, node: DlcNode, layer: str, kind: str) -> tuple[Array, Array]:
        """Return the weight, its axes in the order `kind` (ONNX's), and the bias, zeros where there is none."""
        weights = [self.dlc.weights[name].astype(np.float64) for name in node.weights]
        layout = self.weight_layouts.get(layer, "")
        if not weights or sorted(layout) != sorted(kind) or weights[0].ndim != len(layout):
            raise self.fail(node, f"expected a weight of {len(kind)} axes, found {[w.shape for w in weights]}")
        weight = weights[0].transpose([layout.index(axis) for axis in kind])
        bias = weights[1] if len(weights) > 1 else np.zeros(weight.shape[kind.index("O")])
        return weight, bias.reshape(-1)

    def shape(self, node: DlcNode, axes: Axes) -> Shape:
        """Return the shape of a node's output in the ONNX model's order, without the batch; empty if not recorded."""
        found = self.dlc.tensors[node.outputs[0]].shape
        return tuple(found[axes.index(i)] for i in range(1, len(axes))) if len(found) == len(axes) else ()

    def output_layouts(self) -> dict[str, str]:
        layouts = {}
        for tensor in self.dlc.outputs:
            value = self.values.get(tensor.name)
            name = {NCHW: "NCHW", NHWC: "NHWC", (0, 1): ""}.get(value.axes if value else ())
            if value is None or name is None or base_name(tensor.name) != value.source:
                what = "nothing" if value is None else f"{value.source}, its axes as {value.axes}"
                raise ParityError(f"{self.dlc.name}: output {tensor.name}: holds {what}")
            layouts[tensor.name] = name
        return layouts


def _same_inputs(layer: Layer, sources: tuple[str, ...]) -> bool:
    if isinstance(layer, plain.Add):
        return sorted(layer.inputs) == sorted(sources)
    return layer.inputs == sources


def _as_wanted(reader: _Reader, node: DlcNode, wanted: Layer, axes: list[Axes]) -> tuple[Layer, Axes]:
    return wanted, axes[0]


def _gemm(reader: _Reader, node: DlcNode, wanted: Layer, axes: list[Axes]) -> tuple[Layer, Axes]:
    return plain.Gemm(wanted.name, wanted.inputs, *reader.arrays(node, wanted.name, "OI")), (0, 1)


def _conv(reader: _Reader, node: DlcNode, wanted: Layer, axes: list[Axes]) -> tuple[Layer, Axes]:
    assert isinstance(wanted, plain.Conv)
    top, left, bottom, right = wanted.pads
    reader.expect(node, "pad_amount", np.array([[top, bottom], [left, right]]))
    return plain.Conv(wanted.name, wanted.inputs, *reader.arrays(node, wanted.name, "OIHW"), wanted.pads), NHWC


def _conv_transpose(reader: _Reader, node: DlcNode, wanted: Layer, axes: list[Axes]) -> tuple[Layer, Axes]:
    return plain.ConvTranspose(wanted.name, wanted.inputs, *reader.arrays(node, wanted.name, "IOHW")), NHWC


def _scale_shift(reader: _Reader, node: DlcNode, wanted: Layer, axes: list[Axes]) -> tuple[Layer, Axes]:
    scale, shift = (reader.dlc.weights[name].astype(np.float64) for name in node.weights)
    return plain.ScaleShift(wanted.name, wanted.inputs, scale, shift), axes[0]


def _leaky_relu(reader: _Reader, node: DlcNode, wanted: Layer, axes: list[Axes]) -> tuple[Layer, Axes]:
    assert isinstance(wanted, plain.LeakyRelu)
    slopes = [reader.dlc.weights[name] for name in node.weights]
    slopes += [np.asarray(value) for value in node.settings.values() if np.asarray(value).dtype.kind == "f"]
    if not slopes:
        if reader.dlc.version != 3:
            raise reader.fail(node, "expected a slope, found none")
        reader.unchecked.append(f"{node.name}: slope")
        return wanted, axes[0]
    found = np.unique(np.concatenate([slope.reshape(-1) for slope in slopes]))
    rounded = 1e-6 if any(reader.dlc.tensors[name].steps for name in node.weights) else 0.0  # 255 steps of 8 bits
    if len(found) != 1 or abs(found[0] - found.dtype.type(wanted.slope)) > rounded:
        raise reader.fail(node, f"slope: expected {wanted.slope:g}, found {', '.join(f'{s:g}' for s in found[:5])}")
    return plain.LeakyRelu(wanted.name, wanted.inputs, float(found[0])), axes[0]


def _activation(reader: _Reader, node: DlcNode, wanted: Layer, axes: list[Axes]) -> tuple[Layer, Axes]:
    assert isinstance(wanted, plain.Activation)
    version = reader.dlc.version
    codes = _SIGMOID if wanted.function == "sigmoid" else _TANH
    name = "operation" if version == 4 else "type"
    if version in codes:
        reader.expect(node, name, codes[version])
    elif int(reader.setting(node, name, 0)) in (1, _SIGMOID[3]):
        raise reader.fail(node, f"expected {wanted.function}, found a ReLU or sigmoid")
    return wanted, axes[0]


def _add(reader: _Reader, node: DlcNode, wanted: Layer, axes: list[Axes]) -> tuple[Layer, Axes]:
    reader.expect_axes(node, axes[1], axes[0])
    return wanted, axes[0]


def _upsample(reader: _Reader, node: DlcNode, wanted: Layer, axes: list[Axes]) -> tuple[Layer, Axes]:
    before = reader.dlc.tensors[node.inputs[0]].shape
    found = reader.dlc.tensors[node.outputs[0]].shape
    if before and found and found != (before[0], 2 * before[1], 2 * before[2], before[3]):
        raise reader.fail(node, f"expected twice the size of {before}, found {found}")
    return wanted, axes[0]


def _reshape(reader: _Reader, node: DlcNode, wanted: Layer, axes: list[Axes]) -> tuple[Layer, Axes]:
    assert isinstance(wanted, plain.Reshape)
    found = reader.shape(node, NCHW)
    if found not in ((), wanted.shape):
        raise reader.fail(node, f"expected {wanted.shape}, found {found}")
    return wanted, NCHW


def _concat(reader: _Reader, node: DlcNode, wanted: Layer, axes: list[Axes]) -> tuple[Layer, Axes]:
    for other in axes[1:]:
        reader.expect_axes(node, other, axes[0])
    reader.expect(node, "axis", axes[0].index(1))
    return wanted, axes[0]


_READERS: dict[type[Layer], Callable[[_Reader, DlcNode, Layer, list[Axes]], tuple[Layer, Axes]]] = {
    plain.Gemm: _gemm,
    plain.Conv: _conv,
    plain.ConvTranspose: _conv_transpose,
    plain.ScaleShift: _scale_shift,
    plain.LeakyRelu: _leaky_relu,
    plain.Activation: _activation,
    plain.Add: _add,
    plain.Upsample: _upsample,
    plain.Reshape: _reshape,
    plain.Concat: _concat,
}
