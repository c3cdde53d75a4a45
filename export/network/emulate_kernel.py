"""A convolution whose accumulator is rounded to FP16 after every multiply-add, in Numba."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Floats
from bilayer.runtime.errors import ToolMissingError

_THREADS = 2  # each output channel is one thread's own: the result does not depend on their number


def accumulate(padded: Floats, taps: Floats, offsets: NDArray[np.int64], size: tuple[int, int], lanes: int) -> Floats:
    """Sum products over channels and taps, the accumulator in FP16.

    A product of two FP16 numbers is exact in float32, the sum is rounded to float32 and from there to FP16. The
    order is tap by tap, the channels of each in turn. With `lanes` 4 there are four accumulators, channel c going to
    the (c mod 4)-th, as in kernels that read RGBA texels; they are then summed in turn, in FP16.

    Args:
        padded: (C, H, W), values that FP16 has.
        taps: (T, M, C) weights, values that FP16 has.
        offsets: (T, 2) row and column that each tap starts to read at.
        size: rows and columns of the result.
        lanes: 1 or 4.

    Returns:
        (M, rows, columns), values that FP16 has; infinite where the sum left its range.

    Raises:
        ToolMissingError: Numba is not installed, or the processor cannot convert FP16.
    """
    kernel = _kernel()
    out = np.empty((taps.shape[1], *size), np.float32)
    bounds = np.linspace(0, len(out), _THREADS + 1).astype(int)
    padded, taps = np.ascontiguousarray(padded), np.ascontiguousarray(taps)
    with ThreadPoolExecutor(_THREADS) as pool:
        parts = itertools.pairwise(bounds)
        for part in [pool.submit(kernel, padded, taps, offsets, out, first, last, lanes) for first, last in parts]:
            part.result()
    return out


@cache
def _kernel() -> Callable[..., None]:
    try:
        from llvmlite import binding, ir
        from numba import njit, types
        from numba.extending import intrinsic
    except ImportError as error:
        raise ToolMissingError("FP16 arithmetic: Numba is not installed; pip install numba") from error
    features = binding.get_host_cpu_features()
    if not (features.get("f16c") or features.get("neon")):
        raise ToolMissingError("FP16 arithmetic: this processor has no conversion to FP16 (F16C); use another machine")

    def to_half(typing_context: Any, x: Any) -> Any:
        """Return the nearest FP16 number, ties to even, as a float32."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.fpext(builder.fptrunc(arguments[0], ir.HalfType()), ir.FloatType())

        return types.float32(types.float32), code

    half: Any = intrinsic(to_half)

    def kernel(
        padded: Floats, taps: Floats, offsets: NDArray[np.int64], out: Floats, first: int, last: int, lanes: int
    ) -> None:
        channels = padded.shape[0]
        rows, columns = out.shape[1:]
        sums = np.empty((lanes, columns), np.float32)
        for m in range(first, last):
            for y in range(rows):
                sums[:] = 0
                for t in range(taps.shape[0]):
                    top, left = offsets[t, 0] + y, offsets[t, 1]
                    for c in range(channels):
                        weight, lane = taps[t, m, c], sums[c % lanes]
                        line = padded[c, top]
                        for x in range(columns):
                            lane[x] = half(lane[x] + weight * line[left + x])
                for x in range(columns):
                    total = sums[0, x]
                    for k in range(1, lanes):
                        total = half(total + sums[k, x])
                    out[m, y, x] = total

    compiled: Callable[..., None] = njit(nogil=True, error_model="numpy")(kernel)
    return compiled
