"""A .gif has one palette for the whole film, as good as one for every frame, and what stands still is still."""

import numpy as np
import pytest
from PIL import Image, ImageSequence

from bilayer.runtime.media.writers import open_writer


@pytest.fixture(scope="module")
def film(astronaut_path):
    """A face that moves over a still picture (12, 96, 128, 4)."""
    photo = np.asarray(Image.open(astronaut_path).convert("RGBA"))
    frames = np.repeat(photo[None, 400:496, 0:128], 12, axis=0)
    for i, frame in enumerate(frames):
        frame[16:80, 16 + 4 * i : 80 + 4 * i] = photo[64:192:2, 160:288:2]
    return frames


def written(path, frames):
    with open_writer(path, 25.0) as writer:
        for frame in frames:
            writer.write(frame)
    with Image.open(path) as image:
        return np.stack([np.asarray(frame.convert("RGBA")) for frame in ImageSequence.Iterator(image)])


def psnr(frames, expected):
    error = np.square(frames[..., :3].astype(float) - expected[..., :3]).mean(axis=(1, 2, 3))
    return 10 * np.log10(255**2 / error)


def test_one_palette_is_as_good_as_pillows_one_for_every_frame(film, tmp_path):
    of_its_own = [Image.fromarray(frame[..., :3].copy()).quantize(255).convert("RGB") for frame in film]
    read = written(tmp_path / "a.gif", film)
    assert (psnr(read, film) >= psnr(np.stack(of_its_own), film)).all()
    assert len(np.unique(read.reshape(-1, 4), axis=0)) <= 255  # in the whole film


def test_what_stands_still_is_still(film, tmp_path):
    read = written(tmp_path / "a.gif", film)
    beside = np.s_[:, :12], np.s_[:, -4:], np.s_[-12:], np.s_[:12]
    for frame in read[1:]:
        for part in beside:
            np.testing.assert_array_equal(frame[part], read[0][part])


def test_shades_of_a_smooth_slope_run_into_each_other(tmp_path):
    """Without dithering each column would be of one colour, and bands would have straight edges."""
    slope = np.full((2, 64, 256, 4), 255, np.uint8)
    slope[0, ..., :3] = np.linspace(90, 120, 256)[:, None] + np.array([0, 20, 40])
    slope[1, ..., :3] = np.random.default_rng(0).integers(0, 256, (64, 256, 3))  # which leaves it few colours
    columns = written(tmp_path / "a.gif", slope)[0, ..., :3].transpose(1, 0, 2)
    assert sum(len(np.unique(column, axis=0)) > 1 for column in columns) > 32


def test_a_film_that_is_transparent_throughout(tmp_path):
    assert not written(tmp_path / "a.gif", np.zeros((1, 20, 30, 4), np.uint8))[..., 3].any()


def test_the_last_frames_own_colour_is_in_the_palette(tmp_path):
    frames = np.full((60, 16, 16, 4), 255, np.uint8)
    frames[-1, ..., :3] = 200, 10, 90
    assert np.abs(written(tmp_path / "a.gif", frames)[-1, ..., :3].astype(int) - [200, 10, 90]).max() <= 2
