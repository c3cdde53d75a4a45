"""A .tflite file while it is put together, by the schema that LiteRT's package brings: the same bytes every time.

Kept by hand: what else writes such files is TensorFlow's converter, which takes a gigabyte and graphs of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from bilayer.runtime.arrays import Floats

IDENTIFIER = b"TFL3"
METADATA = "bilayer"  # the name of our entry: lines of key=value
ALIGNMENT = 16  # bytes, of every constant: schema.fbs asks for it (force_align)
_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int32": schema.TensorType.INT32,
    "int8": schema.TensorType.INT8,
    "int16": schema.TensorType.INT16,
    "int64": schema.TensorType.INT64,
}


@dataclass(frozen=True, eq=False)
class Quantisation:
    """What the integers of a tensor stand for: scale * (integer - zero_point)."""

    scale: Floats  # (1,), or one for each index along `axis`
    zero_point: NDArray[np.int64]  # of the same length
    axis: int = 0


class TfliteBuilder:
    """Collects tensors and operators; each of them is known by its number."""

    def __init__(self) -> None:
        self._buffers: list[bytes] = [b""]  # the first is empty by convention: of tensors that are computed
        self._graph = made("SubGraph", tensors=[], operators=[], name=b"main")
        self._codes: dict[tuple[int, int], int] = {}

    def tensor(
        self, name: str, shape: Sequence[int], kind: str = "float32", quantisation: Quantisation | None = None
    ) -> int:
        """Add a tensor that is computed or given, of a numpy type's name; returns its number."""
        return self._add(name, shape, kind, 0, quantisation)

    def constant(self, name: str, array: NDArray[np.generic], quantisation: Quantisation | None = None) -> int:
        """Add a constant of the array's own type; returns its number."""
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        self._buffers.append(little.tobytes())
        return self._add(name, array.shape, array.dtype.name, len(self._buffers) - 1, quantisation)

    def operator(
        self, kind: str, inputs: Sequence[int], output: int, options: str = "", version: int = 1, **fields: Any
    ) -> None:
        """Add an operator by its name in schema.fbs, its version, and the fields of its table of `options`, if any."""
        code = (getattr(schema.BuiltinOperator, kind), version)
        added = made(
            "Operator",
            opcodeIndex=self._codes.setdefault(code, len(self._codes)),
            inputs=np.array(inputs, np.int32),
            outputs=np.array([output], np.int32),
        )
        if options:
            added.builtinOptions = made(options, **fields)
            added.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        self._graph.operators.append(added)

    def finish(self, inputs: Mapping[str, int], outputs: Mapping[str, int], metadata: Mapping[str, str]) -> bytes:
        """Return the file: `inputs` and `outputs` are numbers by the names of its one signature."""
        self._graph.inputs = np.array(list(inputs.values()), np.int32)
        self._graph.outputs = np.array(list(outputs.values()), np.int32)
        described = "".join(f"{key}={metadata[key]}\n" for key in sorted(metadata)).encode()
        buffers = [*self._buffers, described]
        signature = made(
            "SignatureDef",
            inputs=[made("TensorMap", name=name.encode(), tensorIndex=number) for name, number in inputs.items()],
            outputs=[made("TensorMap", name=name.encode(), tensorIndex=number) for name, number in outputs.items()],
            signatureKey=b"serving_default",
        )
        model = made(
            "Model",
            version=3,
            operatorCodes=[_code(kind, version) for kind, version in self._codes],
            subgraphs=[self._graph],
            description=b"bilayer",
            buffers=[_AlignedBuffer(data) for data in buffers],
            metadata=[made("Metadata", name=METADATA.encode(), buffer=len(buffers) - 1)],
            signatureDefs=[signature],
        )
        builder = flatbuffers.Builder(sum(map(len, buffers)) + (1 << 16))
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _add(self, name: str, shape: Sequence[int], kind: str, buffer: int, scales: Quantisation | None) -> int:
        tensor = made("Tensor", shape=np.array(shape, np.int32), type=_TYPES[kind], buffer=buffer, name=name.encode())
        if scales is not None:
            tensor.quantization = made(
                "QuantizationParameters",
                scale=scales.scale.astype(np.float32),
                zeroPoint=scales.zero_point.astype(np.int64),
                quantizedDimension=scales.axis,
            )
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1


def made(kind: str, **fields: Any) -> Any:
    """Return an object of the schema's table `kind` with these fields."""
    thing = getattr(schema, f"{kind}T")()  # in some versions without arguments
    for name, value in fields.items():
        setattr(thing, name, value)
    return thing


def _code(kind: int, version: int) -> Any:
    # Readers of before there were 127 operators look at the deprecated field, of one byte
    return made("OperatorCode", deprecatedBuiltinCode=min(kind, 127), builtinCode=kind, version=version)


class _AlignedBuffer:
    """A Buffer of the schema, whose data start at a multiple of ALIGNMENT: the generated class aligns to one byte."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def Pack(self, builder: Any) -> Any:  # noqa: N802 (as the schema's own)
        start = 0
        if self._data:
            builder.StartVector(1, len(self._data), ALIGNMENT)
            builder.head -= len(self._data)
            builder.Bytes[builder.head : builder.head + len(self._data)] = self._data
            start = builder.EndVector()
        schema.BufferStart(builder)
        if self._data:
            schema.BufferAddData(builder, start)
        return schema.BufferEnd(builder)
