"""What `WarpMover` does to a warp, compiled by Numba: one call, where NumPy's some fifty find the caches cold.

The system of equations is symmetric and, with its ridges, positive definite: Cholesky's decomposition solves it. No
fast-math, as in the sampler; the sums are in another order than NumPy's, and differ in their last digits.
"""

# mypy: ignore-errors
# Numba infers the types in here, when it compiles.

import math
from typing import Any

import numpy as np
from numba import float32, float64, int32, int64, types, uint32, void
from numpy.typing import NDArray

from bilayer.runtime.numba_cache import any_array, cached_njit


def _own(element, dimensions):
    return types.Array(element, dimensions, "C")


_MOVE = void(
    any_array(float32, 3), any_array(float64, 2), any_array(int64, 1), any_array(float64, 2), any_array(float64, 1),
    float64, float64, float64, any_array(int32, 1), any_array(int32, 1), any_array(float32, 1),
    _own(float64, 2), _own(float64, 2), _own(float64, 3), _own(float64, 3), _own(float32, 3), _own(float32, 3),
)  # fmt: skip


def workspace(points: int, grid: int, size: int) -> tuple[NDArray[Any], ...]:
    """Return what `move_warp` writes over on its way, for N `points`: its last arguments but for `out`."""
    return (
        np.empty((points, 2)),
        np.empty((points, points + 2)),
        np.empty((2, points, grid)),
        np.empty((2, grid, grid)),
        np.empty((2, grid, size), np.float32),
    )


@cached_njit(_MOVE, error_model="numpy")
def move_warp(
    warp, pose, landmarks, places, ridges, reach, limit, far, first, second, weight,
    points, equations, bells, field, wide, out,
):  # fmt: skip
    """Write the moved `warp` (2, S, S) of a `pose` (68, 2) into `out`.

    `landmarks` are N of the 68, `places` (N, 2) and `ridges` (N,) theirs; `far` stands for what is not finite; `first`,
    `second` and `weight` are the taps (S,) from the grid to the warp's rows and columns; `points` to `wide` are a
    `workspace`'s.
    """
    count, grid, size = len(points), bells.shape[2], warp.shape[1]
    narrow = -0.5 / (reach * reach)
    for i in range(count):  # as `WarpMover._points`
        for axis in range(2):
            place = pose[landmarks[i], axis] + 1 / size
            points[i, axis] = far if math.isnan(place) else min(max(place, -far), far)
    for i in range(count):
        # What is missing at the landmark: `look_up`, then the limit
        x = min(max(((points[i, 0] + 1) * size - 1) / 2, 0.0), float64(size - 1))
        y = min(max(((points[i, 1] + 1) * size - 1) / 2, 0.0), float64(size - 1))
        left, top = min(int64(x), max(size - 2, 0)), min(int64(y), max(size - 2, 0))
        right, bottom = min(left + 1, size - 1), min(top + 1, size - 1)
        across, down = x - left, y - top
        for axis in range(2):
            a, b = float64(warp[axis, top, left]), float64(warp[axis, top, right])
            c, d = float64(warp[axis, bottom, left]), float64(warp[axis, bottom, right])
            upper, lower = a + across * (b - a), c + across * (d - c)
            inner = (2 * (x if axis == 0 else y) + 1) / size - 1
            equations[i, count + axis] = places[i, axis] - (inner + (upper + down * (lower - upper)))
        dx, dy = equations[i, count], equations[i, count + 1]
        known = math.isfinite(dx) and math.isfinite(dy)
        scale = limit / max(math.sqrt(dx * dx + dy * dy), limit) if known else 0.0
        equations[i, count] = dx * scale if known else 0.0
        equations[i, count + 1] = dy * scale if known else 0.0
        for j in range(i, count):
            dx, dy = points[i, 0] - points[j, 0], points[i, 1] - points[j, 1]
            equations[i, j] = math.exp(narrow * (dx * dx + dy * dy))
        equations[i, i] += ridges[i]
        for axis in range(2):
            for k in range(grid):
                dx = (2 * k + 1) / grid - 1 - points[i, axis]
                bells[axis, i, k] = math.exp(narrow * dx * dx)

    # Cholesky by rows: the upper triangle becomes U of U'U, the two columns beside it U'^-1 e, then the weights
    for i in range(count):
        root = 1 / math.sqrt(equations[i, i])
        for j in range(i, count + 2):
            equations[i, j] *= root
        for k in range(i + 1, count):
            share = equations[i, k]
            for j in range(k, count + 2):
                equations[k, j] -= share * equations[i, j]
    for i in range(count - 1, -1, -1):
        for axis in range(2):
            solved = equations[i, count + axis]
            for j in range(i + 1, count):
                solved -= equations[i, j] * equations[j, count + axis]
            equations[i, count + axis] = solved / equations[i, i]

    field[:] = 0
    for i in range(count):
        for axis in range(2):
            for row in range(grid):
                share = bells[1, i, row] * equations[i, count + axis]
                for column in range(grid):
                    field[axis, row, column] += share * bells[0, i, column]

    for axis in range(2):
        for row in range(grid):
            coarse, line = field[axis, row], wide[axis, row]
            for j in range(size):  # unsigned: Numba would ask each whether it counts from the end
                a, b = float32(coarse[uint32(first[j])]), float32(coarse[uint32(second[j])])
                line[j] = a + weight[j] * (b - a)
        for i in range(size):
            upper, lower, share = wide[axis, uint32(first[i])], wide[axis, uint32(second[i])], weight[i]
            given, moved = warp[axis, i], out[axis, i]
            for j in range(size):
                moved[j] = given[j] + (upper[j] + share * (lower[j] - upper[j]))
