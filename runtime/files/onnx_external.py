"""Whether an ONNX model takes weights from other files: read from its protobuf, as nothing here may load onnx.

A tensor with `data_location` EXTERNAL, or any `external_data`, names a file by path (onnx.proto3, TensorProto). Engines
look for it in the current directory, or read what no hash covers.
"""

from collections.abc import Iterator

_DEEPEST = 100  # messages within messages, protobuf's own limit
# Fields that lead to tensors: message -> number -> message (onnx.proto3)
_LEADS = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


def external_data(content: bytes) -> bool:
    """Return whether any tensor of the model, wherever it is, lies in another file; a ValueError for no protobuf."""
    return _look(memoryview(content), "Model", 0)


def _look(message: memoryview, kind: str, depth: int) -> bool:
    if depth > _DEEPEST:
        raise ValueError(f"messages more than {_DEEPEST} deep")
    for number, value in _fields(message):
        if kind == "Tensor":
            if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value):
                return True
        elif (inner := _LEADS[kind].get(number)) and isinstance(value, memoryview) and _look(value, inner, depth + 1):
            return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Numbers and values of a message's fields: protobuf's wire format."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = (tag & 0xFFFFFFFF) >> 3, tag & 7  # of a longer tag some readers take 32 bits
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(message, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"field {number} of wire type {wire}")
        if length > len(message) - at:
            raise ValueError(f"field {number} of {length} bytes, {len(message) - at} are there")
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        value |= (message[at] & 0x7F) << shift
        at += 1
        if message[at - 1] < 0x80:
            return value, at
    raise ValueError("a number without an end")
