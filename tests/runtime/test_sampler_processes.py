"""What only a fresh process shows: imports, Numba's cache, Numba missing, and bounds checked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(program, *arguments, **variables):
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    result = subprocess.run(command, env=environment | variables, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


RENDER = """
import sys
import numpy as np
from bilayer.runtime.sampler.compositor import FrameCompositor

rng = np.random.default_rng(0)
texture, delta_uv, lf_rgb, mask = (rng.normal(0, 0.3, (c, 40, 300)).astype(np.float32) for c in (3, 2, 3, 1))
def render(engine="auto"):
    compositor = FrameCompositor(texture, align_corners=False, engine=engine)
    return compositor.engine, compositor.render(delta_uv, lf_rgb, mask)
"""


@pytest.mark.parametrize("module", ["grid_sample", "compositor", "cli", "build"])
def test_importing_loads_no_heavy_package(module):
    heavy = "('torch', 'onnx', 'onnxruntime', 'numba', 'llvmlite', 'cv2')"
    program = f"import sys, bilayer.runtime.sampler.{module}; print([name for name in {heavy} if name in sys.modules])"
    assert run(program) == "[]"


def test_numba_loads_on_use_and_torch_and_onnx_never():
    program = RENDER + "render('numpy'); print('numba' in sys.modules); render('numba'); print('numba' in sys.modules)"
    program += "\nprint('torch' in sys.modules, 'onnx' in sys.modules)"
    assert run(program).split() == ["False", "True", "False", "False"]


def test_a_second_process_reads_the_cache(tmp_path):
    program = RENDER + "engine, frame = render('numba')\n"
    program += "from bilayer.runtime.sampler.numba_kernels import frame_kernel\n"
    program += "stats = frame_kernel(0, False).stats\n"
    program += "print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), hash(frame.tobytes()))"
    first = run(program, NUMBA_CACHE_DIR=str(tmp_path), PYTHONHASHSEED="0").split()
    second = run(program, NUMBA_CACHE_DIR=str(tmp_path), PYTHONHASHSEED="0").split()
    assert first[:2] == ["0", "1"]
    assert second[:2] == ["1", "0"]
    assert first[2] == second[2]


def test_without_a_place_for_the_cache_it_still_runs():
    program = RENDER + "print((render('numba')[1] == render('numpy')[1]).all())"
    assert run(program, NUMBA_CACHE_LOCATOR_CLASSES="ZipCacheLocator") == "True"


def test_without_numba_it_warns_and_samples_with_numpy():
    program = "import sys; sys.modules['numba'] = None\n" + RENDER
    program += """
import warnings
from bilayer.runtime.errors import ToolMissingError
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    engine, frame = render()
    render()
print(engine, len(caught), "pip install numba" in str(caught[0].message), (frame == render("numpy")[1]).all())
try:
    render("numba")
except ToolMissingError as error:
    print(error)
"""
    lines = run(program).splitlines()
    assert lines[0] == "numpy 1 True True"
    assert lines[1].startswith("engine numba: ")
    assert lines[1].endswith("pip install numba, or take engine numpy")


BOUNDS = """
import numpy as np
from numba import njit
from bilayer.runtime.sampler import numba_kernels, vector_code
from bilayer.runtime.sampler.compositor import FrameCompositor
from bilayer.runtime.sampler.grid_sample import Sampler, pack_texture
from tests.sampler_reference import interleaved, random_frame, random_grid, random_texture

# The checks are alive: in numpy-like code, and in the vector code.
try:
    numba_kernels.sample_kernel(False, False)(
        pack_texture(np.ones((3, 4, 4))), np.zeros(2, np.float32), False, np.zeros(9, np.float32), 3, 1, 9, 0, 1)
except IndexError:
    print("short arrays refused")

@njit
def blend(texture, texel, weights, out):
    vector_code.blend(texture, texel, weights, weights, 0, out, 0, 8, 3)

texture, weights = pack_texture(np.ones((3, 4, 4))), np.zeros(8, np.float32)
last = (4 + 1) * 7 * 4 + (4 + 1) * 4  # offset of the last texel that has neighbours
blend(texture, np.full(8, last, np.int32), weights, np.zeros(24, np.float32))
for offset, room in ((last + 1, 24), (-1, 24), (last, 23)):
    try:
        blend(texture, np.full(8, offset, np.int32), weights, np.zeros(room, np.float32))
    except IndexError:
        print("bad offset refused")

rng = np.random.default_rng(0)
for case in range(150):
    height, width = rng.integers(1, 9, 2)
    rows, columns = rng.integers(1, 5), rng.integers(1, 300)
    corners = bool(case % 2)
    texture = random_texture(rng, height, width)
    Sampler(texture, corners).sample(random_grid(rng, rows, columns))
    Sampler(texture, corners, out_layout="interleaved").sample(random_grid(rng, rows, columns))
    delta_uv, lf_rgb, mask = random_frame(rng, rows, columns)
    FrameCompositor(texture, corners, background=(1, 2, 3)).render(delta_uv, lf_rgb, mask)
    swapped = FrameCompositor(texture, corners, layout="interleaved")
    swapped.render(interleaved(delta_uv), interleaved(lf_rgb))
print("in bounds")
"""


@pytest.mark.slow
def test_nothing_is_read_or_written_out_of_bounds(tmp_path):
    lines = run(BOUNDS, NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
    assert lines == ["short arrays refused", *["bad offset refused"] * 3, "in bounds"]
