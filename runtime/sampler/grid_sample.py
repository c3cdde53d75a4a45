"""The texture sampler: grid_sample's bilinear warp on the CPU, and whole frames from the network's outputs.

SNPE has no grid_sample, so the warp runs on the CPU, on a phone as here. The inner loops are in `numba_kernels`
(Numba, loaded on first use) or `numpy_kernels` (the same bits, slower). docs/sampler.md tells what was measured.

Coordinates run from -1 to 1, x right and y down. With `align_corners` False they are the texture's outer edges, with
True the centres of its outer texels; the published code leaves the choice to torch's version, so it has no
default here. Outside the texture is zero, and that is also what a coordinate samples that is NaN or infinite.
"""

import numpy as np
from numpy.typing import ArrayLike

from bilayer.runtime.arrays import Floats
from bilayer.runtime.errors import InputError
from bilayer.runtime.sampler.rows import Engine, Layout, Rows, array_shape, input_array, load_kernels, output_array
from bilayer.runtime.vocabulary import checked_word

MAX_CHANNELS = 4
PADDING = 3  # texels a packed texture has more than its texture: one before, two after
MAX_TEXELS = 1 << 29  # packed, so that an offset in floats fits 32 bits
MAX_SIDE = 1 << 23  # texels, so that a float32 coordinate is exact to half a texel


def pack_texture(texture: ArrayLike, layout: Layout = "planar") -> Floats:
    """Bring a texture into the form that the loops read: four channels a texel, and a border of zeros.

    Args:
        texture: (C, H, W), or (H, W, C) if `layout` is interleaved; 1 to 4 channels of any range.
        layout: which of the two.

    Returns:
        (H + 3, W + 3, 4); texel (y, x) lies at [y + 1, x + 1], all else is zero.

    Raises:
        InputError: another shape, 2**29 texels and more, or a side above 2**23.
    """
    pixels = np.asarray(texture, dtype=np.float32)
    if checked_word(layout, Layout, "layout") == "planar" and pixels.ndim == 3:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= MAX_CHANNELS or 0 in pixels.shape:
        expected = "(C, H, W)" if layout == "planar" else "(H, W, C)"
        raise InputError(f"texture: expected {expected} of 1 to {MAX_CHANNELS} channels, found {np.shape(texture)}")
    height, width, channels = pixels.shape
    if (height + PADDING) * (width + PADDING) >= MAX_TEXELS or max(height, width) > MAX_SIDE:
        raise InputError(f"texture: {width} x {height} is too large: at most {MAX_SIDE} a side, {MAX_TEXELS} in all")
    packed = np.zeros((height + PADDING, width + PADDING, MAX_CHANNELS), np.float32)
    packed[1 : height + 1, 1 : width + 1, :channels] = pixels
    return packed


def sample(
    texture: ArrayLike,
    grid: ArrayLike,
    align_corners: bool,
    *,
    texture_layout: Layout = "planar",
    grid_layout: Layout = "interleaved",
    out_layout: Layout = "planar",
    engine: Engine = "auto",
) -> Floats:
    """Sample as torch's grid_sample (bilinear, zeros), by default in its layouts; for many grids see `Sampler`.

    Args:
        texture: (C, H, W), 1 to 4 channels; or a batch of them, (B, C, H, W).
        grid: (h, w, 2), x before y; or a batch of them, (B, h, w, 2). One texture serves many grids and vice versa.
        align_corners: see the module.
        texture_layout: planar as above, or interleaved: (H, W, C).
        grid_layout: interleaved as above, or planar: (2, h, w).
        out_layout: planar (C, h, w) or interleaved (h, w, C) result.
        engine: "numba", "numpy", or "auto": Numba where it is installed.

    Returns:
        (C, h, w) or (h, w, C); with a leading B if texture or grid has one.

    Raises:
        InputError: shapes that do not fit.
        ToolMissingError: engine "numba" without Numba.
    """
    textures, grids = (np.asarray(array, np.float32) for array in (texture, grid))
    for name, array in (("texture", textures), ("grid", grids)):
        if array.ndim not in (3, 4):
            raise InputError(f"{name}: expected 3 dimensions, or 4 for a batch, found shape {array.shape}")
    batched = 4 in (textures.ndim, grids.ndim)
    textures, grids = (array if array.ndim == 4 else array[None] for array in (textures, grids))
    count = len(grids) if len(textures) == 1 else len(textures)
    if count == 0:
        raise InputError("grid and texture: an empty batch; give at least one of each")
    if len(grids) not in (1, count):
        raise InputError(f"grid: {len(grids)} of them for {len(textures)} textures; one of either or as many of both")
    samplers = [
        Sampler(
            one,
            align_corners,
            texture_layout=texture_layout,
            grid_layout=grid_layout,
            out_layout=out_layout,
            engine=engine,
        )
        for one in textures
    ]
    results = [samplers[b % len(samplers)].sample(grids[b % len(grids)]) for b in range(count)]
    return np.stack(results) if batched else results[0]


class Sampler:
    """One texture, to be sampled at many grids; `sample` has the arguments' meaning.

    Attributes:
        engine: "numba" or "numpy".
        channels: of the texture and of the results.
    """

    def __init__(
        self,
        texture: ArrayLike,
        align_corners: bool,
        *,
        texture_layout: Layout = "planar",
        grid_layout: Layout = "interleaved",
        out_layout: Layout = "planar",
        threads: int = 1,
        engine: Engine = "auto",
    ) -> None:
        self._texture = pack_texture(texture, texture_layout)
        self.channels = np.shape(texture)[0 if texture_layout == "planar" else 2]
        self._align_corners = bool(align_corners)
        self._grid_layout = checked_word(grid_layout, Layout, "grid_layout")
        self._out_layout = checked_word(out_layout, Layout, "out_layout")
        self.engine, kernels = load_kernels(engine)
        self._run = Rows(kernels.sample_kernel(grid_layout == "interleaved", out_layout == "interleaved"), threads)

    def sample(self, grid: ArrayLike, out: Floats | None = None) -> Floats:
        """Sample at `grid` (h, w, 2), or (2, h, w) if planar; into `out` (C, h, w), or (h, w, C), or a new array.

        Raises:
            InputError: shapes that do not fit, or an `out` that is not float32, C-contiguous and writable.
        """
        grid = input_array(grid)
        interleaved = self._grid_layout == "interleaved"
        if grid.ndim != 3 or grid.shape[2 if interleaved else 0] != 2:
            raise InputError(f"grid: expected {'(h, w, 2)' if interleaved else '(2, h, w)'}, found {grid.shape}")
        height, width = grid.shape[:2] if interleaved else grid.shape[1:]
        out = output_array(out, array_shape(self.channels, height, width, self._out_layout), np.float32)
        arguments = self._texture, grid.reshape(-1), self._align_corners, out.reshape(-1), self.channels
        self._run(arguments, height, width)
        return out
