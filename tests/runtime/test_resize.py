"""Frames of another size than the network's: torch's interpolate in float64, and its warp, are the oracle."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bilayer.runtime.errors import InputError
from bilayer.runtime.sampler.compositor import FrameCompositor
from bilayer.runtime.sampler.resize import resize
from tests.sampler_reference import interleaved, random_frame, random_texture

sides = st.integers(1, 12)
frame_sides = st.integers(1, 40)
seeds = st.integers(0, 2**32 - 1)


def interpolate(planes, height, width):
    return torch.nn.functional.interpolate(planes, size=(height, width), mode="bilinear", align_corners=False)


def oracle(texture, delta_uv, lf_rgb, mask, height, width, align_corners):
    """(height, width, 4) in float64, not yet cut to bytes: levels, and the mask's level."""
    texture, delta_uv, lf_rgb, mask = (
        torch.from_numpy(a.astype(np.float64))[None] for a in (texture, delta_uv, lf_rgb, mask)
    )
    y, x = ((2 * torch.arange(side, dtype=torch.float64) + 1) / side - 1 for side in (height, width))
    identity = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    uv = identity + interpolate(delta_uv, height, width).permute(0, 2, 3, 1)
    image = interpolate(lf_rgb, height, width) + torch.nn.functional.grid_sample(
        texture, uv, align_corners=align_corners
    )
    opacity = interpolate(mask[None], height, width).clamp(0, 1)
    return torch.cat([(image.clamp(-1, 1) + 1) / 2, opacity], dim=1)[0].permute(1, 2, 0).numpy() * 255


def smooth_frame(rng, height, width):
    """Results without the steep slopes that turn a float32 coordinate's rounding into levels of the picture."""
    return (
        rng.normal(0, 0.2, (2, height, width)).astype(np.float32),
        rng.uniform(-1, 1, (3, height, width)).astype(np.float32),
        rng.uniform(-0.2, 1.2, (height, width)).astype(np.float32),
    )


@given(seed=seeds, height=sides, width=sides, rows=frame_sides, columns=frame_sides)
@settings(max_examples=100, deadline=None)
def test_planes_are_torchs(seed, height, width, rows, columns):
    planes = np.random.default_rng(seed).uniform(-1, 1, (3, height, width)).astype(np.float32)
    expected = interpolate(torch.from_numpy(planes.astype(np.float64))[None], rows, columns)[0].numpy()
    np.testing.assert_allclose(resize(planes, rows, columns), expected, atol=1e-5)


def test_a_plane_of_its_own_size_stays_to_the_bit():
    planes = np.random.default_rng(0).normal(size=(2, 7, 30)).astype(np.float32)
    np.testing.assert_array_equal(resize(planes, 7, 30), planes)


@pytest.mark.parametrize("engine", ["numba", "numpy"])
@given(
    seed=seeds, fields=st.tuples(sides, sides), frame=st.tuples(frame_sides, frame_sides),
    texture=st.tuples(sides, sides),
    corners=st.booleans(),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_frames_are_torchs_in_float64(engine, seed, fields, frame, texture, corners):
    rng = np.random.default_rng(seed)
    texels, results = random_texture(rng, *texture), smooth_frame(rng, *fields)
    found = FrameCompositor(texels, corners, size=frame, rounding="nearest", engine=engine).render(*results)
    expected = oracle(texels, *results, *frame, corners)
    assert found.shape == (*frame, 4)
    assert np.abs(found - expected).max() <= 0.5 + 0.05  # float32 is worth a twentieth of a level here


@pytest.mark.parametrize(
    ("fields", "frame", "texture"), [(256, 512, 512), (256, 384, 512), (128, 512, 256), (256, 200, 300)]
)
@pytest.mark.parametrize("corners", [False, True])
def test_large_frames_are_torchs_in_float64(fields, frame, texture, corners):
    rng = np.random.default_rng(frame)
    texels, results = random_texture(rng, texture, texture), smooth_frame(rng, fields, fields)
    found = FrameCompositor(texels, corners, size=frame, rounding="nearest").render(*results)
    assert np.abs(found - oracle(texels, *results, frame, frame, corners)).max() <= 0.5 + 0.2


def test_a_still_photo_is_its_own_pixels_in_a_larger_frame():
    """The identity is the frame's own: with no offsets at all, each pixel of the frame is a texel."""
    photo = np.random.default_rng(2).integers(0, 256, (3, 40, 50), dtype=np.uint8)
    still = np.zeros((2, 5, 10)), np.zeros((3, 5, 10))
    compositor = FrameCompositor(photo / 127.5 - 1, False, size=(40, 50), rounding="nearest")
    np.testing.assert_array_equal(np.moveaxis(compositor.render(*still)[..., :3], -1, 0), photo)


BACKGROUND = np.random.default_rng(9).integers(0, 256, (40, 40, 3), dtype=np.uint8)
MODES = {
    "straight": {},
    "premultiplied": {"alpha": "premultiplied"},
    "colour": {"background": (10, 200, 255)},
    "picture": {"background": BACKGROUND},
}


@pytest.mark.parametrize("mode", MODES)
@given(
    seed=seeds,
    height=sides,
    width=st.integers(1, 40),
    rows=frame_sides,
    columns=st.integers(1, 600),
    corners=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_numba_gives_numpys_bytes_whatever_the_input(mode, seed, height, width, rows, columns, corners):
    rng = np.random.default_rng(seed)
    if seed % 2:  # the doubling has loops of its own
        rows, columns = 2 * height, 2 * width
    texture, frame = random_texture(rng, 9, 7), random_frame(rng, height, width)
    chosen = MODES[mode] | {"rounding": ("truncate", "nearest")[seed % 2], "size": (rows, columns)}
    if mode == "picture":
        chosen["background"] = rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    numba, numpy = (FrameCompositor(texture, corners, engine=engine, **chosen) for engine in ("numba", "numpy"))
    expected = numpy.render(*frame)
    np.testing.assert_array_equal(numba.render(*frame), expected)
    swapped = FrameCompositor(texture, corners, layout="interleaved", threads=2, **chosen)
    delta_uv, lf_rgb, mask = frame
    np.testing.assert_array_equal(swapped.render(interleaved(delta_uv), interleaved(lf_rgb), mask[..., None]), expected)


@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_a_frame_without_a_mask_is_opaque(engine):
    delta_uv, lf_rgb, _ = random_frame(np.random.default_rng(1), 6, 6)
    assert (
        FrameCompositor(np.zeros((3, 4, 4)), True, size=9, engine=engine).render(delta_uv, lf_rgb)[..., 3] == 255
    ).all()


def test_frames_that_cannot_be_are_refused():
    texture, flat = np.zeros((3, 4, 4)), (np.zeros((2, 4, 4)), np.zeros((3, 4, 4)))
    for size in (0, -1, (5, 0), 1 << 20):
        with pytest.raises(InputError, match="size: expected 1 to 16384 pixels, found"):
            FrameCompositor(texture, False, size=size)
    with pytest.raises(InputError, match=r"out: expected .* \(8, 8, 4\), found uint8 \(4, 4, 4\)"):
        FrameCompositor(texture, False, size=8).render(*flat, out=np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(InputError, match=r"background: \(4, 4\) px wide and high, the frame \(8, 8\)"):
        FrameCompositor(texture, False, size=8, background=np.zeros((4, 4, 3), np.uint8)).render(*flat)


def test_one_compositor_draws_results_of_any_size():
    compositor = FrameCompositor(np.zeros((3, 4, 4)), False, size=6)
    for side, corner in itertools.product((3, 6, 12), (0.0, 0.5)):
        frame = compositor.render(np.full((2, side, side), corner), np.full((3, side, side), corner))
        assert frame.shape == (6, 6, 4)
        assert (frame[..., :3] == int((corner + 1) * 127.5)).all()
