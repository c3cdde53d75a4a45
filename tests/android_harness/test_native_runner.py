"""The native sampler runner, on this processor and for ARM under qemu: frames, choice of cores, refusals."""

import json
import shutil
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from bilayer.android_harness.routes import runner_build
from bilayer.android_harness.routes.runner_build import Compiler, build_runner
from bilayer.runtime.sampler.compositor import FrameCompositor
from tests.android_harness.native_builds import TOOLCHAINS, sampler_runner
from tests.native_sampler import HOST
from tests.sampler_reference import random_frame, random_texture

SHAPE, TEXTURE = (13, 37), (19, 21)


@pytest.fixture(scope="module")
def programs(once_for_all):
    """A function: host or arm64 -> words that run the runner built for it."""

    def program(name):
        built = sampler_runner(name, once_for_all)
        return [*filter(None, [TOOLCHAINS[name].emulator]), str(built)]

    return program


@pytest.fixture
def inputs(tmp_path):
    """Two frames as raw files, and the words that name them."""
    rng = np.random.default_rng(5)
    texture = random_texture(rng, *TEXTURE)
    frames = [random_frame(rng, *SHAPE) for _ in range(2)]
    arrays = {
        "texture": texture,
        **dict(zip(("uv", "lf", "seg"), map(np.stack, zip(*frames, strict=True)), strict=True)),
    }
    for name, array in arrays.items():
        array.astype("<f4").tofile(tmp_path / f"{name}.raw")
    words = ["--texture", "texture.raw", "--delta-uv", "uv.raw", "--lf", "lf.raw", "--seg", "seg.raw"]
    words += ["--texture-size", f"{TEXTURE[0]}x{TEXTURE[1]}", "--size", f"{SHAPE[0]}x{SHAPE[1]}"]
    return [*words, "--runs", "3", "--warm-up", "1"], arrays


def run(program, folder, *arguments):
    return subprocess.run([*program, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=120)


def expected(arrays, **settings):
    compositor = FrameCompositor(arrays["texture"], **{"align_corners": False, **settings})
    frames = zip(arrays["uv"], arrays["lf"], arrays["seg"], strict=True)
    return b"".join(compositor.render(*frame).tobytes() for frame in frames)


@pytest.mark.slow
@pytest.mark.parametrize("name", TOOLCHAINS)
@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ((), {}),
        (("--threads", 3, "--evict", 1), {}),
        (("--layout", "merged", "--threads", 2, "--align-corners", 1), {"align_corners": True}),
        (
            ("--alpha", "premultiplied", "--rounding", "nearest", "--mask-scale", 0.75, "--mask-offset", 0.125),
            {"alpha": "premultiplied", "rounding": "nearest", "mask_scale": 0.75, "mask_offset": 0.125},
        ),
        (("--threads", 3), {"size": (26, 74)}),
        (("--layout", "merged", "--threads", 3), {"size": (45, 31)}),
    ],
)
def test_every_kernel_gives_the_frames_of_the_python_sampler(programs, inputs, tmp_path, name, options, settings):
    words, arrays = inputs
    if "size" in settings:
        words[words.index("--size")] = "--result-size"
        words = [*words, "--size", "{}x{}".format(*settings["size"])]
    done = run(programs(name), tmp_path, *words, *options, "--frames", ".", "--json", "result.json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    result = json.loads((tmp_path / "result.json").read_text())
    kernels = [kernel["name"] for kernel in result["kernels"]]
    assert kernels == (["portable", "neon", "numba"] if name == "arm64" else ["portable", "numba"])
    assert len({kernel["checksum"] for kernel in result["kernels"]}) == 1
    frames = expected(arrays, **settings)
    for kernel in kernels:
        assert (tmp_path / f"{kernel}.rgba").read_bytes() == frames
    # Neither this processor nor an emulated one has a phone's times
    assert [kernel["frame_us"] for kernel in result["kernels"]] == [None] * len(kernels)
    reasons = ("built for another processor than 64-bit ARM",) if name == "host" else ("run by qemu",)
    assert set(reasons) <= set(result["machine"]["emulation"])
    assert result["machine"]["architecture"] == ("aarch64" if name == "arm64" else result["machine"]["architecture"])
    assert result["protocol"] == {"runs": 3, "warm_up": 1, "evict_mb": 1 if "--evict" in options else 0}


@pytest.mark.slow
def test_interleaved_inputs(programs, inputs, tmp_path):
    words, arrays = inputs
    for name in ("uv", "lf"):
        np.moveaxis(arrays[name], 1, -1).astype("<f4").tofile(tmp_path / f"{name}.raw")
    done = run(programs("host"), tmp_path, *words, "--layout", "interleaved", "--kernels", "numba", "--frames", ".")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "numba.rgba").read_bytes() == expected(arrays)
    assert [path.name for path in tmp_path.glob("*.rgba")] == ["numba.rgba"]


def make_sysfs(root, clocks):
    """A phone's /sys: cores by their top clock in kHz, sensors."""
    for number, khz in enumerate(clocks):
        folder = root / f"devices/system/cpu/cpu{number}/cpufreq"
        folder.mkdir(parents=True)
        for name, value in (("cpuinfo_max_freq", khz), ("scaling_max_freq", khz), ("scaling_cur_freq", khz // 2)):
            (folder / name).write_text(f"{value}\n")
    for number, (kind, value) in enumerate((("cpu-0-0-usr", 38500), ("battery", 99000), ("skin-therm", 41000))):
        zone = root / f"class/thermal/thermal_zone{number}"
        zone.mkdir(parents=True)
        (zone / "type").write_text(f"{kind}\n")
        (zone / "temp").write_text(f"{value}\n")
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clocks", "kinds"),
    [
        ([1785600] * 4 + [2419200] * 3 + [2841600], ["little"] * 4 + ["big"] * 3 + ["prime"]),  # Snapdragon 855
        ([1800000] * 4 + [2800000] * 4, ["little"] * 4 + ["big"] * 4),
        ([2000000] * 2, ["big"] * 2),
        ([], []),
    ],
)
def test_cores_are_told_apart_by_their_top_clock(programs, inputs, tmp_path, clocks, kinds):
    words, _ = inputs
    sysfs = make_sysfs(tmp_path / "sys", clocks)
    done = run(programs("host"), tmp_path, *words, "--sysfs", sysfs, "--sample-ms", 10)
    result = json.loads(done.stdout)
    assert [core["kind"] for core in result["cores"]] == kinds
    assert [core["max_mhz"] for core in result["cores"]] == [khz / 1000 for khz in clocks]
    assert len(result["log"]) >= 2
    for moment in result["log"]:
        assert moment["celsius"] == 41.0  # the battery's sensor says nothing of the processor
        assert moment["cpu_mhz"] == [khz // 2 / 1000 for khz in clocks]
        assert moment["cpu_limit_mhz"] == [khz / 1000 for khz in clocks]


@pytest.mark.slow
@pytest.mark.parametrize("name", TOOLCHAINS)
def test_threads_stay_on_the_cores_of_their_kind(programs, inputs, tmp_path, name):
    words, arrays = inputs
    sysfs = make_sysfs(tmp_path / "sys", [1785600, 2419200])
    options = (*words, "--sysfs", sysfs, "--frames", ".")
    program = programs(name)
    for kind, core in (("little", 0), ("big", 1)):
        done = run(program, tmp_path, *options, "--cores", kind)
        if "threads cannot be put there" in done.stderr:
            pytest.skip(f"core {core} is not this process's to use")
        assert json.loads(done.stdout)["used"] == {"cores": kind, "threads": 1, "pinned": [core]}
        assert (tmp_path / "portable.rgba").read_bytes() == expected(arrays)
    two = run(program, tmp_path, *options, "--cores", "1,0", "--threads", 2)
    assert json.loads(two.stdout)["used"] == {"cores": "1,0", "threads": 2, "pinned": [1, 0]}


@pytest.mark.slow
def test_where_a_thread_is_put_is_where_it_runs(programs, inputs, tmp_path):
    """Asked of the kernel while the runner works."""
    words, _ = inputs
    program = programs("host")
    long = ["--runs", "100000", "--evict", "64"]  # minutes, if it were not ended
    command = [*program, *words[:-4], *long, "--threads", "2", "--cores", "0,1"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        allowed = set()
        while process.poll() is None and not {"0", "1"} <= allowed:
            for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
                text = status.read_text() if status.exists() else ""
                allowed |= {line.split()[1] for line in text.splitlines() if line.startswith("Cpus_allowed_list")}
    finally:
        process.kill()
        error = process.communicate()[1]
    if "threads cannot be put there" in error:
        pytest.skip("this machine has one core")
    assert {"0", "1"} <= allowed


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"--texture": None}, 2, "--texture: missing; see --help"),
        ({"--texture": "nowhere.raw"}, 3, "nowhere.raw: cannot be read: No such file or directory"),
        ({"--texture": "."}, 3, r".: no file of at most 2 GB"),
        ({"--texture-size": "19x22"}, 3, "texture.raw: expected 5016 bytes for each texture, found 4788 in all"),
        ({"--texture-size": "19"}, 2, "--texture-size: expected HEIGHTxWIDTH, found '19'"),
        ({"--size": "0x5"}, 2, "--size: expected a whole number from 1 to 8192, found '0'"),
        ({"--size": "13x37x2"}, 2, "--size: expected a whole number from 1 to 8192, found '37x2'"),
        ({"--size": "13x38"}, 3, "uv.raw: expected 3952 bytes for each frame, found 7696 in all"),
        ({"--seg": "one.raw"}, 3, "one.raw: expected 2 frames as in --delta-uv, found 1"),
        ({"--lf": "empty.raw"}, 3, "empty.raw: expected 5772 bytes for each frame, found 0 in all"),
        ({"--layout": "NHWC"}, 2, "--layout: expected one of planar, interleaved, merged, found 'NHWC'"),
        ({"--kernels": "numba,sse"}, 2, "--kernels: expected portable, neon or numba, found 'sse'"),
        ({"--kernels": "neon"}, 5, "--kernels neon: not in this program"),
        ({"--cores": "big"}, 3, "--cores big: the device has none, or does not tell its cores' clocks"),
        ({"--cores": "4-7"}, 2, "--cores: expected any, little, big, prime or numbers such as 4,5, found '4-7'"),
        ({"--cores": "900"}, 3, "core 900: threads cannot be put there: Invalid argument"),
        ({"--cores": "0", "--threads": "2"}, 3, "--cores 0: 1 of them, for 2 threads; use fewer --threads"),
        ({"--threads": "0"}, 2, "--threads: expected a whole number from 1 to 64, found '0'"),
        ({"--runs": "9" * 30}, 2, "--runs: expected a whole number from 1 to 100000, found '999"),
        ({"--mask-scale": "nan"}, 2, "--mask-scale: expected a number, found 'nan'"),
        ({"--frames": "no/folder"}, 3, "no/folder/portable.rgba: cannot be written: No such file or directory"),
        ({"--json": "."}, 3, ".: cannot be written: "),
        ({"--speed": "1"}, 2, "--speed: no such option; see --help"),
    ],
)
@pytest.mark.slow
def test_refusals_are_one_line(programs, inputs, tmp_path, change, code, message):
    words, arrays = inputs
    (tmp_path / "empty.raw").touch()
    arrays["seg"][0].astype("<f4").tofile(tmp_path / "one.raw")
    given = dict(zip(words[::2], words[1::2], strict=True)) | {"--sysfs": "nowhere"} | change
    done = run(programs("host"), tmp_path, *(word for pair in given.items() if pair[1] is not None for word in pair))
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith(f"error: {message}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.slow
def test_words_without_a_value_and_twice(programs, inputs, tmp_path):
    words, _ = inputs
    program = programs("host")
    assert "--runs: expected a value after it" in run(program, tmp_path, "--runs").stderr
    assert "--runs: given twice" in run(program, tmp_path, *words, "--runs", 1).stderr
    assert run(program, tmp_path, "--help").stdout.startswith("bilayer-sampler-runner: times")


STATISTICS = """
#include "statistics.hpp"
int main(int count, char **words) {
    std::vector<double> values;
    for (int i = 1; i < count; ++i) values.push_back(std::atof(words[i]));
    runner::Json json;
    json.open();
    put(json, "of", runner::statistics(values));
    std::puts(json.close().content().c_str());
}
"""


def test_statistics_are_those_of_numpy(tmp_path):
    HOST.check()
    (tmp_path / "main.cpp").write_text(f"#include <cstdio>\n#include <cstdlib>\n{STATISTICS}")
    HOST.build(tmp_path / "main", "-std=c++17", f"-I{runner_build.NATIVE}", tmp_path / "main.cpp")
    rng = np.random.default_rng(1)
    for count in (1, 2, 3, 10, 99, 100, 101, 250):
        values = np.round(rng.lognormal(5, 1, count), 3)
        found = json.loads(HOST.run(tmp_path / "main", *values))["of"]
        rank = partial(np.quantile, values, method="inverted_cdf")
        ranks = {"p90": rank(0.9), "p99": rank(0.99)}
        wanted = {"min": values.min(), "median": np.median(values), **ranks, "max": values.max(), "mean": values.mean()}
        assert found == pytest.approx(wanted, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", TOOLCHAINS)
def test_cmake_builds_it_too(name, inputs, tmp_path):
    TOOLCHAINS[name].check()
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed")
    cross = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"] if name == "arm64" else []
    compiler = f"-DCMAKE_CXX_COMPILER={TOOLCHAINS[name].compiler}"
    configure = ["cmake", "-S", runner_build.NATIVE, "-B", tmp_path / "build", compiler, *cross]
    for command in (configure, ["cmake", "--build", tmp_path / "build"]):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    words, arrays = inputs
    program = [*filter(None, [TOOLCHAINS[name].emulator]), tmp_path / "build/bilayer-sampler-runner"]
    done = run(list(map(str, program)), tmp_path, *words, "--frames", ".")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "portable.rgba").read_bytes() == expected(arrays)


def test_without_a_compiler_the_command_is_printed():
    with pytest.raises(runner_build.ToolMissingError, match="apt install g\\+\\+-aarch64-linux-gnu") as raised:
        runner_build.find_compiler({"PATH": "/nowhere"})
    for word in ("bilayer-sampler build --arch aarch64-linux-android && $ANDROID_NDK_HOME/", "sampler_runner.cpp"):
        assert word in str(raised.value)


def test_the_ndk_comes_before_gcc(tmp_path):
    place = tmp_path / "toolchains/llvm/prebuilt/linux-x86_64/bin"
    place.mkdir(parents=True)
    (place / "aarch64-linux-android26-clang++").touch()
    found = runner_build.find_compiler({"ANDROID_NDK_HOME": str(tmp_path), "PATH": "/nowhere"})
    assert found.command == (str(place / "aarch64-linux-android26-clang++"), "-static-libstdc++")


def test_a_runner_that_is_named_must_be_there(tmp_path):
    (tmp_path / "runner").touch()
    assert runner_build.find_runner(tmp_path / "runner") == tmp_path / "runner"
    with pytest.raises(runner_build.ToolMissingError, match="no such file; make it with bilayer-device build-runner"):
        runner_build.find_runner(tmp_path / "other")


def test_a_compiler_that_refuses_is_one_line(tmp_path, monkeypatch):
    HOST.check()
    monkeypatch.setattr(runner_build, "object_file", lambda target: b"")  # it takes a while, and is not come to
    with pytest.raises(runner_build.ConversionError, match=r"unrecogni.ed.*-fno-such-option") as raised:
        build_runner(tmp_path / "runner", Compiler(("g++", "-fno-such-option"), static=False), "native")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "runner").exists()
