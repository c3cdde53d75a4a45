"""Landmark anchors: the warp is moved so that the avatar's landmarks come to lie where the pose has them.

A network's warp is some pixels off, so that eyes and mouth slide against the landmarks that drive them. Where each
landmark of the photo lies in the texture is known: it is where the warp of the photo's own pose looks. The warp of any
other pose is to look there too, under that landmark. What is missing is spread over the face around it, by Gaussian
radial basis functions, with a ridge for each landmark:

    e_i = q_i - uv(p_i)                            q_i the landmark's place in the texture, p_i its place in the pose
    (K + R) w = e,  K_ij = k(p_i, p_j)             k(a, b) = exp(-|a - b|^2 / (2 reach^2)),  R diagonal: the ridges
    uv'(x) = uv(x) + sum_i w_i k(x, p_i)

The sum is smooth: it is taken on a coarse grid and resized. In the photo's pose it is zero. Not in the paper.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bilayer.runtime.arrays import Floats, Points
from bilayer.runtime.bundle import WarpAnchors
from bilayer.runtime.frame import NetworkOutputs, Values
from bilayer.runtime.sampler.resize import resize, taps
from bilayer.runtime.sampler.rows import input_array

GRID = 32  # points a side at which the sum is taken, some two in a reach

FAR = 1e6  # of -1..1: what is this far away moves nothing of the frame, and its square is no overflow


class WarpMover:
    """Moves the warps of one avatar's poses by its anchors. Not for use by several threads at once."""

    def __init__(self, anchors: WarpAnchors, size: int, *, compiled: bool = False) -> None:
        """`size` is S, the side of the network's results; `compiled`: by Numba, some five times as fast."""
        self._landmarks = np.array([point.landmark for point in anchors.points], np.int64)
        self._places = np.array([(point.x, point.y) for point in anchors.points])
        self._ridges = np.array([point.ridge for point in anchors.points])
        self._reach, self._limit = anchors.reach, anchors.limit
        self._centres = (2 * np.arange(GRID) + 1) / GRID - 1
        self._taps = taps(GRID, size)
        self._moved: Floats = np.empty((2, size, size), np.float32)
        self._compiled = _compiled(len(anchors.points), size) if compiled else None

    def move(self, outputs: NetworkOutputs, pose: ArrayLike) -> NetworkOutputs:
        """Return a pose's results with the warp moved, in float32: an array that the next call writes over.

        `pose` is (136,) or (68, 2), the one that `outputs` are of. What is not finite moves nothing.
        """
        if self._compiled is None:
            shift = self.field(outputs.delta_uv, pose)
            np.add(outputs.delta_uv, resize(shift, *self._moved.shape[1:]), out=self._moved)
        else:
            landmarks = np.ascontiguousarray(pose, np.float64).reshape(-1, 2)
            wanted = self._landmarks, self._places, self._ridges, self._reach, self._limit
            self._compiled(input_array(outputs.delta_uv), landmarks, *wanted, FAR, *self._taps, self._moved)
        return NetworkOutputs(self._moved, outputs.lf_rgb, outputs.seg)

    def field(self, delta_uv: Values, pose: ArrayLike) -> Floats:
        """Return what is added to the warp (2, S, S) of a pose, at the centres of tiles: (2, GRID, GRID)."""
        points = self._points(pose)
        missing = self._places - look_up(delta_uv, points)
        missing[~np.isfinite(missing).all(axis=1)] = 0
        length = np.hypot(*missing.T)[:, None]
        missing *= self._limit / np.maximum(length, self._limit)
        x, y = points.T
        kernel = np.exp(-0.5 / self._reach**2 * ((x[:, None] - x) ** 2 + (y[:, None] - y) ** 2))
        kernel[np.diag_indices(len(points))] += self._ridges
        weights = np.linalg.solve(kernel, missing)
        # A Gaussian of two coordinates is the product of one in each
        across, down = (np.exp(-0.5 / self._reach**2 * (self._centres[:, None] - axis) ** 2) for axis in points.T)
        field = np.stack([(down * weights[:, axis]) @ across.T for axis in range(2)])
        return field.astype(np.float32)

    def _points(self, pose: ArrayLike) -> Points:
        # Landmarks are counted by pixels' numbers, the warp's own coordinates by their centres: half a pixel apart
        points = np.asarray(pose, np.float64).reshape(-1, 2)[self._landmarks] + 1 / self._moved.shape[-1]
        finite: Points = np.clip(np.nan_to_num(points, nan=FAR), -FAR, FAR)
        return finite


def look_up(delta_uv: Values, points: Points) -> Points:
    """Return where in the texture the warp (2, S, S) looks at `points` (N, 2) of the frame, -1..1 both: (N, 2).

    Bilinear between pixel centres; beyond the outermost these count.
    """
    size = delta_uv.shape[-1]
    place = np.clip(((points + 1) * size - 1) / 2, 0, size - 1)
    first = np.minimum(place.astype(np.int64), max(size - 2, 0))
    second, rest = np.minimum(first + 1, size - 1), place - first
    (left, top), (right, bottom), (across, down) = first.T, second.T, rest.T
    corners = [delta_uv[:, rows, columns].astype(np.float64) for rows in (top, bottom) for columns in (left, right)]
    with np.errstate(invalid="ignore", over="ignore"):
        upper, lower = (a + across * (b - a) for a, b in (corners[:2], corners[2:]))
        moved = upper + down * (lower - upper)
    inner: Points = (2 * place + 1) / size - 1 + moved.T  # the identity, held at the border as the offsets are
    return inner


def _compiled(points: int, size: int) -> Callable[..., None]:
    """Return the kernel, with the arrays that it writes over on its way."""
    from bilayer.runtime.anchors.kernel import move_warp, workspace  # its start takes longer than a few frames

    own = workspace(points, GRID, size)

    def move(*given: Any) -> None:
        move_warp(*given[:-1], *own, given[-1])

    return move
