"""The frame shader on Vulkan and OpenGL (here Mesa's, on the CPU) against the float64 oracle and the CPU's sampler."""

import sys

import numpy as np
import pytest

from bilayer.runtime.errors import InputError, ToolMissingError
from bilayer.runtime.sampler.compositor import FrameCompositor
from bilayer.runtime.sampler.gpu import GpuCompositor, Place, Settings
from bilayer.runtime.sampler.grid_sample import pack_texture
from tests import gpu_shader
from tests.runtime.test_resize import oracle, smooth_frame
from tests.sampler_reference import random_frame, random_texture

backends = pytest.mark.parametrize("backend", gpu_shader.BACKENDS)
corners = pytest.mark.parametrize("align_corners", [False, True])
# The results' size, the frame's, the texture's
SIZES = [
    ((64, 64), (64, 64), (64, 64)),
    ((64, 64), (128, 128), (128, 128)),
    ((30, 50), (19, 151), (20, 9)),
    ((1, 1), (5, 3), (1, 1)),
]


def compositor(backend, *arguments, **options):
    return GpuCompositor(*arguments, adapter=gpu_shader.adapter(backend), **options)


@backends
@corners
@pytest.mark.parametrize(("fields", "frame", "texture"), SIZES)
def test_frames_are_torchs_in_float64(backend, align_corners, fields, frame, texture):
    """To the twentieth of a level that the CPU's sampler is held to."""
    rng = np.random.default_rng(frame[0])
    texels, results = random_texture(rng, *texture), smooth_frame(rng, *fields)
    found = compositor(backend, texels, align_corners, size=frame, rounding="nearest").render(*results)
    assert np.abs(found - oracle(texels, *results, *frame, align_corners)).max() <= 0.5 + 0.05


@backends
@corners
def test_the_hardware_filter_is_as_near_as_told(backend, align_corners):
    """Half-precision texels and Mesa's float32 weights; with weights of 8 bits a level more, on a texture of noise."""
    rng = np.random.default_rng(3)
    texels, results = random_texture(rng, 64, 64), smooth_frame(rng, 64, 64)
    found = compositor(backend, texels, align_corners, size=128, rounding="nearest", filter="hardware").render(*results)
    away = np.abs(found - oracle(texels, *results, 128, 128, align_corners)).max()
    assert away <= (0.55 if gpu_shader.adapter(backend).info["adapter_type"] == "CPU" else 1.55)


@backends
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alpha": "premultiplied"},
        {"background": (10, 200, 255)},
        {"rounding": "nearest"},
        {"mask_scale": 0.5, "mask_offset": 0.5},
    ],
    ids=lambda options: "-".join(options) or "straight",
)
def test_bytes_are_the_cpus_whatever_the_input(backend, options):
    """NaN, infinities and places far outside among it; a fused multiply-add may turn a level."""
    rng = np.random.default_rng(4)
    for fields, frame, texture in SIZES:
        texels, results = random_texture(rng, *texture), random_frame(rng, *fields)
        expected = FrameCompositor(texels, True, size=frame, engine="numpy", **options).render(*results)
        difference = np.abs(
            compositor(backend, texels, True, size=frame, **options).render(*results).astype(int) - expected
        )
        assert difference.max() <= 1
        assert np.mean(difference == 0) >= 0.999


@backends
def test_what_is_not_a_number_is_black_and_transparent(backend):
    nothing = np.full((3, 4, 5), np.nan, np.float32)
    assert not compositor(backend, np.ones((3, 4, 4)), False).render(nothing[:2], nothing, nothing[0]).any()


@backends
def test_one_compositor_draws_frames_of_any_size_with_and_without_mask(backend):
    drawer, rng = compositor(backend, np.zeros((3, 4, 4)), False), np.random.default_rng(0)
    for height, width in ((1, 1), (4, 4), (2, 8), (1, 1)):
        delta_uv, low, _ = smooth_frame(rng, height, width)
        buffer = np.empty((height, width, 4), np.uint8)
        assert drawer.render(delta_uv, low, np.zeros((height, width)), buffer) is buffer
        assert not buffer[..., 3].any()
        assert (drawer.render(delta_uv, low, out=buffer)[..., 3] == 255).all()


def scene(layout):
    """A network's one tensor of six channels, its results as the contract means them, and where they lie."""
    rng = np.random.default_rng(5)
    layers = rng.uniform(-1, 1, (6, 20, 30)).astype(np.float32)
    channel, pixel = (600, 1) if layout == "planar" else (1, 6)
    texture = random_texture(rng, 25, 35)
    settings = Settings(
        (40, 60), (20, 30), (25, 35), False,
        delta_uv=Place(0, channel, pixel, 0.25), lf_rgb=Place(2 * channel, channel, pixel, 0.5, 0.125),
        seg=Place(5 * channel, channel, pixel, 0.5, 0.5), alpha=1,
    )  # fmt: skip
    parts = layers[:2] * np.float32(0.25), layers[2:5] * np.float32(0.5) + np.float32(0.125), layers[5]
    expected = FrameCompositor(
        texture, False, alpha="premultiplied", size=(40, 60), mask_scale=0.5, mask_offset=0.5, engine="numpy"
    ).render(*parts)
    given = layers if layout == "planar" else np.moveaxis(layers, 0, -1)
    return settings, [given] * 3, pack_texture(texture), expected


@backends
@pytest.mark.parametrize("layout", ["planar", "interleaved"])
@pytest.mark.parametrize("entry", ["compose", "compose_buffer", "draw", "compose_filtered", "draw_filtered"])
def test_every_entry_draws_a_networks_tensor_where_it_lies(backend, layout, entry):
    *given, expected = scene(layout)
    difference = np.abs(gpu_shader.run(backend, entry, *given).astype(int) - expected)
    assert difference.max() <= 1
    assert np.mean(difference == 0) >= (0.99 if "filtered" in entry else 0.999)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"delta_uv": np.zeros((2, 5, 4))}, r"delta_uv: expected \(2, 4, 5\), found \(2, 5, 4\)"),
        ({"lf_rgb": np.zeros((4, 5))}, r"lf_rgb: expected \(3, h, w\), found \(4, 5\)"),
        ({"mask": np.zeros((2, 4, 5))}, r"mask: expected \(h, w\) = \(4, 5\), found \(2, 4, 5\)"),
        ({"out": np.zeros((4, 5, 3), np.uint8)}, r"out: expected a writable C-contiguous uint8 \(4, 5, 4\)"),
    ],
)
def test_a_frame_that_does_not_fit_is_one_clear_error(arguments, message):
    flat = {"delta_uv": np.zeros((2, 4, 5)), "lf_rgb": np.zeros((3, 4, 5)), "mask": np.zeros((4, 5))}
    with pytest.raises(InputError, match=message):
        compositor("Vulkan", np.zeros((3, 4, 4)), False).render(**flat | arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texture": np.zeros((3, 4, 20000))}, "texture: .* takes"),
        ({"background": np.zeros((4, 4, 3), np.uint8)}, "background: expected three whole numbers of 0..255 on a GPU"),
        ({"size": 0}, "size: expected 1 to 16384 pixels, found 0"),
        ({"filter": "cubic"}, "filter: expected one of fetch, hardware; found 'cubic'"),
    ],
)
def test_wrong_settings_are_one_clear_error(arguments, message):
    with pytest.raises(InputError, match=message):
        compositor("Vulkan", **{"texture": np.zeros((3, 4, 4)), "align_corners": False} | arguments)


def test_without_wgpu_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wgpu", None)
    with pytest.raises(ToolMissingError, match=r"wgpu is not installed; pip install 'bilayer\[gpu\]'"):
        GpuCompositor(np.zeros((3, 4, 4)), False)
