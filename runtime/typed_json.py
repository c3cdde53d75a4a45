"""A user's JSON and TOML as the project's dataclasses, strictly: the one reader of both, on msgspec.

No name may be unknown, or missing where it has no default (in a FileFormat: at all), no text counts as a number,
numbers are finite and whole ones have at most 64 bits. Ranges and descriptions stand in the dataclasses, as
msgspec.Meta, and so in the JSON Schema.
"""

import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Any, Generic, TypeVar

import msgspec

from bilayer.runtime.errors import InputError, in_short
from bilayer.runtime.files.reading import FileKind, read_bytes

T = TypeVar("T")

_NAMES = {str: "str", int: "int", float: "float", bool: "bool", NoneType: "null", list: "array", dict: "object"}


@dataclass(frozen=True)
class FileFormat(Generic[T]):
    """A kind of JSON file of our own: it holds `format`, `version` and every field of `kind`."""

    kind: type[T]  # a dataclass
    name: str  # its `format`
    version: int
    what: str  # with its article, for messages
    advice: str  # the way out of a file that does not fit
    error: type[InputError] = InputError
    file: FileKind = FileKind.JSON
    # Fields of later days: left out they have another field's value, and they are written where they differ from it.
    # Those whose default is None are left out where they are None
    same_as: Mapping[str, str] = field(default_factory=dict)

    def read(self, path: Path) -> T:
        """Return the content of a file; raises `error`, which names the file and the field."""
        return self.parse(read_content(path, self.advice, self.error, self.file, self.what), str(path))

    def parse(self, content: Any, where: str) -> T:
        """Return the same of what is read already; `where` names it."""
        given = content if isinstance(content, dict) else {}
        if given.get("format") != self.name:
            raise self.error(f"{where}: not {self.what}; expected `format` to be {self.name}; {self.advice}")
        if given.get("version") != self.version:
            found = repr(given.get("version"))[:20]
            raise self.error(f"{where}: version {found}, expected {self.version}; {self.advice}")
        rest = {name: value for name, value in given.items() if name not in ("format", "version")}
        for name, other in self.same_as.items():
            if other in rest:
                rest.setdefault(name, rest[other])
        return typed(self.kind, rest, where, self.advice, self.error, complete=True)

    def to_dict(self, value: T) -> dict[str, Any]:
        """Return the object as `parse` takes it."""
        content = {"format": self.name, "version": self.version, **_written(value)}
        same = {name for name, other in self.same_as.items() if content[name] == content[other]}
        return {name: item for name, item in content.items() if name not in same}

    def to_json(self, value: T) -> str:
        """Return the text as it is written: the same value gives the same bytes."""
        return json.dumps(self.to_dict(value), indent=2, allow_nan=False) + "\n"

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema (draft 2020-12) of such a file, for other programs."""
        _, definitions = msgspec.json.schema_components([self.kind])
        for definition in definitions.values():
            settings = definition["properties"]
            required = [name for name, setting in settings.items() if setting.get("default", "") is not None]
            definition |= {"required": required, "additionalProperties": False}
            for setting in settings.values():
                setting.pop("default", None)
        whole = definitions.pop(self.kind.__name__)
        head = {"format": {"const": self.name}, "version": {"const": self.version}}
        required = [*head, *(name for name in whole["required"] if name not in self.same_as)]
        whole |= {"properties": head | whole["properties"], "required": required, "title": self.name}
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole, "$defs": definitions}


def read_content(
    path: Path,
    advice: str = "",
    error: type[InputError] = InputError,
    kind: FileKind = FileKind.JSON,
    what: str = "",
) -> Any:
    """Return what a JSON file, or a .toml file, holds, its types not checked.

    Raises:
        InputError: as the class `error`: no such file, too large, or not that format, and so not `what`; with `advice`,
            or to correct it.
    """
    toml = path.suffix == ".toml"
    content = read_bytes(path, FileKind.SETTINGS if toml else kind, error)
    try:
        text = content.decode("utf-8-sig")
        return tomllib.loads(text) if toml else json.loads(text)
    except (ValueError, RecursionError) as problem:
        found = f"not readable as {'TOML' if toml else 'JSON'} ({in_short(problem)})"
        found = f"not {what}: {found}" if what else found
        raise error(f"{path}: {found}; {advice or 'correct it there, or name another'}") from problem


def typed(
    kind: type[T],
    content: object,
    where: str,
    advice: str = "",
    error: type[InputError] = InputError,
    complete: bool = False,
    text: bool = False,
) -> T:
    """Return a file's `content` as `kind`, a dataclass or built of them; if `complete`, only None may be left out.

    If it is `text`, as the cells of a CSV are, numbers and truth values are read from it.

    Raises:
        InputError: as the class `error`: it does not fit. Names `where`, the field, what is expected and what was
            found, and `advice`.
    """
    try:
        value = msgspec.convert(content, kind, strict=not text)
        _check(content, _plain(value), "", complete)
        return value
    except msgspec.ValidationError as problem:
        reason = _explained(str(problem), content, kind)
    except (InputError, ValueError) as problem:  # of the dataclass itself; of _check
        reason = str(problem)
    except RecursionError:
        reason = "nested too deep"
    raise error("; ".join(filter(None, (f"{where}: {reason}" if where else reason, advice))))


def _written(value: Any) -> Any:
    """`_plain` without the fields that are None by default, and None."""
    if isinstance(value, list):
        return [_written(item) for item in value]
    if isinstance(value, dict):
        return {key: _written(item) for key, item in value.items()}
    if not is_dataclass(value):
        return value
    given = {one.name: (getattr(value, one.name), one.default) for one in fields(value)}
    return {name: _written(item) for name, (item, default) in given.items() if (item, default) != (None, None)}


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _check(given: object, kept: Any, where: str, complete: bool) -> None:
    """Raise a ValueError of what msgspec lets pass: other names than a dataclass has, and numbers out of range."""
    if isinstance(given, dict):
        for name, item in given.items():
            place = _joined(where, name)
            if name not in kept:
                near = get_close_matches(name, kept, 1)
                hint = f"perhaps {near[0]} is meant" if near else f"expected {', '.join(kept)}"
                raise ValueError(f"{place}: unknown; {hint}")
            _check(item, kept[name], place, complete)
        if missing := [name for name in kept if complete and name not in given and kept[name] is not None]:
            raise ValueError(f"{_joined(where, missing[0])}: missing")
    elif isinstance(given, list):
        for number, item in enumerate(given):
            _check(item, kept[number], f"{where}[{number}]", complete)
    elif isinstance(given, float) and not math.isfinite(given):
        raise ValueError(f"{where}: expected a finite number, found {given}")
    elif isinstance(given, int) and not -(1 << 63) <= given < 1 << 63:
        raise ValueError(f"{where}: expected a number of at most 64 bits, found {str(given)[:60]}")


def _joined(where: str, name: str) -> str:
    name = name if name.isprintable() and len(name) <= 60 else repr(name[:60])
    return f"{where}.{name}" if where else name


def _explained(message: str, content: object, kind: Any) -> str:
    """A message of msgspec, as "Expected `int`, got `str` - at `$.rows[...].name`", with the value found there."""
    said, _, path = message.replace("`", "").partition(" - at $")
    steps = re.findall(r"\w+|\.\.\.", path)
    places: list[tuple[str, Any]] = [("", content)]
    for step in steps:  # [...] is any value of a mapping
        places = [found for where, value in places for found in _inside(value, step, where)]
    said, _, got = said.partition(", got ")
    where, value = next((place for place in places if _NAMES.get(type(place[1])) == got), places[0])
    if name := said.removeprefix("Object missing required field ") if "missing required" in said else "":
        where = next((where for where, value in places if name not in value), where)
        return f"{_joined(where, name)}: missing"
    if said.startswith("Invalid enum value"):
        choices = _choices(msgspec.inspect.type_info(kind), steps)
        where, value = next((place for place in places if place[1] not in choices), (where, value))
        said = f"expected {' or '.join(map(str, choices))}"
    said = "expected a finite number" if said == "Number out of range" else said[0].lower() + said[1:]
    return f"{where}{': ' if where else ''}{said}, found {repr(value)[:60]}"


def _inside(value: Any, step: str, where: str) -> list[tuple[str, Any]]:
    if isinstance(value, list):
        return [(f"{where}[{step}]", value[int(step)])]
    return [(_joined(where, name), item) for name, item in value.items() if step in (name, "...")]


def _choices(node: Any, steps: list[str]) -> tuple[object, ...]:
    """What the literal at the end of the `steps` may be."""
    info = msgspec.inspect
    for step in [*steps, ""]:
        while isinstance(node, info.Metadata | info.UnionType):
            node = node.type if isinstance(node, info.Metadata) else node.types[0]
        if isinstance(node, info.DataclassType):
            node = next(field.type for field in node.fields if field.name == step)
        elif isinstance(node, info.TupleType):
            node = node.item_types[int(step)]
        elif not isinstance(node, info.LiteralType):
            node = node.value_type if isinstance(node, info.DictType) else node.item_type
    return tuple(node.values)
