import torch
from hypothesis import given
from hypothesis import strategies as st

from bilayer.model.warp import identity_grid, warp, warp_transpose


@given(
    st.integers(0, 2**31),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.integers(1, 3),
    st.booleans(),
)
def test_transpose_is_the_gradient_that_autograd_finds(seed, texture_size, image_size, batch, align_corners):
    generator = torch.Generator().manual_seed(seed)
    texture = torch.randn(batch, 3, *texture_size, generator=generator, dtype=torch.float64, requires_grad=True)
    uv = torch.rand(batch, *image_size, 2, generator=generator, dtype=torch.float64) * 3 - 1.5  # some outside
    image = torch.randn(batch, 3, *image_size, generator=generator, dtype=torch.float64)
    (expected,) = torch.autograd.grad(warp(texture, uv, align_corners), texture, image)
    torch.testing.assert_close(warp_transpose(image, uv, texture_size, align_corners), expected)


def test_the_published_grid_is_an_identity_without_align_corners_only():
    texture = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    grid = identity_grid(16, texture)
    torch.testing.assert_close(warp(texture, grid, align_corners=False), texture)
    assert (warp(texture, grid, align_corners=True) - texture).abs().max() > 0.01
    # Aligned corners scale the texture about its centre by (S - 1) / S: half a texel at the edge
    ramp = torch.arange(16, dtype=torch.float64).expand(1, 1, 16, 16)
    shift = warp(ramp, grid, align_corners=True)[0, 0, 8] - torch.arange(16)
    torch.testing.assert_close(shift[[0, -1]], torch.tensor([15 / 32, -15 / 32], dtype=torch.float64))
