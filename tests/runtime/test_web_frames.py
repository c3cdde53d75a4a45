"""The page's module composes frames and runs face networks as Python does: asked under Node.js, as built."""

import base64
import json

import numpy as np
import onnxruntime
import pytest

from bilayer.runtime.face import model_files
from bilayer.runtime.face.tflite import TfliteNetwork
from bilayer.runtime.sampler.compositor import FrameCompositor
from bilayer.runtime.sampler.grid_sample import pack_texture
from tests.runtime.web_module import EXAMPLE, needs_node, packed, value

pytestmark = needs_node


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("side", "texture_side", "frame"), [(32, 32, 32), (32, 48, 50), (32, 20, 17)])
def test_frames_are_the_compositors_to_two_levels(align_corners, side, texture_side, frame):
    rng = np.random.default_rng(side + frame)
    texture = pack_texture(rng.uniform(-1.2, 1.2, (3, texture_side, texture_side)))
    layers = rng.normal(0, 0.3, (6, side, side)).astype(np.float32)
    layers[0, 0, :3] = np.nan, np.inf, -np.inf
    layers[2:, 1, 0] = np.nan
    compositor = FrameCompositor(texture, align_corners, mask_scale=0.5, mask_offset=0.5, size=frame)
    expected = compositor.render(layers[:2], layers[2:5], layers[5:])
    contract = json.loads(EXAMPLE.read_text(encoding="utf-8")) | {
        "image_size": side, "texture_size": texture_side, "frame_size": frame, "align_corners": align_corners,
    }  # fmt: skip
    request = {
        "contract": contract,
        "texture": packed(texture.tobytes()),
        "tensors": {"layers": packed(layers.tobytes())},
    }
    found = np.frombuffer(base64.b64decode(value({"call": "compose", "view": "frame", **request})), np.uint8)
    off = np.abs(found.reshape(expected.shape).astype(int) - expected)
    if frame == side:
        assert off.max() <= 1
    assert (off <= 2).mean() > 0.999


@pytest.mark.parametrize("model", [model_files.FACE_DETECTOR, model_files.FACE_MESH], ids=["detector", "mesh"])
def test_a_face_network_as_onnx_gives_what_litert_gives(face_networks, model):
    content = model_files.load(model)
    converted = value({"call": "onnx", "tflite": packed(content)})
    network = onnxruntime.InferenceSession(base64.b64decode(converted["onnx"]), providers=["CPUExecutionProvider"])
    given = network.get_inputs()[0]
    picture = np.random.default_rng(3).uniform(-1, 1, (given.shape[2], given.shape[3], 3)).astype(np.float32)
    results = network.run(converted["outputs"], {given.name: np.ascontiguousarray(picture.transpose(2, 0, 1)[None])})
    for found, expected in zip(results, TfliteNetwork(content)(picture), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2e-3, rtol=2e-3)
