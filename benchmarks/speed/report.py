"""What a benchmark found: Markdown or a chart for a person, JSON for a program."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import click

from bilayer.benchmarks.report import charts
from bilayer.benchmarks.report.document import Section, require_packages
from bilayer.benchmarks.speed.timing import Samples
from bilayer.runtime.command.console import as_json_option, show
from bilayer.runtime.command.extras import installed_versions
from bilayer.runtime.command.options import Option, fills
from bilayer.runtime.files.writing import check_apart, check_output, write_file

Cell = str | float | int | None

WIDE = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "avx512_fp16", "asimdhp", "bf16")  # what engines look for


@dataclass(frozen=True)
class BenchRow:
    """One side of a benchmark, a row of its table."""

    name: str
    samples: Samples | None = None  # None: computed, not timed
    columns: Mapping[str, Cell] = field(default_factory=dict)  # what else is known of it


@dataclass(frozen=True)
class BenchReport:
    """A benchmark's rows, and what they were found with."""

    title: str
    rows: tuple[BenchRow, ...]
    settings: Mapping[str, Cell] = field(default_factory=dict)
    packages: tuple[str, ...] = ()  # whose versions matter
    baseline: str = ""  # the side that others are compared with
    measured: bool = True  # False: computed
    notes: tuple[str, ...] = ()
    bar: str = ""  # the column that a picture shows of rows that are not timed

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values, with times in ms and the machine that took them."""
        return {
            "benchmark": self.title,
            "measured": self.measured,
            "machine": machine(),
            "versions": installed_versions(self.packages),
            "settings": dict(self.settings),
            "baseline": self.baseline,
            "rows": [self._row_values(row) for row in self.rows],
            "notes": list(self.notes),
        }

    def to_markdown(self) -> str:
        """Return a heading, how it was found, and a table."""
        named = ", ".join(f"{name} {number}" for name, number in installed_versions(self.packages).items())
        given = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.settings.items())
        found = (machine(), named, given) if self.measured else ("Computed, not measured", given)
        headers, rows = self._table()
        lead = "; ".join(part for part in found if part)
        return Section(self.title, headers, rows, self.notes, lead=lead).markdown()

    def chart(self) -> charts.BarChart | None:
        """Return timed rows as medians, from the least to the 90th percentile, with their ratio; else the `bar` column.

        None where nothing can be drawn.
        """
        base = next((row.samples for row in self.rows if row.name == self.baseline), None)
        bars = []
        for row in self.rows:
            samples, value = row.samples, row.columns.get(self.bar)
            if samples is not None:
                part, spans = charts.Part(samples.median, charts.BLUE), [(samples.least, samples.p90)]
                ratio = f"  ×{samples.ratio_to(base):.2f}" if base else ""
                bars.append(charts.ChartRow(row.name, [charts.Bar([part], spans, f"{samples.median:.3g} ms{ratio}")]))
            elif isinstance(value, int | float):
                colour = charts.BLUE if self.measured else charts.OCHRE
                bars.append(charts.ChartRow(row.name, [charts.Bar([charts.Part(value, colour)], (), f"{value:.4g}")]))
        timed = any(row.samples for row in self.rows)
        compared = f"; × as long as {self.baseline}" if base else ""
        label = f"ms: median; line from least to 90th percentile{compared}" if timed else f"{self.bar}, computed"
        return charts.BarChart(label, bars, self.title) if bars else None

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
                cells += [_milliseconds(value) for value in (s.least, s.median, s.p90)] if s else ["-"] * 3
            if base:
                cells.append(f"{row.samples.ratio_to(base):.2f}" if row.samples else "-")
            rows.append([*cells, *(_show(row.columns.get(name)) for name in extra)])
        return [*headers, *extra], rows

    def _row_values(self, row: BenchRow) -> dict[str, Any]:
        values: dict[str, Any] = {"name": row.name, **row.columns}
        if row.samples is not None:
            s = row.samples
            values |= {"min_ms": s.least, "median_ms": s.median, "p90_ms": s.p90, **asdict(s)}
        return values


def machine() -> str:
    """Return the operating system, the processor, its number of cores, and which wide arithmetic it has."""
    known = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in _cpuinfo())}
    wide = [flag for flag in WIDE if flag in known.get("flags", known.get("Features", "")).split()]
    parts = (platform.system(), platform.machine(), known.get("model name", ""), f"{os.cpu_count()} cores", *wide)
    return ", ".join(part for part in parts if part)


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return []


def _milliseconds(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.4f}"


def _show(value: Cell) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


@dataclass(frozen=True, kw_only=True)
class PlotOptions:
    """What is made of a benchmark's reports beside their text."""

    plot: Annotated[Path | None, Option("Also draw it.", metavar="FILE.svg", suffixes=(".svg",))] = None


def with_results(measure: Callable[..., Sequence[BenchReport]]) -> Callable[..., None]:
    """Make of a function that returns reports a command that shows them, with --json and --plot."""

    @wraps(measure)
    def command(shown: PlotOptions, *options: Any, as_json: bool) -> None:
        plot = shown.plot
        if plot is not None:
            check_output(plot)
            given = [value for some in options if is_dataclass(some) for value in vars(some).values()]
            check_apart([plot], [value for value in given if isinstance(value, Path)])
            require_packages("matplotlib")
        reports = measure(*options)
        text = "\n\n".join(report.to_markdown() for report in reports)
        show({"benchmarks": [report.to_dict() for report in reports]}, lambda: text, as_json)
        if plot is not None:
            drawn = [chart for report in reports if (chart := report.chart())]
            write_file(plot, charts.bar_charts(drawn))
            click.echo(f"\n{plot}", err=True)

    return fills(PlotOptions)(as_json_option(command))
