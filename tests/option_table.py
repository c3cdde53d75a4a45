"""The table of docs/commands.md: every option of every command, from click. `make options` writes it."""

import re
from collections.abc import Iterator

import click

from bilayer.cli import main
from tests.documents import ROOT

PAGE = ROOT / "docs/commands.md"
HEAD = "| option | of | is | words |\n|---|---|---|---|\n"
IN_ALL = ("as_json",)  # told above the table, as are -h and --version
_DEFAULT = re.compile(r"\s*\[default: [^]]*\]")


def parameters() -> Iterator[tuple[str, click.Parameter]]:
    """Each option and argument, with the command's name: `bench frame`."""

    def walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Parameter]]:
        if isinstance(command, click.Group):
            context = click.Context(command)
            for word in command.list_commands(context):
                below = command.get_command(context, word)
                assert below is not None
                yield from walk(below, f"{name} {word}".strip())
        for parameter in command.params:
            yield name, parameter

    yield from walk(main, "")


def options() -> Iterator[tuple[str, click.Option]]:
    """Each option that help shows, with the command's name."""
    for name, option in parameters():
        if isinstance(option, click.Option) and not option.hidden and option.name not in IN_ALL:
            yield name, option


def option_table() -> str:
    """A row for each thing that an option is, with the commands in which it is that, and the words it takes."""
    rows: dict[tuple[str, str, str, str], dict[str, list[str]]] = {}
    for command, option in options():
        name = ", ".join(f"`{word}`" for word in (*option.opts, *option.secondary_opts))
        words = [f"`{word}`" for word in option.type.choices] if isinstance(option.type, click.Choice) else []
        text = _DEFAULT.sub("", option.help or "").rstrip(".")
        program, _, below = command.partition(" ")
        row = rows.setdefault((option.opts[-1], name, text, ", ".join(words)), {})
        row.setdefault(program, []).append(below)
    lines = []
    for (_, name, text, words), programs in sorted(rows.items(), key=lambda row: row[0][0]):  # else as commands come
        commands = [f"{program} {', '.join(below)}".strip() for program, below in programs.items()]
        lines.append(f"| {name} | {'; '.join(commands)} | {text} | {words} |\n")
    return HEAD + "".join(lines)


def written() -> str:
    """The table as the page has it."""
    page = PAGE.read_text(encoding="utf-8")
    return page[page.index(HEAD) :].split("\n\n")[0] + "\n"


if __name__ == "__main__":
    PAGE.write_text(PAGE.read_text(encoding="utf-8").replace(written(), option_table()), encoding="utf-8")
