"""Settings in place of a checkpoint's, as `bilayer-checkpoint --set` has them; looked at without torch."""

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import get_type_hints

from bilayer.model.config import ModelConfig, check_range
from bilayer.runtime.errors import CheckpointError
from bilayer.runtime.typed_json import typed

Value = str | int | float | bool
_MOST_DIGITS = 19  # of a whole number; more is a float, as any other number
_STRINGS = ("per_loss_weights", "pix_loss_weights")  # numbers that the authors keep as text
_LISTED = "bilayer-checkpoint inspect --preset medium lists them"


def parse_value(name: str, text: str) -> Value:
    """Return a value as the authors' reader takes it: digits an int, other numbers a float, True and False a bool."""
    if name not in _STRINGS:
        if text.isdigit() and text.isascii() and len(text) < _MOST_DIGITS:
            return int(text)
        if text in ("True", "False"):
            return text == "True"
        try:
            return float(text)
        except ValueError:
            pass
    return text


def check_overrides(overrides: Mapping[str, Value]) -> None:
    """See that each is a setting that there is, of its type and range; whether they fit the others is seen later.

    Raises:
        CheckpointError: one is not; names it.
    """
    known = {setting.name for setting in fields(ModelConfig)}
    kinds = get_type_hints(ModelConfig)
    for name, value in overrides.items():
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"; perhaps {near[0]} is meant" if near else ""
            raise CheckpointError(f"--set {name:.60}: no such setting{hint}; {_LISTED}")
        try:
            typed(kinds[name], value, name, error=CheckpointError)
            check_range(name, value)
        except CheckpointError as error:
            raise CheckpointError(f"--set {error}; {_LISTED}") from error


def with_overrides(source: str, overrides: Mapping[str, Value]) -> str:
    """Return what messages call settings of which some are not those of `source`."""
    return " ".join([source, *(f"--set {name}={value}" for name, value in overrides.items())])
