"""Vector code of the sampler's kernels, written out for LLVM, where Numba makes none of a loop."""

# mypy: ignore-errors
# Numba infers the types in here, when it compiles.

from typing import Any

from llvmlite import ir
from numba import float32, int32, types, uint32
from numba.core.cgutils import do_boundscheck, get_or_insert_function
from numba.extending import intrinsic

STRETCH = 256  # px; 8 KB of scratch on the stack beside 7 KB of inputs and outputs
GROUP = 8  # px that `blend` takes at once

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


floats = _on_stack(_F32, float32, STRETCH)
integers = _on_stack(_I32, int32, STRETCH)
unsigned = _on_stack(_I32, uint32, STRETCH)  # as an index, Numba looks for no negative one
four_planes = _on_stack(_F32, float32, 4 * STRETCH)
twelve_planes = _on_stack(_F32, float32, 12 * STRETCH)


@intrinsic
def clamped(typing_context, value, top):
    """Return `value` in 0..`top`; NaN gives 0. Two selects, which are the max and min instructions of any processor."""

    def generate(context, builder, signature, arguments):
        value, top = arguments
        zero = _F32(0.0)
        value = builder.select(builder.fcmp_ordered(">", value, zero), value, zero)
        return builder.select(builder.fcmp_ordered("<", value, top), value, top)

    return float32(float32, float32), generate


@intrinsic
def blend(typing_context, texture, texel, right, down, at, out, to, plane, channels):
    """Write pixels at..at+8, blended bilinearly, channel c to out[to + c * plane:][:8]; `texel`: top left offsets.

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
