"""The page's module takes and refuses the contracts and files that Python does: asked under Node.js, as built."""

import copy
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from bilayer.runtime import bundle
from bilayer.runtime.bundle import AVATAR, read_bundle
from bilayer.runtime.engines.pose_encoding import PoseEncoder
from bilayer.runtime.errors import BundleError
from bilayer.runtime.files.onnx_external import external_data
from bilayer.runtime.player import read_texture
from tests.runtime.web_module import EXAMPLE, ask, needs_node, packed, value

pytestmark = needs_node


def contracts():
    """Contracts with one thing changed, by what that is; many are faults, some are none."""
    good = json.loads(EXAMPLE.read_text(encoding="utf-8"))

    def changed(path, content):
        contract = copy.deepcopy(good)
        *folders, last = path.split(".")
        inner = contract
        for name in folders:
            inner = inner[name]
        if content is KeyError:
            del inner[last]
        else:
            inner[last] = content
        return contract

    eye = {"tensor": "left", "left": 3, "top": 0, "width": 5, "height": 4}
    point = {"landmark": 30, "x": 0.0, "y": -0.1, "ridge": 0.1}
    anchors = {"reach": 0.1, "limit": 0.1, "points": [point]}
    places = {
        "format": [KeyError, "bilayer", None],
        "version": [KeyError, 2, "1", None],
        "image_size": [KeyError, 0, 4097, 2**64, -1, 1.5, "256", None, True, 4096],
        "texture_size": [0, None, "256", 512],
        "frame_size": [5000, None, 512],
        "align_corners": [KeyError, 0, None, True],
        "unknown": [1],
        "input": [None, [], KeyError],
        "input.width": [135, KeyError, 0],
        "input.harmonics": [-1, 17, KeyError, 3],
        "input.dtype": ["float32"],
        "outputs.seg": [None, KeyError, {}],
        "outputs.delta_uv": [None],
        "outputs.delta_uv.stop": [3, 0],
        "outputs.delta_uv.start": [1, -1],
        "outputs.lf_rgb.stop": [4],
        "outputs.lf_rgb.scale": [KeyError, "1", 2, 0.5],
        "outputs.lf_rgb.tensor": [1, None],
        "files.onnx": [None, KeyError],
        "files.preview": [None],
        "files.dlc": [None, KeyError],
        "files.tflite": [None, {}, {"name": "a.tflite", "bytes": 3, "sha256": "ab"}],
        "files.onnx.name": ["../avatar.onnx", "a/b", 3],
        "files.onnx.bytes": [-1, "1"],
        "files.texture.sha256": [None],
        "files.lids": [None, {}, {"name": "a", "bytes": 3, "sha256": "ab"}],
        "lids": [None, {}, {"levels": 8, "eyes": [eye, eye]}, {"levels": 0, "eyes": [eye, eye]}]
        + [{"levels": 1e9, "eyes": [eye, eye]}, {"levels": 8, "eyes": [eye]}, {"levels": 8, "eyes": [eye, {}]}]
        + [{"levels": 8, "eyes": [eye, eye | {name: bad}]} for name, bad in (("left", -1), ("top", 1.5), ("width", 0))],
        "anchors": [None, {}, "x", [], True, anchors, anchors | {"ridge": 0.1}, anchors | {"points": [point] * 68}]
        + [anchors | {"reach": bad} for bad in (0, 0.01, 2, 2.5, -1, "1", None, True)]
        + [anchors | {"limit": bad} for bad in (0, 2, 3, -1, [1])]
        + [anchors | {"points": bad} for bad in ([], {}, [point] * 69, [{}], [[30, 0, 0, 1]], [point, None])]
        + [anchors | {"points": [point | {"landmark": bad}]} for bad in (68, 67, -1, 0.5, "30", None)]
        + [anchors | {"points": [point | {name: bad}]} for name in "xy" for bad in (4, -4, 3.9, "0", None)]
        + [anchors | {"points": [point | {"ridge": bad}]} for bad in (0, 0.001, 1000, 1001, "1")],
        "source.photo_size": [[1], [1, 2, 3], [0, 1], ["1", 2]],
        "source.crop": [[1, 2, 3], [1.5, 2, 3, 4], [-5, -5, 9, 9], [-(2**63), 0, 1, 2], [-(2**64), 0, 1, 2]],
        "source.pose": [[0.5] * 135, [0.5] * 137, [1000.0] * 136, ["a"] * 136, [None] * 136, [1] * 136],
        "graph.opset": [0, None],
        "graph.gmacs": [-1, "1", 0],
        "graph.norms_kept": [[1], None, ["a"]],
        "dlc": [None, {}, KeyError],
        "dlc.container": ["4", None],
        "verification.psnr_db": [{}, {"seg": "1"}, {"seg": 3}, None],
        "verification.hybrid_frame_db": [None, "1"],
        "origin.refine": [KeyError, "best", None, "none"],
        "origin.versions": [{"a": 1}, {"a": "1"}],
        "origin.trained": ["yes"],
    }
    yield "as it is", good
    for path, contents in places.items():
        for number, content in enumerate(contents):
            label = "left out" if content is KeyError else str(content)[:20]
            yield f"{path} {label}, {number}", changed(path, content)
    for path, content in (("outputs", None), ("files", []), ("origin", "x")):
        yield f"{path} {content}", changed(path, content)
    yield "a list", [good]
    yield "null", None


def python_says(content, tmp_path):
    """What the player says of the contract and of the input that it names; None: nothing."""
    path = tmp_path / "avatar.json"
    path.write_bytes(content)
    try:
        contract = bundle._read_contract(path)
        for file in contract.files.present:
            if Path(file.name).name != file.name:
                return "files"
        PoseEncoder(contract.input, "avatar.json")
    except BundleError as error:
        return str(error)
    return None


def test_the_contract_is_refused_where_the_player_refuses_it(tmp_path):
    cases = {label: json.dumps(content).encode() for label, content in contracts()}
    good = EXAMPLE.read_bytes()
    cases |= {
        "with a byte order mark": b"\xef\xbb\xbf" + good,
        "no JSON": good[:-5],
        "nothing": b"",
        "not UTF-8": good.replace(b"demo", b"\xff\xfe"),
        "an infinite number": good.replace(b'"scale": 1.0', b'"scale": 1e999', 1),
        "too large": good + b" " * (1 << 20),
    }
    answers = ask(*({"call": "contract", "content": packed(content)} for content in cases.values()))
    refused = {label: python_says(content, tmp_path) for label, content in cases.items()}
    assert sum(said is None for said in refused.values()) > 10
    assert sum(said is not None for said in refused.values()) > 60
    compared = 0
    for (label, said), answer in zip(refused.items(), answers, strict=True):
        assert (said is not None) == ("error" in answer), (label, said, answer)
        assert answer.get("error") in (None, "BundleError"), (label, answer)
        field = label.split(" ")[0]
        if said and "error" in answer and field in said:  # the same field is named
            assert field.split(".")[-1] in answer["message"], (label, said, answer)
        words = re.search(r": (expected .*), found (.*); export", said or "")
        if words and not (words[1] == "expected int" and words[2].endswith(".0")):  # which JavaScript reads as whole
            assert f"{words[1]}, found " in answer["message"], (label, said, answer)
            compared += 1
    assert compared > 80


def test_a_contract_that_is_read_has_the_sizes_that_were_left_out():
    contract = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    found = value({"call": "contract", "content": packed(json.dumps(contract).encode())})
    expected = AVATAR.read(EXAMPLE)
    assert (found["texture_size"], found["frame_size"]) == (expected.texture_size, expected.frame_size)


@pytest.fixture
def files(plain):
    return {path.name: path.read_bytes() for path in plain.iterdir()}


@pytest.fixture(scope="module")
def plain(exported):
    return exported.folder


def test_a_bundle_is_refused_where_the_player_refuses_it(files, tmp_path):
    name = "avatar.json"
    contract = json.loads(files[name])
    whole = onnx.load_model_from_string(files["avatar.onnx"])
    whole.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    whole.graph.initializer[0].external_data.add(key="location", value="weights")

    def sealed(role, content):
        """The bundle with another file that its contract knows."""
        changed = copy.deepcopy(contract)
        changed["files"][role] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        return files | {changed["files"][role]["name"]: content, name: json.dumps(changed).encode()}

    def renamed(onnx_name):
        changed = copy.deepcopy(contract)
        changed["files"]["onnx"]["name"] = onnx_name
        return files | {name: json.dumps(changed).encode()}

    texture = files["avatar.safetensors"]
    header = int.from_bytes(texture[:8], "little")
    first, middle, last = 8 + header, len(texture) // 8 * 4, len(texture)
    cases = {
        "good": files,
        "no network": {key: content for key, content in files.items() if key != "avatar.onnx"},
        "a folder": renamed(""),
        "this folder": renamed("."),
        "the folder above": renamed(".."),
        "no preview": {key: content for key, content in files.items() if key != "avatar.preview.png"},
        "another network": files | {"avatar.onnx": files["avatar.onnx"][:-1] + b"?"},
        "a longer texture": files | {"avatar.safetensors": texture + b"\0"},
        "weights elsewhere": sealed("onnx", whole.SerializeToString()),
        "no protobuf": sealed("onnx", b"\xff" * 50),
        "a texture of one byte": sealed("texture", b"\x01"),
        "a header too long": sealed("texture", b"\xff" * 8 + texture[8:]),
        "another name": sealed("texture", texture.replace(b'"texture"', b'"textura"')),
        "another type": sealed("texture", texture.replace(b'"F32"', b'"I32"')),
        "a border": sealed("texture", texture[:first] + np.float32(1).tobytes() + texture[first + 4 :]),
        "a border at the end": sealed("texture", texture[: last - 4] + np.float32(1).tobytes()),
        "not a number": sealed("texture", texture[:middle] + b"\xff" * 4 + texture[middle + 4 :]),
        "cut short": sealed("texture", texture[:-4]),
    }
    sent = [
        {"call": "bundle", "name": name, "engine": "ort"}
        | {"files": {key: packed(content) for key, content in case.items()}}
        for case in cases.values()
    ]
    for (label, case), answer in zip(cases.items(), ask(*sent), strict=True):
        folder = tmp_path / label
        folder.mkdir()
        for key, content in case.items():
            (folder / key).write_bytes(content)
        said = None
        try:
            read_texture(read_bundle(folder))
        except BundleError as error:
            said = str(error)
        assert (said is None) == (label == "good"), (label, said)
        assert answer.get("error") == (None if said is None else "BundleError"), (label, answer)


def test_litert_takes_the_tflite_and_asks_for_no_onnx(files):
    name = "avatar.json"
    contract = json.loads(files[name])
    of_files = {role: file for role, file in contract["files"].items() if not role.startswith("tflite")}
    none = files | {name: json.dumps(contract | {"files": of_files}).encode()}
    alone = {key: content for key, content in files.items() if key != "avatar.onnx"}
    damaged = alone | {"avatar.fp16.tflite": files["avatar.fp16.tflite"][:-1] + b"?"}
    lite = {"network": ["litert", "avatar.fp16.tflite"]}
    cases = [
        (files, None, lite),
        (files, "ort", {"network": ["ort", "avatar.onnx"]}),
        (alone, None, lite),
        (alone, "ort", "avatar.onnx: missing"),
        (damaged, None, "avatar.fp16.tflite: not the file"),
        (none, None, {"network": ["ort", "avatar.onnx"]}),
        (none, "litert", "export with --also tflite-fp16"),
    ]
    requests = [
        {"call": "bundle", "name": name, "engine": engine}
        | {"files": {key: packed(content) for key, content in case.items()}}
        for case, engine, _ in cases
    ]
    for answer, (_, _, expected) in zip(ask(*requests), cases, strict=True):
        if isinstance(expected, str):
            assert answer["error"] == "BundleError"
            assert expected in answer["message"]
        else:
            assert expected.items() <= answer["value"].items()


def test_hashes_are_those_of_the_standard():
    rng = np.random.default_rng(0)
    contents = [rng.bytes(size) for size in (0, 1, 55, 56, 63, 64, 65, 1000)]
    answers = ask(*({"call": "sha256", "content": packed(content)} for content in contents))
    assert [answer["value"] for answer in answers] == [hashlib.sha256(content).hexdigest() for content in contents]


def test_weights_in_other_files_are_seen_where_python_sees_them(files):
    tensor = onnx.TensorProto(name="w", data_location=onnx.TensorProto.EXTERNAL)
    inner = onnx.GraphProto(name="inner", initializer=[tensor])
    node = onnx.NodeProto(op_type="If", attribute=[onnx.AttributeProto(name="then_branch", g=inner)])
    models = [files["avatar.onnx"], onnx.ModelProto(graph=onnx.GraphProto(node=[node])).SerializeToString(), b""]
    answers = ask(*({"call": "external", "content": packed(model)} for model in models))
    assert [answer["value"] for answer in answers] == [external_data(model) for model in models] == [False, True, False]
