"""In its photo the avatar's head moves, and around it nothing changes; no edge shows where one becomes the other."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from bilayer.runtime.bundle import PhotoSource
from bilayer.runtime.errors import InputError
from bilayer.runtime.rendering.cli import main
from bilayer.runtime.rendering.paste_back import ALIKE, PasteBack, paste_back
from bilayer.runtime.rendering.whole_photo import MAX_SIDE, check_shape

SIDE = 64  # of the crop, and of the frame
CHIN = 0.7  # of the crop's height


def source(left, top, size=(160, 120)):
    pose = np.zeros((68, 2))
    pose[8] = 0, 2 * CHIN - 1
    pose[27] = 0, -0.5
    return PhotoSource(list(size), [left, top, left + SIDE, top + SIDE], pose.ravel().tolist())


def frame(colour, alpha=255):
    """(S, S, 4) with a head: a disc of radius 16, and a body below it."""
    y, x = np.mgrid[:SIDE, :SIDE]
    head = (np.hypot(y - 28, x - 32) < 16) | ((y > 44) & (np.abs(x - 32) < 20))
    made = np.zeros((SIDE, SIDE, 4), np.uint8)
    made[...] = *colour, 0
    made[head, 3] = alpha
    return made


@pytest.fixture
def photo():
    """A grey slope (120, 160, 3), and in it a red person where `source(50, 30)` has the crop."""
    slope = np.linspace(80, 120, 160)[None, :, None].repeat(120, 0).repeat(3, 2).astype(np.uint8)
    person = frame((220, 20, 20))
    slope[30:94, 50:114][person[..., 3] > 0] = person[0, 0, :3]
    return slope


REST = frame((220, 20, 20))


def test_outside_of_the_crop_the_photo_stays_and_within_it_is_the_avatar(photo):
    paste = PasteBack(photo, source(50, 30), REST)
    assert paste.size == (120, 160)
    seen = paste(frame((20, 200, 20)))
    assert seen.shape == (120, 160, 4)
    assert (seen[..., 3] == 255).all()
    outside = np.ones((120, 160), bool)
    outside[30:94, 50:114] = False
    np.testing.assert_array_equal(seen[outside][:, :3], photo[outside])
    np.testing.assert_array_equal(seen[30 + 24 : 30 + 36, 50 + 26 : 50 + 38, :3], np.full((12, 12, 3), (20, 200, 20)))


def test_no_edge_shows_at_the_crops_border(photo):
    """Even of a frame that is opaque throughout: a step there is no larger than one of the ramp."""
    opaque = np.full((SIDE, SIDE, 4), (0, 0, 255, 255), np.uint8)
    seen = PasteBack(photo, source(50, 30), REST)(opaque)[..., :3].astype(int)
    change = np.abs(seen - photo).max(axis=-1)[30:94, 50:114]
    border = np.concatenate([change[0], change[-1], change[:, 0], change[:, -1]])
    assert border.max() <= 10
    assert change[20:40, 16:48].max() > 100


def test_where_the_head_was_is_what_is_around_it(photo):
    """A frame that shows nothing uncovers the background, and below the chin the photo's body."""
    seen = PasteBack(photo, source(50, 30), REST)(np.zeros((SIDE, SIDE, 4), np.uint8))[..., :3].astype(int)
    behind = seen[30 + 12 : 30 + 40, 50 + 18 : 50 + 46]
    expected = np.linspace(80, 120, 160)[None, 68:96, None]
    assert np.abs(behind - expected).max() < 25
    np.testing.assert_array_equal(seen[30 + 56 : 94, 50:114], photo[30 + 56 : 94, 50:114])


def test_at_rest_it_is_the_photo(photo):
    seen = PasteBack(photo, source(50, 30), REST)(REST)[..., :3].astype(int)
    assert np.abs(seen - photo).mean() < 1.5


@pytest.mark.parametrize(("left", "top"), [(-20, -10), (120, 80), (-20, 80)])
def test_a_crop_may_leave_the_photo_and_is_not_faded_there(photo, left, top):
    opaque = np.full((SIDE, SIDE, 4), (0, 0, 255, 255), np.uint8)
    seen = PasteBack(photo, source(left, top), REST)(opaque)
    corner = seen[0 if top < 0 else -1, 0 if left < 0 else -1]
    np.testing.assert_array_equal(corner, (0, 0, 255, 255))


def test_the_photo_may_be_a_larger_one_and_is_shown_in_a_size_for_videos(photo):
    larger = np.asarray(Image.fromarray(photo).resize((320, 240), Image.Resampling.NEAREST))
    paste = PasteBack(larger, source(50, 30), REST)
    assert paste.size == (240, 320)
    np.testing.assert_array_equal(paste(frame((20, 200, 20)))[2 * 60, 2 * 82], (20, 200, 20, 255))
    huge = np.broadcast_to(np.uint8(90), (2400, 3200, 3))
    assert PasteBack(np.ascontiguousarray(huge), source(50, 30), REST).size == (MAX_SIDE * 3 // 4, MAX_SIDE)


def test_an_avatar_without_a_mask_brings_its_background(photo):
    opaque = np.full((SIDE, SIDE, 4), (0, 0, 255, 255), np.uint8)
    seen = PasteBack(photo, source(50, 30), opaque)(opaque)
    np.testing.assert_array_equal(seen[60, 82], (0, 0, 255, 255))


def test_another_photo_is_refused_by_its_shape_and_told_by_its_look(photo):
    with pytest.raises(InputError, match=r"a\.png: expected a photo of 160 x 120 .*, found 120 x 160; give the photo"):
        PasteBack(np.ascontiguousarray(photo.swapaxes(0, 1)), source(50, 30), REST, "a.png")
    rng = np.random.default_rng(0)
    shaded = REST.copy()
    shaded[..., :3] = rng.integers(0, 256, (8, 8, 3)).repeat(8, 0).repeat(8, 1)
    own = photo.copy()
    own[30:94, 50:114] = shaded[..., :3]
    assert PasteBack(own, source(50, 30), shaded).likeness > 0.99
    assert PasteBack(own[:, ::-1].copy(), source(50, 30), shaded).likeness < ALIKE
    assert PasteBack(np.full_like(own, 90), source(50, 30), shaded).likeness == 0  # nothing to be like


def picture(width, height):
    return np.broadcast_to(np.uint8(90), (height, width, 3))


@given(
    st.integers(16, 4000),
    st.integers(16, 4000),
    st.floats(0.1, 4, allow_nan=False),
)
@example(160, 120, 1 / 3)
def test_the_photo_in_any_size_is_the_same_one(width, height, scale):
    check_shape(picture(round(width * scale), round(height * scale)), source(0, 0, (width, height)), "a.png")


@pytest.mark.parametrize(("width", "height"), [(162, 120), (158, 120), (160, 122), (160, 118), (326, 240)])
def test_a_photo_that_was_cut_is_another(width, height):
    with pytest.raises(InputError, match=r"a\.png: expected a photo of 160 x 120 pixels, found"):
        check_shape(picture(width, height), source(0, 0), "a.png")


@pytest.mark.parametrize(("alike", "warned"), [(0.6, True), (0.7, True), (0.8, False), (0.9, False)])
@pytest.mark.parametrize("trained", [True, False])
def test_a_photo_that_is_little_like_the_avatar_is_warned_of(capsys, alike, warned, trained):
    """Of own photos the least was 0.89, of others the most 0.56; weights that were never trained are like nothing."""
    rng = np.random.default_rng(0)
    shown, noise = (rng.normal(size=(SIDE, SIDE)) for _ in range(2))
    mixed = alike * shown + np.sqrt(1 - alike**2) * noise
    photo, rest = picture(160, 120).copy(), np.full((SIDE, SIDE, 4), 255, np.uint8)
    photo[30:94, 50:114], rest[..., :3] = (128 + 30 * np.stack([mixed, shown])).clip(0, 255)[..., None]
    contract = SimpleNamespace(source=source(50, 30), origin=SimpleNamespace(trained=trained))
    bundle = SimpleNamespace(contract=contract)
    avatar = SimpleNamespace(bundle=bundle, source_pose=None, render=lambda _: rest)
    assert paste_back(photo, avatar, Path("a.png")).likeness == pytest.approx(alike, abs=0.04)
    assert ("a.png: does not look like the photo" in capsys.readouterr().err) == (warned and trained)


def test_what_lies_around_a_face_does_not_make_it_another(photo):
    """The colour of the hair, or a white background at the mask's edge, weighs more than the face within it."""
    rng = np.random.default_rng(0)
    person = source(50, 30)
    pose = np.zeros((68, 2))
    pose[:4] = (-0.3, -0.4), (0.3, -0.4), (0.3, 0.4), (-0.3, 0.4)
    person = PhotoSource(person.photo_size, person.crop, pose.ravel().tolist())
    rest = np.full((SIDE, SIDE, 4), 255, np.uint8)
    rest[..., :3] = rng.integers(0, 200, (16, 16, 1)).repeat(4, 0).repeat(4, 1)
    own, face = photo.copy(), np.s_[30 + 19 : 30 + 46, 50 + 22 : 50 + 43]
    own[30:94, 50:114] = rest[..., :3]
    for around in (0, 90, 255):
        other = np.full_like(photo, around)
        other[face] = own[face]
        assert PasteBack(other, person, rest).likeness > 0.95
        other[face] = own[face][::-1]
        assert PasteBack(other, person, rest).likeness < ALIKE


def in_process(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_bilayer_render_pastes_into_the_photo(bundle_folder, tmp_path):
    photo = bundle_folder.parent / "face.png"
    common = [bundle_folder, "--demo-motion", "--paste-back", photo, "--frames", 2]
    done = in_process(*common, "--out", tmp_path / "frames")
    assert done.exit_code == 0, done.stderr
    assert "compose" in done.stdout
    assert "does not look like the photo" in done.stderr  # as tiny as this model is
    shown = np.asarray(Image.open(tmp_path / "frames/00001.png"))
    with Image.open(photo) as whole:
        assert shown.shape[:2] == whole.size[::-1]
    assert (shown[..., 3] == 255).all()
    for words in (["--side-by-side"], ["--parts"], ["--background", "red"]):
        done = in_process(*common, "--out", tmp_path / "a.gif", *words)
        assert done.exit_code == 2
        assert "leave --side-by-side, --parts and --background away" in done.stderr
    done = in_process(*common[:3], tmp_path / "no.png", "--out", tmp_path / "a.gif")
    assert done.exit_code == 3
    assert "no.png: no such file" in done.stderr
    assert not (tmp_path / "a.gif").exists()
