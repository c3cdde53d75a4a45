"""What all command lines share: -h, --version and --json, errors in one line with their exit code, tables, progress."""

import atexit
import errno
import gc
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from traceback import walk_tb
from typing import Any

import click

from bilayer.runtime.command.extras import naming_extras
from bilayer.runtime.command.heard import hush_libraries
from bilayer.runtime.command.json_text import json_text
from bilayer.runtime.command.options import NamedFile
from bilayer.runtime.errors import BilayerError, OutputError, behind
from bilayer.runtime.files.reading import is_file, is_there
from bilayer.runtime.files.reasons import is_of_a_disk, why_not_done, why_not_used, why_not_written
from bilayer.runtime.files.shell import pasted
from bilayer.runtime.process.ending import Ending, ending_in_order
from bilayer.runtime.process.environment import check_thread_numbers

_ELSEWHERE = "print to another place"
_ENDING = "bilayer.ending"  # of a context's meta
WIDEST = 60  # characters of a cell that a table's column is as wide as


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"{context.command_path}, version {version('bilayer')}")
        context.exit()


class _ReportErrors(click.Command):
    _ending: Ending | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["context_settings"] = {"help_option_names": ["-h", "--help"], **(kwargs.get("context_settings") or {})}
        super().__init__(*args, **kwargs)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        *own, usage = super().get_params(ctx)
        version = click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_show_version,
            help="Show the version and exit.",
        )
        return [*own, version, usage]

    def main(self, *args: Any, **kwargs: Any) -> Any:
        # At the end of a process the system takes all memory back. Python's last search of the 170 000 objects of
        # torch for cycles takes 0.4 s, and finds nothing that anybody would miss.
        atexit.register(gc.freeze)
        _print_anything()
        hush_libraries()
        with ending_in_order() as self._ending:
            try:
                return super().main(*args, **kwargs)
            except OSError as error:  # of --help, too; whoever reads our output has seen enough of it is click's matter
                named = f"{error.filename}: {why_not_used(error)}"
                tell("error", named if error.filename else _unprinted(error))
                sys.exit(OutputError.exit_code)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        try:
            with _usage_in_one_line(_files_like_options(args)):
                context = super().make_context(info_name, args, parent, **extra)
        except KeyboardInterrupt:  # of which click would say `Aborted!`, with the code of an error
            click.echo("interrupted", err=True)
            sys.exit(128 + signal.SIGINT)
        if self._ending is not None:
            context.meta[_ENDING] = self._ending  # which the contexts of its commands share
        return context

    def invoke(self, ctx: click.Context) -> Any:
        try:
            check_thread_numbers()
            with _usage_in_one_line(), _as_the_signal(ctx.meta.get(_ENDING)), naming_extras():
                return super().invoke(ctx)
        except BilayerError as error:
            _fail(ctx, str(error), error.exit_code)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(128 + signal.SIGINT)
        except EOFError as error:  # click would take it for Ctrl-D, and say `Aborted!`
            _fail(ctx, f"a file ended before its time ({error}); this should have been told of by its name", 3)
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever reads our output has seen enough; click knows
                raise
            _fail(ctx, f"{error.filename}: {why_not_used(error)}" if error.filename else _unnamed(ctx, error), 3)
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            _fail(ctx, f"not enough memory: {str(error)[:200] or 'none left'}", 3)


@contextmanager
def _usage_in_one_line(hint: str = "") -> Iterator[None]:
    """A word that click quotes from the command line may hold line breaks, or a terminal's commands, too."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:  # its message is the whole --help, with a line for each command
        raise
    except click.UsageError as error:
        vars(error)["message"] = _one_line(error.message + hint)  # which click calls final
        raise


def _files_like_options(words: Sequence[str]) -> str:
    """A hint at the first file or folder among `words` that is taken for an option, as its name begins with a dash."""
    before = words[: words.index("--")] if "--" in words else words
    named = next((word for word in before if word.startswith("-") and word != "-" and is_there(word)), None)
    return "" if named is None else f" {named} lies here: name it {pasted(named)}."


def _unnamed(ctx: click.Context, error: OSError) -> str:
    """What the system said of no file that it names: of what the command writes or keeps aside, or of none at all."""
    if error.errno == errno.ENOMEM:
        return f"not enough memory: {error.strerror}"
    if not is_of_a_disk(error):
        return why_not_done(error)
    if any(frame.f_code is click.echo.__code__ for frame, _ in walk_tb(error.__traceback__)):
        return _unprinted(error)
    written = [str(ctx.params[parameter.name]) for parameter in ctx.command.params if _is_written(parameter, ctx)]
    places = [*written, f"temporary files in {tempfile.gettempdir()}"]
    return f"{' or '.join(places)}: {why_not_written(error)}"


def _unprinted(error: OSError) -> str:
    return f"stdout cannot be written to: {error.strerror or error}; {_ELSEWHERE}"


def _is_written(parameter: click.Parameter, ctx: click.Context) -> bool:
    named = parameter.name == "out" or isinstance(parameter.type, NamedFile)
    return named and bool(parameter.name and ctx.params.get(parameter.name))


@contextmanager
def _as_the_signal(ending: Ending | None) -> Iterator[None]:
    """Raise KeyboardInterrupt, or SIGTERM's SystemExit, in place of what a library made of it while it was loaded."""
    try:
        yield
    except (click.exceptions.Exit, click.ClickException):  # a command's own way to end, of a signal too
        raise
    except Exception as error:
        for cause in behind(error):
            if isinstance(cause, KeyboardInterrupt | SystemExit):
                raise cause from None
        if ending is not None and ending.raised is not None:  # it was swallowed, and what it broke off is missing now
            raise ending.raised from None
        raise


def _is_out_of_memory(error: Exception) -> bool:
    """Python and numpy say it by a class; torch by a RuntimeError, OpenCV by an error of its own."""
    told = ("can't allocate memory", "Insufficient memory", "CUDA out of memory", "std::bad_alloc")
    return isinstance(error, MemoryError) or any(words in str(error) for words in told)


def _fail(ctx: click.Context, message: str, code: int) -> None:
    tell("error", message)
    ctx.exit(code)


def _print_anything() -> None:
    """Let what a terminal's encoding does not have be printed as an escape: a result is not lost by a file's name."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def tell(kind: str, message: str) -> None:
    """Print a line for a person to stderr, such as `warning: MESSAGE`; one line, whatever names the message holds."""
    click.echo(f"{kind}: {_one_line(message)}", err=True)


def _one_line(text: str) -> str:
    """Text with what cannot be printed as an escape: a file's name may hold line breaks, or a terminal's commands."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Command(_ReportErrors):
    """A click command that reports a BilayerError in one line and exits with its code."""


class Group(_ReportErrors, click.Group):
    """A click group that reports a BilayerError in one line and exits with its code; so do its commands."""

    command_class = Command


# In no dataclass of options: it is not of what a command does, but of how `show` prints what came of it
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")


def show(report: Mapping[str, Any], text: Callable[[], str], as_json: bool, following: str = "") -> None:
    """Print a result: as JSON, or as text with, on stderr, the command that may follow."""
    click.echo(json_text(report) if as_json else text())
    suggest(following, as_json)


def suggest(following: str, as_json: bool, found: str = "") -> None:
    """Print the command that may follow to stderr, behind a word on what was found; nothing where it is for a program.

    Paths in it are `pasted`, so that it can be pasted; and so is the command's, where the shell would not find it.
    """
    if following and not as_json:
        click.echo(f"\n{f'{found}; ' if found else ''}next: {_findable(following)}", err=True)


def _findable(command: str) -> str:
    name, space, words = command.partition(" ")
    beside = Path(sys.argv[0]).parent / name  # in an environment that was not activated
    is_ours = re.fullmatch("bilayer[a-z-]*", name)
    return f"{pasted(beside)}{space}{words}" if is_ours and not shutil.which(name) and is_file(beside) else command


def look_at(path: str | Path) -> str:
    """Return the command that shows a file or folder by this system's own program; words, where there is none."""
    if sys.platform == "win32":
        return f'start "" "{path}"'  # no name holds a quotation mark there
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    return f"{opener if shutil.which(opener) else 'look at'} {pasted(path)}"


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; columns whose cells are all numbers (or empty, or a dash) are right-aligned.

    Cells are padded to the widest of their column, but for those of over WIDEST characters: one long path would push
    every other line over the terminal's edge.
    """
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    columns = list(zip(*cells, strict=True)) if cells else [()] * len(headers)
    widths = [
        max([len(head), *(len(cell) for cell in column if len(cell) <= WIDEST)])
        for head, column in zip(headers, columns, strict=True)
    ]
    numeric = [bool(column) and all(map(is_numeric, column)) for column in columns]

    def line(row: Sequence[str]) -> str:
        padded = [c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, numeric, strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = "|".join("-" * (w + 1) + (":" if n else "-") for w, n in zip(widths, numeric, strict=True))
    return "\n".join([line(headers), f"|{rule}|", *map(line, cells)])


def is_numeric(cell: str) -> bool:
    """Return whether a cell of a table is a number, a percentage, a dash or empty."""
    return not cell.strip("-+,.0123456789% ")


@contextmanager
def importing() -> Iterator[None]:
    """Import large libraries inside: no garbage collection, which would search their growing number of objects again
    and again, and takes a tenth of torch's time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[..., None]]:
    """Show a progress bar on stderr, only on a terminal; yield a function `advance(description=...)`."""
    if not sys.stderr.isatty():
        yield lambda description="", steps=1.0: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)

        def advance(description: str = description, steps: float = 1) -> None:
            bar.update(task, advance=steps, description=description)

        yield advance
