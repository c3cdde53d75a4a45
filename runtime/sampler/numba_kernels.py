"""The sampler's inner loops, compiled by Numba; `build` makes object files for phones of the same code.

A row is worked on in stretches of STRETCH pixels that stay in the first-level cache, in three passes: coordinates and
weights; the bilinear blend; composition into bytes. LLVM vectorises the first and the third. The second is vector
code written out (`_blend`), since Numba keeps LLVM's SLP vectoriser off.

There is no fast-math and no fused multiply-add: every operation rounds once to float32, so that these kernels, the
numpy fallback and the object files for other processors give the same bits (FMA was 7 % faster, and differs).
Kernels allocate nothing and raise nothing. They are all in this module because Numba's cache of a function watches
that function's own file alone.
"""

# mypy: ignore-errors
# Numba infers the types in here, when it compiles.

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import boolean, carray, float32, int32, intp, njit, types, uint32, void
from numba.core.cgutils import do_boundscheck, get_or_insert_function
from numba.extending import intrinsic

from bilayer.runtime.sampler.numpy_kernels import OVER, STRAIGHT

STRETCH = 256  # px; 8 KB of scratch on the stack beside 7 KB of inputs and outputs
GROUP = 8  # px that `_blend` takes at once

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_TOP, _HALF_TOP = np.float32(255), np.float32(127.5)
_BYTE = np.uint32(255)


def _inlined(function: Callable[..., Any]) -> Any:
    return njit(error_model="numpy", forceinline=True)(function)


def _compiled(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile now or read the cache; where no folder for a cache can be written, compile in every process."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(signature, error_model="numpy", nogil=True, cache=True)(function)
        except RuntimeError:
            return njit(signature, error_model="numpy", nogil=True)(function)

    return decorate


# --- vector code ------------------------------------------------------------------------------------------------------

_F32, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_EIGHT, _BYTES = ir.VectorType(_F32, 8), ir.IntType(8).as_pointer()


def _on_stack(element: Any, numba_element: Any, length: int) -> Any:
    """An intrinsic without arguments: a pointer to `length` new elements on the stack."""

    @intrinsic
    def allocate(typing_context):
        def generate(context, builder, signature, arguments):
            with builder.goto_entry_block():
                block = builder.alloca(ir.ArrayType(element, length))
                block.align = 32
            return builder.bitcast(block, element.as_pointer())

        return types.CPointer(numba_element)(), generate

    return allocate


_floats = _on_stack(_F32, float32, STRETCH)
_integers = _on_stack(_I32, int32, STRETCH)
_four_planes = _on_stack(_F32, float32, 4 * STRETCH)


@intrinsic
def _clamped(typing_context, value, top):
    """`value` in 0..`top`; NaN gives 0. Two selects, which are the max and min instructions of any processor."""

    def generate(context, builder, signature, arguments):
        value, top = arguments
        zero = _F32(0.0)
        value = builder.select(builder.fcmp_ordered(">", value, zero), value, zero)
        return builder.select(builder.fcmp_ordered("<", value, top), value, top)

    return float32(float32, float32), generate


@intrinsic
def _blend(typing_context, texture, texel, right, down, at, out, to, plane, channels):
    """The bilinear blend of pixels at..at+8, channel c to out[to + c * plane:][:8]; `texel` has the top left offsets.

    A pixel's two upper texels are one load of 8 floats and so are the two lower ones: a vertical lerp on 8 lanes. Then
    pixels q and q + 4 share a register for the horizontal lerp, and 4x4 transposes of its halves make planes.

    The texels below are what the next row of pixels will want: asking for them now takes a third off a frame whose
    texture was pushed out of the caches, by the network that ran before.
    """
    signature = types.void(texture, texel, right, down, types.intp, out, types.intp, types.intp, types.intp)

    def generate(context, builder, signature, arguments):
        at, to, plane, channels = arguments[4], *arguments[6:]
        texture, texel, right, down, out = (
            context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 1, 2, 3, 5)
        )
        undefined = ir.Constant(_EIGHT, ir.Undefined)

        def shuffle(a: Any, b: Any, *lanes: int) -> Any:
            return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, len(lanes)), list(lanes)))

        def lerp(a: Any, b: Any, weight: Any) -> Any:
            return builder.fadd(a, builder.fmul(weight, builder.fsub(b, a)))

        def element(array: Any, index: Any) -> Any:
            return builder.load(builder.gep(array.data, [index]))

        def eight(pointer: Any) -> Any:
            return builder.load(builder.bitcast(pointer, _EIGHT.as_pointer()), align=4)

        pitch = builder.udiv(builder.extract_value(texture.strides, 0), _I64(4))  # floats
        next_row = builder.gep(texture.data, [pitch])
        end = builder.sub(builder.sub(texture.nitems, pitch), _I64(7))
        if context.enable_boundscheck:
            do_boundscheck(context, builder, at, _I64(STRETCH - 7))

        def vertical(pixel: int) -> Any:
            index = builder.add(at, _I64(pixel))
            offset = builder.sext(element(texel, index), _I64)
            if context.enable_boundscheck:
                do_boundscheck(context, builder, offset, end)
            if pixel % 4 == 0:  # one in a cache line of four texels
                _prefetch(builder, builder.gep(next_row, [builder.add(offset, pitch)]))
            top, bottom = (eight(builder.gep(row, [offset])) for row in (texture.data, next_row))
            weight = builder.insert_element(undefined, element(down, index), _I32(0))
            return lerp(top, bottom, shuffle(weight, undefined, *[0] * 8))

        weights = eight(builder.gep(right.data, [at]))
        pairs = []
        for q in range(4):
            a, b = vertical(q), vertical(q + 4)
            left, right_ = shuffle(a, b, 0, 1, 2, 3, 8, 9, 10, 11), shuffle(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
            pairs.append(lerp(left, right_, shuffle(weights, undefined, *[q] * 4, *[q + 4] * 4)))

        rg01, rg23 = (shuffle(*pairs[q : q + 2], 0, 8, 1, 9, 4, 12, 5, 13) for q in (0, 2))
        ba01, ba23 = (shuffle(*pairs[q : q + 2], 2, 10, 3, 11, 6, 14, 7, 15) for q in (0, 2))
        for c, (a, b) in enumerate([(rg01, rg23), (rg01, rg23), (ba01, ba23), (ba01, ba23)]):
            values = shuffle(a, b, *((2, 3, 10, 11, 6, 7, 14, 15) if c % 2 else (0, 1, 8, 9, 4, 5, 12, 13)))
            with builder.if_then(builder.icmp_signed("<", _I64(c), channels)):
                start = builder.add(to, builder.mul(plane, _I64(c)))
                if context.enable_boundscheck:
                    do_boundscheck(context, builder, start, builder.sub(out.nitems, _I64(7)))
                target = builder.bitcast(builder.gep(out.data, [start]), _EIGHT.as_pointer())
                builder.store(values, target, align=4)
        return context.get_dummy_value()

    return signature, generate


def _prefetch(builder, pointer):
    """Ask for the cache line at an address, which may be any: a hint, not a read."""
    kind = ir.FunctionType(ir.VoidType(), [_BYTES, _I32, _I32, _I32])
    function = get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    read, keep, data = _I32(0), _I32(3), _I32(1)
    builder.call(function, [builder.bitcast(pointer, _BYTES), read, keep, data])


# --- the passes -------------------------------------------------------------------------------------------------------


@_inlined
def _locate(u, v, n, column, u_scale, row, v_scale, last_x, last_y, pitch, texel, right, down):
    """Coordinates in the padded texture -> offset of the top left texel, weights of the right and lower ones.

    NaN becomes 0, the zero border; infinities and all that lies outside end on the border, too.
    """
    for j in range(n):
        x = _clamped(column[j] + u[j] * u_scale, last_x)
        y = _clamped(row + v[j] * v_scale, last_y)
        left, top = int32(x), int32(y)
        right[j] = x - float32(left)
        down[j] = y - float32(top)
        texel[j] = top * pitch + left * int32(4)
    for j in range(n, (n + GROUP - 1) // GROUP * GROUP):  # pixels that only fill the last group
        right[j] = _ZERO
        down[j] = _ZERO
        texel[j] = 0


@_inlined
def _split_pairs(pixels, n, first, second):
    """Interleaved x0 y0 x1 y1 ... -> two planes."""
    for j in range(n):
        first[j] = pixels[2 * j]
        second[j] = pixels[2 * j + 1]


@_inlined
def _split_triples(pixels, n, planes):
    """Interleaved r0 g0 b0 r1 ... -> three planes."""
    first, second, third = planes[0], planes[1], planes[2]
    for j in range(n):
        first[j] = pixels[3 * j]
        second[j] = pixels[3 * j + 1]
        third[j] = pixels[3 * j + 2]


@_inlined
def _interleave(planes, n, channels, pixels):
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


@_inlined
def _level(value):
    """-1..1 -> 0..255, clamped."""
    return _clamped((value + _ONE) * _HALF_TOP, _TOP)


@_inlined
def _byte(word, place):
    return float32(int32(word >> uint32(8 * place) & _BYTE))


@_inlined
def _rgba(red, green, blue, alpha):
    """Levels, their fractions cut off -> the bytes R, G, B, A of a little-endian word."""
    return uint32(int32(red) | int32(green) << int32(8) | int32(blue) << int32(16) | int32(alpha) << int32(24))


@_inlined
def _compose(alpha, planes, low, mask, mask_scale, mask_offset, background, n, rounding, out):
    """The warped texture + the low-frequency layer, under a mask -> RGBA words."""
    red, green, blue = planes[0, :n], planes[1, :n], planes[2, :n]
    low_red, low_green, low_blue = low
    for j in range(n):
        m = _clamped(mask[j] * mask_scale + mask_offset, _ONE)
        r, g, b = _level(red[j] + low_red[j]), _level(green[j] + low_green[j]), _level(blue[j] + low_blue[j])
        a = m * _TOP + _HALF
        if alpha != STRAIGHT:
            r, g, b = r * m, g * m, b * m
        if alpha == OVER:
            rest, behind, a = _ONE - m, background[j], _TOP
            r, g, b = r + _byte(behind, 0) * rest, g + _byte(behind, 1) * rest, b + _byte(behind, 2) * rest
        out[j] = _rgba(r + rounding, g + rounding, b + rounding, a)


# --- the kernels: arrays are flat but for the texture, (H+3, W+3, 4) --------------------------------------------------


def _input(element: Any, dimensions: int = 1) -> Any:
    """Any C-contiguous array, writable or not, converts to this: no second compilation."""
    return types.Array(element, dimensions, "C", readonly=True, aligned=False)


def _output(element: Any) -> Any:
    return types.Array(element, 1, "C", aligned=False)


_SAMPLE = void(_input(float32, 3), _input(float32), boolean, _output(float32), intp, intp, intp, intp, intp)


@functools.cache
def sample_kernel(grid_interleaved: bool, out_interleaved: bool) -> Any:
    """Compile `sample_rows`, or read it from the cache."""
    return _compiled(_SAMPLE)(sample_rows_for(grid_interleaved, out_interleaved))


def sample_rows_for(grid_interleaved: bool, out_interleaved: bool) -> Callable[..., None]:
    """`sample_rows` for one pair of layouts, not yet compiled."""

    def sample_rows(texture, grid, align_corners, out, channels, height, width, begin, end):
        """Rows `begin` to `end` of grid_sample.

        grid (2, h, w) or interleaved (h, w, 2); out (C, h, w) or (h, w, C) of C = `channels`, at most 4.
        """
        texel, column = carray(_integers(), STRETCH), carray(_floats(), STRETCH)
        right, down = carray(_floats(), STRETCH), carray(_floats(), STRETCH)
        us, vs = carray(_floats(), STRETCH), carray(_floats(), STRETCH)
        planes = carray(_four_planes(), (4, STRETCH))

        padded_height, padded_width, _ = texture.shape
        last_x, last_y, pitch = float32(padded_width - 2), float32(padded_height - 2), int32(padded_width * 4)
        edge = 1 if align_corners else 0
        u_scale = float32(padded_width - 3 - edge) * _HALF
        v_scale = float32(padded_height - 3 - edge) * _HALF
        origin = _ONE if align_corners else _HALF
        row = v_scale + origin
        for j in range(STRETCH):
            column[j] = u_scale + origin

        plane = height * width
        for i in range(begin, end):
            for j0 in range(0, width, STRETCH):
                n, at = min(STRETCH, width - j0), i * width + j0
                if grid_interleaved:
                    _split_pairs(grid[2 * at : 2 * (at + n)], n, us, vs)
                    u, v = us[:n], vs[:n]
                else:
                    u, v = grid[at : at + n], grid[plane + at : plane + at + n]
                _locate(u, v, n, column, u_scale, row, v_scale, last_x, last_y, pitch, texel, right, down)
                direct = 0 if out_interleaved else n // GROUP * GROUP  # planar groups go straight to their place
                for j in range(0, direct, GROUP):
                    _blend(texture, texel, right, down, j, out, at + j, plane, channels)
                for j in range(direct, n, GROUP):
                    _blend(texture, texel, right, down, j, planes, j, STRETCH, channels)
                if out_interleaved:
                    _interleave(planes, n, channels, out[channels * at : channels * (at + n)])
                else:
                    for j in range(direct, n):
                        for c in range(channels):
                            out[c * plane + at + j] = planes[c, j]

    return sample_rows


_FRAME = void(
    _input(float32, 3), _input(float32), _input(float32), _input(float32), boolean, float32, float32, _input(uint32),
    boolean, float32, _output(uint32), intp, intp, intp, intp,
)  # fmt: skip


@functools.cache
def frame_kernel(alpha: int, interleaved: bool) -> Any:
    """Compile `frame_rows`, or read it from the cache."""
    return _compiled(_FRAME)(frame_rows_for(alpha, interleaved))


def frame_rows_for(alpha: int, interleaved: bool) -> Callable[..., None]:
    """`frame_rows` for one use of the mask and one layout of the network's outputs, not yet compiled."""

    def frame_rows(
        texture, delta_uv, lf_rgb, mask, masked, mask_scale, mask_offset, background, align_corners, rounding, out,
        height, width, begin, end,
    ):  # fmt: skip
        """Rows `begin` to `end` of a frame.

        delta_uv (2, h, w) and lf_rgb (3, h, w), or interleaved (h, w, 2) and (h, w, 3); mask (h, w), times mask_scale +
        mask_offset, where `masked`; background (h, w) RGBA words where alpha is OVER; rounding 0 or 0.5; out (h, w)
        RGBA words.
        """
        texel, ramp, column = carray(_integers(), STRETCH), carray(_floats(), STRETCH), carray(_floats(), STRETCH)
        right, down = carray(_floats(), STRETCH), carray(_floats(), STRETCH)
        us, vs = carray(_floats(), STRETCH), carray(_floats(), STRETCH)
        planes, lows = carray(_four_planes(), (4, STRETCH)), carray(_four_planes(), (4, STRETCH))

        padded_height, padded_width, _ = texture.shape
        last_x, last_y, pitch = float32(padded_width - 2), float32(padded_height - 2), int32(padded_width * 4)
        edge = 1 if align_corners else 0
        x_extent, y_extent = float32(padded_width - 3 - edge), float32(padded_height - 3 - edge)
        x_step, y_step, origin = x_extent / float32(width), y_extent / float32(height), _ONE if align_corners else _HALF
        u_scale, v_scale = x_extent * _HALF, y_extent * _HALF
        for j in range(STRETCH):
            ramp[j] = float32(j) + _HALF
            lows[3, j] = _ONE  # the mask where there is none

        plane = height * width
        for i in range(begin, end):
            row = (float32(i) + _HALF) * y_step + origin
            for j0 in range(0, width, STRETCH):
                n, at = min(STRETCH, width - j0), i * width + j0
                first = float32(j0)
                for j in range(n):
                    column[j] = (ramp[j] + first) * x_step + origin
                if interleaved:
                    _split_pairs(delta_uv[2 * at : 2 * (at + n)], n, us, vs)
                    _split_triples(lf_rgb[3 * at : 3 * (at + n)], n, lows)
                    u, v, low = us[:n], vs[:n], (lows[0, :n], lows[1, :n], lows[2, :n])
                else:
                    u, v = delta_uv[at : at + n], delta_uv[plane + at : plane + at + n]
                    low = (
                        lf_rgb[at : at + n],
                        lf_rgb[plane + at : plane + at + n],
                        lf_rgb[2 * plane + at : 2 * plane + at + n],
                    )
                _locate(u, v, n, column, u_scale, row, v_scale, last_x, last_y, pitch, texel, right, down)
                for j in range(0, n, GROUP):
                    _blend(texture, texel, right, down, j, planes, j, STRETCH, 3)
                opacity = mask[at : at + n] if masked else lows[3, :n]
                scale, offset = (mask_scale, mask_offset) if masked else (_ONE, _ZERO)
                behind = background[at : at + n] if alpha == OVER else background[:0]
                _compose(alpha, planes, low, opacity, scale, offset, behind, n, rounding, out[at : at + n])

    return frame_rows
