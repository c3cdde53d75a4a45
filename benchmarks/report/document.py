"""A report as blocks: Markdown for a terminal, and one HTML file that loads nothing.

Text may come from a phone or from a file: Markdown gets it as it is, pages get it escaped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal

from bilayer.runtime.command.console import is_numeric, table
from bilayer.runtime.errors import ToolMissingError

# Colours of charts that a page takes from its reader's light or dark theme: see page.html
INK, MUTED, GRID, PAPER, SHADE = "#1c2024", "#5f6771", "#dadde2", "#fefefe", "#f1f3f6"
_THEMED = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper", SHADE: "shade"}


@dataclass(frozen=True)
class Section:
    """A heading, and what stands below it."""

    title: str
    headers: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()  # one table; none without headers
    notes: Sequence[str] = ()  # paragraphs below it; `names` stand in backticks
    lead: str = ""  # the paragraph above it
    level: Literal[2, 3] = 2

    def markdown(self) -> str:
        """Return the section as Markdown."""
        shown = [table(self.headers, self.rows)] if self.headers else []
        lead = [self.lead] if self.lead else []
        return "\n\n".join([f"{'#' * self.level} {self.title}", *lead, *shown, *self.notes])

    @property
    def cells(self) -> list[list[str]]:
        """The rows' cells as text; empty for None."""
        return [["" if cell is None else str(cell) for cell in row] for row in self.rows]

    @property
    def numeric(self) -> list[bool]:
        """Whether the cells of each column are numbers, which a page aligns to the right."""
        return [all(map(is_numeric, column)) for column in zip(*self.cells, strict=True)]


@dataclass(frozen=True)
class Picture:
    """A chart or a photograph on a page."""

    image: str  # SVG of charts.py, or the address of a picture as data
    title: str = ""  # a heading above it; pictures without one stand beside the one before
    caption: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class Report:
    """What was found, the most important first."""

    title: str
    verdict: str = ""  # passed, warned or broken; empty where nothing was judged
    findings: Sequence[str] = ()  # why it did not pass, a line each
    lead: Sequence[str] = ()  # paragraphs on what was looked at, and how
    facts: dict[str, str] = field(default_factory=dict)  # a few numbers to begin a page with, by what they are
    sections: Sequence[Section] = ()

    def markdown(self) -> str:
        """Return the report without its pictures."""
        parts = [f"# {self.title}" + (f": {self.verdict}" if self.verdict else "")]
        parts += ["\n".join(f"- {line}" for line in self.findings)] if self.findings else []
        return "\n\n".join([*parts, *self.lead, *(section.markdown() for section in self.sections)]) + "\n"

    def page(self, pictures: Sequence[Picture]) -> str:
        """Return the report as HTML: verdict, numbers, pictures, then the tables; a ToolMissingError without jinja2."""
        require_packages("jinja2")
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["themed"] = _themed
        return environment.get_template("page.html").render(report=self, pictures=pictures)


def require_packages(*packages: str) -> None:
    """Import what only charts and pages need, before a command measures; a ToolMissingError where one is missing."""
    for name in packages:
        try:
            import_module(name)
        except ImportError as error:
            raise ToolMissingError(f"charts and pages need {name} ({error}); pip install 'bilayer[report]'") from error


def _themed(svg: str) -> str:
    """A chart whose neutral colours are those of its page."""
    for colour, name in _THEMED.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg
