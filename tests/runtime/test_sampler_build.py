import json
import os
import shutil
import subprocess
import sys
from importlib.resources import files

import pytest

from bilayer.runtime.sampler.build import TARGETS, undefined_symbols
from tests.native_sampler import ARM64, HOST, Toolchain, assert_same_bits, built_sampler

TOOLCHAINS = {"native": HOST, "aarch64-linux-android": ARM64}
FILES = ["bilayer_sampler.h", "bilayer_sampler.o", "example.cpp"]


def command_line(*arguments, **variables):
    command = [sys.executable, "-m", "bilayer.runtime.sampler.cli", *map(str, arguments)]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)


@pytest.fixture(scope="module")
def built(once_for_all):
    """A function: target -> the folder that holds its build."""
    return lambda target: built_sampler(target, once_for_all)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_the_object_needs_no_library(built, target):
    folder = built(target)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert undefined_symbols((folder / "bilayer_sampler.o").read_bytes()) == []


@pytest.mark.slow
@pytest.mark.parametrize("target", TOOLCHAINS)
def test_the_object_gives_the_bits_of_the_python_sampler(built, target, tmp_path):
    TOOLCHAINS[target].check()
    folder = built(target)
    assert_same_bits(TOOLCHAINS[target], tmp_path, f"-I{folder}", folder / "bilayer_sampler.o")


@pytest.mark.slow
def test_the_example_prints_one_checksum_on_all_processors(built, tmp_path):
    HOST.check()
    checksums = set()
    targets = [("native", HOST), ("x86_64-linux-android", HOST), ("aarch64-linux-android", ARM64)]
    for target, toolchain in targets[:2] if not _has(ARM64) else targets:
        folder, frame = built(target), tmp_path / f"{target}.pam"
        toolchain.build(tmp_path / target, "-std=c++17", folder / "example.cpp", folder / "bilayer_sampler.o")
        checksums.add(toolchain.run(tmp_path / target, frame))
        assert frame.stat().st_size > 256 * 256 * 4
    assert len(checksums) == 1


def _has(toolchain):
    try:
        toolchain.check()
    except pytest.skip.Exception:
        return False
    return True


@pytest.mark.slow
def test_the_command_says_how_to_link(built, tmp_path):
    HOST.check()
    shutil.copytree(built("native"), tmp_path / "bilayer-sampler-native")
    link = (built("native").parent / "next").read_text().removeprefix("next: ").split()
    subprocess.run(link, cwd=tmp_path, check=True)
    assert HOST.run(tmp_path / "bilayer-sampler-native" / "example").strip()


@pytest.mark.slow
def test_the_command_writes_the_same_bytes(built, tmp_path):
    first = built("aarch64-linux-android")
    settings = {"PYTHONHASHSEED": "7", "NUMBA_CPU_NAME": "znver4", "NUMBA_OPT": "1", "NUMBA_BOUNDSCHECK": "1"}
    result = command_line("build", "--arch", "aarch64-linux-android", "--out", tmp_path, "--json", **settings)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert sorted(report["files"]) == [str(tmp_path / name) for name in FILES]
    assert f"{tmp_path}/example.cpp {tmp_path}/bilayer_sampler.o" in report["link"]
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (first / name).read_bytes()


def test_the_header_is_plain_c(tmp_path):
    toolchain = Toolchain("gcc")
    toolchain.check()
    source = tmp_path / "plain.c"
    source.write_text(
        '#include "bilayer_sampler.h"\nint main(void) { return (int)BILAYER_PACKED_FLOATS(1, 1) - 64; }\n'
    )
    header = files("bilayer.runtime.sampler") / "native"
    toolchain.build(tmp_path / "plain", "-std=c99", "-pedantic", f"-I{header}", source)
    toolchain.run(tmp_path / "plain")


def test_undefined_symbols_are_found(tmp_path):
    HOST.check()
    source = tmp_path / "needs.cpp"
    source.write_text('extern "C" { void other(); void known() {} void here() { known(); other(); } }')
    HOST.build(tmp_path / "needs.o", "-c", "-fno-pic", "-fcf-protection=none", source)
    assert undefined_symbols((tmp_path / "needs.o").read_bytes()) == ["other"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["build"], 2, "Missing option '--arch'"),
        (["build", "--arch", "armv7"], 2, "'armv7' is not one of 'aarch64-linux-android'"),
    ],
)
def test_wrong_usage(arguments, code, message):
    result = command_line(*arguments)
    assert result.returncode == code
    assert message in result.stderr


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    former = command_line("build", "--target", "native")
    assert (former.returncode, "--target is called --arch here" in former.stderr) == (2, True)
    result = command_line("build", "--arch", "native", "--out", tmp_path / "file" / "below")
    assert result.returncode == 3
    assert result.stdout == ""
    assert result.stderr.startswith(
        f"error: {tmp_path}/file/below/bilayer_sampler.o: {tmp_path}/file is a file and not a folder"
    )
    assert len(result.stderr.splitlines()) == 1


def test_a_missing_numba_is_one_line(tmp_path):
    (tmp_path / "numba.py").write_text("raise ImportError('no numba here')")
    (tmp_path / "llvmlite.py").write_text("raise ImportError('no llvmlite here')")
    result = command_line("build", "--arch", "native", "--out", tmp_path / "out", PYTHONPATH=str(tmp_path))
    assert result.returncode == 5
    assert result.stderr.startswith("error: Numba cannot compile the sampler: ImportError: no ")
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_check_compares_the_engines():
    result = command_line("check", "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["bytes_unlike_numpy"] == 0
    assert report["frame_256_ms"] > 0
