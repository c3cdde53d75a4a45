"""The process's environment, for as long as a library is loaded that reads it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bilayer.runtime.errors import InputError

_MOST_THREADS = 4096  # more than processors have; a library would fail at starting as many


def check_thread_numbers() -> None:
    """Raise an InputError where a variable that says how many threads a library is to have holds no such number.

    Numba raises of it as it is imported; OpenMP's library takes what it will, or ends the process.
    """
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        given = os.environ.get(name, "").strip()
        numbers = given.split(",") if name.startswith("OMP") else [given]  # for each level of threads in threads
        if given and not all(_is_thread_number(number.strip()) for number in numbers):
            found = f"expected a number of threads, 1 to {_MOST_THREADS}, found {given[:40]!r}"
            raise InputError(f"${name}: {found}; correct or unset it")


def _is_thread_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= _MOST_THREADS


@contextmanager
def kept_environment(*names: str) -> Iterator[None]:
    """Let these variables be afterwards as they were, whatever is made of them inside."""
    usual = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in usual.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def environment_default(name: str, value: str) -> Iterator[None]:
    """Let a variable have `value` inside, unless it is set already; afterwards it is as it was."""
    with kept_environment(name):
        os.environ.setdefault(name, value)
        yield


def import_onnxruntime() -> Any:
    """Return the package onnxruntime, its telemetry off: from 1.32 on it begins on Linux as the package is imported.

    It would leave a file .ses with an identifier in the temporary folder, and may tell Microsoft of its use.

    Raises:
        ImportError: it is not installed.
    """
    with environment_default("ORT_DISABLE_TELEMETRY", "1"):
        import onnxruntime
    onnxruntime.disable_telemetry_events()  # of versions before, on Windows
    return onnxruntime


def import_openvino() -> Any:
    """Return the package openvino, with its telemetry off.

    That would tell Google Analytics of each import, unless asked not to, and leave an identifier in ~/intel, and a
    thread. Without its module of telemetry OpenVINO takes a stub.

    Raises:
        ImportError: it is not installed.
    """
    telemetry = "openvino_telemetry"
    hidden = telemetry not in sys.modules
    if hidden:
        sys.modules[telemetry] = None  # type: ignore[assignment]  # to an import: not installed
    try:
        import openvino
    finally:
        if hidden:
            del sys.modules[telemetry]
    return openvino
