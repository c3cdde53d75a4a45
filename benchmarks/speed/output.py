"""How every benchmark's command shows what it found: Markdown or JSON on stdout, a picture in a file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bilayer.benchmarks.speed.report import BenchReport


def with_results(command: Any) -> Any:
    """Adds --json and --plot."""
    for option in (
        click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.svg", help="Also draw it."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    ):
        command = option(command)
    return command


def show(reports: "Sequence[BenchReport]", plot: Path | None, as_json: bool) -> None:
    """Print the reports, and draw them.

    Raises:
        OutputError: the picture cannot be written.
    """
    from bilayer.benchmarks.speed.plot import draw
    from bilayer.runtime.files import replacing

    if as_json:
        click.echo(json.dumps([report.to_dict() for report in reports], indent=2))
    else:
        click.echo("\n\n".join(report.to_markdown() for report in reports))
    if plot is not None:
        with replacing(plot) as part:
            part.write_text(draw(reports), encoding="utf-8")
        click.echo(f"\n{plot}", err=True)
