"""A converter that never ends by itself, and what a test of its end asks."""

import os
import signal

from tests.waiting import is_running


def endless_converter(folder):
    """The environment of a converter that notes its process by an empty file, and never ends; the notes' folder."""
    tool, notes = folder / "bin" / "snpe-onnx-to-dlc", folder / "converters"
    tool.parent.mkdir()
    notes.mkdir()
    tool.write_text(f"#!/bin/sh\n: > '{notes}'/$$\nexec sleep 999\n")
    tool.chmod(0o755)
    return {**os.environ, "PATH": f"{tool.parent}:{os.environ['PATH']}", "SNPE_ROOT": ""}, notes


def running(notes):
    """The converters that are at work; they are ended."""
    found = [int(note.name) for note in notes.iterdir() if is_running(note.name)]
    for process in found:
        os.kill(process, signal.SIGKILL)
    return found
