"""Frames on a GPU: shaders/frame.wgsl through wgpu, on Vulkan, Metal, Direct3D or OpenGL.

The shader is what a browser and a phone draw with. This is its reference use, what goes into its bindings and settings,
with the frame brought back into memory; behind a network on the CPU the CPU's sampler is the simpler choice.
"""

from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.command.extras import naming_extras
from bilayer.runtime.errors import InputError, ToolMissingError
from bilayer.runtime.sampler.compositor import Alpha, Compositor, Rounding
from bilayer.runtime.sampler.grid_sample import PADDING, pack_texture
from bilayer.runtime.sampler.rows import input_array, output_array
from bilayer.runtime.vocabulary import checked_word

Filter = Literal["fetch", "hardware"]  # four fetches blended in float32, or the texture unit's own

WORKGROUP = 8  # pixels a side, of a workgroup
_OVER = 2


def shader_source() -> str:
    """Return the text of the shader that draws a frame."""
    return (files("bilayer.runtime.sampler") / "shaders" / "frame.wgsl").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Place:
    """Where the shader finds an output's values in its buffer: numbers, not bytes; and what they are times and plus."""

    start: int
    channel: int  # from one channel to the next
    pixel: int = 1  # from one pixel to the next
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Settings:
    """The shader's settings, whose layout and meaning frame.wgsl tells. Sizes are (height, width)."""

    frame: tuple[int, int]
    fields: tuple[int, int]
    texture: tuple[int, int]  # without its border
    align_corners: bool
    delta_uv: Place
    lf_rgb: Place
    seg: Place | None = None
    alpha: int = 0
    rounding: float = 0.0
    background: tuple[int, int, int] = (0, 0, 0)

    def pack(self) -> bytes:
        """Return the 144 bytes of the shader's uniform buffer."""
        extent = np.array(self.texture[::-1], np.float32) - np.float32(self.align_corners)
        seg = self.seg or Place(0, 0)
        places = self.delta_uv, self.lf_rgb, seg
        words = np.zeros(36, np.uint32)
        reals = words.view(np.float32)
        words[0:2], words[2:4] = self.frame[::-1], self.fields[::-1]
        reals[4:6], reals[6:8] = extent * np.float32(0.5), extent / np.array(self.frame[::-1], np.float32)
        reals[8:10] = 1 if self.align_corners else 0.5, self.rounding
        words[10:12] = self.alpha, self.seg is not None
        for number, place in enumerate(places):
            words[12 + 4 * number :][:3] = place.start, place.channel, place.pixel
            reals[24 + 2 * number :][:2] = place.scale, place.offset
        reals[30:32] = self.texture[1] + 1, self.texture[0] + 1
        reals[32:35] = self.background
        return words.tobytes()


class GpuCompositor(Compositor):
    """One avatar's texture on a GPU: the frames of `FrameCompositor`, whose arguments these are.

    Args:
        texture: (3, H, W).
        background: None or a colour (r, g, b) of 0..255.
        filter: "fetch" has the CPU sampler's accuracy; "hardware" takes the texture unit's filter, and the texture in
            half precision, which every GPU can filter: docs/sampler.md has its error.
        adapter: one of wgpu's; None: the fastest that it finds.

    Attributes:
        device_name: of the GPU and its interface.

    Raises:
        InputError: a texture, size or background of the wrong shape, one larger than the GPU takes, an unknown choice.
        ToolMissingError: wgpu is not installed, or finds no GPU.
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
        filter: Filter = "fetch",
        adapter: Any = None,
    ) -> None:
        super().__init__(size)
        self._packed = pack_texture(texture)
        self._align_corners, self._mask = bool(align_corners), (mask_scale, mask_offset)
        self._alpha = 0 if checked_word(alpha, Alpha, "alpha") == "straight" else 1
        self._background = (0, 0, 0)
        if background is not None:
            self._alpha, self._background = _OVER, _colour(background)
        self._rounding = 0.5 if checked_word(rounding, Rounding, "rounding") == "nearest" else 0.0
        self._filter = checked_word(filter, Filter, "filter")
        adapter = adapter or _any_adapter()
        self.device_name = f"{adapter.info['device']}, {adapter.info['backend_type']}"
        self._device = adapter.request_device_sync()
        limit = self._device.limits["max-texture-dimension-2d"]
        if max(self._packed.shape[:2]) > limit:
            raise InputError(f"texture: {self._packed.shape[1::-1]} with its border; {self.device_name} takes {limit}")
        self._buffers: dict[str, Any] = {}

    def render(
        self, delta_uv: ArrayLike, lf_rgb: ArrayLike, mask: ArrayLike | None = None, out: Bytes | None = None
    ) -> Bytes:
        """Compose a frame as `FrameCompositor.render` does.

        Inputs are planar: delta_uv (2, h, w), lf_rgb (3, h, w), mask (h, w) or (1, h, w) or None.

        Returns:
            (h, w, 4) RGBA; (height, width, 4) with a `size`.

        Raises:
            InputError: shapes that do not fit each other, or `out`.
        """
        given = {"delta_uv": input_array(delta_uv), "lf_rgb": input_array(lf_rgb)}
        if given["lf_rgb"].ndim != 3:
            raise InputError(f"lf_rgb: expected (3, h, w), found {given['lf_rgb'].shape}")
        fields = given["lf_rgb"].shape[1:]
        for name, channels in (("delta_uv", 2), ("lf_rgb", 3)):
            if given[name].shape != (channels, *fields):
                raise InputError(f"{name}: expected {(channels, *fields)}, found {given[name].shape}")
        if mask is not None:
            given["seg"] = input_array(mask)
            if given["seg"].shape not in (fields, (1, *fields)):
                raise InputError(f"mask: expected (h, w) = {fields}, found {given['seg'].shape}")
        height, width = self.size or fields
        out = output_array(out, (height, width, 4), np.uint8)
        pixels = fields[0] * fields[1]
        plain = Place(0, pixels)
        settings = Settings(
            (height, width), (fields[0], fields[1]), self.texture_size, self._align_corners, plain, plain,
            None if mask is None else Place(0, 0, 1, *self._mask), self._alpha, self._rounding, self._background,
        )  # fmt: skip
        self._compose(settings.pack(), given, out)
        return out

    @property
    def texture_size(self) -> tuple[int, int]:
        """The texture's height and width without its border, px."""
        return self._packed.shape[0] - PADDING, self._packed.shape[1] - PADDING

    def _compose(self, settings: bytes, given: dict[str, Floats], out: Bytes) -> None:
        import wgpu

        usage = wgpu.BufferUsage
        self._write("settings", settings, usage.UNIFORM)
        for name in ("delta_uv", "lf_rgb", "seg"):
            self._write(name, given.get(name, np.zeros(1, np.float32)), usage.STORAGE)
        self._buffer("frame", out.nbytes, usage.STORAGE | usage.COPY_SRC)
        pipeline = self._pipeline
        names = ("frame", "delta_uv", "lf_rgb", "seg", "settings")
        entries = [{"binding": n, "resource": {"buffer": self._buffers[name]}} for n, name in enumerate(names)]
        entries.append({"binding": 5, "resource": self._texture.create_view()})
        if self._filter == "hardware":
            sampler = self._device.create_sampler(mag_filter="linear", min_filter="linear")
            entries.append({"binding": 6, "resource": sampler})
        group = self._device.create_bind_group(layout=pipeline.get_bind_group_layout(0), entries=entries)
        encoder = self._device.create_command_encoder()
        work = encoder.begin_compute_pass()
        work.set_pipeline(pipeline)
        work.set_bind_group(0, group)
        work.dispatch_workgroups(*(-(-side // WORKGROUP) for side in out.shape[1::-1]))
        work.end()
        self._device.queue.submit([encoder.finish()])
        found = self._device.queue.read_buffer(self._buffers["frame"], 0, out.nbytes)
        out.reshape(-1)[:] = np.frombuffer(found, np.uint8)

    def _write(self, name: str, content: bytes | Floats, usage: int) -> None:
        import wgpu

        size = len(content) if isinstance(content, bytes) else content.nbytes
        self._device.queue.write_buffer(self._buffer(name, size, usage | wgpu.BufferUsage.COPY_DST), 0, content)

    def _buffer(self, name: str, size: int, usage: int) -> Any:
        """The buffer of that name, made anew where its size changes."""
        if name not in self._buffers or self._buffers[name].size != size:
            limit = self._device.limits["max-storage-buffer-binding-size"]
            if size > limit:
                raise InputError(f"{name}: {size} bytes; {self.device_name} takes {limit}")
            self._buffers[name] = self._device.create_buffer(size=size, usage=usage)
        return self._buffers[name]

    @cached_property
    def _pipeline(self) -> Any:
        module = self._device.create_shader_module(code=shader_source())
        entry = "compose" if self._filter == "fetch" else "compose_filtered"
        return self._device.create_compute_pipeline(layout="auto", compute={"module": module, "entry_point": entry})

    @cached_property
    def _texture(self) -> Any:
        return upload_texture(self._device, self._packed, self._filter)


def upload_texture(device: Any, packed: Floats, filter: Filter) -> Any:
    """Return a packed texture (H + 3, W + 3, 4) on a device of wgpu's, in the format that the way of sampling needs."""
    import wgpu

    texels = packed if filter == "fetch" else packed.astype(np.float16)
    height, width, _ = texels.shape
    texture = device.create_texture(
        size=(width, height, 1),
        format="rgba32float" if filter == "fetch" else "rgba16float",
        usage=wgpu.TextureUsage.TEXTURE_BINDING | wgpu.TextureUsage.COPY_DST,
    )
    layout = {"offset": 0, "bytes_per_row": texels.strides[0], "rows_per_image": height}
    device.queue.write_texture({"texture": texture}, texels, layout, (width, height, 1))
    return texture


def _any_adapter() -> Any:
    with naming_extras():
        import wgpu
    try:
        adapter = wgpu.gpu.request_adapter_sync(power_preference="high-performance")
    except RuntimeError as error:
        raise ToolMissingError(f"found no GPU: {error}; install its Vulkan driver, or sample on the CPU") from error
    if adapter is None:
        raise ToolMissingError("found no GPU; install its Vulkan driver, or sample on the CPU")
    return adapter


def _colour(background: ArrayLike) -> tuple[int, int, int]:
    given = np.asarray(background)
    if given.shape != (3,) or not np.issubdtype(given.dtype, np.integer) or not 0 <= given.min() <= given.max() <= 255:
        raise InputError(
            f"background: expected three whole numbers of 0..255 on a GPU, found {given.dtype} {given.shape}"
        )
    red, green, blue = map(int, given)
    return red, green, blue
