"""Where the installed commands begin: `bilayer.entry:render` is bilayer-render, of COMMANDS, and so on.

A command ends in order when it is interrupted, but it has to be imported first, which takes longer than to press
Ctrl-C. So this module imports nothing of ours.
"""

import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from types import FrameType

COMMANDS = {  # by module, and what each does
    "export": ("bilayer.export.cli", "A photo to an avatar: network, texture, .dlc."),
    "serve": ("bilayer.export.serve.cli", "Serves avatars by HTTP: a photo in, a bundle out."),
    "render": ("bilayer.runtime.rendering.cli", "Drives an avatar: a track, a video, a photo, a webcam."),
    "web": ("bilayer.runtime.web.cli", "Shows an avatar in a browser; writes a page for any host."),
    "parity": ("bilayer.benchmarks.parity.cli", "Compares every way to run an avatar with the trained model."),
    "device": ("bilayer.android_harness.cli", "Measures and checks an avatar on a phone, by adb."),
    "checkpoint": ("bilayer.model.cli", "Looks into checkpoints, and converts the authors'."),
    "sampler": ("bilayer.runtime.sampler.cli", "The texture sampler for other processors."),
    "bench": ("bilayer.benchmarks.speed.cli", "What each part costs on this machine."),
    "prepare": ("bilayer.training.prepare.cli", "Training data from videos, or synthetic heads."),
    "train": ("bilayer.training.cli", "Trains the model."),
    "eval": ("bilayer.training.evaluate.cli", "Measures checkpoints, or frames of any method."),
}


def __getattr__(name: str) -> Callable[[], None]:
    """Return what runs a command of COMMANDS; `bilayer` is them all."""
    if name == "bilayer":
        return partial(_run, "bilayer.cli", "main")
    if name == "device":  # with what android_harness may not import
        return partial(_run, "bilayer.cli", "device")
    if name in COMMANDS:
        return partial(_run, COMMANDS[name][0], "main")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _run(module: str, name: str) -> None:
    _open_standard_streams()
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not ignored, as in a script's background
    if heard:
        signal.signal(signal.SIGINT, _end)
    command: Callable[[], None] = getattr(import_module(module), name)
    if heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


class _Stderr(io.TextIOWrapper):
    """Where progress and advice go: that a disk is full, or nobody reads them any more, fails no command."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def _open_standard_streams() -> None:
    """Open those of stdin, stdout and stderr that are closed, to nowhere; what stderr cannot take is no failure.

    The next file that is opened would have the number of one, and hold what libraries print.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    given = sys.stderr  # sys.__stderr__ keeps it, so that its buffer stays open
    raw, encoding = (os.fdopen(2, "wb", closefd=False), "utf-8") if given is None else (given.buffer, given.encoding)
    sys.stderr = _Stderr(raw, encoding=encoding, errors="backslashreplace", line_buffering=True)


def _end(_: int, __: FrameType | None) -> None:
    """End the process at once: nothing is begun that would have to be cleaned up, and an exception could be lost."""
    os.write(2, b"interrupted\n")
    os._exit(128 + signal.SIGINT)
