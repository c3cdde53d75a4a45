"""ONNX networks that are held to a target's rules."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.hostile.case import Case
from tests.hostile.damage import DAMAGED, KEPT, WRONG


def check(name, content, suffix=".onnx", codes=(0, 3), target="snpe-1.32", says=""):
    def lay(goods, folder):
        path = folder / f"model{suffix}"
        content(path, goods) if callable(content) else path.write_bytes(content)
        return ["--check", path.name, "--target", target]

    return Case("onnx", name, "export", lay, codes, says)


def damaged(change):
    return lambda path, goods: change(path, goods.onnx.read_bytes())


def edited(change):
    """The bundle's network, as `change` leaves it."""

    def lay(path, goods):
        model = onnx.load(goods.onnx)
        change(model)
        path.write_bytes(model.SerializeToString())

    return lay


def graph(
    nodes, initializers=(), opset=8, inputs=(("x", (1, 4, 8, 8)),), outputs=(("y", (1, 4, 8, 8)),), domains=(), **kind
):
    """Bytes of a small model."""

    def value(name, shape):
        return helper.make_tensor_value_info(name, kind.get("elem", TensorProto.FLOAT), shape)

    made = helper.make_graph(
        list(nodes), "g", [value(*one) for one in inputs], [value(*one) for one in outputs], list(initializers)
    )
    for one in initializers:  # IR 3 wants them so
        made.input.append(helper.make_tensor_value_info(one.name, one.data_type, list(one.dims)))
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in domains)]
    return helper.make_model(made, opset_imports=imports, ir_version=3).SerializeToString()


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array, np.float32), name)


def conv(weight, **attributes):
    return graph([helper.make_node("Conv", ["x", "w"], ["y"], "conv", **attributes)], [constant("w", weight)])


def claims(dims, data_type=TensorProto.FLOAT, raw=b"", **fields):
    tensor = TensorProto(name="w", data_type=data_type, dims=dims, raw_data=raw, **fields)
    return graph([helper.make_node("Conv", ["x", "w"], ["y"], "conv")], [tensor])


def external(location, **more):
    """A model whose weight stands in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 4, 1, 1], data_location=TensorProto.EXTERNAL)
    for key, text in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=text)
    return graph([helper.make_node("Conv", ["x", "w"], ["y"], "conv")], [tensor])


def nested(depth):
    """A graph in a node's attribute in a graph, so deep that no library would write it."""

    def field(number, content):
        size, head = len(content), b""
        while size > 127:
            head, size = head + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + head + bytes([size]) + content

    graph = b""
    for _ in range(depth):
        graph = field(1, field(4, b"If") + field(5, field(1, b"then_branch") + field(6, graph)))
    return b"\x08\x03" + field(7, graph) + field(8, b"\x10\x08")


ONE = np.ones((4, 4, 1, 1))
CASES = [
    *(check(name, damaged(change), codes=(3,)) for name, change in WRONG.items()),
    *(check(name, damaged(change), codes=KEPT) for name, change in DAMAGED.items()),
    *(
        check(f"{suffix[1:]}-{name}", damaged(change), suffix, (3,))
        for suffix in (".json", ".textproto", ".onnxtxt")
        for name, change in WRONG.items()
        if name in ("noise", "zeros", "a-web-page", "empty")
    ),
    *(
        check(f"named{suffix}", damaged(lambda path, good: path.write_bytes(good)), suffix, (0,), says="fits snpe-1.32")
        for suffix in (".json", ".textproto", ".onnxtxt", ".pb", "")
    ),
    check(
        "text-of-a-model", lambda path, goods: path.write_text(str(onnx.load(goods.onnx))[:20_000]), ".textproto", (3,)
    ),
    check("json-nested", b"{" * 200_000, ".json", (3,)),
    check("textproto-nested", b"graph { " * 100_000, ".textproto", (3,)),
    check("nested-10", nested(10), codes=(3,)),
    check("nested-500", nested(500), codes=(3,)),
    check("nested-20-000", nested(20_000), codes=(3,)),
    check("no-graph", onnx.ModelProto(ir_version=3).SerializeToString(), codes=(3,)),
    check("opset-huge", conv(ONE).replace(b"\x10\x08", b"\x10\x7f"), codes=(3,)),
    check("opset-absent", edited(lambda model: model.ClearField("opset_import")), codes=(3,)),
    check("shape-terabyte", claims([1 << 20, 1 << 20, 1, 1]), codes=(3,)),
    check("shape-overflows", claims([1 << 62, 1 << 62, 1, 1]), codes=(3,)),
    check("shape-negative", claims([-1, 4, 1, 1], raw=bytes(64)), codes=(3,)),
    check("shape-without-values", claims([4, 4, 1, 1]), codes=(3,)),
    *(
        check(f"type-{number}", claims([4, 4, 1, 1], number, bytes(64)), codes=(3,))
        for number in (0, 8, 14, 99, 2**31 - 1)
    ),
    *(
        check(f"io-type-{number}", graph([helper.make_node("Identity", ["x"], ["y"], "i")], elem=number))
        for number in (0, 8, 99)
    ),
    check("io-no-tensor", edited(lambda model: model.graph.input[0].type.CopyFrom(onnx.TypeProto())), codes=(3,)),
    check(
        "io-a-sequence",
        edited(
            lambda model: model.graph.output[0].type.CopyFrom(
                helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, None))
            )
        ),
    ),
    check(
        "weight-1-d",
        graph([helper.make_node("ConvTranspose", ["x", "w"], ["y"], "t")], [constant("w", np.ones(4))]),
        codes=(3,),
    ),
    check(
        "weight-0-d",
        graph([helper.make_node("ConvTranspose", ["x", "w"], ["y"], "t")], [constant("w", 1.0)]),
        codes=(3,),
    ),
    check("weight-absent", graph([helper.make_node("ConvTranspose", ["x"], ["y"], "t")]), codes=(3,)),
    check("weight-of-nobody", graph([helper.make_node("Conv", ["x", "nobody"], ["y"], "c")]), codes=(3,)),
    check(
        "domain-conv",
        graph([helper.make_node("Conv", ["x"], ["y"], "c", domain="mine")], domains=["mine"]),
        codes=(3,),
        says="1 rule",
    ),
    check(
        "domain-deconv",
        graph([helper.make_node("ConvTranspose", [], ["y"], "c", domain="mine")], domains=["mine"]),
        codes=(3,),
    ),
    check(
        "domain-pads-text",
        graph([helper.make_node("Conv", ["x"], ["y"], "c", domain="mine", pads="text")], domains=["mine"]),
        codes=(3,),
    ),
    check("domain-undeclared", graph([helper.make_node("Conv", ["x"], ["y"], "c", domain="mine")]), codes=(3,)),
    check("op-unknown", graph([helper.make_node("NoSuch", ["x"], ["y"], "n")]), codes=(3,)),
    check("op-newer", graph([helper.make_node("Gelu", ["x"], ["y"], "n")]), codes=(3,)),
    check("op-empty", graph([helper.make_node("", ["x"], ["y"], "n")]), codes=(3,)),
    check(
        "node-without-outputs",
        graph([helper.make_node("Relu", ["x"], [], "n"), helper.make_node("Relu", ["x"], ["y"], "m")]),
        codes=(3,),
    ),
    check(
        "unnamed",
        graph([helper.make_node("Conv", ["x", "w"], ["y"], pads=[0, 1, 0, 0])], [constant("w", ONE)]),
        codes=(0, 3),
    ),
    check("weight-nan", conv(ONE * np.nan), codes=(3,), says="1 rule"),
    check("weight-infinite", conv(ONE * np.inf), codes=(3,)),
    check("weight-1e6", conv(ONE * 1e6), codes=(3,)),
    check("weight-1e6-qairt", conv(ONE * 1e6), codes=(3,), target="qairt"),
    check("kernel-empty", conv(np.ones((4, 4, 0, 0)))),
    check("pads-text", conv(ONE, pads="text"), codes=(3,)),
    check("pads-huge", conv(ONE, pads=[1 << 62] * 4)),
    check("strides-0", conv(ONE, strides=[0, 0])),
    check("strides-one", conv(ONE, strides=[1])),
    check("group-0", conv(ONE, group=0)),
    check("group-negative", conv(ONE, group=-4)),
    check(
        "reshape-billions",
        graph(
            [helper.make_node("Reshape", ["x", "s"], ["y"], "r")],
            [numpy_helper.from_array(np.array([1 << 40, 1 << 40]), "s")],
        ),
    ),
    check(
        "tile-billions",
        graph(
            [helper.make_node("Tile", ["x", "s"], ["y"], "r")], [numpy_helper.from_array(np.array([1 << 30] * 4), "s")]
        ),
    ),
    check(
        "constant-of-shape",
        graph(
            [helper.make_node("ConstantOfShape", ["s"], ["y"], "r")],
            [numpy_helper.from_array(np.array([1 << 40, 1 << 40]), "s")],
            opset=9,
        ),
    ),
    check(
        "range-billions",
        graph(
            [helper.make_node("Range", ["a", "b", "c"], ["y"], "r")],
            opset=11,
            initializers=[
                numpy_helper.from_array(np.array(value, np.int64), name)
                for name, value in (("a", 0), ("b", 1 << 60), ("c", 1))
            ],
        ),
    ),
    check("depth-to-space-0", graph([helper.make_node("DepthToSpace", ["x"], ["y"], "d", blocksize=0)])),
    check("split-billions", graph([helper.make_node("Split", ["x"], ["y"], "d", axis=1 << 40)], opset=2)),
    check("outside-absent", external("weights.bin"), codes=(0, 3)),
    check("outside-passwd", external("/etc/passwd"), codes=(3,)),
    check("outside-parent", external("../../../../etc/passwd"), codes=(3,)),
    check("outside-offset", external("weights.bin", offset="9" * 400), codes=(0, 3)),
    check(
        "outside-endless",
        lambda path, goods: (
            path.write_bytes(external("weights.bin")),
            (path.parent / "weights.bin").symlink_to("/dev/zero"),
        ),
    ),
    check(
        "outside-folder",
        lambda path, goods: (path.write_bytes(external("weights.bin")), (path.parent / "weights.bin").mkdir()),
    ),
    check(
        "dims-huge",
        graph([helper.make_node("Relu", ["x"], ["y"], "r")], inputs=[("x", (1, 1 << 40, 1 << 40, 1 << 40))]),
    ),
    check(
        "dims-negative",
        graph([helper.make_node("Relu", ["x"], ["y"], "r")], inputs=[("x", (1, -4, 8, 8))]),
        codes=(0, 3),
    ),
    check("dims-5000", graph([helper.make_node("Relu", ["x"], ["y"], "r")], inputs=[("x", (1,) * 5000)]), codes=(0, 3)),
    check("names-of-lines", graph([helper.make_node("Relu", ["x"], ["y"], "a\nb\x1b[2J")]), codes=(0, 3)),
    check("name-not-utf-8", conv(ONE).replace(b"conv", b"c\xffnv"), codes=(3,), says="name that is not UTF-8"),
    check("name-of-a-megabyte", graph([helper.make_node("NoSuch", ["x"], ["y"], "n" * (1 << 20))]), codes=(3,)),
    check(
        "a-cycle",
        graph([helper.make_node("Add", ["x", "y"], ["z"], "a"), helper.make_node("Relu", ["z"], ["y"], "b")]),
        codes=(3,),
    ),
    check("good", damaged(lambda path, good: path.write_bytes(good)), codes=(0,), says="fits snpe-1.32"),
]
