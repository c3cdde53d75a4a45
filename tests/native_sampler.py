"""Native samplers against the Python one: cases through tests/sampler_driver.cpp, on this processor or under qemu."""

import shutil
import subprocess
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bilayer.runtime.sampler.build import OBJECT
from bilayer.runtime.sampler.compositor import FrameCompositor
from bilayer.runtime.sampler.grid_sample import Sampler
from tests.sampler_reference import interleaved, random_frame, random_grid, random_texture

NUMBA_IR = "bilayer.runtime.sampler.build._numba_ir"
OBJECT_FILE = "bilayer.android_harness.routes.runner_build.object_file"
DRIVER = Path(__file__).parent / "sampler_driver.cpp"
CASES = 120


def built_sampler(target, once_for_all):
    """The folder of all test processes that holds a target's build; `next` beside it is what the command said last.

    The kernels' LLVM IR is of all of them, too: Numba needs a quarter of a minute for it. That another process prints
    the same is held by `test_the_command_writes_the_same_bytes`.
    """
    from bilayer.runtime.sampler.build import _numba_ir
    from bilayer.runtime.sampler.cli import main

    def make(place):
        text = once_for_all("sampler-ir", lambda folder: (folder / "kernels.ll").write_text(_numba_ir())) / "kernels.ll"
        with pytest.MonkeyPatch.context() as patch, chdir(place):
            patch.setattr(NUMBA_IR, text.read_text)
            done = CliRunner().invoke(main, ["build", "--arch", target])
        assert done.exit_code == 0, done.stderr
        (place / "next").write_text(done.stderr.splitlines()[-1])

    return once_for_all(f"sampler-{target}", make) / f"bilayer-sampler-{target}"


@contextmanager
def built_objects(once_for_all):
    """Runners that are built in here link the objects of all test processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OBJECT_FILE, lambda target: (built_sampler(target, once_for_all) / OBJECT).read_bytes())
        yield


@dataclass(frozen=True)
class Toolchain:
    """A compiler, and what runs its programs."""

    compiler: str
    emulator: str | None = None

    def check(self):
        for tool in filter(None, (self.compiler, self.emulator)):
            if not shutil.which(tool):
                pytest.skip(f"{tool} is not installed (Debian: g++, g++-aarch64-linux-gnu, qemu-user-static)")

    def build(self, program, *arguments):
        options = ["-O2", "-Wall", "-Wextra", "-Werror", *(["-static"] if self.emulator else [])]
        command = [self.compiler, *options, *map(str, arguments), "-o", str(program)]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr

    def run(self, program, *arguments):
        command = [*filter(None, [self.emulator]), str(program), *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


HOST = Toolchain("g++")
ARM64 = Toolchain("aarch64-linux-gnu-g++", "qemu-aarch64-static")


def assert_same_bits(toolchain, folder, *arguments):
    """Build the driver with `arguments`, run all cases in it and here, and compare every byte."""
    toolchain.build(folder / "driver", "-std=c++17", DRIVER, *arguments)
    recorded, expected = bytearray(), bytearray()
    for seed in range(CASES):
        case, result = (_frame if seed % 2 else _sample)(np.random.default_rng(seed), seed // 2)
        recorded += case
        expected += result
    (folder / "cases").write_bytes(recorded)
    toolchain.run(folder / "driver", folder / "cases", folder / "results")
    results = np.frombuffer((folder / "results").read_bytes(), np.uint8)
    np.testing.assert_array_equal(results, np.frombuffer(bytes(expected), np.uint8))


def _sizes(rng):
    return (int(rng.integers(low, high)) for low, high in ((1, 20), (1, 20), (1, 12), (1, 300)))


def _sample(rng, number):
    texture_height, texture_width, height, width = _sizes(rng)
    channels, swapped, out_swapped, corners = number % 4 + 1, number & 1, number >> 1 & 1, number >> 2 & 1
    texture, grid = random_texture(rng, texture_height, texture_width, channels), random_grid(rng, height, width)
    if not swapped:
        grid = np.moveaxis(grid, -1, 0)
    layouts = ("planar", "interleaved")
    sampler = Sampler(texture, bool(corners), grid_layout=layouts[swapped], out_layout=layouts[out_swapped])
    header = [0, texture_height, texture_width, channels, height, width, swapped, out_swapped, corners, 0, 0, 0, 0]
    return _record(header, texture, grid), sampler.sample(grid).tobytes()


def _frame(rng, number):
    texture_height, texture_width, height, width = _sizes(rng)
    swapped, corners, alpha, nearest, masked, over = (number >> bit & 1 for bit in range(6))
    results = ((height, width), (int(rng.integers(1, 9)), int(rng.integers(1, 300))), (height, width))[number % 3]
    if number % 3 == 2:  # the doubling has loops of its own
        height, width = 2 * height, 2 * width
    texture, (delta_uv, lf_rgb, mask) = (
        random_texture(rng, texture_height, texture_width),
        random_frame(rng, *results),
    )
    if swapped:
        delta_uv, lf_rgb = interleaved(delta_uv), interleaved(lf_rgb)
    background = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    compositor = FrameCompositor(
        texture,
        bool(corners),
        alpha=("straight", "premultiplied")[alpha],
        background=background if over else None,
        size=(height, width),
        mask_scale=0.75,
        mask_offset=0.125,
        rounding=("truncate", "nearest")[nearest],
        layout=("planar", "interleaved")[swapped],
    )
    flags = [swapped, 0, corners, masked + 2 * over, alpha + 2 * nearest, *(results if number % 3 else (0, 0))]
    header = [1, texture_height, texture_width, 3, height, width, *flags]
    arrays = [texture, delta_uv, lf_rgb, *([mask] if masked else []), *([background] if over else [])]
    return _record(header, *arrays), compositor.render(delta_uv, lf_rgb, mask if masked else None).tobytes()


def _record(header, *arrays):
    return np.array(header, "<i4").tobytes() + b"".join(array.tobytes() for array in arrays)
