"""The frame shader for phones: `python -m tests.shader_text` writes android_harness/native/frame_shaders.hpp.

naga translates frame.wgsl, inside wgpu, which says in its log what it gives to an OpenGL driver. Here that gets GLES'
heading, names in place of numbers, and the WGSL file's binding numbers, which are then the same everywhere.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from bilayer import android_harness
from bilayer.runtime.sampler.gpu import shader_source

HEADER = Path(android_harness.__file__).parent / "native/frame_shaders.hpp"
NAMES = {
    "0": "frame_words", "1": "delta_uv_values", "2": "lf_rgb_values", "3": "seg_values", "4": "settings",
    "5": "packed_texture", "6": "bilinear", "7": "texels",
}  # fmt: skip
ES = "#version 310 es\nprecision highp float;\nprecision highp int;\nprecision highp sampler2D;\n"
VULKAN = "#version 450\n"
# The constant's name, its entry of the shader, and its heading
SHADERS = {
    "frame_vertex": ("corner", ES),
    "frame_fetched": ("draw", ES),
    "frame_filtered": ("draw_filtered", ES),
    "frame_compute": ("compose_buffer", VULKAN),
}
HEAD = """// Made of runtime/sampler/shaders/frame.wgsl by tests/shader_text.py.
//
// frame_vertex with frame_fetched or frame_filtered: OpenGL ES 3.1. frame_compute: Vulkan, with buffers alone, the
// texture in 5.
#pragma once

namespace bilayer {
"""
# What naga guards a fetch with, in functions that GLES lacks; the coordinates are inside
_GUARD = re.compile(r"\(0 < textureQueryLevels\(\w+\) && all\(.*?, 0\)\)\) \? (texelFetch\(.*\)) : vec4\(0\.0\)\)")


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.shaders: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        before, _, text = record.getMessage().partition("Naga generated shader:\n")
        if text and not before:
            self.shaders.append(text)


def translated() -> dict[str, str]:
    """naga's GLSL for each entry of SHADERS. Only once in a process, before any other use of wgpu."""
    import wgpu

    heard = _Heard()
    logging.getLogger("wgpu").addHandler(heard)
    logging.getLogger("wgpu").setLevel("DEBUG")
    adapters = wgpu.gpu.enumerate_adapters_sync()
    device = next(a for a in adapters if a.info["backend_type"] == "OpenGL").request_device_sync()
    module, found = device.create_shader_module(code=shader_source()), {}
    for entry in ("compose_buffer", "draw", "draw_filtered"):
        heard.shaders.clear()
        if entry.startswith("draw"):
            device.create_render_pipeline(
                layout="auto",
                vertex={"module": module, "entry_point": "corner"},
                fragment={"module": module, "entry_point": entry, "targets": [{"format": "rgba8unorm"}]},
                primitive={"topology": "triangle-list"},
            )
            found["corner"], found[entry] = heard.shaders
        else:
            device.create_compute_pipeline(layout="auto", compute={"module": module, "entry_point": entry})
            (found[entry],) = heard.shaders
    return found


def _lines(naga: str, vulkan: bool) -> Iterator[str]:
    for line in naga.rstrip().splitlines():
        if line.startswith(("#version", "#extension")) or "gl_PointSize" in line or "gl_Position.yz" in line:
            continue  # the last turns wgpu's targets, which are upside down in OpenGL
        place = re.search(r"_group_0_binding_(\d)", line)
        if place and line.startswith("layout("):
            number = "5" if vulkan and place[1] == "7" else place[1]
            line = re.sub(r"binding = \d", f"binding = {number}", line)
            line = re.sub(r"(buffer|uniform) \w+ \{", rf"\1 Block{number} {{", line)
            if vulkan:  # ncnn binds buffers alone; this one's layout is the same under both rules
                line = line.replace("layout(std140,", "layout(std430,").replace(") uniform ", ") readonly buffer ")
        line = re.sub(r"_group_0_binding_(\d)_[cf]s", lambda found: NAMES[found[1]], line)
        yield _GUARD.sub(r"\1", line).replace("_vs2fs_location0", "place_in_frame")


def header() -> str:
    """The C++ header's text."""
    found, parts = translated(), [HEAD]
    for name, (entry, heading) in SHADERS.items():
        text = "\n".join(_lines(found[entry], heading == VULKAN)).replace("\n\n\n", "\n\n")
        parts.append(f'constexpr char {name}[] = R"({heading}{text}\n)";\n')
    return "\n".join([*parts, "}  // namespace bilayer\n"])


if __name__ == "__main__":
    HEADER.write_text(header(), encoding="utf-8")
