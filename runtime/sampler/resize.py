"""The network's results at the size of a larger or smaller frame: the definition, to the bit, of what the kernels do.

Bilinear between pixel centres, the outermost values held beyond them: torch's interpolate with mode bilinear and
align_corners False. First along a row, then down the columns; one float32 rounding an operation.
"""

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Floats


def taps(size: int, frame: int) -> tuple[NDArray[np.int32], NDArray[np.int32], Floats]:
    """Return the two of `size` values around each of `frame` pixels, and the second's weight: three of (frame,)."""
    # In whole numbers, of which 2 * frame are from one value to the next: the weight is rounded once
    place = np.clip((2 * np.arange(frame, dtype=np.int64) + 1) * size - frame, 0, 2 * frame * (size - 1))
    first, rest = np.divmod(place, 2 * frame)
    weight = rest.astype(np.float32) / np.float32(2 * frame)
    return first.astype(np.int32), (first + (rest > 0)).astype(np.int32), weight


def resize(planes: Floats, height: int, width: int) -> Floats:
    """Return planes (C, h, w) as (C, height, width)."""
    left, right, across = taps(planes.shape[2], width)
    top, bottom, down = taps(planes.shape[1], height)
    with np.errstate(invalid="ignore", over="ignore"):
        near = planes[:, :, left]
        rows = near + across * (planes[:, :, right] - near)
        upper = rows[:, top]
        return upper + down[:, None] * (rows[:, bottom] - upper)
