"""The folder of a training run: what is written, and how a run goes on after it was stopped.

settings.json            what was asked for
state.pt                 weights, optimiser and position, to go on from; replaced as a whole
checkpoint.safetensors   the model as the other programs take it, with standing statistics
log.jsonl                losses by iteration
pictures/NNNNNNNN.png    source, target, result, layers
tensorboard/             the same for TensorBoard, where it is installed
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bilayer.runtime.errors import InputError, OutputError
from bilayer.runtime.files.reading import FileKind, is_there, open_file, read_bytes
from bilayer.runtime.files.reasons import why_not_written
from bilayer.runtime.files.writing import make_folder, write_file
from bilayer.training.run_files import CHECKPOINT, LOG, SETTINGS, STATE, check_claim
from bilayer.training.settings import StageName, TrainingSettings


class RunFolder:
    """The folder that a training run keeps its files in.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pictures, self.checkpoint = path / "pictures", path / CHECKPOINT
        self.state, self.log = path / STATE, path / LOG
        make_folder(self.pictures)

    def claim(self, stage: StageName, settings: TrainingSettings) -> None:
        """Write down the settings; errors: as `check_claim`."""
        wanted = check_claim(self.path, stage, settings)
        write_file(self.path / SETTINGS, json.dumps(wanted, indent=2, allow_nan=False) + "\n")

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Replace the state as a whole: a kill leaves the one before."""

        def write(part: Path) -> None:
            # Of a path torch would not say that the disk is full; it writes hundreds of small pieces
            with part.open("wb", buffering=_BUFFER) as stream:
                torch.save(dict(state), stream)

        write_file(self.state, write)

    def load_state(self, device: torch.device) -> dict[str, Any] | None:
        """Return the state that was saved last, None where there is none, or an InputError where it is damaged."""
        if not is_there(self.state):
            return None
        try:
            with open_file(self.state, FileKind.TRAINING_STATE) as file:
                state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
        except InputError:
            raise
        except Exception as error:  # the unpickler raises anything on damaged files
            raise InputError(f"{self.state}: not a readable training state; remove it to begin anew") from error
        return state

    def cut_log(self, iteration: int) -> None:
        """Drop the lines after `iteration`: a run that goes on from there writes them again.

        Raises:
            InputError: the log is damaged.
        """
        if not is_there(self.log):
            return
        try:
            whole = [
                line
                for line in read_bytes(self.log, FileKind.TRAINING_LOG).splitlines(keepends=True)
                if line.endswith(b"\n")
            ]
            kept = [line for line in whole if json.loads(line)["iteration"] < iteration]
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise InputError(f"{self.log}: not readable as JSON, line by line ({error}); move it away") from error
        write_file(self.log, b"".join(kept))

    def append_log(self, entry: Mapping[str, Any]) -> None:
        """Add an entry to the log, a JSON object in a line of its own, or raise an OutputError."""
        try:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, allow_nan=False) + "\n")
        except OSError as error:
            raise OutputError(f"{self.log}: cannot be written: {why_not_written(error)}") from error


_BUFFER = 1 << 20  # bytes
