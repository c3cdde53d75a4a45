"""LiteRT's files: to be looked at, held to a target's rules, and run out of a bundle that vouches for them."""

import hashlib
import json
import shutil

import numpy as np

from tests.hostile.case import Case
from tests.hostile.damage import DAMAGED, KEPT, WRONG


def looked_at(name, change, words=("--inspect", "a.tflite"), codes=(3,), says=""):
    def lay(goods, folder):
        change(folder / "a.tflite", (goods.bundle / "avatar.tflite").read_bytes())
        return words

    return Case("tflites", name, "export", lay, codes, says)


def played(name, change, codes=(3,), says=""):
    """The contract agrees with what the file is now."""

    def lay(goods, folder):
        shutil.copytree(goods.bundle, folder / "avatar")
        path, contract = folder / "avatar" / "avatar.tflite", folder / "avatar" / "avatar.json"
        good = path.read_bytes()
        path.unlink()
        change(path, good)
        written, content = path.read_bytes(), json.loads(contract.read_text())
        content["files"]["tflite"] |= {"bytes": len(written), "sha256": hashlib.sha256(written).hexdigest()}
        contract.write_text(json.dumps(content))
        return ["avatar", "--demo-motion", "--frames", 1, "--engine", "litert", "--out", "out"]

    return Case("tflites", f"played-{name}", "render", lay, codes, says)


def planted(change):
    """`change` gets the schema's object of the whole file."""

    def lay(path, good):
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema

        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(good))
        change(model)
        builder = flatbuffers.Builder(len(good))
        builder.Finish(model.Pack(builder), b"TFL3")
        path.write_bytes(builder.Output())

    return lay


def operator(kind, **fields):
    """Others fields of every operator of a kind, by its number in the schema."""

    def change(model):
        for one in model.subgraphs[0].operators:
            if model.operatorCodes[one.opcodeIndex].builtinCode == kind:
                for name, value in fields.items():
                    setattr(one, name, np.array(value, np.int32))

    return planted(change)


def tensors(**fields):
    def change(model):
        for one in model.subgraphs[0].tensors[1:]:
            for name, value in fields.items():
                setattr(one, name, value)

    return planted(change)


def another_kind(old, new):
    def change(model):
        for code in model.operatorCodes:
            if code.builtinCode == old:
                code.builtinCode, code.deprecatedBuiltinCode = new, min(new, 127)

    return planted(change)


ADD, CONV_2D, SLICE, LEAKY_RELU, CUSTOM, WHILE = 0, 3, 65, 98, 32, 119
PLANTED = {  # LiteRT itself ends with a signal at some of them
    "add-of-nothing": operator(ADD, inputs=[-1, -1]),
    "activation-of-nothing": operator(LEAKY_RELU, inputs=[-1]),
    "activation-without-inputs": operator(LEAKY_RELU, inputs=[]),
    "convolution-without-weights": operator(CONV_2D, inputs=[1, -1, -1]),
    "a-slice-of-one-input": another_kind(LEAKY_RELU, SLICE),
    "a-loop": another_kind(LEAKY_RELU, WHILE),
    "a-custom-operator": another_kind(LEAKY_RELU, CUSTOM),
    "an-unknown-operator": another_kind(LEAKY_RELU, 5000),
    "its-own-output": operator(LEAKY_RELU, outputs=[0]),
    "sides-of-gigabytes": tensors(shape=np.array([1, 60000, 60000, 4], np.int32)),
    "negative-sides": tensors(shape=np.array([1, -5, 2, 2], np.int32)),
    "all-in-float64": tensors(type=10),
}
LOOKS = ("--inspect", "a.tflite", "--json"), ("--check", "a.tflite", "--json"), ("--inspect", "a.tflite")
SCALES = {"nan": (np.nan,), "infinite": (np.inf, 1), "negative-infinite": (-np.inf,), "largest": (3e38, 3e38)}


def scaled(scales):
    """Every tensor in integers of these scales."""

    def change(model):
        from ai_edge_litert import schema_py_generated as schema

        for one in model.subgraphs[0].tensors[1:]:
            one.type, one.quantization = 9, schema.QuantizationParametersT()
            one.quantization.scale = np.array(scales, np.float32)
            one.quantization.zeroPoint = np.zeros(len(scales), np.int64)

    return planted(change)


LOOKED_AT = {
    "seventy-sides": tensors(shape=np.ones(70, np.int32)),
    "endless-sides": tensors(shape=np.full(40, 2**31 - 1, np.int32)),
    "names-with-escapes": tensors(name=b"a\x1b[2J"),
    "names-that-are-not-text": tensors(name=b"\xff\xfe"),
}
CASES = [
    *(looked_at(name, change) for name, change in WRONG.items()),
    *(looked_at(name, change, ("--check", "a.tflite"), KEPT) for name, change in DAMAGED.items()),
    *(looked_at(name, change) for name, change in LOOKED_AT.items()),
    *(
        looked_at(f"scales-{name}-{number}", scaled(scales), words, KEPT)
        for name, scales in SCALES.items()
        for number, words in enumerate(LOOKS)
    ),
    looked_at("check-sides-of-gigabytes", PLANTED["sides-of-gigabytes"], ("--check", "a.tflite")),
    looked_at("all-operators-unknown", PLANTED["an-unknown-operator"], ("--check", "a.tflite")),
    *(played(name, PLANTED[name]) for name in PLANTED),
    *(played(name, WRONG[name]) for name in ("empty", "noise", "a-quarter")),
    *(played(name, DAMAGED[name], KEPT) for name in ("half", "200-bits-flipped")),
    played("good", lambda path, good: path.write_bytes(good), (0,)),
]
