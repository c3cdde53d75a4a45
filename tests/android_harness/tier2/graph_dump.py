"""An avatar's .onnx in the plain form that net_run.cpp reads: lines of text, then the weights as float32."""

from pathlib import Path

import onnx
from onnx import helper, numpy_helper


def dump(path: Path) -> bytes:
    """Of nodes that an avatar's network has; those that the program does not know it refuses itself."""
    graph = onnx.load(path).graph
    weights = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    (pose,) = (one.name for one in graph.input if one.name not in weights)
    (output,) = (one.name for one in graph.output)
    lines = [f"input {pose}", f"output {output}"]
    for node in graph.node:
        has = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        stride, pad = has.get("strides", [1])[0], has.get("pads", [0])[0]
        assert set(has.get("pads", [pad])) == {pad}, node.name
        lines.append(" ".join(map(str, [node.op_type, node.output[0], has.get("alpha", 0), stride, pad, *node.input])))
    lines += [" ".join(map(str, ["weight", name, *array.shape])) for name, array in weights.items()]
    text = "".join(f"{line}\n" for line in [*lines, "end"])
    return text.encode() + b"".join(array.astype("<f4").tobytes() for array in weights.values())
