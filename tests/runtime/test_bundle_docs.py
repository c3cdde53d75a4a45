"""docs/bundle.md is enough for a reader in another language: the one in JavaScript gives the Python player's frames."""

import json
import re
import shutil
import subprocess
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load_file

from bilayer.runtime import AvatarPlayer
from bilayer.runtime.anchors.mover import WarpMover
from bilayer.runtime.bundle import AVATAR, Anchor, Contract, DrawnLids, PoseInput, WarpAnchors, read_bundle
from bilayer.runtime.engines.pose_encoding import PoseEncoder
from bilayer.runtime.frame import NetworkOutputs
from bilayer.runtime.lids import LidPainter, shut_eyes
from bilayer.runtime.sampler.compositor import FrameCompositor
from tests.runtime.conftest import POSES
from tests.runtime.test_anchors import anchors
from tests.runtime.test_lids import give_lids, with_eyes

DOCS = Path(__file__).parent.parent.parent / "docs"
EXAMPLES = DOCS / "examples"
FRAME = EXAMPLES / "frame.mjs"
VECTOR = json.loads((EXAMPLES / "vector.json").read_text(encoding="utf-8"))
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
    contract = AVATAR.read(EXAMPLES / "avatar.json")
    assert contract.origin.checkpoint == "demo.safetensors"
    assert contract.dlc is not None
    assert contract.to_json() == (EXAMPLES / "avatar.json").read_text(encoding="utf-8")


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


def test_the_lids_of_the_vector_are_what_python_computes():
    for case in VECTOR["lids"]["cases"]:
        shut = shut_eyes(case["pose"], case["source"])
        assert [round(float(share) * VECTOR["lids"]["levels"]) for share in shut] == case["pieces"]
    assert {level for case in VECTOR["lids"]["cases"] for level in case["pieces"]} == set(range(5))


def test_the_whole_frame_of_the_vector_is_what_python_computes():
    """With lids, anchors and another size than the network's."""
    case = VECTOR["whole"]
    contract = case["contract"]
    size, frame_size, side = contract["image_size"], contract["frame_size"], contract["texture_size"] + 3
    lids = msgspec.convert(contract["lids"], DrawnLids)
    texture = np.float32(case["texture"]).reshape(side, side, 4)
    layers = np.float32(case["tensors"]["layers"]).reshape(6, size, size)
    compositor = FrameCompositor(texture, False, size=frame_size, mask_scale=0.5, mask_offset=0.5)
    shapes = [(eye, (lids.levels, eye.height, eye.width, 4)) for eye in lids.eyes]
    pieces = [np.float32(case["pieces"][eye.tensor]).reshape(shape) for eye, shape in shapes]
    assert not np.array_equal(texture.ravel(), case["shown"])
    LidPainter(lids, pieces, texture, contract["source"]["pose"]).show(case["pose"])
    np.testing.assert_array_equal(texture.ravel(), case["shown"])
    given = NetworkOutputs(layers[:2], layers[2:5], layers[5:])
    moved = WarpMover(msgspec.convert(contract["anchors"], WarpAnchors), size).move(given, case["pose"])
    np.testing.assert_array_equal(compositor.compose(moved).ravel(), case["frame"])


def answer(tmp_path, program):
    """What a JavaScript program that knows the examples' functions and the vector writes, as JSON."""
    names = {"reader": "composeFrame, encodePose, readResults", "anchors": "moveWarp", "lids": "drawLids, piecesOf"}
    imports = [f"import {{ {names[name]} }} from {json.dumps((EXAMPLES / f'{name}.mjs').as_uri())};" for name in names]
    given = f"const {{ encoding, frames, anchors, lids, whole }} = {json.dumps(VECTOR)};"
    script = tmp_path / "vector.mjs"
    script.write_text("\n".join([*imports, given, program]))
    return json.loads(node(script).stdout)


@needs_node
def test_the_reader_moves_the_warp_of_the_vector(tmp_path):
    program = "console.log(JSON.stringify(moveWarp(anchors, anchors.delta_uv, anchors.pose)));"
    np.testing.assert_allclose(answer(tmp_path, program), VECTOR["anchors"]["moved"], atol=1e-6)


@needs_node
def test_the_reader_shuts_the_eyes_of_the_vector(tmp_path):
    program = (
        "const found = lids.cases.map(({ source, pose }) => piecesOf(lids.levels, source, pose));\n"
        "console.log(JSON.stringify(found));"
    )
    assert answer(tmp_path, program) == [case["pieces"] for case in VECTOR["lids"]["cases"]]


@needs_node
def test_the_reader_computes_the_vector(tmp_path):
    program = (
        "const encoded = Array.from(encodePose(encoding.harmonics, Float32Array.from(encoding.pose)));\n"
        "const shown = frames.map(({ contract, texture, tensors }) => "
        "Array.from(composeFrame(contract, texture, readResults(contract, tensors))));\n"
        "console.log(JSON.stringify({ encoded, shown }));"
    )
    given = answer(tmp_path, program)
    np.testing.assert_allclose(given["encoded"], VECTOR["encoding"]["encoded"], atol=2e-7)
    assert given["shown"] == [case["frame"] for case in VECTOR["frames"]]


@needs_node
def test_the_reader_computes_the_whole_frame_of_the_vector(tmp_path):
    program = (
        "const { contract, pose, texture } = whole;\n"
        "const pieces = contract.lids.eyes.map(({ tensor }) => Float32Array.from(whole.pieces[tensor]));\n"
        "const results = readResults(contract, whole.tensors);\n"
        "results.delta_uv = moveWarp(contract, results.delta_uv, pose);\n"
        "const shown = drawLids(contract, Float32Array.from(texture), pieces, pose);\n"
        "const frame = composeFrame(contract, shown, results);\n"
        "console.log(JSON.stringify({ shown: Array.from(shown), frame: Array.from(frame) }));"
    )
    found = answer(tmp_path, program)
    assert found["shown"] == VECTOR["whole"]["shown"]
    assert found["frame"] == VECTOR["whole"]["frame"]


def test_the_reader_is_short_and_without_packages():
    lines = {path.name: path.read_text(encoding="utf-8").splitlines() for path in EXAMPLES.glob("*.mjs")}
    assert set(lines) == {"reader.mjs", "lids.mjs", "anchors.mjs", "frame.mjs"}
    assert len(lines["reader.mjs"]) <= 60
    page = (DOCS / "bundle.md").read_text(encoding="utf-8")
    for name in ("reader.mjs", "lids.mjs", "anchors.mjs"):
        assert re.search(rf"\(examples/{name}\)(?: is one,)? in {len(lines[name])} lines", page), name
    for name, text in lines.items():
        assert max(map(len, text)) <= 130, name
        assert not [line for line in text if re.search(r";\s*[^\s/)].*;", line) and "for (" not in line], name
    imported = re.findall(r'from "(.*)"', "\n".join(line for text in lines.values() for line in text))
    assert all(name.startswith(("node:", "./")) for name in imported)


def frame_by_reader(folder, pose, tmp_path):
    """The reader's encoded pose through the bundle's own ONNX, and the reader's frame of what comes out."""
    contract = json.loads((folder / "avatar.json").read_text(encoding="utf-8"))
    (tmp_path / "pose.f32").write_bytes(np.float32(pose).tobytes())
    encoded = np.frombuffer(node(FRAME, folder, tmp_path / "pose.f32").stdout, np.float32)
    session = onnxruntime.InferenceSession(folder / contract["files"]["onnx"]["name"])
    words = []
    names = [output.name for output in session.get_outputs()]
    for name, tensor in zip(names, session.run(names, {contract["input"]["tensor"]: encoded[None]}), strict=True):
        (tmp_path / name).write_bytes(tensor.tobytes())
        words.append(f"{name}={tmp_path / name}")
    done = node(FRAME, folder, tmp_path / "pose.f32", *words)
    size = contract.get("frame_size", contract["image_size"])
    return np.frombuffer(done.stdout, np.uint8).reshape(size, size, 4)


def assert_frames_are_the_players(folder, tmp_path, poses=POSES[:2]):
    player = AvatarPlayer.load(folder, engine="onnxruntime")
    for pose in poses:
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
@pytest.mark.parametrize("frame_size", [64, 100])
def test_its_frames_of_an_avatar_with_lids_and_anchors_are_too(editable, tmp_path, frame_size):
    folder = give_lids(editable(lambda contract: contract.update(anchors=asdict(anchors()), frame_size=frame_size)))
    source = read_bundle(folder).contract.source.pose
    poses = [with_eyes(opening, np.reshape(source, (68, 2))).ravel() for opening in ([0, 1], [0.6, 0.5])]
    assert_frames_are_the_players(folder, tmp_path, np.float32(poses))


@needs_node
def test_it_refuses_a_pose_that_is_not_finite(bundle_folder, tmp_path):
    (tmp_path / "pose.f32").write_bytes(np.full(136, np.nan, np.float32).tobytes())
    done = node(FRAME, bundle_folder, tmp_path / "pose.f32", check=False)
    assert done.returncode != 0
    assert "pose: a number is not finite" in done.stderr.decode()


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
        done = node(FRAME, folder, tmp_path / "pose.f32", check=False)
        assert done.returncode != 0
        assert message in done.stderr.decode()
        path.write_bytes(before)
    node(FRAME, folder, tmp_path / "pose.f32")
    path = folder / "avatar.json"
    path.write_text(path.read_text().replace("avatar.safetensors", "../avatar.safetensors"))
    done = node(FRAME, folder, tmp_path / "pose.f32", check=False)
    assert "files.texture: not in it" in done.stderr.decode()


def test_the_texture_in_a_bundle_is_laid_out_as_told(bundle_folder):
    texture = load_file(bundle_folder / "avatar.safetensors")["texture"]
    assert texture.shape == (67, 67, 4)
    assert not texture[0].any()
    assert not texture[-2:].any()
    assert not texture[:, 0].any()
    assert not texture[:, -2:].any()
    assert texture[1:-2, 1:-2, :3].any()
    assert not texture[..., 3].any()
