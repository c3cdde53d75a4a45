"""Frames of another size than the network's results, which are resized on the way: no whole field is ever in memory.

A row of the results is spread over the frame's columns once, and stays until the rows of the frame beside it are done:
each of them is a mean of two such rows. `resize` is the definition, to the bit.
"""

# mypy: ignore-errors
# Numba infers the types in here, when it compiles.

from collections.abc import Callable

import numpy as np
from numba import carray, float32, uint32

from bilayer.runtime.sampler.numba_passes import HALF, ONE, ZERO, compose, extents, inlined, locate
from bilayer.runtime.sampler.numpy_kernels import OVER
from bilayer.runtime.sampler.vector_code import (
    GROUP,
    STRETCH,
    blend,
    floats,
    four_planes,
    integers,
    twelve_planes,
    unsigned,
)

_QUARTER, _THREE_QUARTERS = np.float32(0.25), np.float32(0.75)


@inlined
def _tap(index, size, frame):
    """Between which two of `size` values one of `frame` pixels lies, and the weight of the second."""
    place = min(max((2 * index + 1) * size - frame, 0), 2 * frame * (size - 1))
    first = place // (2 * frame)
    rest = place - first * 2 * frame
    return first, first + (1 if rest > 0 else 0), float32(rest) / float32(2 * frame)


@inlined
def _between(a, b, weight):
    return a + weight * (b - a)


@inlined
def _spread(values, step, left, right, across, begin, end, out):
    """Columns `begin` to `end` of a stretch, of a row of values that are `step` floats apart."""
    for j in range(begin, end):
        value = values[left[j] * uint32(step)]
        out[j] = _between(value, values[right[j] * uint32(step)], across[j])


@inlined
def _double(values, n, out):
    """Of n values all but the ends, each to two columns of a frame twice as wide: a loop that LLVM vectorises."""
    for j in range(1, n - 1):
        value = values[j]
        out[2 * j] = _between(values[j - 1], value, _THREE_QUARTERS)
        out[2 * j + 1] = _between(value, values[j + 1], _QUARTER)


@inlined
def _every(values, step, n, out):
    """Every second value, or every third: strides that LLVM knows become shuffles."""
    if step == 2:
        for j in range(n):
            out[j] = values[2 * j]
    else:
        for j in range(n):
            out[j] = values[3 * j]


def resized_frame_rows_for(alpha: int) -> Callable[..., None]:
    """Return `frame_rows` for one use of the mask, not yet compiled."""

    def frame_rows(
        texture, delta_uv, lf_rgb, mask, masked, mask_scale, mask_offset, background, align_corners, rounding, out,
        field_height, field_width, interleaved, height, width, begin, end,
    ):  # fmt: skip
        """Rows `begin` to `end` of a frame (height, width); delta_uv, lf_rgb and mask are (field_height, field_width).

        All else is as in `frame_rows` of `numba_kernels`.
        """
        texel, column = carray(integers(), STRETCH), carray(floats(), STRETCH)
        down, beside = carray(floats(), STRETCH), carray(floats(), STRETCH)
        left, right, across = carray(unsigned(), STRETCH), carray(unsigned(), STRETCH), carray(floats(), STRETCH)
        near = carray(floats(), STRETCH)
        us, vs = carray(floats(), STRETCH), carray(floats(), STRETCH)
        planes, lows = carray(four_planes(), (4, STRETCH)), carray(four_planes(), (4, STRETCH))
        spread = carray(twelve_planes(), (2, 6, STRETCH))  # source rows, the even one and the odd one

        last_x, last_y, pitch, x_extent, y_extent, origin = extents(texture, align_corners)
        x_step, y_step = x_extent / float32(width), y_extent / float32(height)
        u_scale, v_scale = x_extent * HALF, y_extent * HALF
        for j in range(STRETCH):
            lows[3, j] = ONE  # the mask where there is none

        plane, doubled = field_height * field_width, width == 2 * field_width
        for j0 in range(0, width, STRETCH):
            n = min(STRETCH, width - j0)
            for j in range(n):
                column[j] = (float32(j + j0) + HALF) * x_step + origin
                first, second, weight = _tap(j0 + j, field_width, width)
                left[j], right[j], across[j] = uint32(first), uint32(second), weight
            held_even, held_odd = -1, -1
            for i in range(begin, end):
                top, bottom, weight = _tap(i, field_height, height)
                for beneath in range(2):
                    source = bottom if beneath == 1 else top
                    odd = source & 1
                    if source == (held_odd if odd else held_even):
                        continue
                    if odd:
                        held_odd = source
                    else:
                        held_even = source
                    at = source * field_width
                    for c in range(6 if masked else 5):
                        if c < 2:
                            step = 2 if interleaved else 1
                            values = delta_uv[2 * at + c :] if interleaved else delta_uv[c * plane + at :]
                        elif c < 5:
                            step = 3 if interleaved else 1
                            values = lf_rgb[3 * at + c - 2 :] if interleaved else lf_rgb[(c - 2) * plane + at :]
                        else:
                            step, values = 1, mask[at:]
                        target = spread[odd, c]
                        if doubled:
                            half, within = n // 2, values[j0 // 2 * step :]
                            if step == 1:
                                _double(within, half, target)
                            else:
                                _every(within, step, half, near)
                                _double(near, half, target)
                        for part in range(2 if doubled else 1):  # of the doubled ones the ends
                            last = n if part == 1 or not doubled else 2
                            _spread(values, step, left, right, across, n - 2 if part == 1 else 0, last, target)
                upper, lower = spread[top & 1], spread[bottom & 1]
                for j in range(n):
                    us[j] = _between(upper[0, j], lower[0, j], weight)
                    vs[j] = _between(upper[1, j], lower[1, j], weight)
                for c in range(4 if masked else 3):
                    low, a, b = lows[c], upper[2 + c], lower[2 + c]
                    for j in range(n):
                        low[j] = _between(a[j], b[j], weight)
                y = (float32(i) + HALF) * y_step + origin
                locate(us, vs, n, column, u_scale, y, v_scale, last_x, last_y, pitch, texel, beside, down)
                for j in range(0, n, GROUP):
                    blend(texture, texel, beside, down, j, planes, j, STRETCH, 3)
                scale, offset = (mask_scale, mask_offset) if masked else (ONE, ZERO)
                at = i * width + j0
                behind = background[at : at + n] if alpha == OVER else background[:0]
                low = lows[0, :n], lows[1, :n], lows[2, :n]
                compose(alpha, planes, low, lows[3, :n], scale, offset, behind, n, rounding, out[at : at + n])

    return frame_rows
