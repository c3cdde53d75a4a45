"""Pictures, masks and coordinates of a frame in another size, and mirrored."""

import cv2
import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bilayer.runtime.face.found import MIRRORED
from bilayer.training.data.dataset import frame_batch
from bilayer.training.data.frame_folders import StoredFrame, resize_coords, resize_image, resize_mask
from bilayer.training.data.stored_pairs import mirror_frame
from tests.training.written_frames import SIZE


def test_mirroring_moves_landmarks_with_the_pixels_they_mark():
    rng = np.random.default_rng(0)
    places = rng.permutation(SIZE * SIZE)[:68]
    keypoints = np.stack([places % SIZE, places // SIZE], axis=1).astype(np.float32)
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[places // SIZE, places % SIZE, 0] = 1 + np.arange(68)  # landmark i is marked by i + 1
    coords = rng.uniform(-1, 1, (SIZE, SIZE, 2)).astype(np.float16)
    frame = StoredFrame(image, image[..., 0], keypoints, SIZE, coords)
    plain, mirrored = frame_batch([frame], 1), frame_batch([mirror_frame(frame)], 1)
    points = np.rint((mirrored.poses[0, 0].view(68, 2).numpy() + 1) / 2 * SIZE).astype(int)
    marks = ((mirrored.images[0, 0, 0] + 1) * 127.5).round().int().numpy()[points[:, 1], points[:, 0]]
    np.testing.assert_array_equal(marks, 1 + MIRRORED)
    torch.testing.assert_close(mirrored.images, plain.images.flip(-1), rtol=0, atol=0)
    torch.testing.assert_close(mirrored.masks, plain.masks.flip(-1), rtol=0, atol=0)
    torch.testing.assert_close(mirrored.coords, plain.coords.flip(3) * torch.tensor([-1.0, 1.0]), rtol=0, atol=0)


@given(st.integers(1, 4), st.integers(1, 8), st.integers(0, 2**32))
def test_shrinking_a_picture_averages_areas(factor, size, seed):
    image = np.random.default_rng(seed).integers(0, 256, (factor * size, factor * size, 3), dtype=np.uint8)
    means = image.reshape(size, factor, size, factor, 3).mean(axis=(1, 3))
    assert np.abs(resize_image(image, size) - means).max() <= 0.501


@given(st.integers(4, 40), st.integers(4, 40), st.integers(0, 255))
def test_an_even_picture_stays_even_in_any_size(before, after, value):
    assert (resize_image(np.full((before, before, 3), value, np.uint8), after) == value).all()
    assert (resize_mask(np.full((before, before), value, np.uint8), after) == value).all()
    even = np.full((before, before, 2), value / 256, np.float16)
    np.testing.assert_allclose(resize_coords(even, after), even[0, 0, 0], atol=1e-3)


def test_a_mask_is_resized_as_the_authors_do():
    mask = np.asarray(cv2.GaussianBlur(np.eye(64, dtype=np.uint8) * 255, (9, 9), 2))
    expected = np.asarray(Image.fromarray(mask).resize((24, 24), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(resize_mask(mask, 24), expected)


@given(st.sampled_from([2, 4]), st.floats(0, 1), st.integers(0, 2**32))
def test_shrunk_coordinates_are_means_of_what_is_known(factor, share, seed):
    size = 6
    rng = np.random.default_rng(seed)
    centres = ((np.arange(factor * size) + 0.5) / (factor * size) * 2 - 1) * 0.2  # smooth: no seam anywhere
    coords = np.stack(np.meshgrid(centres, centres), axis=-1).astype(np.float16)
    coords[rng.random(coords.shape[:2]) < share] = np.nan
    found = resize_coords(coords, size)
    for y, x in np.ndindex(size, size):
        cell = coords[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor].reshape(-1, 2).astype(np.float64)
        known = cell[np.isfinite(cell).all(axis=1)]
        if 2 * len(known) < len(cell):
            assert np.isnan(found[y, x]).all()
        else:
            np.testing.assert_allclose(found[y, x], known.mean(axis=0), atol=1e-3)


def test_a_seam_has_no_coordinate_when_shrunk():
    coords = np.zeros((8, 8, 2), np.float16)
    coords[..., 0] = np.where(np.arange(8) < 3, -0.9, 0.9)
    found = resize_coords(coords, 4)
    assert np.isnan(found[:, 1]).all()
    np.testing.assert_allclose(found[:, [0, 2, 3], 0], [[-0.9, 0.9, 0.9]] * 4, atol=1e-3)


def test_enlarged_coordinates_are_the_nearest_ones():
    coords = np.random.default_rng(0).uniform(-1, 1, (4, 4, 2)).astype(np.float16)
    coords[1, 2] = np.nan
    np.testing.assert_array_equal(resize_coords(coords, 8), coords.repeat(2, axis=0).repeat(2, axis=1))
