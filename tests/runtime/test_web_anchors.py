"""The page's module moves the warp as the Python player does, and refuses the anchors that it refuses: by Node.js."""

import json
from contextlib import nullcontext
from dataclasses import asdict, replace

import numpy as np
import pytest

from bilayer.runtime.anchors.mover import WarpMover
from bilayer.runtime.bundle import AVATAR, Anchor, WarpAnchors, read_bundle
from bilayer.runtime.errors import BundleError
from tests.runtime.test_anchors import POSE, anchors, outputs
from tests.runtime.web_module import ask, needs_node, packed, value

pytestmark = needs_node


def moved_by_page(network, pose, given):
    size = network.delta_uv.shape[-1]
    request = {"call": "anchors", "pose": packed(np.float32(pose).tobytes())}
    request["contract"] = {"image_size": size, "anchors": None if given is None else asdict(given)}
    planes = np.concatenate([network.delta_uv, np.ones((4, size, size), np.float32)])
    found = np.float32(value(request | {"planes": packed(planes.tobytes())})).reshape(6, size, size)
    np.testing.assert_array_equal(found[2:], planes[2:])
    return found[:2]


CASES = {
    "usual": (outputs(), POSE, anchors()),
    "short reach": (outputs(), POSE, anchors(reach=0.03)),
    "limited": (outputs(scale=0.5), POSE, anchors(limit=0.02)),
    "hardly held": (outputs(), POSE, anchors(ridge=100)),
    "beyond the frame": (outputs(), 3 * POSE, anchors()),
    "far away": (outputs(), 900 + POSE, anchors()),
    "one place": (outputs(), 0 * POSE, anchors(ridge=0.001)),
    "alone": (outputs(), POSE, anchors(landmarks=[30])),
    "all": (outputs(), POSE, anchors(landmarks=range(68))),
    "smaller than the grid": (outputs(size=20), POSE, anchors()),
    "one pixel": (outputs(size=1), POSE, anchors()),
}


@pytest.mark.parametrize("name", CASES)
def test_the_warp_is_moved_as_python_moves_it(name):
    network, pose, given = CASES[name]
    expected = WarpMover(given, network.delta_uv.shape[-1]).move(network, pose).delta_uv
    np.testing.assert_allclose(moved_by_page(network, pose, given), expected, rtol=1e-6, atol=1e-6)


def test_without_anchors_nothing_is_moved():
    np.testing.assert_array_equal(moved_by_page(outputs(), POSE, None), outputs().delta_uv)


def test_what_is_not_finite_moves_nothing():
    network = outputs()
    network.delta_uv[0, :40] = np.nan
    expected = WarpMover(anchors(), 64).move(network, POSE).delta_uv
    np.testing.assert_allclose(moved_by_page(network, POSE, anchors()), expected, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("axes", [[0], [1], [0, 1]], ids=["x", "y", "both"])
def test_a_landmark_of_no_place_moves_nothing(value, axes):
    pose = np.float32(POSE)
    pose[40:, axes] = value
    given, network = anchors(), outputs()
    found = moved_by_page(network, pose, given)
    seen = replace(given, points=given.points[: 40 - 17])
    np.testing.assert_allclose(found, WarpMover(seen, 64).move(network, POSE).delta_uv, atol=1e-6)
    np.testing.assert_allclose(found, WarpMover(given, 64).move(network, pose).delta_uv, atol=1e-6)
    pose[:, axes] = value
    np.testing.assert_array_equal(moved_by_page(network, pose, given), network.delta_uv)


POINT = Anchor(30, 0.0, 0.1, 0.1)
GIVEN = {
    "good": WarpAnchors(0.1, 0.1, [POINT]),
    "left out": None,
    "no points": WarpAnchors(0.1, 0.1, []),
    "69 points": WarpAnchors(0.1, 0.1, [POINT] * 69),
    "landmark": WarpAnchors(0.1, 0.1, [replace(POINT, landmark=68)]),
    "a half": WarpAnchors(0.1, 0.1, [replace(POINT, landmark=0.5)]),
    "place": WarpAnchors(0.1, 0.1, [replace(POINT, x=4.0)]),
    "ridge": WarpAnchors(0.1, 0.1, [replace(POINT, ridge=0.0)]),
    "reach": WarpAnchors(0.0, 0.1, [POINT]),
    "limit": WarpAnchors(0.1, 0.0, [POINT]),
}


def test_anchors_are_refused_as_python_refuses_them(bundle_folder, tmp_path):
    plain = json.loads(AVATAR.to_json(read_bundle(bundle_folder).contract))
    for name, given in GIVEN.items():
        content = json.dumps(plain | ({} if given is None else {"anchors": asdict(given)}))
        (answer,) = ask({"call": "contract", "content": packed(content.encode())})
        (tmp_path / "avatar.json").write_text(content)
        expectation = nullcontext() if name in ("good", "left out") else pytest.raises(BundleError, match="anchors")
        with expectation:
            AVATAR.read(tmp_path / "avatar.json")
        if name in ("good", "left out"):
            assert "error" not in answer, name
        else:
            assert answer["error"] == "BundleError", name
            assert "anchors" in answer["message"], (name, answer)
