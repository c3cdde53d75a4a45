"""What the sampler's kernels do with a stretch of a row, in passes that are inlined into them."""

# mypy: ignore-errors
# Numba infers the types in here, when it compiles.

import numpy as np
from numba import float32, int32, uint32

from bilayer.runtime.numba_cache import inlined_njit
from bilayer.runtime.sampler.numpy_kernels import OVER, STRAIGHT
from bilayer.runtime.sampler.vector_code import GROUP, clamped

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
_TOP, _HALF_TOP = np.float32(255), np.float32(127.5)
_BYTE = np.uint32(255)


inlined = inlined_njit(error_model="numpy")


@inlined
def extents(texture, align_corners):
    """Tell a padded texture's last column and row, pitch, what -1..1 spans across and down, and where -1 lies."""
    padded_height, padded_width, _ = texture.shape
    edge = 1 if align_corners else 0
    last_x, last_y, pitch = float32(padded_width - 2), float32(padded_height - 2), int32(padded_width * 4)
    x_extent, y_extent = float32(padded_width - 3 - edge), float32(padded_height - 3 - edge)
    return last_x, last_y, pitch, x_extent, y_extent, ONE if align_corners else HALF


@inlined
def locate(u, v, n, column, u_scale, row, v_scale, last_x, last_y, pitch, texel, right, down):
    """Turn coordinates in the padded texture into offsets of top left texels, weights of the right and lower ones.

    NaN becomes 0, the zero border; infinities and all that lies outside end on the border, too.
    """
    for j in range(n):
        x = clamped(column[j] + u[j] * u_scale, last_x)
        y = clamped(row + v[j] * v_scale, last_y)
        left, top = int32(x), int32(y)
        right[j] = x - float32(left)
        down[j] = y - float32(top)
        texel[j] = top * pitch + left * int32(4)
    for j in range(n, (n + GROUP - 1) // GROUP * GROUP):  # pixels that only fill the last group
        right[j] = ZERO
        down[j] = ZERO
        texel[j] = 0


@inlined
def split_pairs(pixels, n, first, second):
    """Split interleaved x0 y0 x1 y1 ... -> two planes."""
    for j in range(n):
        first[j] = pixels[2 * j]
        second[j] = pixels[2 * j + 1]


@inlined
def split_triples(pixels, n, planes):
    """Split interleaved r0 g0 b0 r1 ... -> three planes."""
    first, second, third = planes[0], planes[1], planes[2]
    for j in range(n):
        first[j] = pixels[3 * j]
        second[j] = pixels[3 * j + 1]
        third[j] = pixels[3 * j + 2]


@inlined
def interleave(planes, n, channels, pixels):
    """Interleave planes as r0 g0 b0 r1 ..., of as many channels."""
    if channels == 3:  # a stride that LLVM knows
        first, second, third = planes[0], planes[1], planes[2]
        for j in range(n):
            pixels[3 * j] = first[j]
            pixels[3 * j + 1] = second[j]
            pixels[3 * j + 2] = third[j]
    else:
        for j in range(n):
            for c in range(channels):
                pixels[channels * j + c] = planes[c, j]


@inlined
def _level(value):
    """-1..1 -> 0..255, clamped."""
    return clamped((value + ONE) * _HALF_TOP, _TOP)


@inlined
def _byte(word, place):
    return float32(int32(word >> uint32(8 * place) & _BYTE))


@inlined
def _rgba(red, green, blue, alpha):
    """Levels, their fractions cut off -> the bytes R, G, B, A of a little-endian word."""
    return uint32(int32(red) | int32(green) << int32(8) | int32(blue) << int32(16) | int32(alpha) << int32(24))


@inlined
def compose(alpha, planes, low, mask, mask_scale, mask_offset, background, n, rounding, out):
    """Compose RGBA words of the warped texture + the low-frequency layer, under a mask."""
    red, green, blue = planes[0, :n], planes[1, :n], planes[2, :n]
    low_red, low_green, low_blue = low
    for j in range(n):
        m = clamped(mask[j] * mask_scale + mask_offset, ONE)
        r, g, b = _level(red[j] + low_red[j]), _level(green[j] + low_green[j]), _level(blue[j] + low_blue[j])
        a = m * _TOP + HALF
        if alpha != STRAIGHT:
            r, g, b = r * m, g * m, b * m
        if alpha == OVER:
            rest, behind, a = ONE - m, background[j], _TOP
            r, g, b = r + _byte(behind, 0) * rest, g + _byte(behind, 1) * rest, b + _byte(behind, 2) * rest
        out[j] = _rgba(r + rounding, g + rounding, b + rounding, a)
