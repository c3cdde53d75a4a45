"""CSIM with tiny recognisers whose embeddings are known by hand."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skimage.transform import estimate_transform

from bilayer.runtime.errors import CheckpointError
from bilayer.training.metrics.identity import SIDE, TEMPLATE, FaceRecogniser, align_face, csim, similarity
from bilayer.training.metrics.meter import Meter
from tests.training.test_metrics_landmarks import face


def recogniser_file(path, batch="N", scaled_inside=False, side=SIDE):
    """An ONNX network whose embedding is the mean of each channel."""
    nodes = [helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)]
    constants = [helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])]
    source = "data"
    if scaled_inside:
        constants += [helper.make_tensor(n, TensorProto.FLOAT, [], [v]) for n, v in (("m", 127.5), ("s", 1 / 127.5))]
        nodes = [
            helper.make_node("Sub", ["data", "m"], ["centred"]),
            helper.make_node("Mul", ["centred", "s"], ["x"]),
            *nodes,
        ]
    else:
        nodes = [helper.make_node("Identity", ["data"], ["x"]), *nodes]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, [batch, 3, side, side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def flat(*colour, size=96):
    return np.full((size, size, 3), colour, np.uint8)


def unit(*values):
    return np.array(values) / np.linalg.norm(values)


@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("scaled_inside", [False, True])
def test_embeds_pictures_scaled_to_minus_one_to_one(tmp_path, batch, scaled_inside):
    recogniser = FaceRecogniser(recogniser_file(tmp_path / "r.onnx", batch, scaled_inside))
    landmarks = face(scale=15, centre=(48, 48))  # small in the picture: nothing from outside is seen
    colours = [(255, 0, 0), (255, 255, 51)]
    found = recogniser.embed([flat(*c) for c in colours], [landmarks] * 2)
    np.testing.assert_allclose(found, [unit(1, -1, -1), unit(1, 1, -0.6)], atol=1e-5)
    assert csim(found[0], found[0]) == pytest.approx(1)
    assert csim(found[0], found[1]) == pytest.approx(unit(1, -1, -1) @ unit(1, 1, -0.6), abs=1e-5)
    assert csim(found[0], found[1]) == csim(found[1], found[0])


def test_meter_aligns_both_by_the_truths_keypoints(tmp_path):
    meter = Meter(recogniser=FaceRecogniser(recogniser_file(tmp_path / "r.onnx")))
    landmarks = face(scale=15, centre=(48, 48))
    red, yellow = flat(255, 0, 0), flat(255, 255, 51)
    scores = meter.score([red, yellow], meter.prepare_truth([red, red], [landmarks, landmarks]))
    np.testing.assert_allclose(scores["csim"], [1, unit(1, -1, -1) @ unit(1, 1, -0.6)], atol=1e-5)
    assert "csim" not in meter.unavailable
    assert np.isnan(meter.score([red], meter.prepare_truth([red]))["csim"]).all()  # nobody knows where the face is


def test_similarity_is_umeyamas():
    rng = np.random.default_rng(0)
    for _ in range(20):
        points = rng.normal(size=(5, 2)) * 30 + 50
        expected = estimate_transform("similarity", points, TEMPLATE.astype(np.float64)).params[:2]
        np.testing.assert_allclose(similarity(points, TEMPLATE.astype(np.float64)), expected, atol=1e-9)


def test_alignment_undoes_place_size_and_turn():
    rng = np.random.default_rng(1)
    picture = np.zeros((160, 160, 3), np.uint8)
    picture[40:120, 40:120] = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((10, 10, 1)))
    landmarks = face(scale=40, centre=(80, 80))
    turned = np.ascontiguousarray(np.rot90(picture))  # counter-clockwise: (x, y) -> (y, 159 - x)
    moved = np.stack([landmarks[:, 1], 159 - landmarks[:, 0]], axis=1).astype(np.float32)
    difference = align_face(picture, landmarks).astype(int) - align_face(turned, moved)
    assert np.abs(difference).mean() < 1  # bilinear weights are rounded to 1/32 px


def test_a_network_of_another_shape_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"expected one input \(N, 3, 112, 112\)"):
        FaceRecogniser(recogniser_file(tmp_path / "r.onnx", side=64))


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.onnx: no such file; expected an ArcFace network"):
        FaceRecogniser(tmp_path / "none.onnx")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"not a network")
    with pytest.raises(CheckpointError, match=r"damaged\.onnx: not a network that onnxruntime can run"):
        FaceRecogniser(damaged)
