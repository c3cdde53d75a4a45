"""The kernels as C functions, native/bilayer_sampler.h: as a program, this prints them as LLVM IR for no processor yet.

`build` runs it in a process of its own, with Numba's optimiser off and its processor set to a generic one: the
host leaves no trace, and the optimiser of the target sees plain loops.
"""

# mypy: ignore-errors
# Numba infers the types in here, when it compiles.

import sys

from llvmlite import ir
from numba import carray, cfunc, float32, int32, njit, types, uint32, void
from numba.extending import intrinsic

from bilayer.runtime.sampler.numba_kernels import frame_rows_for, sample_rows_for
from bilayer.runtime.sampler.numba_resize import resized_frame_rows_for
from bilayer.runtime.sampler.numpy_kernels import OVER, PREMULTIPLIED, STRAIGHT

_floats = types.CPointer(float32)
_words = types.CPointer(uint32)


@intrinsic
def _given(typing_context, pointer):
    """Whether a pointer is not null."""

    def generate(context, builder, signature, arguments):
        return builder.icmp_unsigned("!=", arguments[0], ir.Constant(arguments[0].type, None))

    return types.boolean(pointer), generate


def _rows(function):
    return njit(error_model="numpy")(function)


_sample_pp, _sample_pi = (_rows(sample_rows_for(False, out)) for out in (False, True))
_sample_ip, _sample_ii = (_rows(sample_rows_for(True, out)) for out in (False, True))
_straight_p, _straight_i = (_rows(frame_rows_for(STRAIGHT, layout)) for layout in (False, True))
_premultiplied_p, _premultiplied_i = (_rows(frame_rows_for(PREMULTIPLIED, layout)) for layout in (False, True))
_over_p, _over_i = (_rows(frame_rows_for(OVER, layout)) for layout in (False, True))
_straight, _premultiplied, _over = (_rows(resized_frame_rows_for(alpha)) for alpha in (STRAIGHT, PREMULTIPLIED, OVER))


def bilayer_pack_texture(texture, channels, height, width, packed):
    """Pack a planar texture."""
    planes = carray(texture, (channels, height, width))
    out = carray(packed, (height + 3, width + 3, 4))
    for i in range(height + 3):
        for j in range(width + 3):
            for c in range(4):
                inside = 1 <= i <= height and 1 <= j <= width and c < channels
                out[i, j, c] = planes[c, i - 1, j - 1] if inside else float32(0)


def bilayer_sample(
    packed, texture_height, texture_width, grid, grid_interleaved, out, out_interleaved,
    channels, height, width, align_corners, row_begin, row_end,
):  # fmt: skip
    """Compute some rows of grid_sample, from `row_begin` to before `row_end`."""
    texture = carray(packed, (texture_height + 3, texture_width + 3, 4))
    uv, samples = carray(grid, 2 * height * width), carray(out, channels * height * width)
    corners = align_corners != 0
    if grid_interleaved != 0:
        if out_interleaved != 0:
            _sample_ii(texture, uv, corners, samples, channels, height, width, row_begin, row_end)
        else:
            _sample_ip(texture, uv, corners, samples, channels, height, width, row_begin, row_end)
    elif out_interleaved != 0:
        _sample_pi(texture, uv, corners, samples, channels, height, width, row_begin, row_end)
    else:
        _sample_pp(texture, uv, corners, samples, channels, height, width, row_begin, row_end)


def bilayer_frame(
    packed, texture_height, texture_width, delta_uv, lf_rgb, interleaved, mask, mask_scale, mask_offset, background,
    rgba, height, width, align_corners, alpha, nearest, row_begin, row_end,
):  # fmt: skip
    """Compose rows of a frame."""
    texture = carray(packed, (texture_height + 3, texture_width + 3, 4))
    pixels = height * width
    uv, low, opacity = carray(delta_uv, 2 * pixels), carray(lf_rgb, 3 * pixels), carray(mask, pixels)
    behind, out = carray(background, pixels), carray(rgba, pixels)
    rounding = float32(0.5) if nearest != 0 else float32(0)
    arguments = (
        texture, uv, low, opacity, _given(mask), mask_scale, mask_offset, behind, align_corners != 0, rounding, out,
        height, width, row_begin, row_end,
    )  # fmt: skip
    if _given(background):
        if interleaved != 0:
            _over_i(*arguments)
        else:
            _over_p(*arguments)
    elif alpha != STRAIGHT:
        if interleaved != 0:
            _premultiplied_i(*arguments)
        else:
            _premultiplied_p(*arguments)
    elif interleaved != 0:
        _straight_i(*arguments)
    else:
        _straight_p(*arguments)


def bilayer_resized_frame(
    packed, texture_height, texture_width, delta_uv, lf_rgb, interleaved, mask, mask_scale, mask_offset,
    result_height, result_width, background, rgba, height, width, align_corners, alpha, nearest, row_begin, row_end,
):  # fmt: skip
    """Compose rows of a frame of results that have another size."""
    texture = carray(packed, (texture_height + 3, texture_width + 3, 4))
    results, pixels = result_height * result_width, height * width
    uv, low, opacity = carray(delta_uv, 2 * results), carray(lf_rgb, 3 * results), carray(mask, results)
    behind, out = carray(background, pixels), carray(rgba, pixels)
    rounding = float32(0.5) if nearest != 0 else float32(0)
    arguments = (
        texture, uv, low, opacity, _given(mask), mask_scale, mask_offset, behind, align_corners != 0, rounding, out,
        result_height, result_width, interleaved != 0, height, width, row_begin, row_end,
    )  # fmt: skip
    if _given(background):
        _over(*arguments)
    elif alpha != STRAIGHT:
        _premultiplied(*arguments)
    else:
        _straight(*arguments)


FUNCTIONS = {
    bilayer_pack_texture: void(_floats, int32, int32, int32, _floats),
    bilayer_sample: void(_floats, int32, int32, _floats, int32, _floats, *[int32] * 7),
    bilayer_frame: void(
        _floats, int32, int32, _floats, _floats, int32, _floats, float32, float32, _words, _words, *[int32] * 7
    ),
    bilayer_resized_frame: void(
        _floats,
        int32,
        int32,
        _floats,
        _floats,
        int32,
        _floats,
        float32,
        float32,
        int32,
        int32,
        _words,
        _words,
        *[int32] * 7,
    ),
}


def main() -> None:
    """Print one module per function, after a line `; define <C name> as <symbol>`."""
    for function, signature in FUNCTIONS.items():
        compiled = cfunc(signature, error_model="numpy")(function)
        sys.stdout.write(f"; define {function.__name__} as {compiled.native_name}\n{compiled.inspect_llvm()}\n")


if __name__ == "__main__":
    main()
