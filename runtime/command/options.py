"""Options of a command from the dataclass of settings that they fill: name, type, default and help stand in one place.

@dataclass(frozen=True)
class RenderOptions:
    frames: Annotated[int | None, Option("Stop after so many.", at_least=1)] = None

@click.command(cls=Command)
@fills(RenderOptions)
def main(options: RenderOptions) -> None: ...
"""

import functools
import re
from collections.abc import Callable, Collection
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import click
from click.core import ParameterSource

from bilayer.runtime.files.reading import is_file, is_folder
from bilayer.runtime.vocabulary import RENAMED

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # click 8.2's takes no argument


@dataclass(frozen=True)
class Option:
    """How a field is given on a command line; it lies in the field's `Annotated`, which else is no option at all."""

    help: str = ""
    names: tuple[str, ...] = ()  # beside --field-name, such as -o; one with two dashes takes its place
    former: str = ""  # its name before: whoever gives it is told the present one
    synonym: str = ""  # its name in a release, which is taken as well, and shown nowhere
    argument: bool = False  # without dashes, in the order of the fields; one without a default must be given
    metavar: str | None = None
    envvar: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    none: str | None = None  # the word for None, beside those of a Literal
    default: str | None = None  # what to say of a default that is None
    suffixes: tuple[str, ...] = ()  # of a file that is written, one of which its name must have; "": or of a folder
    alone: str | None = None  # what it is where it is given without a word, which may be left out then
    forms: tuple[str, ...] = ()  # that a word has one of; N in them is any number


class _Place(click.Path):
    """A path as a Path, which is not looked at: whoever opens it tells what is wrong, with that exit code."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, readable=False)


class PathOrUrl(_Place):
    """A path, or a URL of another place, which stays a string."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a Path of all that is no URL; raises a usage error for an empty word."""
        _check_not_empty(self, value, param, ctx)
        return value if "://" in str(value) else super().convert(value, param, ctx)


class PathAlone(_Place):
    """A path: a URL would be the folder "s3:" and others in it, which nobody means."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; raise a usage error for a URL, or an empty word."""
        _check_not_empty(self, value, param, ctx)
        if "://" in str(value):
            self.fail(f"{value} is a URL: expected a path of this machine; fetch it first.", param, ctx)
        return super().convert(value, param, ctx)


def _check_not_empty(kind: click.Path, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> None:
    """Refuse what a script's variable without a value gives: a Path of it would be the current folder."""
    if not str(value):
        kind.fail("expected a path, found an empty word.", param, ctx)


def check_suffix(
    path: Path,
    suffixes: tuple[str, ...],
    param: click.Parameter | None = None,
    ctx: click.Context | None = None,
    named: str | None = None,
) -> None:
    """See that the name of a file to write ends in one of `suffixes`, or where "" is one of them, is a folder's.

    The option is `param`, or what is called `named`.

    Raises:
        BadParameter: it is neither; a usage error.
    """
    name, or_folder = path.name.lower(), "" in suffixes
    fits = any(name.endswith(suffix) and name != suffix for suffix in suffixes if suffix)
    if not fits and not (or_folder and (not path.suffix or is_folder(path))):
        expected = ("a folder or " if or_folder else "") + f"a name that ends in {', '.join(filter(None, suffixes))}"
        raise click.BadParameter(f"{path}: expected {expected}, found {path.suffix or 'no suffix'}.", ctx, param, named)


class NamedFile(_ParamType):
    """The path of a file to write, whose kind its name tells: with another suffix it would be taken for another."""

    name = "path"

    def __init__(self, place: click.Path, suffixes: tuple[str, ...]) -> None:
        self._place, self.suffixes = place, suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; raise a usage error for another suffix. A URL, which the command looks at, stays."""
        path = self._place.convert(value, param, ctx)
        if isinstance(path, Path):
            check_suffix(path, self.suffixes, param, ctx)
        return path

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
        """Complete names of files, as of any path."""
        return self._place.shell_complete(ctx, param, incomplete)


class OptionalWord(click.types.StringParamType):
    """What an option takes that may be given alone: no file or folder, which is an argument that stands behind it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word; raise a usage error for the path of a file or folder."""
        if is_file(value) or is_folder(value):
            self.fail(f"{value!r} lies here, and is no word of this option: give it before the option.", param, ctx)
        return super().convert(value, param, ctx)


class _Word(click.types.StringParamType):
    def __init__(self, forms: tuple[str, ...] = ()) -> None:
        self._forms = forms

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word; raise a usage error for another form, or an empty one, which would be another's default."""
        if not str(value).strip():
            self.fail("expected a word, found an empty one.", param, ctx)
        forms = self._forms
        if forms and not any(re.fullmatch(form.replace("N", "[0-9]{1,3}"), str(value)) for form in forms):
            self.fail(f"expected {', '.join(forms[:-1])} or {forms[-1]}, found {str(value)!r:.60}.", param, ctx)
        return super().convert(value, param, ctx)


class _Bounded(_ParamType):
    """A number, of no more than 31 bits: what NaN and larger ones do is another thing in every library."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Raises a usage error for any other number."""
        number = super().convert(value, param, ctx)
        if not abs(number) < 1 << 31:
            self.fail(f"{str(value)[:20]} is no number that can be used here.", param, ctx)
        return number


class _Whole(_Bounded, click.types.IntParamType):
    pass


class _WholeRange(_Bounded, click.IntRange):
    pass


class _Real(_Bounded, click.types.FloatParamType):
    pass


class _RealRange(_Bounded, click.FloatRange):
    pass


class Words(click.Choice[Any]):
    """One of some words; a former word is told the present one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the word; raise a usage error for any other."""
        word = RENAMED.get(value) if isinstance(value, str) else None
        if word in self.choices and value not in self.choices:
            self.fail(f"{value!r} is called {word!r} here.", param, ctx)
        return super().convert(value, param, ctx)


class _AlsoKnown(click.Option):
    """An option that takes a second name, of which neither help nor completion speaks."""

    def __init__(self, synonym: str, *words: Any, **settings: Any) -> None:
        super().__init__(*words, **settings)
        self._synonym = synonym

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let the parser of a command know both names."""
        super().add_to_parser(parser, ctx)
        parser.add_option(self, [self._synonym], dest=self.name, nargs=self.nargs)


def is_typed(field: str) -> bool:
    """Return whether the running command was given a field's option in words, not by a variable or its default."""
    context = click.get_current_context(silent=True)
    return context is not None and context.get_parameter_source(field) is ParameterSource.COMMANDLINE


def refuse_typed(why: str, fields: Collection[str]) -> None:
    """Raise a UsageError that begins with `why` where options of these fields were typed: they would do nothing."""
    context = click.get_current_context(silent=True)
    given = context.command.params if context else []
    words = [_as_typed(parameter) for parameter in given if parameter.name in fields and is_typed(parameter.name)]
    if words:
        named = " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
        raise click.UsageError(f"{why}: leave {named} away")


def _as_typed(parameter: click.Parameter) -> str:
    turned_off = parameter.name is not None and click.get_current_context().params.get(parameter.name) is False
    return ((turned_off and parameter.secondary_opts) or parameter.opts)[-1]


def fills(settings: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator for a click command that adds options for the fields of `settings`.

    The command's first argument is then an object of `settings`. Of several decorators the nearest to the function
    comes first.

    Literals become choices, booleans `--name/--no-name` (or a flag alone where they are False), tuples options that may
    be repeated, and fields without a default must be given.
    """
    names = [parameter.name for parameter in _parameters(settings) if parameter.expose_value]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def filled(*others: Any, **given: Any) -> Any:
            return command(settings(**{name: given.pop(name) for name in names}), *others, **given)

        return with_options(settings)(filled)

    return decorate


def with_options(settings: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator as `fills`, but the command gets the values by the fields' names, and makes the object."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        given = getattr(command, "__click_params__", [])  # the last comes first
        command.__click_params__ = [*given, *reversed(_parameters(settings))]  # type: ignore[attr-defined]
        return command

    return decorate


def _parameters(settings: type) -> list[click.Parameter]:
    hints, parameters = get_type_hints(settings, include_extras=True), []
    for field in fields(settings):
        hint, *notes = get_args(hints[field.name]) if get_origin(hints[field.name]) is Annotated else (None,)
        option = next((note for note in notes if isinstance(note, Option)), None)
        if option is not None:
            default = field.default_factory() if field.default_factory is not MISSING else field.default
            parameters.append(_parameter(field.name, hint, option, default))
            if option.former:
                flag = hint is bool or option.former.startswith("--no-")
                parameters.append(_renamed(option.former, parameters[-1].opts[-1], flag))
    return parameters


def _renamed(former: str, name: str, flag: bool) -> click.Parameter:
    def refuse(_context: click.Context, _parameter: click.Parameter, value: Any) -> None:
        if value:
            raise click.UsageError(f"{former} is called {name} here.")

    own = "former_" + former.strip("-").replace("-", "_")  # not the field's, whose value it would be given
    return click.Option([own, former], is_flag=flag, hidden=True, expose_value=False, is_eager=True, callback=refuse)


def _parameter(name: str, hint: Any, option: Option, default: Any) -> click.Parameter:
    hint, url = _without_none(hint)
    parts = get_args(hint) if get_origin(hint) is tuple else (hint,)
    several = Ellipsis in parts
    single, of_several_url = _without_none(parts[0])
    settings: dict[str, Any] = {
        "type": PathOrUrl() if url or of_several_url else _type(single, option),
        "nargs": 1 if several else len(parts),
        "required": default is MISSING,
        "metavar": option.metavar,
        "envvar": option.envvar,
    }
    if option.suffixes:
        settings["type"] = NamedFile(settings["type"], option.suffixes)
    if default is not MISSING:
        settings["default"] = default
    if option.argument:
        return click.Argument([name], **settings | ({"nargs": -1} if several else {}))
    long = name.replace("_", "-")
    spelled = [] if any(given.startswith("--") for given in option.names) else [f"--{long}"]
    if hint is bool:
        spelled = spelled if default is False else [f"{one}/--no-{long}" for one in spelled]
        settings["type"] = bool
    elif option.none is not None:
        settings["default"], settings["callback"] = option.none, _none_for(option.none)
    if option.alone is not None:
        settings |= {"flag_value": option.alone, "is_flag": False, "type": OptionalWord()}
    text = option.help + (f" [default: {option.default}]" if option.default else "")
    shown = "default" in settings and not any(settings["default"] is nothing for nothing in (None, False, ()))
    make = functools.partial(_AlsoKnown, option.synonym) if option.synonym else click.Option
    return make(
        [*option.names, *spelled, name],
        help=text.strip(),
        multiple=several,
        show_default=shown and not option.default,
        **{"is_flag": hint is bool} | settings,
    )


def _without_none(hint: Any) -> tuple[Any, bool]:
    """A type without None, and whether it is `Path | str`, a path or a URL, which comes back as Path alone."""
    choices = set(get_args(hint)) - {NoneType} if get_origin(hint) in (Union, UnionType) else {hint}
    url = {str, Path} <= choices
    (hint,) = choices - {str} if url else choices
    return hint, url


def _none_for(word: str) -> Callable[..., Any]:
    return lambda _context, _parameter, value: None if value == word else value


def _type(hint: Any, option: Option) -> Any:
    if get_origin(hint) is Literal:
        return Words([*([option.none] if option.none else []), *get_args(hint)])
    if hint is Path:
        return PathAlone()
    if hint is str:
        return _Word(option.forms)
    if hint not in (int, float):
        return hint
    if option.at_least is not None or option.at_most is not None:
        ranged: Any = {int: _WholeRange, float: _RealRange}[hint]
        return ranged(option.at_least, option.at_most)
    return _Whole() if hint is int else _Real()
