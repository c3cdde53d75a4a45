"""Which triangle each sample shows, and what is interpolated there."""

# mypy: ignore-errors
# Numba infers the types in here, when it compiles.

import math

from bilayer.training.heads.kernels.options import compiled
from bilayer.training.heads.kernels.weights import corner_weights

MIN_AREA = 1e-9  # px^2; smaller triangles cover no sample


@compiled
def rasterise(screen, triangles, start, stop, cull, left, top, right, bottom, depth, owner):
    """Write the nearest triangle's number into owner (H, W), 1 / depth into depth (H, W), inside the scissor box.

    With `cull`, triangles that turn their back (clockwise seen from outside) are left out.
    """
    for t in range(start, stop):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, w0 = screen[a, 0], screen[a, 1], screen[a, 2]
        x1, y1, w1 = screen[b, 0], screen[b, 1], screen[b, 2]
        x2, y2, w2 = screen[c, 0], screen[c, 1], screen[c, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if (cull and area > 0) or abs(area) < MIN_AREA or w0 <= 0 or w1 <= 0 or w2 <= 0:
            continue
        column = max(left, math.ceil(min(x0, x1, x2) - 0.5))
        last_column = min(right - 1, math.floor(max(x0, x1, x2) - 0.5))
        row = max(top, math.ceil(min(y0, y1, y2) - 0.5))
        last_row = min(bottom - 1, math.floor(max(y0, y1, y2) - 0.5))
        if column > last_column or row > last_row:
            continue
        inverse = 1.0 / area
        l1_dx, l1_dy = (y2 - y0) * inverse, -(x2 - x0) * inverse
        l2_dx, l2_dy = -(y1 - y0) * inverse, (x1 - x0) * inverse
        for y in range(row, last_row + 1):
            for x in range(column, last_column + 1):
                px, py = x + 0.5 - x0, y + 0.5 - y0
                l1 = px * l1_dx + py * l1_dy
                l2 = px * l2_dx + py * l2_dy
                if l1 < -1e-6 or l2 < -1e-6 or l1 + l2 > 1 + 1e-6:
                    continue
                w = w0 + l1 * (w1 - w0) + l2 * (w2 - w0)
                if w > depth[y, x]:
                    depth[y, x] = w
                    owner[y, x] = t


@compiled
def interpolate(screen, triangles, owner, values, out, covered):
    """Interpolate values (V, C) linearly, not in perspective, at every owned sample: for maps in texture space."""
    for y in range(owner.shape[0]):
        for x in range(owner.shape[1]):
            t = owner[y, x]
            covered[y, x] = t >= 0
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            l1, l2 = corner_weights(a, b, c, x, y, screen)
            for k in range(out.shape[2]):
                va, vb, vc = values[t, 0, k], values[t, 1, k], values[t, 2, k]
                out[y, x, k] = va + l1 * (vb - va) + l2 * (vc - va)
