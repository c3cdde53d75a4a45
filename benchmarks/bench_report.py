"""What a benchmark found: Markdown for a person, JSON for a program, a bar chart for both."""

import html
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bilayer.benchmarks.timing import Samples
from bilayer.runtime.console import table

Cell = str | float | int | None

BAR_HEIGHT, LABEL_WIDTH, BAR_WIDTH = 18, 300, 420  # px of the chart


@dataclass(frozen=True)
class Row:
    """One side."""

    name: str
    samples: Samples | None = None  # None: computed, not timed
    columns: Mapping[str, Cell] = field(default_factory=dict)  # what else is known of it


@dataclass(frozen=True)
class BenchReport:
    """A benchmark's rows, and what they were found with."""

    title: str
    rows: tuple[Row, ...]
    settings: Mapping[str, Cell] = field(default_factory=dict)
    packages: tuple[str, ...] = ()  # whose versions matter
    baseline: str = ""  # the side that others are compared with
    measured: bool = True  # False: computed
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; times in ms."""
        return {
            "benchmark": self.title,
            "measured": self.measured,
            "machine": machine(),
            "versions": versions(self.packages),
            "settings": dict(self.settings),
            "baseline": self.baseline,
            "rows": [self._row_values(row) for row in self.rows],
            "notes": list(self.notes),
        }

    def to_markdown(self) -> str:
        """A heading, how it was found, and a table."""
        named = ", ".join(f"{name} {number}" for name, number in versions(self.packages).items())
        given = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        how = "; ".join(part for part in (machine(), named, given) if part)
        lines = [f"## {self.title}", "", how if self.measured else f"Computed, not measured; {given}", ""]
        headers, rows = self._table()
        lines += [table(headers, rows), *(f"\n{note}" for note in self.notes)]
        return "\n".join(lines)

    def to_svg(self) -> str:
        """Horizontal bars of the timed rows' medians, with lines from least to p90; an image of its own."""
        timed = [(row.name, row.samples) for row in self.rows if row.samples is not None]
        longest = max((samples.p90 for _, samples in timed), default=1.0)
        height = (len(timed) + 2) * BAR_HEIGHT
        scale = BAR_WIDTH / longest
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL_WIDTH + BAR_WIDTH + 80}" height="{height}" '
            'font-family="sans-serif" font-size="12">',
            f'<text x="4" y="14" font-weight="bold">{html.escape(self.title)}, ms</text>',
        ]
        for i, (name, samples) in enumerate(timed, start=1):
            y, middle = i * BAR_HEIGHT + 4, i * BAR_HEIGHT + 4 + BAR_HEIGHT / 2
            left, right = (LABEL_WIDTH + scale * value for value in (samples.least, samples.p90))
            parts += [
                f'<text x="{LABEL_WIDTH - 6}" y="{middle + 4:.1f}" text-anchor="end">{html.escape(name)}</text>',
                f'<rect x="{LABEL_WIDTH}" y="{y}" width="{scale * samples.median:.1f}" height="{BAR_HEIGHT - 4}" '
                'fill="#4477aa"/>',
                f'<line x1="{left:.1f}" y1="{middle - 2:.1f}" x2="{right:.1f}" y2="{middle - 2:.1f}" stroke="#222"/>',
                f'<text x="{right + 4:.1f}" y="{middle + 4:.1f}">{samples.median:.3g}</text>',
            ]
        return "\n".join([*parts, "</svg>", ""])

    def _table(self) -> tuple[list[str], list[list[str]]]:
        extra = list(dict.fromkeys(name for row in self.rows for name in row.columns))
        timed = any(row.samples for row in self.rows)
        base = next((row.samples for row in self.rows if row.name == self.baseline), None)
        headers = ["", *(["min ms", "median ms", "p90 ms"] if timed else [])]
        headers += [f"x {self.baseline}"] if base else []
        rows = []
        for row in self.rows:
            cells = [row.name]
            if timed:
                s = row.samples
                cells += [f"{value:.2f}" for value in (s.least, s.median, s.p90)] if s else ["-"] * 3
            if base:
                cells.append(f"{row.samples.ratio_to(base):.2f}" if row.samples else "-")
            rows.append([*cells, *(_show(row.columns.get(name)) for name in extra)])
        return [*headers, *extra], rows

    def _row_values(self, row: Row) -> dict[str, Any]:
        values: dict[str, Any] = {"name": row.name, **row.columns}
        if row.samples is not None:
            s = row.samples
            values |= {"min_ms": s.least, "median_ms": s.median, "p90_ms": s.p90, **asdict(s)}
        return values


def machine() -> str:
    """The operating system and processor."""
    return f"{platform.system()}, {platform.machine()}"


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _show(value: Cell) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
