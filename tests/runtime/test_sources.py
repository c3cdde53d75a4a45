"""What drives is known by content, whatever its name; and what is no motion is not taken for one."""

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bilayer.runtime.errors import InputError, LandmarkError, PhotoError
from bilayer.runtime.face.crop import crop_face, on_a_line
from bilayer.runtime.face.found import face_from_landmarks
from bilayer.runtime.media.sources import open_pictures
from bilayer.runtime.motion.drivers import LandmarkDriver, TrackedDriver
from bilayer.runtime.motion.retarget import Retargeter, driving_poses, retarget
from bilayer.runtime.motion.track import Track, faces_among, hold_faces
from tests import golden

FACE = golden.load("case_a/preproc.npz")["source_landmarks"].astype(np.float32)  # (68, 2)
GREYS = (20, 60, 100, 140, 180, 220)
MILLISECONDS = (40, 40, 40, 200, 40, 400)
ANIMATIONS = ("a.gif", "a.png", "a.webp", "a.avif")


def animate(path, greys=GREYS, milliseconds=MILLISECONDS, size=(32, 24), **options):
    frames = [Image.new("RGB", size, (grey, grey, grey)) for grey in greys]
    options |= {"lossless": True} if path.suffix == ".webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=list(milliseconds), loop=0, **options)
    return path


@pytest.mark.parametrize("name", ANIMATIONS)
def test_an_animation_is_a_video_that_lasts_as_long(tmp_path, name):
    with open_pictures(animate(tmp_path / name)) as pictures:
        shown = [float(picture.mean()) for picture in pictures]
        assert pictures.count == len(shown)
    assert len(shown) / pictures.rate == pytest.approx(sum(MILLISECONDS) / 1000, abs=1 / pictures.rate)
    ends = np.cumsum(MILLISECONDS) / 1000
    for tick, grey in enumerate(shown):
        place = int(np.searchsorted(ends, (tick + 0.01) / pictures.rate, side="right"))
        assert abs(grey - GREYS[place]) < 8, tick


@pytest.mark.parametrize("name", ANIMATIONS)
def test_an_animation_is_gone_through_as_often_as_it_is_opened(tmp_path, name):
    path = animate(tmp_path / name)
    both = []
    for _ in range(2):
        with open_pictures(path) as pictures:
            both.append(np.stack(list(pictures)))
    np.testing.assert_array_equal(*both)


def test_frames_that_browsers_slow_down_are_slow_here(tmp_path):
    with open_pictures(animate(tmp_path / "a.gif", GREYS, [10] * 6)) as pictures:
        assert (pictures.rate, len(list(pictures))) == (10.0, 6)


def test_transparent_frames_show_white_as_photos_do(tmp_path):
    frames = [Image.new("RGBA", (8, 8), (200, 0, 0, alpha)) for alpha in (0, 255)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], duration=40)
    with open_pictures(tmp_path / "a.png") as pictures:
        clear, red = pictures
    assert (clear == 255).all()
    assert red[0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize("name", ANIMATIONS)
@pytest.mark.parametrize("part", [0.4, 0.8])
def test_an_animation_cut_short_is_one_line(tmp_path, name, part):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3), np.uint8)
    frames = [Image.fromarray(frame) for frame in noise]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    count, said = 0, ""
    try:
        with open_pictures(path) as pictures:
            count = len(list(pictures))
    except PhotoError as error:
        said = str(error)
    assert count < 4
    assert "\n" not in said
    assert bool(said) != bool(count)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "MPO"])
@pytest.mark.parametrize("name", ["me", "me.jfif", "me.mp4", "me.JPG.download", "me.dat"])
def test_a_photo_of_any_name_is_one_picture(tmp_path, kind, name):
    Image.new("RGB", (32, 24), (90, 90, 90)).save(tmp_path / name, kind)
    with open_pictures(tmp_path / name) as pictures:
        (picture,) = pictures
    assert picture.shape == (24, 32, 3)
    assert pictures.count == 1


def test_a_video_that_is_called_a_photo_is_a_video(tmp_path):
    pytest.importorskip("av")
    from tests.runtime.video_files import number_of, write_slides

    shutil.move(write_slides(tmp_path / "a.mp4", range(0, 200, 40)), tmp_path / "a.jpg")
    with open_pictures(tmp_path / "a.jpg") as pictures:
        assert [number_of(picture) for picture in pictures] == list(range(5))


@pytest.mark.parametrize("content", [b"", b"hello", b"%PDF-1.7", bytes(range(256))])
def test_what_is_neither_is_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png: not a video that FFmpeg reads"):
        open_pictures(tmp_path / "a.png")


def test_a_folder_of_pictures_is_told_how_it_becomes_a_driver(tmp_path):
    (tmp_path / "my frames").mkdir()
    with pytest.raises(InputError, match=r"is a folder; make a video of its pictures: ffmpeg .*'.*/my frames/\*\.png'"):
        open_pictures(tmp_path / "my frames")


# Frames without a face, and drivers that do not move

OTHER = FACE + np.float32([5, 3])
NOWHERE = np.zeros_like(FACE)


@pytest.mark.parametrize("nothing", [NOWHERE, NOWHERE - 1, NOWHERE + 100, FACE * np.float32(1e-3)])
def test_a_frame_whose_points_are_in_one_place_is_no_face(nothing):
    frames = np.stack([nothing, FACE, nothing, nothing, OTHER, nothing])
    assert faces_among(frames).tolist() == [False, True, False, False, True, False]
    np.testing.assert_array_equal(hold_faces(frames), np.stack([FACE, FACE, FACE, FACE, OTHER, OTHER]))
    seen = [frame.landmarks for frame in LandmarkDriver(frames, 25.0)]
    assert [points is None for points in seen] == [True, False, True, True, False, True]
    np.testing.assert_array_equal(seen[4], OTHER)


def line(angle, jitter=0.0):
    """68 points of a line at an angle, as long as a face."""
    rng = np.random.default_rng(3)
    along = rng.uniform(-80, 80, (68, 1)) * np.array([[np.cos(angle), np.sin(angle)]])
    return np.float32(100 + along + rng.uniform(-jitter, jitter, (68, 2)))


@pytest.mark.parametrize("jitter", [0.0, 0.5, 2.0])  # of 160 px
@pytest.mark.parametrize("angle", [0.0, np.pi / 2, 0.4, np.pi / 4, 2.5])
def test_a_frame_whose_points_are_on_a_line_is_no_face(angle, jitter):
    nothing = line(angle, jitter)
    frames = np.stack([FACE, nothing, OTHER, nothing * np.float32(3)])
    assert faces_among(frames).tolist() == [True, False, True, False]
    assert [frame.landmarks is None for frame in LandmarkDriver(frames, 25.0)] == [False, True, False, True]
    with pytest.raises(LandmarkError, match="landmarks: all landmarks on one line; expected a face"):
        crop_face(np.zeros((300, 300, 3), np.uint8), nothing, 64)


@pytest.mark.parametrize("narrow", [1.0, 0.3, 0.1])
@pytest.mark.parametrize("angle", [0.0, 0.7, np.pi / 2])
def test_a_face_turned_far_or_tilted_is_one(narrow, angle):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = np.float32((FACE - FACE.mean(axis=0)) * [narrow, 1] @ turn.T + 1000)
    assert faces_among(np.stack([FACE, turned])).all()


@given(st.floats(-3, 3), st.floats(1e-3, 1e30), st.floats(-1e6, 1e6))
def test_how_large_a_line_is_and_where_does_not_count(angle, scale, offset):
    along = np.linspace(-1, 1, 68)[:, None] * [np.cos(angle), np.sin(angle)]
    assert on_a_line(scale * (along + offset / 1e6))
    face = (FACE - FACE.mean(axis=0)) / np.float32(100)
    assert not on_a_line(scale * (face.astype(np.float64) + offset / 1e6))


def test_a_track_of_faces_alone_is_left_as_it_is():
    frames = np.stack([FACE, OTHER, FACE * np.float32(0.5)])  # further away
    assert faces_among(frames).all()
    assert hold_faces(frames) is frames


@pytest.mark.parametrize("mode", ["absolute", "relative", "procrustes"])
def test_poses_of_frames_without_a_face_are_those_before(mode):
    frames = np.stack([FACE, OTHER, NOWHERE, FACE])
    pose = (FACE - FACE.mean(axis=0)).reshape(-1) / np.float32(100)
    poses = driving_poses(pose, Track(frames), mode)
    np.testing.assert_array_equal(poses[2], poses[1])
    np.testing.assert_array_equal(poses[[0, 1, 3]], driving_poses(pose, Track(frames[[0, 1, 3]]), mode))
    with pytest.raises(LandmarkError, match="driver: all landmarks in one place"):
        Retargeter(pose, mode)(NOWHERE)
    assert np.isfinite(retarget(pose, frames, mode)).all()


def test_a_track_without_any_face_is_refused():
    driver = LandmarkDriver(np.stack([NOWHERE, NOWHERE]), 25.0)
    assert not faces_among(np.stack([NOWHERE, NOWHERE])).any()
    with pytest.raises(LandmarkError, match="driver: expected a face, found none"):
        driver.reference(FACE)


@pytest.mark.parametrize(
    ("frames", "moves"),
    [((FACE,), False), ((FACE, FACE, FACE), False), ((NOWHERE, FACE), False), ((FACE, OTHER), True)],
)
def test_a_track_of_one_face_has_no_motion(frames, moves):
    assert LandmarkDriver(np.stack(frames), 25.0).moves == moves


class Still:
    """A landmarker that finds the face of a picture's grey."""

    def track(self, frame, previous):
        return face_from_landmarks(FACE + np.float32(frame.mean()))


@pytest.mark.parametrize(
    ("greys", "limit", "moves"), [((9,), None, False), ((9, 9), None, False), ((9, 30), None, True), ((9, 30), 1, True)]
)
def test_a_video_of_one_picture_has_no_motion(tmp_path, greys, limit, moves):
    path = animate(tmp_path / "a.webp", greys, [40] * len(greys))
    driver = TrackedDriver(lambda: open_pictures(path), with_pictures=False)
    driver.track(Still(), limit)
    assert driver.moves == moves
