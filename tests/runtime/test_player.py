"""A bundle and a pose give the frame that the trained model gives, and a damaged bundle one clear error."""

import json
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from bilayer.runtime.engines.choice import installed
from bilayer.runtime.errors import BilayerError, BundleError, InputError, LandmarkError
from bilayer.runtime.player import AvatarPlayer
from tests.runtime.conftest import CASE, POSES

ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(not installed(name), reason=f"{name} is not installed"))
    for name in ("onnxruntime", "openvino", "ncnn", "litert")
]
ENGINES_OF_ONNX = [engine for engine in ENGINES if engine.values != ("litert",)]  # which reads the .tflite
engines = pytest.mark.parametrize("engine", ENGINES)
readers_of_onnx = pytest.mark.parametrize("engine", ENGINES_OF_ONNX)


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """Of what ncnn reads: these avatars are gone tomorrow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BILAYER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def reference_frame(rendering):
    """(S, S, 4) as shown: clamped, scaled, the fraction cut off; the mask as alpha, rounded."""
    colours = ((rendering.lf_rgb + rendering.hf_rgb).clamp(-1, 1) + 1) / 2 * 255
    seg = rendering.seg_logits
    alpha = torch.ones_like(colours[:, :1]) if seg is None else torch.sigmoid(seg)
    return torch.cat([colours, (alpha * 255).round()], dim=1)[0].permute(1, 2, 0).to(torch.uint8).numpy()


def assert_same_picture(frame, expected):
    difference = np.abs(frame.astype(int) - expected)
    assert np.mean(difference <= 1) >= 0.999


@engines
def test_frames_are_the_trained_models(exported, engine):
    avatar = AvatarPlayer.load(exported.folder, engine=engine, threads=1)
    assert (avatar.engine, avatar.precision, avatar.size) == (engine, "fp32", 64)
    np.testing.assert_allclose(avatar.source_pose, CASE["source_poses"][0, 0], atol=1e-7)
    for pose in POSES:
        frame = avatar.render(pose)
        expected = exported.rendering(pose)
        shown = reference_frame(expected)
        assert np.ptp(shown[..., :3]) > 50  # a picture, not a flat field
        assert frame.shape == shown.shape
        assert frame.dtype == np.uint8
        assert_same_picture(frame, shown)


@engines
def test_other_contracts(unusual, engine):
    avatar = AvatarPlayer.load(unusual.folder, engine=engine, threads=1)
    for pose in POSES:
        assert_same_picture(avatar.render(pose), reference_frame(unusual.rendering(pose)))
    has_mask = unusual.model.config.inf_pred_segmentation
    assert has_mask or (avatar.render(POSES[0])[..., 3] == 255).all()


def test_layers_are_the_trained_models(exported):
    avatar = AvatarPlayer.load(exported.folder, threads=1)
    first = avatar.layers(POSES[0])
    avatar.layers(POSES[1])  # must not write into what was returned
    expected = exported.rendering(POSES[0])
    np.testing.assert_allclose(first.uv, expected.uv[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(first.lf, expected.lf_rgb[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(first.hf, expected.hf_rgb[0].numpy(), atol=1e-3)  # 1e-5 of uv, at the steepest edges
    np.testing.assert_allclose(first.mask, torch.sigmoid(expected.seg_logits)[0, 0].numpy(), atol=1e-5)


def test_one_pose_a_batch_and_a_track_are_the_same_frames(bundle_folder):
    avatar = AvatarPlayer.load(bundle_folder / "avatar.json", threads=1)
    singles = [avatar.render(pose) for pose in POSES]
    assert len({frame.tobytes() for frame in singles}) == len(POSES)
    np.testing.assert_array_equal(avatar.render_batch(POSES), singles)
    np.testing.assert_array_equal(avatar.render_batch(POSES.reshape(-1, 68, 2)), singles)
    np.testing.assert_array_equal(list(avatar.frames(iter(POSES))), singles)
    buffer = np.empty((64, 64, 4), np.uint8)
    for frame, expected in zip(avatar.frames(POSES, buffer), singles, strict=True):
        assert frame is buffer
        np.testing.assert_array_equal(frame, expected)
    batch = np.empty((3, 64, 64, 4), np.uint8)
    assert avatar.render_batch(POSES, batch) is batch
    np.testing.assert_array_equal(batch, singles)
    with pytest.raises(InputError, match=r"out: expected \(3, 64, 64, 4\), found \(2, 64, 64, 4\)"):
        avatar.render_batch(POSES, batch[:2])


@pytest.mark.parametrize("threads", [2, 3, None])
def test_a_frame_is_the_same_on_any_number_of_threads(bundle_folder, threads):
    alone, together = (AvatarPlayer.load(bundle_folder, engine="onnxruntime", threads=n) for n in (1, threads))
    for pose in POSES:
        np.testing.assert_allclose(together.render(pose).astype(int), alone.render(pose), atol=1)  # the network's sums


def test_backgrounds(bundle_folder):
    frame = AvatarPlayer.load(bundle_folder, threads=1).render(POSES[0]).astype(float)
    colour = np.array([10, 200, 90])
    over = AvatarPlayer.load(bundle_folder, threads=1, background=colour).render(POSES[0])
    opacity = frame[..., 3:] / 255
    assert (over[..., 3] == 255).all()
    assert np.abs(over[..., :3] - (frame[..., :3] * opacity + colour * (1 - opacity))).max() <= 2
    picture = np.broadcast_to(colour.astype(np.uint8), (64, 64, 3))
    np.testing.assert_array_equal(
        AvatarPlayer.load(bundle_folder, threads=1, background=picture).render(POSES[0]), over
    )
    premultiplied = AvatarPlayer.load(bundle_folder, threads=1, alpha="premultiplied").render(POSES[0])
    assert np.abs(premultiplied[..., :3] - frame[..., :3] * opacity).max() <= 2
    with pytest.raises(InputError, match=r"background: \(65, 64\) px wide and high, the frame \(64, 64\)"):
        AvatarPlayer.load(bundle_folder, background=np.zeros((64, 65, 3), np.uint8))


@engines
def test_a_frame_into_a_callers_buffer_allocates_nothing(unusual, bundle_folder, engine):
    for folder in (bundle_folder, unusual.folder):
        avatar = AvatarPlayer.load(folder, engine=engine, threads=1)
        buffer = np.empty((avatar.size, avatar.size, 4), np.uint8)
        avatar.render(POSES[0], buffer)
        tracer = sys.gettrace()
        sys.settrace(None)  # a measurer of coverage allocates, too
        tracemalloc.start()
        try:
            for pose in POSES:
                assert avatar.render(pose, buffer) is buffer
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            sys.settrace(tracer)
        assert peak < 4096  # Python objects of views and calls; the smallest layer of 32 px is as large


@pytest.mark.parametrize(
    ("pose", "words"),
    [
        (np.zeros(135), r"pose: expected \(136,\) or \(68, 2\) numbers, found float64 \(135,\)"),
        (np.zeros((136, 1)), r"found float64 \(136, 1\)"),
        (["x"] * 136, "found <U1"),
        (np.where(np.arange(136) == 7, np.nan, 0), "pose: number 7 is not finite"),
        (np.where(np.arange(136) == 9, 1e300, 0), "pose: number 9 is not finite"),
    ],
)
def test_poses_that_are_none(bundle_folder, pose, words):
    avatar = AvatarPlayer.load(bundle_folder, threads=1)
    before = avatar.render(POSES[0])
    with pytest.raises(LandmarkError, match=words):
        avatar.render(pose)
    np.testing.assert_array_equal(avatar.render(POSES[0]), before)


def test_scale_and_offset_of_every_output_are_obeyed(editable, bundle_folder):
    """A contract that says half the offsets and shifts the colours, and a network that is told the opposite."""

    def change(contract):
        contract["outputs"]["delta_uv"] |= {"scale": 0.5, "offset": 0.125}
        contract["outputs"]["lf_rgb"] |= {"scale": 2.0, "offset": -0.25}

    plain = AvatarPlayer.load(bundle_folder, threads=1).layers(POSES[0])
    avatar = AvatarPlayer.load(editable(change), threads=1)
    layers = avatar.layers(POSES[0])
    centres = ((2 * np.arange(64) + 1) / 64 - 1).astype(np.float32)
    identity = np.stack(np.meshgrid(centres, centres), axis=-1)
    np.testing.assert_allclose(layers.uv - identity, (plain.uv - identity) * 0.5 + 0.125, atol=1e-6)
    np.testing.assert_allclose(layers.lf, plain.lf * 2 - 0.25, atol=1e-6)
    shown = ((layers.lf + layers.hf).clip(-1, 1) + 1) / 2 * 255
    assert_same_picture(avatar.render(POSES[0])[..., :3], shown.transpose(1, 2, 0).astype(np.uint8))


def packed(size=64, **changes):
    texture = np.zeros((size + 3, size + 3, 4), changes.get("dtype", np.float32))
    texture[1:-2, 1:-2, :3] = 0.5
    for place, value in changes.get("values", {}).items():
        texture[place] = value
    return texture


def store(folder, content):
    path = folder / "avatar.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        save_file(content, path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a .safetensors file"),
        (b"\xff" * 100, "not a .safetensors file"),
        ({"texture": packed(size=63)}, r"expected texture F32 \[67, 67, 4\], found texture F32 \[66, 66, 4\]"),
        ({"texture": packed(dtype=np.float16)}, r"found texture F16 \[67, 67, 4\]"),
        ({"other": packed()}, "found other"),
        ({"texture": packed(), "other": packed()}, "expected texture F32"),
        ({"texture": packed(values={(5, 5, 0): np.nan})}, "values that are not finite"),
        ({"texture": packed(values={(0, 5, 0): 1})}, "expected a border of zeros"),
        ({"texture": packed(values={(5, 66, 0): 1})}, "expected a border of zeros"),
    ],
)
def test_damaged_textures(editable, content, words):
    folder = editable(lambda contract: None)
    store(folder, content)
    with pytest.raises(BundleError, match="not the file that the avatar was exported with"):
        AvatarPlayer.load(folder)
    editable(lambda contract: None)
    with pytest.raises(BundleError, match=words) as caught:
        AvatarPlayer.load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder / "avatar.safetensors") in str(caught.value)


def network(inputs=(("pose", (1, 136)),), outputs=(("layers", (1, 6, 64, 64)),), kind=TensorProto.FLOAT):
    """Zeros of any shapes, by way of a sum over the inputs."""
    nodes = [helper.make_node("ReduceSum", [name], [f"sum_{name}"], keepdims=0) for name, _ in inputs]
    nodes.append(helper.make_node("Sum", [f"sum_{name}" for name, _ in inputs], ["sum"]))
    constants = []
    for name, shape in outputs:
        known = [side if isinstance(side, int) else 64 for side in shape]
        constants.append(helper.make_tensor(f"{name}_0", kind, known, np.zeros(known).ravel()))
        nodes.append(helper.make_node("Mul", ["sum", f"{name}_0"], [name]))
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs],
        constants,
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    onnx.checker.check_model(proto)
    return proto.SerializeToString()


@readers_of_onnx
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a network that can be run"),
        (b"\x08\x03garbage" * 20, "not a network that can be run"),
        (network(inputs=[("poses", (1, 136))]), r"input: expected pose \[1, 136\] in float32, found poses \[1, 136\]"),
        (network(inputs=[("pose", (1, 68))]), r"found pose \[1, 68\]"),
        (network(inputs=[("pose", ("n", 136))]), "input: expected pose"),
        (network(inputs=[("pose", (1, 136)), ("z", (1,))]), "input: expected pose"),
        (network(kind=TensorProto.DOUBLE), "input: expected pose"),
        (network(outputs=[("layers", (1, 5, 64, 64))]), r"output layers: expected \[1, at least 6, 64, 64\]"),
        (network(outputs=[("layers", (1, 6, 32, 64))]), r"output layers: .* found \[1, 6, 32, 64\]"),
        (network(outputs=[("other", (1, 6, 64, 64))]), "output layers: .* found none"),
    ],
    ids=range(10),
)
def test_networks_that_are_not_the_contracts(editable, content, words, engine):
    folder = editable(lambda contract: None)
    (folder / "avatar.onnx").write_bytes(content)
    editable(lambda contract: None)
    with pytest.raises(BundleError, match=words) as caught:
        AvatarPlayer.load(folder, engine=engine)
    assert "\n" not in str(caught.value)
    assert str(folder / "avatar.onnx") in str(caught.value)


def set_field(*keys):
    *path, last, value = keys

    def change(contract):
        for key in path:
            contract = contract[key]
        contract[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_field("image_size", 0), "image_size: expected int >= 1, found 0"),
        (set_field("image_size", 10**12), "image_size: expected int <= 4096, found 1000000000000"),
        (set_field("image_size", 32), r"expected texture F32 \[35, 35, 4\]"),
        (set_field("input", "harmonics", 4), "input: 136 numbers with 4 harmonics, expected 1088"),
        (set_field("input", "harmonics", -1), "harmonics"),
        (set_field("input", "tensor", "poses"), "input: expected poses"),
        (set_field("source", "pose", [0.0]), "source.pose: expected array of length >= 136"),
        (set_field("source", "pose", [0.0] * 137), "source.pose: expected array of length <= 136"),
        (set_field("source", "pose", [float("nan")] * 136), r"source.pose\[0\]: expected float > -1000.0, found nan"),
        (set_field("source", "pose", [1e300] * 136), r"source.pose\[0\]: expected float < 1000.0, found 1e\+300"),
        (set_field("outputs", "seg", "stop", 7), "seg"),
        (set_field("outputs", "seg", {"tensor": "pose", "start": 5, "stop": 6, "scale": 1.0, "offset": 0.0}), "pose"),
        (
            set_field("outputs", "lf_rgb", "scale", float("nan")),
            "outputs.lf_rgb.scale: expected a finite number, found nan",
        ),
    ],
)
def test_contracts_that_contradict_the_files(editable, change, words):
    with pytest.raises(BundleError, match=words) as caught:
        AvatarPlayer.load(editable(change))
    assert "\n" not in str(caught.value)


def test_no_part_of_a_bundle_can_be_cut_or_missing(editable):
    folder = editable(lambda contract: None)
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        for damaged in (content[: len(content) // 2], None):
            if damaged is None:
                path.unlink()
            else:
                path.write_bytes(damaged)
            with pytest.raises(BilayerError) as caught:
                AvatarPlayer.load(folder)
            assert isinstance(caught.value, BundleError)
        path.write_bytes(content)
    AvatarPlayer.load(folder)
    with pytest.raises(BundleError, match="no such file or folder"):
        AvatarPlayer.load(Path("no") / "where")


def test_the_contract_on_disk_is_what_the_avatar_says(bundle_folder):
    contract = json.loads((bundle_folder / "avatar.json").read_text())
    assert AvatarPlayer.load(bundle_folder, threads=1).bundle.contract.image_size == contract["image_size"]
