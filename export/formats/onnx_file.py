"""An ONNX model as anybody has it: read by its content, with the weights beside it; its nodes, constants and shapes."""

import math
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

from bilayer.runtime.errors import InputError
from bilayer.runtime.files.kinds import DATA, ONNX, TEXT, kind_of
from bilayer.runtime.files.reading import FileKind, is_there, open_file
from bilayer.runtime.files.reasons import why_not_read

QDQ_OPERATORS = ("QuantizeLinear", "DequantizeLinear")  # they change no number but by rounding it
_FEW = 64  # values: shapes, sizes and scales of Reshape, Resize and their like have fewer
_SHOWN = 80  # characters of a name
_VALUES = ("value", "value_float", "value_floats", "value_int", "value_ints")  # of a Constant node


class OnnxFile:
    """An ONNX model with what its nodes and tensors are.

    Attributes:
        proto: the model.
        nodes: its nodes in order.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.proto = proto
        self.nodes = list(proto.graph.node)

    @property
    def standard_nodes(self) -> list[onnx.NodeProto]:
        """Those of ONNX's own operators: a `Conv` of another domain is no convolution."""
        return [node for node in self.nodes if is_standard(node)]

    @property
    def opset(self) -> int:
        """The version of the default operator set; 0 where the model names none."""
        return next((entry.version for entry in self.proto.opset_import if entry.domain in ("", "ai.onnx")), 0)

    def where(self, node: onnx.NodeProto) -> str:
        """Return a node's name; without one its number from 0, operator and first output, as Netron shows them."""
        if node.name:
            return printable(node.name)
        return printable(f"node {self._numbers[id(node)]} ({node.op_type}{_to(node)})")

    @cached_property
    def _numbers(self) -> dict[int, int]:
        return {id(node): number for number, node in enumerate(self.nodes)}

    @cached_property
    def initializers(self) -> dict[str, onnx.TensorProto]:
        """The constant tensors of the graph itself, by name."""
        return {tensor.name: tensor for tensor in self.proto.graph.initializer}

    @cached_property
    def constants(self) -> dict[str, onnx.TensorProto]:
        """All that is constant, by name: initializers, the results of Constant nodes, and either under another name."""
        found = dict(self.initializers)
        for node in self.standard_nodes:
            if node.op_type == "Constant" and node.output and (tensor := _constant(node)) is not None:
                found[node.output[0]] = tensor
            elif node.op_type == "Identity" and node.output and node.input and node.input[0] in found:
                found[node.output[0]] = found[node.input[0]]
        return found

    def array(self, name: str) -> NDArray[np.generic] | None:
        """Return the numbers of a constant; None of what is none, text, or of a type that numpy has not."""
        try:
            array = numpy_helper.to_array(self.constants[name])
        except (KeyError, TypeError, ValueError):
            return None
        return None if array.dtype.kind in "OSU" else array

    def parameters(self, node: onnx.NodeProto) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield the fractions among the constants of a node; of a norm, scale and shift as converters make them."""
        arrays = [(name, self.array(name)) for name in node.input]
        found = [(name, array) for name, array in arrays if array is not None and array.dtype.kind == "f"]
        if node.op_type != "BatchNormalization" or len(found) < 4 or len({array.shape for _, array in found[-4:]}) > 1:
            yield from found
            return
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        (name, gamma), (_, beta), (_, mean), (_, variance) = [
            (one, array.astype(np.float64)) for one, array in found[-4:]
        ]
        with np.errstate(all="ignore"):
            scale = gamma / np.sqrt(variance + epsilon)
            yield from ((name, scale), (node.input[2], beta - mean * scale))

    @cached_property
    def inputs(self) -> list[onnx.ValueInfoProto]:
        """The tensors that the application feeds: inputs that are no initializers."""
        return [value for value in self.proto.graph.input if value.name not in self.initializers]

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor by name, where it is known and static."""
        try:
            inferred = shape_inference.infer_shapes(_without_weights(self.proto)).graph
        except (shape_inference.InferenceError, ValueError, DecodeError, RuntimeError):
            inferred = self.proto.graph  # an operator that this opset has in another form: other rules tell
        shapes = {name: tuple(tensor.dims) for name, tensor in self.constants.items()}
        for value in [*inferred.input, *inferred.value_info, *inferred.output]:
            if value.type.tensor_type.HasField("shape"):
                dims = value.type.tensor_type.shape.dim
                if all(dim.HasField("dim_value") and dim.dim_value > 0 for dim in dims):
                    shapes[value.name] = tuple(dim.dim_value for dim in dims)
        return shapes


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose tensors of more than a shape's or a scale's few values have none: shapes follow all the same.

    Those are most of a network's bytes, and inference would write and read them twice.
    """
    bare = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    graph, whole = bare.graph, model.graph
    for kept in ("node", "input", "output", "value_info", "sparse_initializer"):
        getattr(graph, kept).extend(getattr(whole, kept))
    for tensor in whole.initializer:
        shape = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        graph.initializer.append(tensor if math.prod(tensor.dims) <= _FEW else shape)
    return bare


def is_standard(node: onnx.NodeProto) -> bool:
    """Return whether a node is of ONNX's own operators."""
    return node.domain in ("", "ai.onnx")


def type_name(kind: int) -> str:
    """Return what an element type is called, such as float16; "unknown type 99" of what is none."""
    known = kind in TensorProto.DataType.values()
    return TensorProto.DataType.Name(kind).lower() if known else f"unknown type {kind}"


def printable(name: str) -> str:
    """Return a name of a model, fit for one line of a terminal."""
    name = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def read_model(path: str | Path) -> OnnxFile:
    """Return the model of an ONNX file, checked; weights that stand in files beside it are in it then.

    What it is called does not matter: `onnx.load` takes a .json for text. Neither does the current folder, from which
    `onnx.checker` looks for files.

    Raises:
        InputError: missing, not an ONNX model, or weights that are not beside it.
    """
    path = Path(path)
    try:
        proto = onnx.ModelProto.FromString(_read(path, path, 0, None))
        _check_text(proto)
        for tensor in _external(proto):
            _embed(tensor, path)
        onnx.checker.check_model(proto)
        return OnnxFile(proto)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {why_not_read(error)}") from error
    except MemoryError as error:
        raise InputError(f"{path}: not a valid ONNX model (not enough memory for it); export it again") from error
    except (DecodeError, onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        if (kind := kind_of(path)) not in (ONNX, DATA, TEXT):
            way_out = "bilayer-export --inspect looks into it" if ".dlc" in kind else "name the model's own file"
            raise InputError(f"{path}: expected an ONNX model, found {kind}; {way_out}") from error
        first = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: not a valid ONNX model ({first}); export or copy it again") from error


def _read(path: Path, model: Path, offset: int, length: int | None) -> bytes:
    """Bytes of a file, from `offset`; all of them where `length` is None."""
    if path != model and not is_there(path):
        raise InputError(f"{path}: expected weights of {model}, found no such file; copy it there")
    with open_file(path, FileKind.ONNX) as file:
        size = os.fstat(file.fileno()).st_size
        count = size - offset if length is None else length
        if count < 0 or offset + count > size:
            raise InputError(f"{path}: expected {count} bytes from {offset}, found {size}; copy it again")
        file.seek(offset)
        return file.read(count)


def _check_text(message: Message) -> None:
    """Raise a ValueError where text of a message, or of those in it, is no UTF-8, which protobuf gives as bytes."""
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for one in (value,) if isinstance(value, Message) else value:
                _check_text(one)
        elif field.type == FieldDescriptor.TYPE_STRING:
            for one in (value,) if isinstance(value, str | bytes) else value:
                if isinstance(one, bytes):
                    raise ValueError(f"a {field.name} that is not UTF-8: {one[:_SHOWN]!r}")


def _external(proto: onnx.ModelProto) -> list[onnx.TensorProto]:
    """The tensors whose numbers stand in another file."""
    attributes = [attribute for node in proto.graph.node for attribute in node.attribute]
    tensors = [*proto.graph.initializer, *(a.t for a in attributes if a.HasField("t"))]
    return [tensor for tensor in tensors if tensor.data_location == TensorProto.EXTERNAL]


def _embed(tensor: onnx.TensorProto, model: Path) -> None:
    """Put the numbers into a tensor that another file holds (ONNX's ExternalData.md)."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    where = f"{model}: weights {printable(tensor.name)}"
    location, folder = entries.get("location", ""), model.absolute().parent
    place = folder / location
    if not location or "\0" in location or not place.resolve().is_relative_to(folder.resolve()):
        found = f"found in {location!r:.100}; save it as one file"
        raise InputError(f"{where}: expected in a file beside the model, {found}")
    try:
        size = math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: of a type, offset or length that is none; save the model again") from error
    if length != size or offset < 0:
        expected = f"expected {size} bytes for {tuple(tensor.dims)[:8]}"
        raise InputError(f"{where}: {expected}, found {str(length)[:30]}; save the model again")
    tensor.raw_data = _read(place, model, offset, length)
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    for attribute in node.attribute:
        if attribute.name == "value" and attribute.HasField("t"):
            return attribute.t
        if attribute.name in _VALUES[1:]:
            value = np.asarray(helper.get_attribute_value(attribute))
            return numpy_helper.from_array(value.astype(np.float32) if value.dtype.kind == "f" else value)
    return None


def _to(node: onnx.NodeProto) -> str:
    return f" to {node.output[0]}" if node.output and node.output[0] else ""
