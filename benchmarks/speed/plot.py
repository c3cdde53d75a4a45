"""Bars of benchmark reports as one SVG picture."""

import html
from collections.abc import Sequence

from bilayer.benchmarks.speed.report import BenchReport

BAR, LABELS, WIDTH = 18, 330, 420  # px: a bar's height, the labels' width, the longest bar
MEASURED, COMPUTED = "#4477aa", "#bb9944"

Bar = tuple[str, float, tuple[float, float] | None]  # name, length, and where a line goes from and to


def draw(reports: Sequence[BenchReport]) -> str:
    """Timed rows as medians, with a line from the least to the 90th percentile; else the report's `bar` column."""
    charts = [(report, bars) for report in reports if (bars := _bars(report))]
    height = sum((len(bars) + 2) * BAR for _, bars in charts) + BAR
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABELS + WIDTH + 90}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    top = 4
    for report, bars in charts:
        parts += _chart(report, bars, top)
        top += (len(bars) + 2) * BAR
    return "\n".join([*parts, "</svg>", ""])


def _bars(report: BenchReport) -> list[Bar]:
    timed = [row for row in report.rows if row.samples is not None]
    if timed:
        return [(r.name, r.samples.median, (r.samples.least, r.samples.p90)) for r in timed if r.samples]
    values = [(row.name, row.columns.get(report.bar)) for row in report.rows]
    return [(name, float(value), None) for name, value in values if isinstance(value, int | float)]


def _chart(report: BenchReport, bars: list[Bar], top: int) -> list[str]:
    longest = max(span[1] if span else length for _, length, span in bars) or 1.0
    scale = WIDTH / longest
    unit = "ms" if report.measured else f"{report.bar}, computed"
    parts = [f'<text x="4" y="{top + 14}" font-weight="bold">{html.escape(f"{report.title}, {unit}")}</text>']
    for i, (name, length, span) in enumerate(bars, start=1):
        y = top + i * BAR + 4
        middle = y + (BAR - 4) / 2
        end = LABELS + scale * (span[1] if span else length)
        parts += [
            f'<text x="{LABELS - 6}" y="{middle + 4:.1f}" text-anchor="end">{html.escape(name)}</text>',
            f'<rect x="{LABELS}" y="{y}" width="{scale * length:.1f}" height="{BAR - 4}" '
            f'fill="{MEASURED if report.measured else COMPUTED}"/>',
        ]
        if span:
            left = LABELS + scale * span[0]
            parts.append(f'<line x1="{left:.1f}" y1="{middle:.1f}" x2="{end:.1f}" y2="{middle:.1f}" stroke="#222"/>')
        number = f"{length:.0f}" if length >= 1000 else f"{length:.3g}"
        parts.append(f'<text x="{end + 4:.1f}" y="{middle + 4:.1f}">{number}</text>')
    return parts
