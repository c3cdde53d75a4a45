"""Whole frames from the network's outputs: warp, low-frequency layer, mask and bytes in one pass over the pixels."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bilayer.runtime.errors import InputError
from bilayer.runtime.sampler import MAX_CHANNELS, PADDING, pack_texture
from bilayer.runtime.sampler_engine import (
    Engine,
    Floats,
    Layout,
    Rows,
    array_shape,
    checked,
    input_array,
    load_kernels,
    named_shape,
    output_array,
)
from bilayer.runtime.sampler_numpy import OVER, PREMULTIPLIED, STRAIGHT

Alpha = Literal["straight", "premultiplied"]
Rounding = Literal["truncate", "nearest"]

Bytes = NDArray[np.uint8]


class FrameCompositor:
    """One avatar's texture, to be turned into RGBA frames: out = the warped texture + the low-frequency layer, masked.

    The colour of a pixel is x = lf + texture sampled at (identity + delta_uv), shown as published: clamped to -1..1,
    then (x + 1) / 2 * 255, the fraction cut off. The mask becomes alpha, rounded to the nearest of 256 levels:

    * alpha "straight": colours stay whole and A is the mask: what PNG, Pillow, video tools and compositors expect.
    * alpha "premultiplied": colours times the mask, what Android's Bitmap and GPU surfaces expect. Seen without its
      alpha this is the frame on black, the picture that the model is trained to match.
    * a `background`: colours over it, A = 255. White is the published display.

    Args:
        texture: (3, H, W), or packed already, (H + 3, W + 3, 4).
        align_corners: see the module; an avatar stores its own.
        alpha: as above; of no effect over a background.
        background: None, a colour (r, g, b) of 0..255, or a picture (h, w, 3 or 4) uint8 of the frame's size, whose own
            alpha is not read.
        rounding: of the colours; "nearest" has half the error of the published "truncate".
        layout: of delta_uv and low_frequency: planar (2, h, w) and (3, h, w), or interleaved (h, w, 2) and (h, w, 3).
        threads: 1 runs in the caller's thread, without the GIL; more share a frame's rows, which pays for large frames
            on idle cores.
        engine: "numba", "numpy", or "auto": Numba where it is installed.

    Attributes:
        engine: "numba" or "numpy".

    Raises:
        InputError: a texture or background of the wrong shape, or an unknown choice.
        ToolMissingError: engine "numba" without Numba.
    """

    def __init__(
        self,
        texture: ArrayLike,
        align_corners: bool,
        *,
        alpha: Alpha = "straight",
        background: ArrayLike | None = None,
        rounding: Rounding = "truncate",
        layout: Layout = "planar",
        threads: int = 1,
        engine: Engine = "auto",
    ) -> None:
        self._texture = _packed(texture)
        self._align_corners = bool(align_corners)
        self._rounding = np.float32(0.5 if checked(rounding, Rounding, "rounding") == "nearest" else 0)
        self._layout = checked(layout, Layout, "layout")
        self._backdrop = None if background is None else _backdrop(background)
        self._words = np.zeros(1, np.uint32)  # the backdrop, at a frame's size
        mode = STRAIGHT if checked(alpha, Alpha, "alpha") == "straight" else PREMULTIPLIED
        self.engine, kernels = load_kernels(engine)
        kernel = kernels.frame_kernel(OVER if background is not None else mode, layout == "interleaved")
        self._run = Rows(kernel, threads)

    def render(
        self, delta_uv: ArrayLike, low_frequency: ArrayLike, mask: ArrayLike | None = None, out: Bytes | None = None
    ) -> Bytes:
        """Compose a frame.

        Float32 C-contiguous inputs and an `out` of one's own make this free of allocations.

        Args:
            delta_uv: (2, h, w), offsets from the identity grid (the pixel centres) in texture coordinates, x before y.
            low_frequency: (3, h, w), about -1..1.
            mask: (h, w) or (1, h, w), clamped to 0..1; None is a mask of ones. As (h, w, 1) too, where interleaved.
            out: (h, w, 4) C-contiguous, written and returned; by default a new array.

        Returns:
            (h, w, 4) RGBA.

        Raises:
            InputError: shapes that do not fit each other, the background or `out`.
        """
        delta_uv, low_frequency = input_array(delta_uv), input_array(low_frequency)
        if low_frequency.ndim != 3:
            raise InputError(f"low_frequency: expected {named_shape(3, self._layout)}, found {low_frequency.shape}")
        height, width = low_frequency.shape[:2] if self._layout == "interleaved" else low_frequency.shape[1:]
        for name, array, channels in (("delta_uv", delta_uv, 2), ("low_frequency", low_frequency, 3)):
            expected = array_shape(channels, height, width, self._layout)
            if array.shape != expected:
                named = named_shape(channels, self._layout)
                raise InputError(f"{name}: expected {named} = {expected}, found {array.shape}")
        opacity = self._words.view(np.float32) if mask is None else input_array(mask)
        if mask is not None and opacity.shape not in ((height, width), array_shape(1, height, width, self._layout)):
            raise InputError(f"mask: expected (h, w) = {(height, width)}, found {opacity.shape}")
        out = output_array(out, (height, width, 4), np.uint8)
        arguments = (
            self._texture,
            delta_uv.reshape(-1),
            low_frequency.reshape(-1),
            opacity.reshape(-1),
            mask is not None,
            self._backdrop_words(height, width),
            self._align_corners,
            self._rounding,
            out.reshape(-1).view(np.uint32),
        )
        self._run(arguments, height, width)
        return out

    def _backdrop_words(self, height: int, width: int) -> NDArray[np.uint32]:
        if self._backdrop is None:
            return self._words
        if self._backdrop.shape[:2] not in ((1, 1), (height, width)):
            raise InputError(f"background: {self._backdrop.shape[1::-1]} px wide and high, the frame {(width, height)}")
        if self._words.size != height * width:
            self._words = np.broadcast_to(self._backdrop.view(np.uint32)[..., 0], (height, width)).reshape(-1).copy()
        return self._words


def _packed(texture: ArrayLike) -> Floats:
    packed = np.asarray(texture, np.float32)
    if packed.ndim == 3 and packed.shape[0] == 3:
        return pack_texture(packed)
    if packed.ndim != 3 or packed.shape[2] != MAX_CHANNELS or min(packed.shape[:2]) <= PADDING:
        raise InputError(f"texture: expected (3, H, W), or packed (H + 3, W + 3, 4); found {packed.shape}")
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
