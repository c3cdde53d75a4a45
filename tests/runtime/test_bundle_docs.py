"""docs/bundle.md is enough for a reader in another language: the one in JavaScript gives the Python player's frames."""

import json
import re
import shutil
import subprocess
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import get_args, get_origin, get_type_hints

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load_file

from bilayer.runtime import AvatarPlayer
from bilayer.runtime.anchors.mover import WarpMover
from bilayer.runtime.bundle import AVATAR, Anchor, Contract, PoseInput, WarpAnchors
from bilayer.runtime.engines.pose_encoding import PoseEncoder
from bilayer.runtime.frame import NetworkOutputs
from bilayer.runtime.sampler.compositor import FrameCompositor
from tests.runtime.conftest import POSES
from tests.runtime.test_anchors import anchors

DOCS = Path(__file__).parent.parent.parent / "docs"
READER = DOCS / "examples" / "reader.mjs"
VECTOR = json.loads((DOCS / "examples" / "vector.json").read_text(encoding="utf-8"))
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")


def node(*arguments, check=True, **options):
    words = ["node", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, timeout=120, check=False, **options)
    assert not check or done.returncode == 0, done.stderr.decode()
    return done


def keys(kind, prefix=""):
    for field in fields(kind):
        yield f"{prefix}{field.name}"
        hint = get_type_hints(kind)[field.name]
        for choice in get_args(hint) if isinstance(hint, UnionType) else (hint,):
            if is_dataclass(choice):
                yield from keys(choice, f"{prefix}{field.name}.")
            elif get_origin(choice) is list and is_dataclass(get_args(choice)[0]):
                yield from keys(get_args(choice)[0], f"{prefix}{field.name}[].")


def test_every_key_of_the_contract_is_explained():
    section = (DOCS / "bundle.md").read_text(encoding="utf-8").split("## avatar.json")[1].split("\n## ")[0]
    explained = set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))
    shared = {f"outputs.{name}" for name in ("delta_uv", "lf_rgb", "seg")}
    further = ("tflite", "tflite_fp16", "pte_xnnpack", "pte_vulkan", "coreml", "integers", "lids")
    shared |= {f"files.{name}" for name in ("onnx", "texture", "preview", "dlc", *further)}
    expected = {re.sub(r"^(outputs|files)\.\w+\.", r"\1.*.", key) for key in keys(Contract)}
    assert shared < expected
    assert explained == expected | {"format", "version"}


def test_the_example_is_a_contract():
    contract = AVATAR.read(DOCS / "examples" / "avatar.json")
    assert contract.origin.checkpoint == "demo.safetensors"
    assert contract.dlc is not None
    assert contract.to_json() == (DOCS / "examples" / "avatar.json").read_text(encoding="utf-8")


def test_the_vector_is_what_python_computes():
    encoding = VECTOR["encoding"]
    encoder = PoseEncoder(PoseInput("pose", len(encoding["encoded"]), encoding["harmonics"]), "vector.json")
    np.testing.assert_allclose(encoder.encode(encoding["pose"]), encoding["encoded"], atol=2e-7)
    assert {case["contract"]["align_corners"] for case in VECTOR["frames"]} == {False, True}
    assert [case["contract"].get("frame_size") for case in VECTOR["frames"]] == [None, None, 5, 2]
    for case in VECTOR["frames"]:
        size = case["contract"]["image_size"]
        side = case["contract"].get("texture_size", size) + 3
        texture = np.float32(case["texture"]).reshape(side, side, 4)
        layers = np.float32(case["tensors"]["layers"]).reshape(6, size, size)
        frame_size = case["contract"].get("frame_size", size)
        chosen = {"size": frame_size, "mask_scale": 0.5, "mask_offset": 0.5}
        compositor = FrameCompositor(texture, case["contract"]["align_corners"], **chosen)
        frame = compositor.render(layers[:2], layers[2:5], layers[5:])
        np.testing.assert_array_equal(frame.reshape(-1), case["frame"])


def test_the_anchors_of_the_vector_are_what_python_computes():
    case = VECTOR["anchors"]
    points = [Anchor(**point) for point in case["anchors"]["points"]]
    given = WarpAnchors(case["anchors"]["reach"], case["anchors"]["limit"], points)
    warp = np.float32(case["delta_uv"]).reshape(2, case["image_size"], case["image_size"])
    moved = WarpMover(given, case["image_size"]).move(NetworkOutputs(warp, warp, None), case["pose"]).delta_uv
    np.testing.assert_allclose(moved.ravel(), case["moved"], atol=1e-6)
    assert np.abs(moved - warp).max() > 0.01


@needs_node
def test_the_reader_moves_the_warp_of_the_vector(tmp_path):
    script = tmp_path / "anchors.mjs"
    script.write_text(
        f"import {{ anchorWarp }} from {json.dumps(READER.as_uri())};\n"
        f"const {{ anchors, image_size: S, delta_uv, pose }} = {json.dumps(VECTOR['anchors'])};\n"
        "const given = (axis, row, column) => delta_uv[(axis * S + row) * S + column];\n"
        "const moves = anchorWarp(anchors, S, given, pose);\n"
        "const at = (index) => [Math.floor(index / (S * S)), Math.floor(index / S) % S, index % S];\n"
        "console.log(JSON.stringify(delta_uv.map((value, index) => value + moves(...at(index)))));\n"
    )
    np.testing.assert_allclose(json.loads(node(script).stdout), VECTOR["anchors"]["moved"], atol=1e-6)


@needs_node
def test_the_reader_computes_the_vector(tmp_path):
    script = tmp_path / "vector.mjs"
    script.write_text(
        f"import {{ composeFrame, encodePose }} from {json.dumps(READER.as_uri())};\n"
        f"const {{ encoding, frames }} = {json.dumps(VECTOR)};\n"
        "const encoded = Array.from(encodePose(encoding.harmonics, Float32Array.from(encoding.pose)));\n"
        "const shown = frames.map((given) => Array.from(composeFrame(given, given.tensors)));\n"
        "console.log(JSON.stringify({ encoded, shown }));\n"
    )
    given = json.loads(node(script).stdout)
    np.testing.assert_allclose(given["encoded"], VECTOR["encoding"]["encoded"], atol=2e-7)
    assert given["shown"] == [case["frame"] for case in VECTOR["frames"]]


def frame_by_reader(folder, pose, tmp_path):
    """The reader's encoded pose through the bundle's own ONNX, and the reader's frame of what comes out."""
    contract = json.loads((folder / "avatar.json").read_text(encoding="utf-8"))
    (tmp_path / "pose.f32").write_bytes(np.float32(pose).tobytes())
    encoded = np.frombuffer(node(READER, folder / "avatar.json", tmp_path / "pose.f32").stdout, np.float32)
    session = onnxruntime.InferenceSession(folder / contract["files"]["onnx"]["name"])
    words = []
    names = [output.name for output in session.get_outputs()]
    for name, tensor in zip(names, session.run(names, {contract["input"]["tensor"]: encoded[None]}), strict=True):
        (tmp_path / name).write_bytes(tensor.tobytes())
        words.append(f"{name}={tmp_path / name}")
    done = node(READER, folder / "avatar.json", tmp_path / "pose.f32", *words)
    size = contract.get("frame_size", contract["image_size"])
    return np.frombuffer(done.stdout, np.uint8).reshape(size, size, 4)


def assert_frames_are_the_players(folder, tmp_path):
    player = AvatarPlayer.load(folder, engine="onnxruntime")
    for pose in POSES[:2]:
        frame, expected = frame_by_reader(folder, pose, tmp_path), player.render(pose)
        assert np.ptp(expected[..., :3]) > 30  # a picture, not a flat field
        difference = np.abs(frame.astype(int) - expected)
        assert difference.max() <= 1
        assert np.mean(difference == 0) >= 0.999


@needs_node
def test_its_frames_are_the_players(exported, tmp_path):
    assert_frames_are_the_players(exported.folder, tmp_path)


@needs_node
def test_its_frames_of_unusual_contracts_are_too(unusual, tmp_path):
    assert_frames_are_the_players(unusual.folder, tmp_path)


@needs_node
def test_its_frames_of_an_avatar_with_anchors_are_too(editable, tmp_path):
    folder = editable(lambda contract: contract.update(anchors=asdict(anchors())))
    assert_frames_are_the_players(folder, tmp_path)


@needs_node
def test_it_refuses_what_is_not_the_bundle(editable, tmp_path):
    (tmp_path / "pose.f32").write_bytes(np.float32(POSES[0]).tobytes())
    folder = editable(lambda contract: None)
    texture = folder / "avatar.safetensors"
    content = texture.read_bytes()
    for path, changed, message in (
        (texture, content[:-1] + bytes([content[-1] ^ 1]), "avatar.safetensors: another file"),
        (folder / "avatar.json", b'{"format": "zip"}', "no avatar of version 1"),
    ):
        before = path.read_bytes()
        path.write_bytes(changed)
        done = node(READER, folder / "avatar.json", tmp_path / "pose.f32", check=False)
        assert done.returncode != 0
        assert message in done.stderr.decode()
        path.write_bytes(before)
    node(READER, folder / "avatar.json", tmp_path / "pose.f32")
    path = folder / "avatar.json"
    path.write_text(path.read_text().replace("avatar.safetensors", "../avatar.safetensors"))
    done = node(READER, folder / "avatar.json", tmp_path / "pose.f32", check=False)
    assert "texture is not beside it" in done.stderr.decode()


def test_the_texture_in_a_bundle_is_laid_out_as_told(bundle_folder):
    texture = load_file(bundle_folder / "avatar.safetensors")["texture"]
    assert texture.shape == (67, 67, 4)
    assert not texture[0].any()
    assert not texture[-2:].any()
    assert not texture[:, 0].any()
    assert not texture[:, -2:].any()
    assert texture[1:-2, 1:-2, :3].any()
    assert not texture[..., 3].any()
