"""Frozen dataclasses to JSON and back, by a JSON Schema derived from them, which other programs can use as well.

Of JSON Schema (draft 2020-12) only what dataclasses need: type, enum, const, anyOf, items, properties.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from bilayer.runtime.errors import InputError

MAX_BYTES = 16 << 20
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (NoneType,),
}
_PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number", NoneType: "null"}


def schema_of(kind: Any) -> dict[str, Any]:
    """The JSON Schema of a type: dataclasses, lists, dicts by name, literals, unions and plain types."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is UnionType:
        return {"anyOf": [schema_of(choice) for choice in arguments]}
    if origin is list:
        return {"type": "array", "items": schema_of(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    hints = get_type_hints(kind)
    names = [setting.name for setting in fields(kind)]
    return {
        "type": "object",
        "properties": {name: schema_of(hints[name]) for name in names},
        "required": names,
        "additionalProperties": False,
    }


def check(value: object, schema: Mapping[str, Any], where: str) -> None:
    """Raise an InputError that names the field unless `value` fits the schema; `where` names the whole."""
    if "anyOf" in schema:
        choices = [choice for choice in schema["anyOf"] if _has_type(value, choice)]
        if not choices:
            raise _misfit(value, " or ".join(_name(choice) for choice in schema["anyOf"]), where)
        check(value, choices[0], where)
    elif "enum" in schema:
        if not any(value == choice and type(value) is type(choice) for choice in schema["enum"]):
            raise _misfit(value, " or ".join(map(str, schema["enum"])), where)
    elif not _has_type(value, schema):
        raise _misfit(value, _name(schema), where)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            check(item, schema["items"], f"{where}[{number}]")
    elif isinstance(value, dict):
        _check_object(value, schema, where)


def _check_object(value: dict[str, object], schema: Mapping[str, Any], where: str) -> None:
    known, others = schema.get("properties", {}), schema["additionalProperties"]
    for name in schema.get("required", []):
        if name not in value:
            raise InputError(f"{where}.{name}: missing; write the file again with this version of bilayer")
    for name, item in value.items():
        if name in known:
            check(item, known[name], f"{where}.{name}")
        elif others is False:
            raise InputError(f"{where}.{name[:60]!r}: unknown; write the file again with this version of bilayer")
        else:
            check(item, others, f"{where}.{name[:60]}")


def _has_type(value: object, schema: Mapping[str, Any]) -> bool:
    if "enum" in schema:
        return isinstance(value, str)
    name = schema["type"]
    if name == "integer":
        return type(value) is int
    if name == "number":
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    return type(value) in _TYPES[name]


def _name(schema: Mapping[str, Any]) -> str:
    return schema.get("type") or " or ".join(map(str, schema["enum"]))


def _misfit(value: object, expected: str, where: str) -> InputError:
    return InputError(f"{where}: expected {expected}, found {str(value)[:60]!r}")


def build(kind: Any, value: Any) -> Any:
    """A checked value as its type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        if value is None:
            return None
        (kind,) = (choice for choice in arguments if choice is not NoneType)
        return build(kind, value)
    if origin is list:
        return [build(arguments[0], item) for item in value]
    if origin is dict:
        return {name: build(arguments[1], item) for name, item in value.items()}
    if kind is float:
        return float(value)
    if kind in _PLAIN or origin is Literal:
        return value
    hints = get_type_hints(kind)
    return kind(**{name: build(hints[name], item) for name, item in value.items()})


def read_json(path: Path) -> Any:
    """The content of a JSON file of at most 16 MiB.

    Raises:
        InputError: no such file, too large, or not JSON.
    """
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; name a .json file")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: expected at most {MAX_BYTES} bytes, found {path.stat().st_size}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({' '.join(str(error).split())[:120]})") from error
