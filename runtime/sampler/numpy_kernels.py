"""The sampler's loops in plain numpy: what runs where Numba is missing, and the kernels' definition to the bit.

`numba_kernels` has the same functions, with the same arguments. One float32 rounding an operation, in the same
order, gives the same result, 15 to 20 times slower.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Floats
from bilayer.runtime.sampler.resize import resize

STRAIGHT, PREMULTIPLIED, OVER = 0, 1, 2  # what becomes of a frame's mask


_HALF, _ONE, _TOP, _HALF_TOP = np.float32(0.5), np.float32(1), np.float32(255), np.float32(127.5)


def sample_kernel(grid_interleaved: bool, out_interleaved: bool) -> Callable[..., None]:
    """Return `sample_rows` for one pair of layouts."""

    def sample_rows(
        texture: Floats, grid: Floats, align_corners: bool, out: Floats,
        channels: int, height: int, width: int, begin: int, end: int,
    ) -> None:  # fmt: skip
        (u, v), rows = _planes(grid, 2, height, width, grid_interleaved), slice(begin, end)
        u_scale, v_scale, origin = _geometry(texture, align_corners)
        with np.errstate(all="ignore"):
            x, y = (u_scale + origin) + u[rows] * u_scale, (v_scale + origin) + v[rows] * v_scale
            pixels = _blend(texture, x, y)
        for c, plane in enumerate(_planes(out, channels, height, width, out_interleaved)):
            plane[rows] = pixels[..., c]

    return sample_rows


def frame_kernel(alpha: int, interleaved: bool) -> Callable[..., None]:
    """Return `frame_rows` for one use of the mask and one layout of the network's outputs."""

    def frame_rows(
        texture: Floats, delta_uv: Floats, lf_rgb: Floats, mask: Floats, masked: bool, mask_scale: np.float32,
        mask_offset: np.float32, background: NDArray[np.uint32], align_corners: bool, rounding: np.float32,
        out: NDArray[np.uint32],
        height: int, width: int, begin: int, end: int,
    ) -> None:  # fmt: skip
        rows = slice(begin, end)
        (u, v), low = (_planes(a, c, height, width, interleaved) for a, c in ((delta_uv, 2), (lf_rgb, 3)))
        u_scale, v_scale, origin = _geometry(texture, align_corners)
        column, row = (
            (np.arange(size, dtype=np.float32) + _HALF) * (scale * 2 / np.float32(size)) + origin
            for size, scale in ((width, u_scale), (height, v_scale))
        )
        with np.errstate(all="ignore"):
            pixels = _blend(texture, column + u[rows] * u_scale, row[rows, None] + v[rows] * v_scale)
            levels = [_clamped((pixels[..., c] + low[c][rows] + _ONE) * _HALF_TOP, _TOP) for c in range(3)]
            opacity = mask.reshape(height, width)[rows] * mask_scale + mask_offset if masked else _ONE
            opacity = _clamped(np.asarray(opacity), _ONE)
        if alpha != STRAIGHT:
            levels = [level * opacity for level in levels]
        if alpha == OVER:
            behind = background.reshape(height, width, 1)[rows].view(np.uint8)
            levels = [level + behind[..., c].astype(np.float32) * (_ONE - opacity) for c, level in enumerate(levels)]
        bytes_ = out.reshape(height, width, 1).view(np.uint8)[rows]
        for c in range(3):
            bytes_[..., c] = levels[c] + rounding
        bytes_[..., 3] = 255 if alpha == OVER else opacity * _TOP + _HALF

    return frame_rows


def resized_frame_kernel(alpha: int) -> Callable[..., None]:
    """Return `frame_rows` of results (field_height, field_width), which are brought to the frame's size first."""
    compose = frame_kernel(alpha, interleaved=False)

    def frame_rows(
        texture: Floats, delta_uv: Floats, lf_rgb: Floats, mask: Floats, masked: bool, mask_scale: np.float32,
        mask_offset: np.float32, background: NDArray[np.uint32], align_corners: bool, rounding: np.float32,
        out: NDArray[np.uint32], field_height: int, field_width: int, interleaved: bool,
        height: int, width: int, begin: int, end: int,
    ) -> None:  # fmt: skip
        def resized(flat: Floats, channels: int) -> Floats:
            return resize(_planes(flat, channels, field_height, field_width, interleaved), height, width).reshape(-1)

        compose(
            texture, resized(delta_uv, 2), resized(lf_rgb, 3), resized(mask, 1) if masked else mask, masked, mask_scale,
            mask_offset, background, align_corners, rounding, out, height, width, begin, end,
        )  # fmt: skip

    return frame_rows


def _planes(flat: NDArray[Any], channels: int, height: int, width: int, interleaved: bool) -> NDArray[Any]:
    """(C, h, w) view of a flat array of either layout."""
    if interleaved:
        return flat.reshape(height, width, channels).transpose(2, 0, 1)
    return flat.reshape(channels, height, width)


def _geometry(texture: Floats, align_corners: bool) -> tuple[np.float32, np.float32, np.float32]:
    """Texels of the packed texture in one unit of u and of v, and where u = v = -1 lies."""
    edge = 4 if align_corners else 3
    height, width, _ = texture.shape
    return np.float32(width - edge) * _HALF, np.float32(height - edge) * _HALF, _ONE if align_corners else _HALF


def _clamped(value: NDArray[Any], top: np.float32) -> NDArray[Any]:
    """0..top; NaN, which is greater than nothing, becomes 0."""
    return np.minimum(np.where(value > 0, value, np.float32(0)), top)


def _blend(texture: Floats, x: Floats, y: Floats) -> Floats:
    """Bilinear samples (h, w, 4) at coordinates of the packed texture."""
    height, width, _ = texture.shape
    x, y = _clamped(x, np.float32(width - 2)), _clamped(y, np.float32(height - 2))
    left, top = x.astype(np.int32), y.astype(np.int32)
    right, down = (x - left.astype(np.float32))[..., None], (y - top.astype(np.float32))[..., None]
    texels, index = texture.reshape(-1, 4), top * np.int32(width) + left

    def vertical(first: NDArray[np.int32]) -> Floats:
        upper, lower = texels.take(first, axis=0), texels.take(first + np.int32(width), axis=0)
        lower -= upper
        lower *= down
        lower += upper
        return lower

    pixels, beside = vertical(index), vertical(index + np.int32(1))
    beside -= pixels
    beside *= right
    beside += pixels
    return beside
