"""The texture sampler's oracle: grid_sample in float64, from its definition, and inputs to try it on."""

import numpy as np

NASTY = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, -0.0, 1, -1, 1.0000001, -1.0000001], np.float32)


def grid_sample(texture, grid, align_corners):
    """(C, H, W) at (h, w, 2) -> (C, h, w): four taps, those outside are zero; what is not finite samples zero."""
    texture, grid = texture.astype(np.float64), grid.astype(np.float64)
    channels, height, width = texture.shape
    result = np.zeros((channels, *grid.shape[:2]))
    for i, j in zip(*np.isfinite(grid).all(axis=-1).nonzero(), strict=True):
        x, y = (
            (g + 1) / 2 * (size - 1) if align_corners else ((g + 1) * size - 1) / 2
            for g, size in zip(grid[i, j], (width, height), strict=True)
        )
        if not (-1 < x < width and -1 < y < height):
            continue
        left, top = int(np.floor(x)), int(np.floor(y))
        for column, row in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
            if 0 <= column < width and 0 <= row < height:
                weight = (1 - abs(x - column)) * (1 - abs(y - row))
                result[:, i, j] += weight * texture[:, row, column]
    return result


def tolerance(texture):
    """What float32 coordinates cost: a few units in the last place of a texel's position, times the steepest slope."""
    position = 8 * np.finfo(np.float32).eps * (max(texture.shape[1:]) + 1)
    return float(4 * position * np.abs(texture).max() + 1e-6)


def random_texture(rng, height, width, channels=3):
    return rng.uniform(-1, 1, (channels, height, width)).astype(np.float32)


def random_grid(rng, height, width):
    """(h, w, 2): inside, over the borders, far outside, and what is not a number."""
    grid = rng.uniform(-1.3, 1.3, (height, width, 2)).astype(np.float32)
    strange = rng.random(grid.shape) < 0.05
    grid[strange] = rng.choice(NASTY, strange.sum())
    return grid


def random_frame(rng, height, width):
    """delta_uv (2, h, w), lf_rgb (3, h, w), mask (h, w), with what a broken network returns among them."""
    frame = [
        rng.normal(0, 0.2, (2, height, width)).astype(np.float32),
        rng.uniform(-2, 2, (3, height, width)).astype(np.float32),
        rng.uniform(-0.2, 1.2, (height, width)).astype(np.float32),
    ]
    for array in frame:
        strange = rng.random(array.shape) < 0.02
        array[strange] = rng.choice(NASTY, strange.sum())
    return frame


def interleaved(planar):
    return np.ascontiguousarray(np.moveaxis(planar, 0, -1))
