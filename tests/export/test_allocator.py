"""Freed memory stays with the process, where the C library is glibc."""

import ctypes
import platform
import subprocess
import sys

import pytest

from bilayer.export.allocator import keep_freed_memory

_RESIDENT_AFTER_FREE = """
import resource, sys
from pathlib import Path
from bilayer.export.allocator import keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

if sys.argv[1] == "keep":
    keep_freed_memory()
before = resident()
arrays = [bytearray(b"1") * (50 << 20) for _ in range(2)]
del arrays
print((resident() - before) >> 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_large_arrays_stay_with_the_process_after_they_are_freed() -> None:
    def megabytes(mode: str) -> int:
        script = [sys.executable, "-c", _RESIDENT_AFTER_FREE, mode]
        return int(subprocess.run(script, capture_output=True, text=True, check=True).stdout)

    assert megabytes("keep") >= 50
    assert megabytes("as usual") <= 10


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def without_mallopt(name: str | None) -> object:
        asked.append(name)
        return object()

    monkeypatch.setattr(ctypes, "CDLL", without_mallopt)
    keep_freed_memory()
    assert asked == [None]
