"""What the files of a run's folder are called, and what it began with, for those who do not load torch, too."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bilayer.runtime.errors import InputError
from bilayer.runtime.files.reading import FileKind, is_there
from bilayer.runtime.typed_json import read_content, typed
from bilayer.training.settings import StageName, TrainingSettings

SETTINGS, STATE, CHECKPOINT, LOG = "settings.json", "state.pt", "checkpoint.safetensors", "log.jsonl"
RUN_FILES = (SETTINGS, STATE, CHECKPOINT, LOG)
_ANEW = "set right what is damaged, or give another --out"
_CHANGEABLE = ("schedule.", "data.root", "data.workers", "data.in_memory", "perceptual.")


def check_claim(run: Path, stage: StageName, settings: TrainingSettings) -> dict[str, Any]:
    """Check that the settings are those that a run began with, where one lies in the folder `run`; they come back as
    they are written down. How long it takes, how often it reports, and where its data lies may change.

    Raises:
        InputError: a setting is another one than the run began with; names it.
    """
    wanted: dict[str, Any] = json.loads(json.dumps({"stage": stage, **settings.to_dict()}, allow_nan=False))
    path = run / SETTINGS
    if is_there(run / STATE) and is_there(path):
        begun = _flat(typed(dict[str, Any], read_content(path, _ANEW, kind=FileKind.SETTINGS), str(path), _ANEW))
        for name, value in _flat(wanted).items():
            if not name.startswith(_CHANGEABLE) and begun.get(name) != value:
                raise InputError(
                    f"{path}: {name}: the run began with {begun.get(name)}, asked for is {value}; "
                    "set it back, or give another --out"
                )
    return wanted


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
