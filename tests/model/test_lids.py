"""Drawing lids into a texture: of a face whose texture is its photo, so that landmarks lie in it where they are."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from bilayer.export.options import ExportOptions
from bilayer.model.config import DEMO_CHECKPOINT
from bilayer.model.lids import LidSettings, draw_lids
from tests import golden

SIDE = 128
SKIN, EYE, BROW = 0.5, -0.75, 0.1
POSE = golden.load("case_a/preproc.npz")["source_poses"][0, 0].astype(np.float32)
for corner in (36, 42):  # these landmarks are jittered: eyes as eyes are
    start, end = POSE[2 * corner : 2 * corner + 2].copy(), POSE[2 * corner + 6 : 2 * corner + 8].copy()
    down = 0.18 * np.array([start[1] - end[1], end[0] - start[0]])
    for place, along, height in ((1, 0.3, -1), (2, 0.7, -1), (4, 0.7, 0.7), (5, 0.3, 0.7)):
        POSE[2 * (corner + place) : 2 * (corner + place) + 2] = start + along * (end - start) + height * down
PLAIN = LidSettings(dark=0.0)
STILL = torch.zeros(1, 2, SIDE, SIDE)


def grid(side):
    centres = (2 * np.arange(side) + 1) / side - 1
    return np.meshgrid(centres, centres)


def texture(side=SIDE):
    """Skin, the eyes between their landmarks, and lines for the brows."""
    picture = Image.new("F", (side, side), SKIN)
    draw = ImageDraw.Draw(picture)
    texels = ((POSE.reshape(68, 2).astype(float) + 1) * side - 1) / 2
    for eye, brow in ((slice(36, 42), slice(17, 22)), (slice(42, 48), slice(22, 27))):
        draw.polygon([tuple(point) for point in texels[eye]], fill=EYE)
        draw.line([tuple(point) for point in texels[brow]], fill=BROW)
    return torch.from_numpy(np.repeat(np.array(picture)[None], 3, axis=0))[None]


def drawn(side=SIDE, pose=POSE, align_corners=False, settings=PLAIN):
    return draw_lids(texture(side), torch.from_numpy(pose)[None], STILL, align_corners, settings)


def shown(painted, level, side=SIDE):
    """The texture (side, side) with both eyes at a level."""
    picture = texture(side)[0, 0].numpy().copy()
    for eye in painted.lids.eyes:
        rows, columns = slice(eye.top, eye.top + eye.height), slice(eye.left, eye.left + eye.width)
        picture[rows, columns] = painted.pieces[eye.tensor][level - 1, ..., 0]
    return picture


def seen(picture):
    """How many texels show an eye."""
    return int((picture < (SKIN + EYE) / 2).sum())


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("side", [SIDE, 2 * SIDE])
def test_a_shut_eye_shows_skin_alone(side, align_corners):
    painted = drawn(side, align_corners=align_corners)
    before = seen(texture(side)[0, 0].numpy())
    assert before > 50
    assert seen(shown(painted, painted.lids.levels, side)) <= 0.1 * before


def test_the_eye_is_covered_from_above_level_by_level():
    painted = drawn()
    covered = [seen(texture()[0, 0].numpy()), *(seen(shown(painted, level)) for level in range(1, 9))]
    assert covered == sorted(covered, reverse=True)
    assert 0.3 * covered[0] < covered[4] < 0.75 * covered[0]
    x, y = grid(SIDE)
    half = shown(painted, 4)
    for eye in (POSE.reshape(68, 2)[36:42], POSE.reshape(68, 2)[42:48]):
        near = abs(x - eye[:, 0].mean()) < 0.1
        uncovered = y[near & (half < (SKIN + EYE) / 2)].mean()
        assert uncovered > y[near & (texture()[0, 0].numpy() < (SKIN + EYE) / 2)].mean()


def test_brows_stay_where_they_are():
    before, after = texture()[0, 0].numpy(), shown(drawn(), 8)
    brows = before == np.float32(BROW)
    assert brows.sum() > 10
    np.testing.assert_array_equal(after[brows], before[brows])


def test_lashes_are_drawn_along_the_edge():
    plain, lashes = shown(drawn(), 8), shown(drawn(settings=LidSettings()), 8)
    darker = (lashes - plain).min()
    assert -0.55 < darker < -0.2
    assert (lashes <= plain + 1e-6).all()


def test_colours_that_are_flat_stay():
    flat = torch.full((1, 3, SIDE, SIDE), 0.25)
    painted = draw_lids(flat, torch.from_numpy(POSE)[None], STILL, False, PLAIN)
    for pieces in painted.pieces.values():
        np.testing.assert_allclose(pieces[..., :3], 0.25, atol=1e-6)
        assert not pieces[..., 3].any()


def test_eyes_that_are_shut_in_the_photo_are_left():
    pose = POSE.reshape(68, 2).copy()
    pose[[37, 38, 43, 44]] = pose[[41, 40, 47, 46]]
    assert drawn(pose=pose.ravel()) is None


def test_eyes_beyond_the_texture_are_left():
    away = POSE.reshape(68, 2) + np.float32([5, 0])
    assert drawn(pose=away.ravel()) is None


def test_a_face_that_is_turned_over_shuts_its_eyes_too():
    pose = (POSE.reshape(68, 2) * np.float32([-1, -1])).ravel()
    turned = torch.flip(texture(), (2, 3))
    painted = draw_lids(turned, torch.from_numpy(pose)[None], STILL, False, PLAIN)
    picture = turned[0, 0].numpy().copy()
    for eye in painted.lids.eyes:
        rows, columns = slice(eye.top, eye.top + eye.height), slice(eye.left, eye.left + eye.width)
        picture[rows, columns] = painted.pieces[eye.tensor][-1, ..., 0]
    assert seen(picture) <= 0.05 * seen(turned[0, 0].numpy())


@pytest.mark.parametrize(
    ("asked", "checkpoint", "motion"),
    [
        (None, DEMO_CHECKPOINT, "drawn"),
        (None, "other.safetensors", "network"),
        ("network", DEMO_CHECKPOINT, "network"),
        ("drawn", "other.safetensors", "drawn"),
    ],
)
def test_lids_are_drawn_where_the_network_is_known_to_leave_them(asked, checkpoint, motion):
    assert ExportOptions("me.jpg", checkpoint=checkpoint, lids=asked).lid_motion == motion


def test_a_copy_of_the_demo_weights_is_the_demo_weights_and_one_byte_more_or_another_is_not(tmp_path, monkeypatch):
    content = DEMO_CHECKPOINT.read_bytes()
    (tmp_path / "mine.safetensors").write_bytes(content)
    (tmp_path / "other.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (tmp_path / "longer.safetensors").write_bytes(content + b"\0")
    (tmp_path / "link.safetensors").symlink_to(DEMO_CHECKPOINT)
    monkeypatch.chdir(tmp_path)
    motions = {path.stem: ExportOptions("me.jpg", checkpoint=path).lid_motion for path in tmp_path.iterdir()}
    assert motions == {"mine": "drawn", "link": "drawn", "other": "network", "longer": "network"}
    assert ExportOptions("me.jpg", checkpoint="mine.safetensors").lid_motion == "drawn"
