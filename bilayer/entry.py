"""Where the installed commands begin: `bilayer.entry:render` is bilayer-render, of COMMANDS, and so on.

A command ends in order when it is interrupted, but it has to be imported first, which takes longer than to press
Ctrl-C. So this module imports nothing of ours.
"""

import os
import signal
from collections.abc import Callable
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
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not ignored, as in a script's background
    if heard:
        signal.signal(signal.SIGINT, _end)
    command: Callable[[], None] = getattr(import_module(module), name)
    if heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


def _end(_: int, __: FrameType | None) -> None:
    """End the process at once: nothing is begun that would have to be cleaned up, and an exception could be lost."""
    os.write(2, b"interrupted\n")
    os._exit(128 + signal.SIGINT)
