"""The contract of an avatar's folder: what is written is read back, and anything else is one clear error."""

import contextlib
import copy
import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bilayer.runtime import bundle
from bilayer.runtime.bundle import (
    AVATAR,
    BundledFile,
    Channels,
    Contract,
    Files,
    Outputs,
    PhotoSource,
    PoseInput,
    describe_file,
    read_bundle,
)
from bilayer.runtime.errors import BundleError
from bilayer.runtime.provenance import DlcInfo, Graph, Origin, Verification
from tests.documents import blocks

SIZES = {"texture_size", "frame_size"}
SCHEMA = Path(bundle.__file__).with_name("avatar.schema.json")


@pytest.fixture
def folder(tmp_path):
    for name in ("avatar.onnx", "avatar.safetensors", "avatar.dlc", "avatar.preview.png"):
        (tmp_path / name).write_bytes(b"\x12\x7f" + (name.encode() * 19)[:127])  # protobuf, of a producer's name
    (tmp_path / "avatar.json").write_text(contract(tmp_path).to_json())
    return tmp_path


def contract(folder, with_dlc=True):
    def file(name):
        return describe_file(folder / name)

    return Contract(
        image_size=64,
        texture_size=64,
        frame_size=64,
        align_corners=False,
        input=PoseInput("pose", 136, 0),
        outputs=Outputs(Channels("layers", 0, 2), Channels("layers", 2, 5), Channels("layers", 5, 6, 0.5, 0.5)),
        files=Files(
            onnx=file("avatar.onnx"),
            texture=file("avatar.safetensors"),
            preview=file("avatar.preview.png"),
            dlc=file("avatar.dlc") if with_dlc else None,
        ),
        source=PhotoSource([512, 384], [-3, 4, 509, 516], [0.5, -0.25] * 68),
        graph=Graph(8, "deconv", 2.499, []),
        dlc=DlcInfo("qairt", "onnxruntime-qnn 2.7.0", 4, "QAIRT 2.x", "NCHW") if with_dlc else None,
        verification=Verification(True, 4, {"delta_uv": 118.25, "lf_rgb": 120.0}, 63.5, None),
        origin=Origin("demo.safetensors", "ab" * 32, True, True, {"bilayer": "0.1.0"}),
    )


@pytest.mark.parametrize("with_dlc", [True, False])
def test_what_is_written_is_read_back(folder, with_dlc):
    (folder / "avatar.json").write_text(contract(folder, with_dlc).to_json())
    for path in (folder, folder / "avatar.json"):
        bundle = read_bundle(path)
        assert bundle.contract == contract(folder, with_dlc)
        assert bundle.path(bundle.contract.files.onnx) == folder / "avatar.onnx"


def test_sizes_are_written_where_they_are_not_the_networks(folder):
    assert SIZES.isdisjoint(json.loads((folder / "avatar.json").read_text()))  # as before there were any
    drawn = replace(contract(folder), frame_size=96, texture_size=128)
    (folder / "avatar.json").write_text(drawn.to_json())
    assert json.loads((folder / "avatar.json").read_text()).keys() > SIZES
    assert read_bundle(folder).contract == drawn


def test_a_bundle_of_before_0_2_whose_preview_has_another_name_is_read(folder):
    (folder / "avatar.preview.png").rename(folder / "preview.png")
    text = (folder / "avatar.json").read_text()
    (folder / "avatar.json").write_text(text.replace("avatar.preview.png", "preview.png"))
    bundle = read_bundle(folder)
    assert bundle.path(bundle.contract.files.preview) == folder / "preview.png"


@pytest.mark.parametrize("name", ["avatar.onnx", "avatar.safetensors", "avatar.dlc", "avatar.preview.png"])
def test_each_file_must_be_the_one_that_was_exported(folder, name):
    (folder / name).write_bytes(b"another")
    with pytest.raises(BundleError, match=f"{name}: not the file that the avatar was exported with .* export again"):
        read_bundle(folder)
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: missing"):
        read_bundle(folder)


def edited(folder, edit):
    path = folder / "avatar.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return folder


BROKEN = {
    "not an avatar": (lambda c: c.update(format="x"), "not an avatar; expected `format`"),
    "newer": (lambda c: c.update(version=2), "version 2, expected 1"),
    "missing": (lambda c: c.pop("align_corners"), "align_corners: missing"),
    "unknown": (lambda c: c.update(colour="red"), "colour: unknown"),
    "missing deep": (lambda c: c["outputs"]["seg"].pop("scale"), r"outputs\.seg\.scale: missing"),
    "no frame": (lambda c: c.update(frame_size=0), "frame_size: expected int >= 1, found 0"),
    "a frame of null": (lambda c: c.update(frame_size=None), "frame_size: expected int, found None"),
    "a huge texture": (lambda c: c.update(texture_size=5000), "texture_size: expected int <= 4096, found 5000"),
    "a texture in words": (lambda c: c.update(texture_size="T"), "texture_size: expected int, found 'T'"),
    "no size at all": (lambda c: c.pop("image_size"), "image_size: missing"),
    "text for a number": (lambda c: c.update(image_size="64"), "image_size: expected int, found '64'"),
    "number for a flag": (lambda c: c.update(align_corners=0), "align_corners: expected bool, found 0"),
    "list of texts": (lambda c: c["source"].update(crop=[1, 2, "a", 4]), r"source\.crop\[2\]: expected int, found 'a'"),
    "too many channels": (lambda c: c["outputs"]["lf_rgb"].update(stop=6), r"outputs\.lf_rgb: expected 3 channels"),
    "null": (lambda c: c.update(input=None), "input: expected object, found None"),
    "value of a name": (
        lambda c: c["verification"]["psnr_db"].update(seg="x"),
        r"verification\.psnr_db\.seg: expected float, found 'x'",
    ),
    "not finite": (lambda c: c["graph"].update(gmacs=float("inf")), r"graph\.gmacs: expected a finite number"),
    "beyond 64 bits": (lambda c: c["source"]["crop"].__setitem__(1, 1 << 63), r"source\.crop\[1\]: .* 64 bits"),
    "endless digits": (
        lambda c: c["outputs"]["seg"].update(offset=10**4000),
        r"outputs\.seg\.offset: expected a finite",
    ),
    "negative": (lambda c: c["outputs"]["seg"].update(start=-1), r"outputs\.seg\.start: expected int >= 0, found -1"),
    "few landmarks": (lambda c: c["source"].update(pose=[0.0]), r"source\.pose: expected array of length >= 136"),
    "a way out": (lambda c: c["files"]["onnx"].update(name="../../etc/passwd"), "expected a name in the avatar's own"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_contracts_are_refused_by_field(folder, case):
    edit, words = BROKEN[case]
    with pytest.raises(BundleError, match=words) as error:
        read_bundle(edited(folder, edit))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_files_that_are_no_contract_are_refused(folder, content):
    (folder / "avatar.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"avatar\.json: not (readable as JSON|an avatar)"):
        read_bundle(folder)


def test_a_huge_contract_is_not_read(folder):
    (folder / "avatar.json").write_bytes(b" " * (2 << 20))
    with pytest.raises(BundleError, match=r"avatar\.json: expected at most 1048576 bytes for a file of settings"):
        read_bundle(folder)


def test_of_several_contracts_one_must_be_named(folder):
    (folder / "second.json").write_text("{}")
    with pytest.raises(BundleError, match=r"found avatar\.json, second\.json; name the file"):
        read_bundle(folder)
    assert read_bundle(folder / "avatar.json").contract.image_size == 64
    with pytest.raises(BundleError, match="no such file or folder"):
        read_bundle(folder / "third.json")


def test_the_schema_beside_the_code_is_that_of_the_code():
    """Descriptions are docstrings: where one changes, write the file anew, as docs/architecture.md has it."""
    assert SCHEMA.read_text() == json.dumps(AVATAR.schema(), indent=2) + "\n"
    (told,) = (block for block in blocks("docs/architecture.md") if "avatar.schema.json" in block.text)
    program = shlex.split(told.text.partition(" > ")[0])[-1]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == SCHEMA.read_text()


LEFT_OUT = {
    *SIZES,
    "refine",
    "anchors",
    "tflite",
    "tflite_fp16",
    "litert_db",
    "litert_fp16_frame_db",
    "executorch_db",
    "coreml",
    "pte_xnnpack",
    "pte_vulkan",
    "integers",
    "quantization",
    "equalized",
    "lids",
}  # at their defaults


def test_the_schema_has_every_field_and_says_what_it_is():
    schema = AVATAR.schema()
    side = schema["properties"]["image_size"]
    assert side == {
        "description": "px, side of the network's results", "maximum": 4096, "minimum": 1, "type": "integer"
    }  # fmt: skip
    for kind in (schema, *schema["$defs"].values()):
        assert kind["required"] == [name for name in kind["properties"] if name not in LEFT_OUT]
        assert kind["additionalProperties"] is False
        assert kind["description"]


@given(st.data())
def test_no_damage_escapes_as_another_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "f").write_bytes(b"x")
    file = describe_file(folder / "f")
    whole = contract_of(file)
    damaged = copy.deepcopy(whole)
    *path, last = data.draw(st.sampled_from(list(paths(whole))))
    place = damaged
    for step in path:
        place = place[step]
    place[last] = data.draw(st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just([]) | st.just({}))
    (folder / "avatar.json").write_text(json.dumps(damaged))
    with contextlib.suppress(BundleError) if fits(AVATAR.schema(), damaged) else pytest.raises(BundleError):
        read_bundle(folder)


def fits(schema, value, rules=None):
    """Whether JSON follows the schema, by as much of JSON Schema as ours says."""
    rules = schema if rules is None else rules
    if "$ref" in rules:
        return fits(schema, value, schema["$defs"][rules["$ref"].rpartition("/")[2]])
    if "anyOf" in rules:
        return any(fits(schema, value, one) for one in rules["anyOf"])
    if "const" in rules:
        return value == rules["const"] and type(value) is type(rules["const"])
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
    right = value is None if rules["type"] == "null" else isinstance(value, kinds[rules["type"]])
    if not right or (isinstance(value, bool) and rules["type"] != "boolean"):
        return False
    if rules["type"] == "object" and "properties" in rules:
        return value.keys() == rules["properties"].keys() and all(
            fits(schema, item, rules["properties"][name]) for name, item in value.items()
        )
    if rules["type"] == "array":
        return rules.get("minItems", 0) <= len(value) <= rules.get("maxItems", 1000)
    return rules["type"] not in ("integer", "number") or rules.get("minimum", value) <= value <= rules.get(
        "maximum", value
    )


def contract_of(file: BundledFile):
    fields = {"name": file.name, "bytes": file.bytes, "sha256": file.sha256}
    channels = {"tensor": "t", "start": 0, "stop": 1, "scale": 1.0, "offset": 0.0}
    return {
        "format": "bilayer-avatar",
        "version": 1,
        "image_size": 64,
        "align_corners": False,
        "input": {"tensor": "pose", "width": 136, "harmonics": 0},
        "outputs": {"delta_uv": {**channels, "stop": 2}, "lf_rgb": {**channels, "stop": 3}, "seg": None},
        "files": {"onnx": fields, "texture": dict(fields), "preview": dict(fields), "dlc": None},
        "source": {"photo_size": [1, 1], "crop": [0, 0, 1, 1], "pose": [0.0] * 136},
        "graph": {"opset": 8, "upsample": "deconv", "gmacs": 1.0, "norms_kept": []},
        "dlc": None,
        "verification": {
            "verified": True,
            "poses": 1,
            "psnr_db": {"lf_rgb": 120.0},
            "hybrid_frame_db": 61.0,
            "hybrid_uv_pixels": 0,
        },
        "origin": {"checkpoint": "c", "checkpoint_sha256": "", "trained": True, "enhanced": True, "versions": {}},
    }


def paths(content, prefix=()):
    for key, value in content.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from paths(value, (*prefix, key))
