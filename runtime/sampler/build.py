"""The kernels of `numba_kernels` as an object file for another processor, with its C header and an example.

Numba's LLVM IR is given the target's triple, data layout and attributes; the target's own optimiser vectorises it, and
llvmlite writes the object. No SDK and no compiler takes part. The result needs no library, which is checked here.
"""

import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from bilayer.runtime.errors import ToolMissingError
from bilayer.runtime.files.writing import check_output, write_files

OBJECT, HEADER, EXAMPLE = "bilayer_sampler.o", "bilayer_sampler.h", "example.cpp"
STEPS = 2  # of a build, each some seconds
_NDK = "$ANDROID_NDK/toolchains/llvm/prebuilt/linux-x86_64/bin"


Architecture = Literal["aarch64-linux-android", "x86_64-linux-android", "native"]


@dataclass(frozen=True)
class BuildTarget:
    """A processor and system that the sampler can be built for."""

    triple: str
    cpu: str  # the oldest that the object runs on
    tuned_for: str  # the one whose timings the optimiser assumes
    compiler: str  # links the example


TARGETS: dict[Architecture, BuildTarget] = {
    # SDM855's fast cores are Cortex-A76; nothing newer than ARMv8.0 is used, so that any 64-bit phone runs it.
    "aarch64-linux-android": BuildTarget(
        "aarch64-linux-android", "generic", "cortex-a76", f"{_NDK}/aarch64-linux-android26-clang++ -static-libstdc++"
    ),
    # The emulator. Android's x86-64 ABI promises SSE4.2.
    "x86_64-linux-android": BuildTarget(
        "x86_64-linux-android", "x86-64-v2", "x86-64-v2", f"{_NDK}/x86_64-linux-android26-clang++ -static-libstdc++"
    ),
    "native": BuildTarget("", "", "", "c++"),
}


def build(target: Architecture, folder: Path, advance: Callable[[], None] = lambda: None) -> list[Path]:
    """Write object, header and example into `folder`, which is made if need be; the same bytes every time.

    Args:
        target: a key of TARGETS.
        folder: where to.
        advance: called after each of STEPS steps.

    Raises:
        OutputError: the folder cannot be written.
        ToolMissingError: Numba is not installed, or cannot compile the kernels.
    """
    check_output(folder / OBJECT)  # before the build, not after it
    native = files("bilayer.runtime.sampler") / "native"
    contents = {OBJECT: object_file(target, advance)} | {
        name: (native / name).read_bytes() for name in (HEADER, EXAMPLE)
    }
    write_files(folder, contents)
    return [folder / name for name in contents]


def object_file(target: Architecture, advance: Callable[[], None] = lambda: None) -> bytes:
    """Return the bytes of the object file alone."""
    text = _numba_ir()
    advance()
    import llvmlite.binding as llvm  # comes with Numba

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = _machine(llvm, TARGETS[target])
    module = _linked(llvm, _retargeted(text, machine, TARGETS[target]))
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = True
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    code = bytes(machine.emit_object(module))
    if missing := undefined_symbols(code):
        raise ToolMissingError(f"{OBJECT} would need {', '.join(missing)}: this version of Numba is not supported")
    advance()
    return code


@cache
def _numba_ir() -> str:
    """Print of `c_functions` from a process that knows no host and no user settings."""
    neutral = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    with tempfile.TemporaryDirectory() as folder:
        neutral |= {"NUMBA_OPT": "0", "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": folder}
        command = [sys.executable, "-m", "bilayer.runtime.sampler.c_functions"]
        result = subprocess.run(command, env=neutral, capture_output=True, text=True)  # noqa: S603
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise ToolMissingError(f"Numba cannot compile the sampler: {reason}; pip install numba")
    return result.stdout


def _machine(llvm: Any, target: BuildTarget) -> Any:
    triple = target.triple or llvm.get_process_triple()
    cpu = target.cpu or llvm.get_host_cpu_name()
    features = "" if target.cpu else llvm.get_host_cpu_features().flatten()
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="small"
    )


def _retargeted(text: str, machine: Any, target: BuildTarget) -> str:
    text = re.sub(r'target triple = ".*"', f'target triple = "{machine.triple}"', text)
    text = re.sub(r'target datalayout = ".*"', f'target datalayout = "{machine.target_data}"', text)
    text = re.sub(r' ?"(target|tune)-(cpu|features)"="[^"]*"', "", text)
    # All arrays are the caller's: there are no references to count.
    uncounted = r"define internal void \1 alwaysinline {\n  ret void\n}\n"
    counted = r"define linkonce_odr void (@NRT_(?:incref|decref)\([^)]*\)).*?\n}\n"
    text = re.sub(counted, uncounted, text, flags=re.DOTALL)
    return re.sub(r"(attributes #\d+ = {)", rf'\1 "tune-cpu"="{target.tuned_for}"' if target.tuned_for else r"\1", text)


def _linked(llvm: Any, text: str) -> Any:
    """One module of all, of which only the C functions can be seen."""
    whole = None
    for name, symbol, body in re.findall(r"^; define (\S+) as (\S+)\n(.*?)(?=^; define |\Z)", text, re.DOTALL | re.M):
        module = llvm.parse_assembly(body)
        for number, one in enumerate([*module.functions, *module.global_variables]):
            if one.name == symbol:
                one.name = name
            elif not one.is_declaration:
                one.linkage, one.name = "internal", f"{name}.{number}"
        if whole is None:
            whole = module
        else:
            whole.link_in(module)
    assert whole is not None
    whole.verify()
    return whole


def undefined_symbols(code: bytes) -> list[str]:
    """Return names that a 64-bit little-endian ELF object wants from elsewhere. Other formats are not looked into."""
    if code[:6] != b"\x7fELF\x02\x01":
        return []
    table, entry, count = struct.unpack_from("<Q", code, 40)[0], *struct.unpack_from("<HH", code, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, table + entry * i) for i in range(count)]
    names = []
    for _, kind, _, _, start, size, strings, _, _, step in sections:
        if kind != 2:  # SHT_SYMTAB
            continue
        for at in range(start + step, start + size, step):  # the first entry is empty
            name, section = struct.unpack_from("<I", code, at)[0], struct.unpack_from("<H", code, at + 6)[0]
            if section == 0:  # SHN_UNDEF
                begin = sections[strings][4] + name
                names.append(code[begin : code.index(b"\0", begin)].decode())
    return sorted(names)
