"""Where a sample lies in the triangle that it shows."""

# mypy: ignore-errors
# Numba infers the types in here, when it compiles.

from bilayer.training.heads.kernels.options import inlined_fast


@inlined_fast
def corner_weights(a, b, c, x, y, screen):
    """Return weights of corners b and c at the centre of the sample (x, y), linear in the picture; a has the rest."""
    x0, y0 = screen[a, 0], screen[a, 1]
    area = (screen[b, 0] - x0) * (screen[c, 1] - y0) - (screen[c, 0] - x0) * (screen[b, 1] - y0)
    px, py = x + 0.5 - x0, y + 0.5 - y0
    l1 = (px * (screen[c, 1] - y0) - (screen[c, 0] - x0) * py) / area
    l2 = ((screen[b, 0] - x0) * py - px * (screen[b, 1] - y0)) / area
    return l1, l2
