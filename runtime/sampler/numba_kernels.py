"""The sampler's inner loops, compiled by Numba; `build` makes object files for phones of the same code.

A row is worked on in stretches of STRETCH pixels that stay in the first-level cache, in three passes: coordinates and
weights; the bilinear blend; composition into bytes. LLVM vectorises the first and the third (`numba_passes`). The
second is vector code written out (`blend`), since Numba keeps LLVM's SLP vectoriser off.

There is no fast-math and no fused multiply-add: every operation rounds once to float32, so that these kernels, the
numpy fallback and the object files for other processors give the same bits (FMA was 7 % faster, and differs).
Kernels allocate nothing and raise nothing.

Kept by hand: no library samples, adds and masks in one pass, with the same bits on every processor.
"""

# mypy: ignore-errors
# Numba infers the types in here, when it compiles.

import functools
from collections.abc import Callable
from typing import Any

from numba import boolean, carray, float32, intp, types, uint32, void

from bilayer.runtime.numba_cache import any_array, cached_njit
from bilayer.runtime.sampler import numba_passes, vector_code
from bilayer.runtime.sampler.numba_passes import (
    HALF,
    ONE,
    ZERO,
    compose,
    extents,
    interleave,
    locate,
    split_pairs,
    split_triples,
)
from bilayer.runtime.sampler.numba_resize import resized_frame_rows_for
from bilayer.runtime.sampler.numpy_kernels import OVER
from bilayer.runtime.sampler.vector_code import GROUP, STRETCH, blend, floats, four_planes, integers


def _compiled(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    return cached_njit(signature, made_of=(vector_code.__file__, numba_passes.__file__), error_model="numpy")


# --- the kernels: arrays are flat but for the texture, (H+3, W+3, 4) --------------------------------------------------


def _output(element: Any) -> Any:
    return types.Array(element, 1, "C", aligned=False)


_SAMPLE = void(any_array(float32, 3), any_array(float32), boolean, _output(float32), intp, intp, intp, intp, intp)


@functools.cache
def sample_kernel(grid_interleaved: bool, out_interleaved: bool) -> Any:
    """Compile `sample_rows`, or read it from the cache."""
    return _compiled(_SAMPLE)(sample_rows_for(grid_interleaved, out_interleaved))


def sample_rows_for(grid_interleaved: bool, out_interleaved: bool) -> Callable[..., None]:
    """Return `sample_rows` for one pair of layouts, not yet compiled."""

    def sample_rows(texture, grid, align_corners, out, channels, height, width, begin, end):
        """Rows `begin` to `end` of grid_sample.

        grid (2, h, w) or interleaved (h, w, 2); out (C, h, w) or (h, w, C) of C = `channels`, at most 4.
        """
        texel, column = carray(integers(), STRETCH), carray(floats(), STRETCH)
        right, down = carray(floats(), STRETCH), carray(floats(), STRETCH)
        us, vs = carray(floats(), STRETCH), carray(floats(), STRETCH)
        planes = carray(four_planes(), (4, STRETCH))

        last_x, last_y, pitch, x_extent, y_extent, origin = extents(texture, align_corners)
        u_scale, v_scale = x_extent * HALF, y_extent * HALF
        row = v_scale + origin
        for j in range(STRETCH):
            column[j] = u_scale + origin

        plane = height * width
        for i in range(begin, end):
            for j0 in range(0, width, STRETCH):
                n, at = min(STRETCH, width - j0), i * width + j0
                if grid_interleaved:
                    split_pairs(grid[2 * at : 2 * (at + n)], n, us, vs)
                    u, v = us[:n], vs[:n]
                else:
                    u, v = grid[at : at + n], grid[plane + at : plane + at + n]
                locate(u, v, n, column, u_scale, row, v_scale, last_x, last_y, pitch, texel, right, down)
                direct = 0 if out_interleaved else n // GROUP * GROUP  # planar groups go straight to their place
                for j in range(0, direct, GROUP):
                    blend(texture, texel, right, down, j, out, at + j, plane, channels)
                for j in range(direct, n, GROUP):
                    blend(texture, texel, right, down, j, planes, j, STRETCH, channels)
                if out_interleaved:
                    interleave(planes, n, channels, out[channels * at : channels * (at + n)])
                else:
                    for j in range(direct, n):
                        for c in range(channels):
                            out[c * plane + at + j] = planes[c, j]

    return sample_rows


_FRAME = void(
    any_array(float32, 3), any_array(float32), any_array(float32), any_array(float32), boolean, float32, float32,
    any_array(uint32), boolean, float32, _output(uint32), intp, intp, intp, intp,
)  # fmt: skip


@functools.cache
def frame_kernel(alpha: int, interleaved: bool) -> Any:
    """Compile `frame_rows`, or read it from the cache."""
    return _compiled(_FRAME)(frame_rows_for(alpha, interleaved))


def frame_rows_for(alpha: int, interleaved: bool) -> Callable[..., None]:
    """Return `frame_rows` for one use of the mask and one layout of the network's outputs, not yet compiled."""

    def frame_rows(
        texture, delta_uv, lf_rgb, mask, masked, mask_scale, mask_offset, background, align_corners, rounding, out,
        height, width, begin, end,
    ):  # fmt: skip
        """Rows `begin` to `end` of a frame.

        delta_uv (2, h, w) and lf_rgb (3, h, w), or interleaved (h, w, 2) and (h, w, 3); mask (h, w), times mask_scale +
        mask_offset, where `masked`; background (h, w) RGBA words where alpha is OVER; rounding 0 or 0.5; out (h, w)
        RGBA words.
        """
        texel, ramp, column = carray(integers(), STRETCH), carray(floats(), STRETCH), carray(floats(), STRETCH)
        right, down = carray(floats(), STRETCH), carray(floats(), STRETCH)
        us, vs = carray(floats(), STRETCH), carray(floats(), STRETCH)
        planes, lows = carray(four_planes(), (4, STRETCH)), carray(four_planes(), (4, STRETCH))

        last_x, last_y, pitch, x_extent, y_extent, origin = extents(texture, align_corners)
        x_step, y_step = x_extent / float32(width), y_extent / float32(height)
        u_scale, v_scale = x_extent * HALF, y_extent * HALF
        for j in range(STRETCH):
            ramp[j] = float32(j) + HALF
            lows[3, j] = ONE  # the mask where there is none

        plane = height * width
        for i in range(begin, end):
            row = (float32(i) + HALF) * y_step + origin
            for j0 in range(0, width, STRETCH):
                n, at = min(STRETCH, width - j0), i * width + j0
                first = float32(j0)
                for j in range(n):
                    column[j] = (ramp[j] + first) * x_step + origin
                if interleaved:
                    split_pairs(delta_uv[2 * at : 2 * (at + n)], n, us, vs)
                    split_triples(lf_rgb[3 * at : 3 * (at + n)], n, lows)
                    u, v, low = us[:n], vs[:n], (lows[0, :n], lows[1, :n], lows[2, :n])
                else:
                    u, v = delta_uv[at : at + n], delta_uv[plane + at : plane + at + n]
                    low = (
                        lf_rgb[at : at + n],
                        lf_rgb[plane + at : plane + at + n],
                        lf_rgb[2 * plane + at : 2 * plane + at + n],
                    )
                locate(u, v, n, column, u_scale, row, v_scale, last_x, last_y, pitch, texel, right, down)
                for j in range(0, n, GROUP):
                    blend(texture, texel, right, down, j, planes, j, STRETCH, 3)
                opacity = mask[at : at + n] if masked else lows[3, :n]
                scale, offset = (mask_scale, mask_offset) if masked else (ONE, ZERO)
                behind = background[at : at + n] if alpha == OVER else background[:0]
                compose(alpha, planes, low, opacity, scale, offset, behind, n, rounding, out[at : at + n])

    return frame_rows


_RESIZED = void(*_FRAME.args[:11], intp, intp, boolean, *_FRAME.args[11:])


@functools.cache
def resized_frame_kernel(alpha: int) -> Any:
    """Compile `frame_rows` of results of another size, or read it from the cache."""
    return _compiled(_RESIZED)(resized_frame_rows_for(alpha))
