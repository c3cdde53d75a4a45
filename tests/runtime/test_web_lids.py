"""The page's module shuts eyes as the Python player does, and refuses the lids that it refuses: asked under Node.js."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from bilayer.runtime.bundle import AVATAR, read_bundle
from bilayer.runtime.errors import BundleError
from bilayer.runtime.lids import LidPainter, shut_eyes
from bilayer.runtime.player import read_lids, read_texture
from tests.runtime.conftest import POSES
from tests.runtime.test_lids import LIDS, POSE, give_lids, pieces_of, with_eyes
from tests.runtime.web_module import ask, needs_node, packed, value

pytestmark = needs_node
OPENINGS = [(1, 1), (0.6, 1), (0.6, 0.2), (0.61, 0.2), (0, 0), (1.3, 0.5), (1, 1)]


def test_eyes_are_shut_as_python_shuts_them():
    rng = np.random.default_rng(5)
    near = POSES[:, None] + rng.normal(0, 0.02, (len(POSES), 20, 136))
    poses = [*near.reshape(-1, 136), *(with_eyes(opening).ravel() for opening in OPENINGS), np.zeros(136)]
    for source in (POSE.ravel(), np.zeros(136)):  # an eye without a width, too
        expected = [shut_eyes(pose, source) for pose in poses]
        request = {"call": "shut", "source": source.tolist(), "poses": np.array(poses).tolist()}
        np.testing.assert_allclose(value(request), expected, atol=1e-9)


def test_the_same_texels_are_laid_into_the_texture(exported):
    """From the photo's pose and back to it; and only where an eye shows another piece than before."""
    contract = read_bundle(exported.folder).contract
    contract = replace(contract, source=replace(contract.source, pose=POSE.ravel().tolist()), lids=LIDS)
    texture = read_texture(read_bundle(exported.folder))
    found, expected, pieces = texture.copy(), texture.copy(), pieces_of()
    painter = LidPainter(LIDS, pieces, expected, POSE)
    poses = [with_eyes(opening) for opening in OPENINGS]
    patches = value(
        {"call": "lids", "contract": json.loads(AVATAR.to_json(contract)) | {"texture_size": len(texture) - 3}}
        | {"texture": packed(texture.tobytes()), "pieces": [packed(eye.tobytes()) for eye in pieces]}
        | {"poses": [pose.ravel().tolist() for pose in poses]}
    )
    for pose, laid in zip(poses, patches, strict=True):
        for patch in laid:
            rows, columns = slice(patch["top"], patch["top"] + patch["height"]), slice(patch["left"], None)
            texels = np.float32(patch["texels"]).reshape(patch["height"], patch["width"], 4)
            found[rows, columns][:, : patch["width"]] = texels
        painter.show(pose)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found, texture)
    assert [len(laid) for laid in patches] == [0, 1, 1, 0, 1, 2, 1]


def of_eyes(left=(4, 5, 6, 4), right=(4, 4, 7, 4), kind=np.float32, worth=0.0):
    return {"left": np.full(left, worth, kind), "right": np.full(right, worth, kind)}


def moved(**where):
    return replace(LIDS, eyes=[LIDS.eyes[0], replace(LIDS.eyes[1], **where)])


LIDS_GIVEN = {
    "good": (of_eyes(), LIDS),
    "more levels": (of_eyes(), replace(LIDS, levels=5)),
    "an eye too many": (of_eyes() | {"third": np.zeros(3, np.float32)}, LIDS),
    "no eyes": ({}, LIDS),
    "shape": (of_eyes(left=(4, 6, 5, 4)), LIDS),
    "type": (of_eyes(kind=np.float16), LIDS),
    "nan": (of_eyes(worth=np.nan), LIDS),
    "beyond": (of_eyes(), moved(left=1 << 40)),
    "just beyond": (of_eyes(), moved(top=61)),
    "at the edge": (of_eyes(), moved(top=60)),
    "one tensor": (of_eyes(left=(4, 4, 7, 4)), moved(tensor="left")),
    "no contract": (of_eyes(), None),
}


@pytest.fixture
def cases(exported, tmp_path):
    """Folders of bundles by what is wrong with their lids."""
    side = read_bundle(exported.folder).contract.texture_size
    found = {}
    for label, (tensors, lids) in LIDS_GIVEN.items():
        assert side == 64
        folder = found[label] = shutil.copytree(exported.folder, tmp_path / label)
        give_lids(folder, tensors, lids)
    for label in ("missing", "another", "no file", "cut short"):
        found[label] = give_lids(shutil.copytree(exported.folder, tmp_path / label), of_eyes())
    content = save(of_eyes())
    (found["missing"] / "avatar.lids.safetensors").unlink()
    (found["another"] / "avatar.lids.safetensors").write_bytes(content[:-1] + b"?")
    (found["cut short"] / "avatar.lids.safetensors").write_bytes(content[:-4])
    contract = json.loads((found["no file"] / "avatar.json").read_text())
    del contract["files"]["lids"]
    (found["no file"] / "avatar.json").write_text(json.dumps(contract))
    return found


def test_lids_are_refused_where_the_player_refuses_them(cases):
    sent = [
        {"call": "bundle", "name": "avatar.json", "engine": "ort"}
        | {"files": {path.name: packed(path.read_bytes()) for path in folder.iterdir()}}
        for folder in cases.values()
    ]
    good = {"good", "at the edge"}
    for (label, folder), answer in zip(cases.items(), ask(*sent), strict=True):
        said = None
        try:
            bundle = read_bundle(folder)
            read_lids(bundle, read_texture(bundle))
        except BundleError as error:
            said = str(error)
        assert (said is None) == (label in good), (label, said)
        assert answer.get("error") == (None if said is None else "BundleError"), (label, answer)
        if said is None:
            assert answer["value"]["lids"] == [480, 448]
        else:
            assert "\n" not in answer["message"]
            if "expected" in answer["message"]:  # the same was
                assert answer["message"].split("expected")[1][:12] == said.split("expected")[1][:12], (label, said)
