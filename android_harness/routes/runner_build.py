"""The native sampler runner, built for 64-bit ARM by whatever compiler for it there is: Android's NDK or GCC's."""

import hashlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bilayer.android_harness.device.execution import SAMPLER_RUNNER
from bilayer.runtime.errors import ConversionError, ToolMissingError
from bilayer.runtime.files.reading import is_file, is_folder
from bilayer.runtime.files.released import cache_folder
from bilayer.runtime.files.shell import pasted
from bilayer.runtime.files.writing import replacing
from bilayer.runtime.process.subprocesses import run
from bilayer.runtime.sampler import build as sampler_build
from bilayer.runtime.sampler.build import HEADER, OBJECT, Architecture, object_file

TARGET: Architecture = "aarch64-linux-android"  # of the Numba-built object, which both compilers link
COMPILE_SECONDS = 600.0
NATIVE = Path(__file__).parents[1] / "native"
_SAMPLER = Path(sampler_build.__file__).parent
_NDK_VARIABLES = ("ANDROID_NDK_HOME", "ANDROID_NDK_ROOT", "ANDROID_NDK")
_GCC, _CLANG = "aarch64-linux-gnu-g++", "aarch64-linux-android26-clang++"
_SOURCES = ("sampler_runner.cpp", "kernel_portable.cpp", "kernel_neon.cpp", "kernel_numba.cpp")
# No fused multiply-add: the kernels give the Python sampler's bits. Any 64-bit phone runs it
_OPTIONS = ("-std=c++17", "-O2", "-ffp-contract=off", "-pthread")


@dataclass(frozen=True)
class Compiler:
    """A compiler for 64-bit ARM, with the options that make its programs run on a phone."""

    command: tuple[str, ...]
    static: bool  # linked with all that it needs


def find_compiler(environment: Mapping[str, str] = os.environ) -> Compiler:
    """Return the NDK's compiler of $ANDROID_NDK_HOME (or _ROOT), else aarch64-linux-gnu-g++.

    Raises:
        ToolMissingError: there is neither; the message has the command to give to one.
    """
    for variable in _NDK_VARIABLES:
        root = environment.get(variable)
        found = sorted(Path(root).glob(f"toolchains/llvm/prebuilt/*/bin/{_CLANG}")) if root and is_folder(root) else []
        if found:
            return Compiler((str(found[0]), "-static-libstdc++"), static=False)
    gcc = shutil.which(_GCC, path=environment.get("PATH"))
    if gcc:
        return Compiler((gcc, "-march=armv8-a", "-mtune=cortex-a76", "-static"), static=True)
    ndk = f"$ANDROID_NDK_HOME/toolchains/llvm/prebuilt/linux-x86_64/bin/{_CLANG}"
    command = _command((ndk, "-static-libstdc++"), Path(f"bilayer-sampler-{TARGET}"), Path(SAMPLER_RUNNER))
    raise ToolMissingError(
        f"no compiler for 64-bit ARM: set $ANDROID_NDK_HOME to Android's NDK, or apt install g++-aarch64-linux-gnu. By "
        f"hand: bilayer-sampler build --arch {TARGET} && {' '.join(command)}"
    )


def build_runner(
    out: Path, compiler: Compiler, target: Architecture = TARGET, advance: Callable[[str], None] = lambda line: None
) -> Path:
    """Compile the runner with all its kernels to the file `out`, and return that.

    Args:
        out: the program.
        compiler: for the processor of `target`.
        target: of `sampler.build`, for the Numba-built kernel.
        advance: called with what begins.

    Raises:
        ToolMissingError: the compiler cannot be started, or Numba is missing.
        ConversionError: it refuses the sources.
        OutputError: the place cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="bilayer-runner-") as name:
        folder = Path(name)
        advance("the Numba-built kernel")
        (folder / OBJECT).write_bytes(object_file(target))
        shutil.copyfile(_SAMPLER / "native" / HEADER, folder / HEADER)
        advance(f"compiling with {compiler.command[0]}")
        command = _command(compiler.command, folder, folder / SAMPLER_RUNNER)
        done = run(command, folder=folder, environment=os.environ, log=folder / "log", timeout=COMPILE_SECONDS)
        if done.code != 0:
            raise ConversionError(f"{command[0]} {done.how}: {done.last_line}; the command: {shlex.join(command)}")
        with replacing(out, executable=True) as part:
            shutil.copyfile(folder / SAMPLER_RUNNER, part)
    return out


def find_runner(named: Path | None) -> Path | None:
    """Return the runner of --runner or $BILAYER_RUNNER, a ToolMissingError if gone, else build-runner's, or None."""
    if named is None:
        return built_runner()
    if not is_file(named):
        raise ToolMissingError(f"{named}: no such file; make it with bilayer-device build-runner --out {pasted(named)}")
    return named


def built_runner() -> Path | None:
    """Return the runner that `bilayer-device build-runner` made of these sources; None if it did not yet."""
    path = kept_runner()
    return path if is_file(path) else None


def kept_runner() -> Path:
    """Return where the cache has a runner of these sources, by their digest; it need not be there."""
    digest = hashlib.sha256()
    numba = [
        *sorted(_SAMPLER.glob("numba_*.py")),
        *map(_SAMPLER.joinpath, ("vector_code.py", "c_functions.py", "build.py")),
    ]
    for path in [*sorted(NATIVE.iterdir()), *numba]:
        digest.update(path.read_bytes())
    return cache_folder() / "runner" / digest.hexdigest()[:16] / SAMPLER_RUNNER


def _command(compiler: tuple[str, ...], sampler: Path, out: Path) -> list[str]:
    sources = [str(NATIVE / name) for name in _SOURCES]
    numba = ["-DBILAYER_NUMBA", f"-I{sampler}", str(sampler / OBJECT)]
    return [*compiler, *_OPTIONS, *sources, *numba, "-o", str(out)]
