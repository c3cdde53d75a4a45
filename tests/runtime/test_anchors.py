"""Landmark anchors: the warp that a player samples by, against the formula in float64 over every pixel."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from bilayer.export.options import ExportOptions
from bilayer.export.pipeline import export_avatar
from bilayer.model import create_avatar, load_model, make_source
from bilayer.runtime import crop_face
from bilayer.runtime.anchors.mover import GRID, WarpMover, look_up
from bilayer.runtime.bundle import Anchor, WarpAnchors, read_bundle
from bilayer.runtime.frame import NetworkOutputs
from bilayer.runtime.player import AvatarPlayer
from tests import golden
from tests.runtime.conftest import CASE, POSES
from tests.runtime.test_player import assert_same_picture, reference_frame

SIZE = 64
POSE = POSES[-1].reshape(68, 2).astype(np.float64)


def outputs(seed=0, size=SIZE, scale=0.05):
    """A smooth random warp, as networks predict them."""
    coarse = torch.from_numpy(np.random.default_rng(seed).normal(0, scale, (1, 2, 5, 5)).astype(np.float32))
    warp = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")[0].numpy()
    return NetworkOutputs(warp, np.zeros((3, size, size), np.float32), None)


def anchors(seed=1, landmarks=range(17, 68), reach=0.3, ridge=0.1, limit=2.0, off=0.05):
    """Places near the landmarks, as if the photo's warp were nearly none."""
    rng = np.random.default_rng(seed)
    places = POSE + rng.normal(0, off, POSE.shape)
    points = [Anchor(k, float(places[k, 0]), float(places[k, 1]), ridge * (1 + k % 3)) for k in landmarks]
    return WarpAnchors(reach, limit, points)


def centres(size):
    return (2 * np.arange(size) + 1) / size - 1


def warp_at(delta_uv, points):
    """Where the warp looks at points of the frame, by torch's own sampler."""
    size = delta_uv.shape[-1]
    x, y = np.meshgrid(centres(size), centres(size))
    uv = torch.from_numpy(np.stack([x, y]) + delta_uv)[None]
    at = torch.from_numpy(points)[None, None]
    return torch.nn.functional.grid_sample(uv, at, padding_mode="border", align_corners=False)[0, :, 0].T.numpy()


def expected_field(delta_uv, pose, given_anchors, size=GRID):
    """The sum of the module's docstring at the centres of tiles, (2, size, size)."""
    at = np.array([pose[point.landmark] for point in given_anchors.points]) + 1 / delta_uv.shape[-1]
    error = np.array([(point.x, point.y) for point in given_anchors.points]) - warp_at(delta_uv, at)
    length = np.linalg.norm(error, axis=1)[:, None]
    error = error * np.minimum(1, given_anchors.limit / np.maximum(length, 1e-300))

    def kernel(a, b):
        return np.exp(-((a[:, None] - b) ** 2).sum(-1) / (2 * given_anchors.reach**2))

    ridges = np.diag([point.ridge for point in given_anchors.points])
    weights = np.linalg.solve(kernel(at, at) + ridges, error)
    x, y = np.meshgrid(centres(size), centres(size))
    return (kernel(np.stack([x.ravel(), y.ravel()], -1), at) @ weights).T.reshape(2, size, size)


compiled_or_not = pytest.mark.parametrize("compiled", [False, True], ids=["numpy", "numba"])


@pytest.mark.parametrize("limit", [2.0, 0.03])
@pytest.mark.parametrize("reach", [0.08, 0.3, 2.0])
def test_the_field_is_the_formulas(reach, limit):
    given_anchors, network = anchors(reach=reach, limit=limit), outputs()
    found = WarpMover(given_anchors, SIZE).field(network.delta_uv, POSE)
    np.testing.assert_allclose(found, expected_field(network.delta_uv, POSE, given_anchors), atol=2e-6)


@pytest.mark.parametrize("size", [GRID, 48, SIZE, 256])
@compiled_or_not
def test_the_warp_is_moved_by_the_formula_over_every_pixel(size, compiled):
    given_anchors, network = anchors(), outputs(size=size)
    before = network.delta_uv.copy()
    moved = WarpMover(given_anchors, size, compiled=compiled).move(network, POSE.ravel())
    expected = expected_field(before, POSE, given_anchors, size)
    assert np.abs(moved.delta_uv - before - expected).max() < 0.05 * np.abs(expected).max()  # the grid is coarse
    np.testing.assert_array_equal(network.delta_uv, before)
    assert moved.delta_uv.dtype == np.float32
    assert moved.lf_rgb is network.lf_rgb


@compiled_or_not
def test_the_grid_is_resized_as_torch_does(compiled):
    given_anchors, network = anchors(), outputs()
    mover = WarpMover(given_anchors, SIZE, compiled=compiled)
    field = torch.from_numpy(mover.field(network.delta_uv, POSE))[None]
    resized = torch.nn.functional.interpolate(field, (SIZE, SIZE), mode="bilinear")[0].numpy()
    moved = mover.move(network, POSE).delta_uv
    np.testing.assert_allclose(moved, network.delta_uv + resized, atol=1e-6)


def test_landmarks_come_to_lie_where_the_texture_has_them():
    given_anchors, network = anchors(ridge=0.001, reach=0.12), outputs()
    at = POSE[17:] + 1 / SIZE
    places = np.array([(point.x, point.y) for point in given_anchors.points])
    before = np.linalg.norm(places - warp_at(network.delta_uv, at), axis=1)
    moved = WarpMover(given_anchors, SIZE).move(network, POSE)
    after = np.linalg.norm(places - warp_at(moved.delta_uv, at), axis=1)
    assert after.mean() < 0.35 * before.mean()  # what is left: places drawn at random, nearer together than the grid


@compiled_or_not
def test_nothing_is_moved_in_the_photos_own_pose(compiled):
    network = outputs()
    places = warp_at(network.delta_uv, POSE + 1 / SIZE)
    points = [Anchor(k, *map(float, places[k]), 0.1) for k in range(68)]
    moved = WarpMover(WarpAnchors(0.1, 0.1, points), SIZE, compiled=compiled).move(network, POSE)
    np.testing.assert_allclose(moved.delta_uv, network.delta_uv, atol=1e-6)


@pytest.mark.parametrize("ridge", [0.001, 0.1, 1.0, 10.0])
def test_a_landmark_alone_is_moved_by_its_ridge(ridge):
    still = NetworkOutputs(np.zeros((2, 256, 256), np.float32), np.zeros(0, np.float32), None)
    pose = np.zeros((68, 2)) + 1 / GRID - 1 / 256  # at the centre of a tile
    alone = WarpAnchors(0.3, 2.0, [Anchor(30, 1 / GRID + 0.02, 1 / GRID - 0.04, ridge)])
    field = WarpMover(alone, 256).field(still.delta_uv, pose)[:, GRID // 2, GRID // 2]
    np.testing.assert_allclose(field, np.array([0.02, -0.04]) / (1 + ridge), atol=1e-7)


@given(st.floats(0.01, 2), st.floats(0.001, 1000), st.floats(1e-3, 2), st.floats(0, 999), st.booleans())
def test_no_pose_breaks_it(reach, ridge, limit, spread, one_place):
    given_anchors = anchors(reach=reach, ridge=ridge, limit=limit)
    pose = np.full((68, 2), spread) if one_place else POSE * spread
    field = WarpMover(given_anchors, SIZE).field(outputs().delta_uv, pose)
    assert np.isfinite(field).all()
    wildest = np.sqrt(len(given_anchors.points)) * len(given_anchors.points) * limit / ridge
    assert np.abs(field).max() <= wildest * (1 + 1e-5)


@pytest.mark.filterwarnings("error")
def test_what_is_not_finite_moves_nothing():
    network = outputs()
    network.delta_uv[:, :40] = np.nan
    network.delta_uv[0, 40:50] = np.inf
    assert np.isfinite(WarpMover(anchors(), SIZE).field(network.delta_uv, POSE)).all()
    network.delta_uv[:] = np.nan
    assert not WarpMover(anchors(), SIZE).field(network.delta_uv, POSE).any()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_landmark_of_no_place_moves_nothing(value):
    pose = POSE.copy()
    pose[40:] = value
    found = WarpMover(anchors(), SIZE).field(outputs().delta_uv, pose)
    places = anchors()
    seen = WarpMover(replace(places, points=places.points[: 40 - 17]), SIZE)
    np.testing.assert_allclose(found, seen.field(outputs().delta_uv, POSE), atol=1e-7)
    pose[:] = value
    assert not WarpMover(anchors(), SIZE).field(outputs().delta_uv, pose).any()


@compiled_or_not
def test_half_precision_is_moved_in_single(compiled):
    network = outputs()
    half = replace(network, delta_uv=network.delta_uv.astype(np.float16))
    exact = replace(network, delta_uv=half.delta_uv.astype(np.float32))
    found, single = (WarpMover(anchors(), SIZE, compiled=compiled).move(one, POSE).delta_uv for one in (half, exact))
    np.testing.assert_array_equal(found, single)


def poses(test):
    """A test of any landmarks, now and then none, of any extent."""
    coordinate = st.one_of(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5), st.floats(allow_nan=True, allow_infinity=True))
    return given(arrays(np.float64, (68, 2), elements=coordinate))(test)


@poses
def test_numbas_move_is_numpys_for_any_pose(pose):
    network = outputs()
    network.delta_uv[:, ::7, ::5] = np.nan
    for given_anchors in (anchors(), anchors(reach=0.01, limit=0.02), anchors(landmarks=[30], ridge=0.001)):
        found, expected = (
            WarpMover(given_anchors, SIZE, compiled=compiled).move(network, pose).delta_uv for compiled in (True, False)
        )
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 33])
def test_numbas_move_is_numpys_at_any_size(size):
    network = outputs(size=size)
    found, expected = (
        WarpMover(anchors(), size, compiled=compiled).move(network, POSE).delta_uv for compiled in (True, False)
    )
    np.testing.assert_allclose(found, expected, atol=1e-7)


@given(st.integers(1, 70), st.floats(-3, 3), st.floats(-3, 3))
def test_the_warp_is_looked_up_as_torch_does(size, x, y):
    warp = np.random.default_rng(size).normal(0, 0.1, (2, size, size)).astype(np.float32)
    point = np.array([[x, y]])
    np.testing.assert_allclose(look_up(warp, point), warp_at(warp, point), atol=1e-9)


@pytest.fixture(scope="module")
def anchored(tmp_path_factory):
    """The bundle of a published model's avatar with anchors, and the model and avatar it was made from."""
    folder = tmp_path_factory.mktemp("anchored")
    Image.fromarray(CASE["source_image"]).save(folder / "face.png")
    np.save(folder / "face.npy", CASE["source_landmarks"])
    runs = golden.CASE_A / "runs"
    model = load_model(runs)
    export_avatar(
        ExportOptions(
            folder / "face.png", folder / "bundle" / "avatar.onnx", target="none", checkpoint=runs,
            landmarks=folder / "face.npy", mask=False, size=model.config.image_size, warp="anchored", refine="updater",
        )
    )  # fmt: skip
    source = make_source(crop_face(CASE["source_image"], CASE["source_landmarks"], 64), model.config)
    return folder / "bundle", model, create_avatar(model, source, "updater", warp_motion="anchored")


def test_a_players_frames_are_the_trained_models(anchored):
    folder, model, avatar = anchored
    player = AvatarPlayer.load(folder, engine="onnxruntime", threads=1)
    assert read_bundle(folder).contract.anchors == avatar.anchors[0]
    for pose in POSES:
        frame = player.render(pose)
        expected = avatar.render(model, torch.from_numpy(pose)[None])
        assert_same_picture(frame, reference_frame(expected))
        layers = player.layers(pose)
        np.testing.assert_allclose(layers.uv, expected.uv[0].numpy(), atol=1e-5)
        np.testing.assert_allclose(player.outputs.delta_uv, expected.delta_uv[0].numpy(), atol=1e-5)
    raw = AvatarPlayer(replace_anchors(player.bundle, None), player._network, player._texture, player._compositor)
    assert np.abs(raw.render(POSES[0]).astype(int) - player.render(POSES[0])).max() > 20
    np.testing.assert_allclose(raw.render(POSES[-1]).astype(int), player.render(POSES[-1]), atol=1)  # the photo's own


def test_composing_again_shows_the_last_pose(anchored):
    player = AvatarPlayer.load(anchored[0], engine="onnxruntime", threads=1)
    first = player.render(POSES[0])
    np.testing.assert_array_equal(player.compose(), first)
    pose = np.array(POSES[0])
    player.infer(pose)
    pose[:] = POSES[-1]  # the caller's own, used again
    np.testing.assert_array_equal(player.compose(), first)
    batch = player.render_batch(POSES)
    np.testing.assert_array_equal(batch[0], first)


def replace_anchors(bundle, found):
    return replace(bundle, contract=replace(bundle.contract, anchors=found))
