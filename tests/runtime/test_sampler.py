import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bilayer.runtime.errors import InputError
from bilayer.runtime.sampler.grid_sample import Sampler, pack_texture, sample
from tests import golden
from tests.sampler_reference import grid_sample, interleaved, random_grid, random_texture, tolerance

both_corners = pytest.mark.parametrize("align_corners", [False, True])
sizes = st.integers(1, 12)
seeds = st.integers(0, 2**32 - 1)


def torch_sample(texture, grid, align_corners):
    warped = torch.nn.functional.grid_sample(
        torch.from_numpy(texture)[None], torch.from_numpy(grid)[None], align_corners=align_corners
    )
    return warped[0].numpy()


@both_corners
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (64, 64), (100, 37), (256, 256)])
def test_equals_torch_where_float32_coordinates_are_exact(align_corners, height, width):
    rng = np.random.default_rng(height)
    texture = random_texture(rng, height, width)
    grid = rng.integers(-300, 301, (33, 70, 2)).astype(np.float32) / 256  # few bits: no rounding on the way to texels
    expected = torch_sample(texture, grid, align_corners)
    np.testing.assert_allclose(sample(texture, grid, align_corners), expected, atol=5e-6, rtol=0)


@both_corners
@given(seed=seeds, height=sizes, width=sizes, rows=sizes, columns=st.integers(1, 24), channels=st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_equals_the_definition_everywhere(align_corners, seed, height, width, rows, columns, channels):
    rng = np.random.default_rng(seed)
    texture, grid = random_texture(rng, height, width, channels), random_grid(rng, rows, columns)
    expected = grid_sample(texture, grid, align_corners)
    result = sample(texture, grid, align_corners)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=tolerance(texture), rtol=0)


@both_corners
def test_equals_the_definition_over_several_stretches_of_a_row(align_corners):
    rng = np.random.default_rng(5)
    texture, grid = random_texture(rng, 40, 300), random_grid(rng, 3, 2 * 256 + 9)
    expected = grid_sample(texture, grid, align_corners)
    np.testing.assert_allclose(sample(texture, grid, align_corners), expected, atol=tolerance(texture), rtol=0)


@given(seed=seeds, height=sizes, width=sizes, rows=sizes, columns=st.integers(1, 24), corners=st.booleans())
@settings(max_examples=100, deadline=None)
def test_numpy_gives_the_same_bits(seed, height, width, rows, columns, corners):
    rng = np.random.default_rng(seed)
    texture, grid = random_texture(rng, height, width, 4), random_grid(rng, rows, columns)
    numba, numpy = (sample(texture, grid, corners, engine=engine) for engine in ("numba", "numpy"))
    np.testing.assert_array_equal(numba.view(np.uint32), numpy.view(np.uint32))


@pytest.mark.parametrize("engine", ["numba", "numpy"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("grid_layout", ["planar", "interleaved"])
@pytest.mark.parametrize("out_layout", ["planar", "interleaved"])
def test_layouts_change_nothing_but_the_order(engine, channels, grid_layout, out_layout):
    rng = np.random.default_rng(channels)
    texture, grid = random_texture(rng, 9, 14, channels), random_grid(rng, 7, 261)
    expected = sample(texture, grid, False)
    result = sample(
        interleaved(texture),
        grid if grid_layout == "interleaved" else np.moveaxis(grid, -1, 0),
        False,
        texture_layout="interleaved",
        grid_layout=grid_layout,
        out_layout=out_layout,
        engine=engine,
    )
    np.testing.assert_array_equal(result, expected if out_layout == "planar" else interleaved(expected))


@pytest.mark.parametrize(("textures", "grids"), [(3, 3), (1, 3), (3, 1), (3, 0), (0, 3)])
def test_batches(textures, grids):
    """0 stands for an array without the batch dimension."""
    rng = np.random.default_rng(1)
    texture = rng.uniform(-1, 1, (textures or 1, 3, 8, 9)).astype(np.float32)
    grid = np.stack([random_grid(rng, 5, 6) for _ in range(grids or 1)])
    result = sample(texture if textures else texture[0], grid if grids else grid[0], True)
    assert result.shape == (3, 3, 5, 6)
    for b in range(3):
        np.testing.assert_array_equal(result[b], sample(texture[b % len(texture)], grid[b % len(grid)], True))


@both_corners
def test_equals_the_authors_warp(align_corners):
    case = golden.load("case_a/outputs.npz")
    texture, uv = case["pred_tex_hf_rgbs"].reshape(3, 64, 64), case["pred_target_uvs"].reshape(-1, 64, 64, 2)
    low = case["pred_target_delta_lf_rgbs"].reshape(-1, 3, 64, 64)
    expected = case[f"ac{int(align_corners)}/pred_target_imgs"].reshape(low.shape)
    np.testing.assert_allclose(low + sample(texture, uv, align_corners), expected, atol=5e-5, rtol=0)


def test_threads_change_nothing():
    rng = np.random.default_rng(2)
    texture, grid = random_texture(rng, 30, 20), random_grid(rng, 37, 50)
    expected = sample(texture, grid, False)
    for threads in (2, 3, 64):
        np.testing.assert_array_equal(Sampler(texture, False, threads=threads).sample(grid), expected)


def test_a_callers_buffer_is_filled_and_returned():
    rng = np.random.default_rng(3)
    texture, grid = random_texture(rng, 6, 7), random_grid(rng, 8, 9)
    buffer = np.full((3, 8, 9), np.nan, np.float32)
    assert Sampler(texture, False).sample(grid, out=buffer) is buffer
    np.testing.assert_array_equal(buffer, sample(texture, grid, False))


def test_arrays_of_other_kinds_are_read_too():
    rng = np.random.default_rng(4)
    texture, grid = random_texture(rng, 6, 7), random_grid(rng, 8, 9)
    expected = sample(texture, grid, False)
    unaligned = np.frombuffer(b"\0" + grid.tobytes(), np.float32, offset=1).reshape(grid.shape)
    assert not unaligned.flags.aligned
    assert not unaligned.flags.writeable
    for other in (unaligned, grid.astype(np.float64), np.asfortranarray(grid), torch.from_numpy(grid)):
        np.testing.assert_array_equal(Sampler(texture, False).sample(other), expected)


@pytest.mark.parametrize("layout", ["planar", "interleaved"])
def test_a_packed_texture_has_a_border_of_zeros(layout):
    texture = np.arange(1, 31, dtype=np.float32).reshape(3, 2, 5)
    packed = pack_texture(texture if layout == "planar" else interleaved(texture), layout)
    assert packed.shape == (5, 8, 4)
    np.testing.assert_array_equal(packed[1:3, 1:6, :3], interleaved(texture))
    assert np.count_nonzero(packed) == texture.size


def test_an_empty_grid_gives_an_empty_picture():
    assert sample(np.ones((3, 4, 4)), np.zeros((0, 7, 2)), False).shape == (3, 0, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texture": np.zeros((5, 4, 4))}, r"texture: expected \(C, H, W\) of 1 to 4 channels, found \(5, 4, 4\)"),
        ({"texture": np.zeros((3, 0, 4))}, r"texture: expected .* found \(3, 0, 4\)"),
        ({"texture": np.zeros((4, 4))}, r"texture: expected 3 dimensions"),
        ({"texture": np.zeros((4, 4, 8)), "texture_layout": "interleaved"}, r"texture: expected \(H, W, C\)"),
        ({"texture": np.broadcast_to(np.float32(0), (1, 1 << 15, 1 << 15))}, "texture: 32768 x 32768 is too large"),
        ({"texture": np.broadcast_to(np.float32(0), (1, 1, 1 << 24))}, "texture: 16777216 x 1 is too large"),
        ({"grid": np.zeros((4, 4, 3))}, r"grid: expected \(h, w, 2\), found \(4, 4, 3\)"),
        ({"grid": np.zeros((4, 4, 2)), "grid_layout": "planar"}, r"grid: expected \(2, h, w\)"),
        ({"texture": np.zeros((2, 3, 4, 4)), "grid": np.zeros((3, 4, 4, 2))}, "grid: 3 of them for 2 textures"),
        ({"grid": np.zeros((0, 4, 4, 2))}, "an empty batch"),
        ({"out_layout": "chunky"}, "out_layout: expected one of planar, interleaved; found 'chunky'"),
        ({"engine": "cuda"}, "engine: expected one of auto, numba, numpy; found 'cuda'"),
    ],
)
def test_wrong_input_is_one_clear_error(arguments, message):
    arguments = {"texture": np.zeros((3, 4, 4)), "grid": np.zeros((4, 4, 2)), "align_corners": False} | arguments
    with pytest.raises(InputError, match=message):
        sample(**arguments)


@pytest.mark.parametrize(
    ("buffer", "message"),
    [
        (np.zeros((3, 4, 5), np.float32), r"expected a writable C-contiguous float32 \(3, 4, 4\), found .*\(3, 4, 5\)"),
        (np.zeros((3, 4, 4)), "found float64"),
        (np.zeros((4, 4, 3), np.float32).T, "not contiguous"),
        (np.frombuffer(bytes(192), np.float32).reshape(3, 4, 4), "read-only"),
    ],
)
def test_a_buffer_that_does_not_fit_is_refused(buffer, message):
    with pytest.raises(InputError, match=f"out: .*{message}"):
        Sampler(np.zeros((3, 4, 4)), False).sample(np.zeros((4, 4, 2)), out=buffer)


def test_no_threads_is_an_error():
    with pytest.raises(InputError, match="threads: expected 1 or more, found 0"):
        Sampler(np.zeros((3, 4, 4)), False, threads=0)
