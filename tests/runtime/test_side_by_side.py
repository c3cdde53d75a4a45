"""Beside the avatar the driver's picture stands still, whatever the head does: no borders that come and go."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from bilayer.runtime.face.crop import CropBox, crop_box
from bilayer.runtime.motion.drivers import LiveDriver, TrackedDriver
from bilayer.runtime.player import AvatarPlayer
from bilayer.runtime.rendering.render import Panels, render_video
from tests.runtime.conftest import CASE

FACE = CASE["source_landmarks"] - CASE["source_landmarks"].mean(axis=0)
PLACES = [(60, 70), (20, 75), None, (140, 60), (90, 110)]  # of its centre; near the edges its crop leaves the picture
PICTURE = np.random.default_rng(0).integers(1, 256, (120, 160, 3), np.uint8)


class Camera:
    """The same picture, in which a face is found elsewhere each time."""

    rate, count = 25.0, len(PLACES)

    def __iter__(self):
        return iter([PICTURE.copy() for _ in PLACES])


class Landmarker:
    def __init__(self):
        self.places = iter(PLACES)

    def track(self, _picture, _previous):
        place = next(self.places)
        return None if place is None else SimpleNamespace(landmarks=(FACE * 0.4 + place).astype(np.float32))


class Kept:
    def __init__(self):
        self.frames = []

    def write(self, frame):
        self.frames.append(frame.copy())


def panels(bundle_folder, driver, window=None):
    """The driver's part of each frame (T, S, S, 3)."""
    avatar, kept = AvatarPlayer.load(bundle_folder, engine="onnxruntime"), Kept()
    render_video(avatar, driver, lambda _: avatar.source_pose, kept, Panels(driver=True, window=window))
    return np.stack(kept.frames)[:, :, : avatar.size, :3]


@pytest.fixture
def tracked():
    driver = TrackedDriver(lambda: nullcontext(Camera()), with_pictures=True)
    driver.track(Landmarker())
    return driver


def shown(corners, size=64):
    return np.asarray(Image.fromarray(PICTURE).crop(corners).resize((size, size), Image.Resampling.BICUBIC))


def test_a_files_driver_stands_still_and_is_seen_whole(bundle_folder, tracked):
    boxes = [crop_box(frame.landmarks) for frame in tracked if frame.landmarks is not None]
    assert min(min(box.corners) for box in boxes) < 0  # else there would be no border to avoid
    middle = (min(box.corners[0] for box in boxes) + max(box.corners[2] for box in boxes)) // 2
    seen = panels(bundle_folder, tracked, tracked.window())
    assert len(seen) == len(PLACES)
    for panel in seen:
        np.testing.assert_array_equal(panel, shown((middle - 60, 0, middle + 60, 120)))
    assert seen.min() > 0  # no black


def test_the_window_holds_every_crop(tracked):
    left, top, right, bottom = tracked.window().corners
    for frame in tracked:
        if frame.landmarks is not None:
            box = crop_box(frame.landmarks).corners
            assert left <= box[0] + 1
            assert top <= box[1] + 1
            assert box[2] <= right + 1
            assert box[3] <= bottom + 1


def test_a_webcam_shows_its_middle(bundle_folder):
    for panel in panels(bundle_folder, LiveDriver(Camera(), Landmarker())):
        np.testing.assert_array_equal(panel, shown((20, 0, 140, 120)))


@pytest.mark.parametrize(
    ("window", "corners"),
    [
        (CropBox(50, 60, 20), (30, 40, 70, 80)),
        (CropBox(5, 118, 20), (0, 80, 40, 120)),
        (CropBox(150, 0, 20), (120, 0, 160, 40)),
    ],
)
def test_a_window_is_pushed_into_the_picture(bundle_folder, window, corners):
    seen = panels(bundle_folder, LiveDriver(Camera(), Landmarker()), window)
    np.testing.assert_array_equal(seen[0], shown(corners))
