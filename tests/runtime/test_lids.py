"""Drawn lids: how far a pose shuts the eyes, and that a player shows just that in the texture."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from bilayer.runtime.bundle import AVATAR, DrawnEye, DrawnLids, describe_file, read_bundle
from bilayer.runtime.errors import BundleError
from bilayer.runtime.lids import OPEN, SHUT, LidPainter, shut_eyes
from bilayer.runtime.player import AvatarPlayer
from tests.runtime.conftest import POSES

POSE = POSES[-1].reshape(68, 2).astype(np.float64)
UPPER, LOWER = [37, 38, 43, 44], [41, 40, 47, 46]
LIDS = DrawnLids(4, [DrawnEye("left", 10, 12, 6, 5), DrawnEye("right", 30, 14, 7, 4)])


def with_eyes(opening, pose=POSE):
    """The pose with lids that are `opening` times as far apart: of both eyes, or of each."""
    moved = pose.copy()
    apart = np.repeat(np.broadcast_to(opening, 2), 2)[:, None]
    middle, half = (pose[UPPER] + pose[LOWER]) / 2, (pose[UPPER] - pose[LOWER]) / 2
    moved[UPPER], moved[LOWER] = middle + apart * half, middle - apart * half
    return moved


def pieces_of(lids=LIDS):
    rng = np.random.default_rng(0)
    return [rng.random((lids.levels, eye.height, eye.width, 4)).astype(np.float32) for eye in lids.eyes]


@pytest.mark.parametrize(
    ("opening", "shut"), [(1, 0), (1.5, 0), (0.9, 0), (OPEN, 0), (SHUT, 1), (0.1, 1), (0, 1), ((OPEN + SHUT) / 2, 0.5)]
)
def test_eyes_shut_as_their_lids_come_together(opening, shut):
    np.testing.assert_allclose(shut_eyes(with_eyes(opening), POSE), [shut, shut], atol=1e-6)


def test_each_eye_shuts_by_itself():
    np.testing.assert_allclose(shut_eyes(with_eyes([0, 1]).ravel(), POSE.ravel()), [1, 0], atol=1e-6)


@given(st.floats(0, 1.2), st.floats(-3, 3), st.floats(0.2, 5), st.floats(-2, 2))
def test_where_the_head_is_does_not_count(opening, angle, scale, offset):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    pose = with_eyes(opening)
    np.testing.assert_allclose(shut_eyes(pose @ turn.T + offset, POSE), shut_eyes(pose, POSE), atol=1e-6)


@given(st.lists(st.floats(0, 1.2), min_size=2, max_size=5))
def test_the_texture_shows_the_last_pose_alone(openings):
    texture = np.random.default_rng(1).random((67, 67, 4)).astype(np.float32)
    original, pieces = texture.copy(), pieces_of()
    painter = LidPainter(LIDS, pieces, texture, POSE)
    for opening in openings:
        painter.show(with_eyes(opening))
    expected = original.copy()
    for eye, own, shut in zip(LIDS.eyes, pieces, shut_eyes(with_eyes(openings[-1]), POSE), strict=True):
        level = round(float(shut) * LIDS.levels)
        if level:
            rows, columns = slice(eye.top + 1, eye.top + 1 + eye.height), slice(eye.left + 1, eye.left + 1 + eye.width)
            expected[rows, columns] = own[level - 1]
    np.testing.assert_array_equal(texture, expected)


def give_lids(folder, tensors=None, lids=LIDS):
    """Give lids to the bundle in a folder, which is returned."""
    file = folder / "avatar.lids.safetensors"
    given = dict(zip(("left", "right"), pieces_of(), strict=True)) if tensors is None else tensors
    save_file(given, file)
    contract = read_bundle(folder).contract
    files = replace(contract.files, lids=describe_file(file))
    (folder / "avatar.json").write_text(AVATAR.to_json(replace(contract, files=files, lids=lids)))
    return folder


@pytest.fixture
def blinking(exported, tmp_path):
    """A function that makes a bundle with lids, and returns its folder."""

    def make(tensors=None, lids=LIDS):
        return give_lids(shutil.copytree(exported.folder, tmp_path / "blinking"), tensors, lids)

    return make


def test_a_player_shuts_the_eyes_and_opens_them_again(exported, blinking):
    plain, avatar = AvatarPlayer.load(exported.folder), AvatarPlayer.load(blinking())
    source = avatar.source_pose.reshape(68, 2)
    open_eyes, shut = with_eyes(1, source), with_eyes(0, source)
    for pose, same in ((open_eyes, True), (shut, False), (open_eyes, True)):
        assert np.array_equal(avatar.render(pose), plain.render(pose)) is same
        assert np.array_equal(avatar.layers().hf, plain.layers().hf) is same


def test_the_pieces_are_what_is_sampled(blinking):
    avatar = AvatarPlayer.load(blinking())
    avatar.infer(with_eyes(0, avatar.source_pose.reshape(68, 2)))
    for eye, own in zip(LIDS.eyes, pieces_of(), strict=True):
        rows, columns = slice(eye.top + 1, eye.top + 1 + eye.height), slice(eye.left + 1, eye.left + 1 + eye.width)
        np.testing.assert_array_equal(avatar._texture[rows, columns], own[-1])


@pytest.mark.parametrize(
    ("tensors", "lids", "complaint"),
    [
        ({"left": np.zeros((4, 5, 6, 4), np.float32)}, LIDS, "right"),
        ({"left": np.zeros((4, 5, 6, 4), np.float16), "right": np.zeros((4, 4, 7, 4), np.float32)}, LIDS, "F16"),
        ({"left": np.zeros((4, 5, 7, 4), np.float32), "right": np.zeros((4, 4, 7, 4), np.float32)}, LIDS, "4, 5, 7, 4"),
        ({"left": np.full((4, 5, 6, 4), np.nan, "f"), "right": np.zeros((4, 4, 7, 4), "f")}, LIDS, "finite"),
        (None, replace(LIDS, eyes=[replace(LIDS.eyes[0], left=60), LIDS.eyes[1]]), "beyond the texture"),
        (None, replace(LIDS, eyes=[replace(LIDS.eyes[0], tensor="right"), LIDS.eyes[1]]), "both eyes"),
        (None, None, "expected with files.lids"),
    ],
    ids=["one eye", "type", "shape", "nan", "beyond", "one tensor", "no contract"],
)  # fmt: skip
def test_lids_that_do_not_fit_are_refused(blinking, tensors, lids, complaint):
    with pytest.raises(BundleError, match=complaint):
        AvatarPlayer.load(blinking(tensors, lids))
