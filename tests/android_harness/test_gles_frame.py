"""The frame shader's form for phones: the text made of the WGSL file, and frames by OpenGL ES on Mesa's llvmpipe."""

import ctypes.util
import importlib.util
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from bilayer.runtime.sampler.compositor import FrameCompositor
from bilayer.runtime.sampler.grid_sample import pack_texture
from tests import shader_text
from tests.documents import ROOT
from tests.native_sampler import HOST
from tests.sampler_reference import NASTY, interleaved, random_texture

NATIVE = shader_text.HEADER.parent


def test_the_header_is_what_naga_makes_of_the_shader():
    if not importlib.util.find_spec("wgpu"):
        pytest.skip("wgpu is not installed: pip install 'bilayer[gpu]'")
    program = "from tests.shader_text import header; print(header(), end='')"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    if "StopIteration" in done.stderr:
        pytest.skip("no OpenGL driver (Debian: libegl1 libgles2)")
    assert done.returncode == 0, done.stderr
    assert done.stdout == shader_text.HEADER.read_text(), "python -m tests.shader_text writes it anew"


@pytest.mark.skipif(not shutil.which("glslangValidator"), reason="not installed (apt install glslang-tools)")
def test_the_shaders_are_glsl_by_khronos_own_compiler(tmp_path):
    found = dict(re.findall(r'char (\w+)\[\] = R"\((.*?)\)";', shader_text.HEADER.read_text(), re.DOTALL))
    kinds = {"frame_vertex": "vert", "frame_fetched": "frag", "frame_filtered": "frag", "frame_compute": "comp"}
    assert found.keys() == kinds.keys()
    for name, text in found.items():
        (tmp_path / name).write_text(text)
        target = ["-V", "-o", tmp_path / "spirv"] if "#version 450" in text else []
        done = subprocess.run(
            ["glslangValidator", "-S", kinds[name], *target, tmp_path / name], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    HOST.check()
    if not (ctypes.util.find_library("EGL") and ctypes.util.find_library("GLESv2")):
        pytest.skip("no OpenGL ES (apt install libegl1 libgles2 libegl-dev libgles-dev)")
    program = tmp_path_factory.mktemp("gles") / "driver"
    HOST.build(
        program, "-std=c++17", "-ffp-contract=off", f"-I{NATIVE}", ROOT / "tests/gles_driver.cpp", "-lEGL", "-lGLESv2"
    )
    return program


def cases():
    """Head, texture and layers of each, and the CPU's frame."""
    rng = np.random.default_rng(0)
    sizes = [((64, 64), (64, 64), (64, 64)), ((64, 64), (128, 128), (128, 128)), ((30, 50), (19, 151), (20, 9))]
    for number in range(24):
        fields, frame, texture = sizes[number % 3]
        corners, premultiplied, masked, swapped = (number >> bit & 1 for bit in range(4))
        nearest, hardware = number % 5 == 0, number % 4 == 3
        layers = rng.uniform(-1.2, 1.2, (6, *fields)).astype(np.float32)
        strange = rng.random(layers.shape) < 0.01
        layers[strange] = rng.choice(NASTY, strange.sum())
        texels = random_texture(rng, *texture)
        head = [*fields, *frame, *texture, corners, premultiplied, nearest, masked, hardware, swapped, 0, 0, 0, 0]
        given = [np.array(head, "<i4"), pack_texture(texels), interleaved(layers) if swapped else layers]
        expected = FrameCompositor(
            texels, bool(corners), alpha=("straight", "premultiplied")[premultiplied], size=frame, mask_scale=0.5,
            mask_offset=0.5, rounding=("truncate", "nearest")[nearest], engine="numpy",
        ).render(layers[:2] * np.float32(0.25), layers[2:5], layers[5] if masked else None)  # fmt: skip
        yield hardware, b"".join(array.tobytes() for array in given), expected


def test_frames_by_opengl_es_are_the_cpus(driver, tmp_path):
    given = list(cases())
    (tmp_path / "cases").write_bytes(b"".join(case for _, case, _ in given))
    done = subprocess.run([driver, tmp_path / "cases", tmp_path / "frames"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = np.fromfile(tmp_path / "frames", np.uint8)
    assert len(found) == sum(expected.size for *_, expected in given)
    for hardware, _, expected in given:
        frame, found = found[: expected.size].reshape(expected.shape).astype(int), found[expected.size :]
        difference = np.abs(frame - expected)
        assert difference.max() <= 1
        assert np.mean(difference == 0) >= (0.994 if hardware else 0.9999)  # 0.992 with halves cut off
