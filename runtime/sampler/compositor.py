"""Whole frames from the network's outputs: warp, low-frequency layer, mask and bytes in one pass over the pixels."""

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.errors import InputError
from bilayer.runtime.frame import NetworkOutputs
from bilayer.runtime.sampler.grid_sample import MAX_CHANNELS, MAX_SIDE, MAX_TEXELS, PADDING, pack_texture
from bilayer.runtime.sampler.numpy_kernels import OVER, PREMULTIPLIED, STRAIGHT
from bilayer.runtime.sampler.resize import resize
from bilayer.runtime.sampler.rows import (
    Engine,
    Layout,
    Rows,
    array_shape,
    input_array,
    load_kernels,
    named_shape,
    output_array,
)
from bilayer.runtime.vocabulary import checked_word

Alpha = Literal["straight", "premultiplied"]
Rounding = Literal["truncate", "nearest"]


MAX_FRAME = 1 << 14  # px, a side
_NOTHING = np.zeros(1, np.uint32)  # stands where there is no mask or background


class Compositor(ABC):
    """What draws an avatar's frames: `FrameCompositor` on the CPU, `GpuCompositor` of gpu.py.

    Attributes:
        size: (height, width) of the frame in pixels, or None: that of what `render` is given.

    Raises:
        InputError: a size that no frame can have.
    """

    def __init__(self, size: int | tuple[int, int] | None) -> None:
        self.size = (size, size) if isinstance(size, int) else size
        if self.size is not None and not all(1 <= side <= MAX_FRAME for side in self.size):
            raise InputError(f"size: expected 1 to {MAX_FRAME} pixels, found {size}")

    @abstractmethod
    def render(
        self, delta_uv: ArrayLike, lf_rgb: ArrayLike, mask: ArrayLike | None = None, out: Bytes | None = None
    ) -> Bytes:
        """Compose a frame (height, width, 4) of a network's results, in `out` where that is given."""

    def compose(self, outputs: NetworkOutputs, out: Bytes | None = None) -> Bytes:
        """Do as `render` with a network's results, for a mask_scale of 1; finite ones: `NetworkOutputs.drawable`."""
        return self.render(outputs.delta_uv, outputs.lf_rgb, outputs.seg, out)


class FrameCompositor(Compositor):
    """One avatar's texture, to be turned into RGBA frames: out = the warped texture + the low-frequency layer, masked.

    The colour of a pixel is x = lf + texture sampled at (identity + delta_uv), shown as published: clamped to -1..1,
    then (x + 1) / 2 * 255, the fraction cut off. The mask, clamped to 0..1, becomes alpha, rounded to a level:

    * alpha "straight": colours stay whole and A is the mask: what PNG, Pillow, video tools and compositors expect.
    * alpha "premultiplied": colours times the mask, what Android's Bitmap and GPU surfaces expect. Seen without its
      alpha this is the frame on black, the picture that the model is trained to match.
    * a `background`: colours over it, A = 255. White is the published display.

    Args:
        texture: (3, H, W), or packed already, (H + 3, W + 3, 4).
        align_corners: as in `bilayer.runtime.sampler.grid_sample`; an avatar stores its own.
        alpha: as above; of no effect over a background.
        background: None, a colour (r, g, b) of 0..255, or a picture (h, w, 3 or 4) uint8 of the frame's size, whose own
            alpha is not read.
        size: the frame's side, or its (height, width), in pixels; None: that of what `render` is given. Where they
            differ, delta_uv, lf_rgb and mask are brought to the frame's size as `bilayer.runtime.sampler.resize` does.
        mask_scale: the mask is what `render` is given times this,
        mask_offset: plus this: both 0.5 where it comes out of a tanh.
        rounding: of the colours; "nearest" has half the error of the published "truncate".
        layout: of delta_uv and lf_rgb: planar (2, h, w) and (3, h, w), or interleaved (h, w, 2) and (h, w, 3).
        threads: 1 runs in the caller's thread, without the GIL; more share a frame's rows, which pays for large frames
            on idle cores.
        engine: "numba", "numpy", or "auto": Numba where it is installed.

    Attributes:
        engine: "numba" or "numpy".
        size: (height, width) of the frame, or None, as above.

    Raises:
        InputError: a texture, a size or background of the wrong shape, or an unknown choice.
        ToolMissingError: engine "numba" without Numba.
    """

    def __init__(
        self,
        texture: ArrayLike,
        align_corners: bool,
        *,
        alpha: Alpha = "straight",
        background: ArrayLike | None = None,
        size: int | tuple[int, int] | None = None,
        mask_scale: float = 1.0,
        mask_offset: float = 0.0,
        rounding: Rounding = "truncate",
        layout: Layout = "planar",
        threads: int = 1,
        engine: Engine = "auto",
    ) -> None:
        super().__init__(size)
        self._texture = _packed(texture)
        self._align_corners = bool(align_corners)
        self._mask_scale, self._mask_offset = np.float32(mask_scale), np.float32(mask_offset)
        self._rounding = np.float32(0.5 if checked_word(rounding, Rounding, "rounding") == "nearest" else 0)
        self._layout = checked_word(layout, Layout, "layout")
        self._backdrop = None if background is None else _backdrop(background)
        self._words: NDArray[np.uint32] | None = None  # the backdrop at a frame's size, (h, w)
        mode = STRAIGHT if checked_word(alpha, Alpha, "alpha") == "straight" else PREMULTIPLIED
        self.engine, kernels = load_kernels(engine)
        self._kernels, self._threads = kernels, threads
        self._use = OVER if background is not None else mode, layout == "interleaved"
        self._plain = Rows(kernels.frame_kernel(*self._use), threads)
        self._resizing: Rows | None = None

    def render(
        self, delta_uv: ArrayLike, lf_rgb: ArrayLike, mask: ArrayLike | None = None, out: Bytes | None = None
    ) -> Bytes:
        """Compose a frame of a network's results.

        Float32 C-contiguous inputs and an `out` of one's own make this free of allocations.

        Args:
            delta_uv: (2, h, w), offsets from the identity grid (the pixel centres) in texture coordinates, x before y.
            lf_rgb: (3, h, w), about -1..1.
            mask: (h, w) or (1, h, w), interleaved (h, w, 1); None is a mask of ones.
            out: as what is returned, C-contiguous; written and returned. By default a new array.

        Returns:
            (h, w, 4) RGBA; (height, width, 4) with a `size`.

        Raises:
            InputError: shapes that do not fit each other, the background or `out`.
        """
        delta_uv, lf_rgb = input_array(delta_uv), input_array(lf_rgb)
        if lf_rgb.ndim != 3:
            raise InputError(f"lf_rgb: expected {named_shape(3, self._layout)}, found {lf_rgb.shape}")
        height, width = lf_rgb.shape[:2] if self._layout == "interleaved" else lf_rgb.shape[1:]
        for name, array, channels in (("delta_uv", delta_uv, 2), ("lf_rgb", lf_rgb, 3)):
            expected = array_shape(channels, height, width, self._layout)
            if array.shape != expected:
                named = named_shape(channels, self._layout)
                raise InputError(f"{name}: expected {named} = {expected}, found {array.shape}")
        opacity = _NOTHING.view(np.float32) if mask is None else input_array(mask)
        if mask is not None and opacity.shape not in ((height, width), array_shape(1, height, width, self._layout)):
            raise InputError(f"mask: expected (h, w) = {(height, width)}, found {opacity.shape}")
        fields = height, width
        height, width = self.size or fields
        out = output_array(out, (height, width, 4), np.uint8)
        arguments = (
            self._texture,
            delta_uv.reshape(-1),
            lf_rgb.reshape(-1),
            opacity.reshape(-1),
            mask is not None,
            self._mask_scale,
            self._mask_offset,
            self._backdrop_words(height, width).reshape(-1),
            self._align_corners,
            self._rounding,
            out.reshape(-1).view(np.uint32),
        )
        if fields == (height, width):
            self._plain(arguments, height, width)
            return out
        if self._resizing is None:
            self._resizing = Rows(self._kernels.resized_frame_kernel(self._use[0]), self._threads)
        self._resizing((*arguments, *fields, self._use[1]), height, width)
        return out

    def _backdrop_words(self, height: int, width: int) -> NDArray[np.uint32]:
        if self._backdrop is None:
            return _NOTHING
        if self._backdrop.shape[:2] not in ((1, 1), (height, width)):
            raise InputError(f"background: {self._backdrop.shape[1::-1]} px wide and high, the frame {(width, height)}")
        if self._words is None or self._words.shape != (height, width):
            self._words = np.broadcast_to(self._backdrop.view(np.uint32)[..., 0], (height, width)).copy()
        return self._words


def resize_outputs(outputs: NetworkOutputs, height: int, width: int) -> NetworkOutputs:
    """Return a network's float32 results at a frame's size, as its compositor sees them; the same if they have it.

    What is resized is delta_uv: its identity grid is then the frame's own.
    """
    if outputs.delta_uv.shape[1:] == (height, width):
        return outputs
    planes = {name: np.asarray(values, np.float32) for name, values in outputs.by_name.items()}
    return NetworkOutputs.of({name: resize(values, height, width) for name, values in planes.items()})


def _packed(texture: ArrayLike) -> Floats:
    packed = np.asarray(texture, np.float32)
    if packed.ndim == 3 and packed.shape[0] == 3:
        return pack_texture(packed)
    if packed.ndim != 3 or packed.shape[2] != MAX_CHANNELS or min(packed.shape[:2]) <= PADDING:
        raise InputError(f"texture: expected (3, H, W), or packed (H + 3, W + 3, 4); found {packed.shape}")
    if max(packed.shape[:2]) > MAX_SIDE or packed.size >= 4 * MAX_TEXELS:
        raise InputError(f"texture: {packed.shape} is too large: at most {MAX_SIDE} a side, {MAX_TEXELS} in all")
    if packed[0].any() or packed[-2:].any() or packed[:, 0].any() or packed[:, -2:].any():
        raise InputError("texture: packed without its border of zeros; use pack_texture")
    return np.ascontiguousarray(packed)


def _backdrop(background: ArrayLike) -> Bytes:
    """A colour or a picture -> (1, 1, 4) or (h, w, 4)."""
    given = np.asarray(background)
    picture = given[None, None] if given.ndim == 1 else given
    if picture.ndim != 3 or picture.shape[2] not in (3, 4) or (given.ndim == 3 and given.dtype != np.uint8):
        raise InputError(
            "background: expected a colour (r, g, b) or a uint8 picture (h, w, 3 or 4), "
            f"found {given.dtype} {given.shape}"
        )
    if given.ndim == 1 and not (np.issubdtype(given.dtype, np.integer) and 0 <= given.min() <= given.max() <= 255):
        raise InputError(f"background: expected three whole numbers of 0..255, found {background!r}")
    words = np.full((*picture.shape[:2], 4), 255, np.uint8)
    words[..., :3] = picture[..., :3]
    return words
