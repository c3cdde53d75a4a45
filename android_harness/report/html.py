"""Results as one HTML file with its plots in it: it loads nothing, and prints."""

from collections.abc import Iterable, Sequence
from html import escape

from bilayer.android_harness.report.plots import latency_plot, layers_plot, parity_plot, series_plot
from bilayer.android_harness.report.tables import label, markdown
from bilayer.android_harness.results import Result

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1c2024;background:#fff}
table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}th,td{padding:.3rem .7rem;text-align:left;
border-bottom:1px solid #d9dce0;vertical-align:top}th{border-bottom:2px solid #8b9096}h1,h2,h3{line-height:1.2}
code{background:#f0f1f3;padding:0 .2rem}svg{max-width:100%;height:auto}.none{color:#60656c}
"""


def html(results: Sequence[Result]) -> str:
    """The report as one file: plots first, then what `markdown` says."""
    body = [
        "<h1>Avatars on devices</h1>",
        "<h2>Latency</h2>",
        latency_plot(results),
        "<h2>Where the network's time goes</h2>",
        layers_plot(results),
        "<h2>Parity with ONNX Runtime</h2>",
        parity_plot(results),
        *_series(results),
        *_tables(markdown(results).splitlines()[1:]),
    ]
    head = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Avatars on devices</title><style>{_STYLE}</style>'
    )
    return head + "\n".join(body) + "\n</html>\n"


def _series(results: Sequence[Result]) -> list[str]:
    plots = [(escape(label(result)), series_plot(result)) for result in results]
    plots = [(name, plot) for name, plot in plots if plot]
    heading = ["<h2>Clocks and heat</h2>"] if plots else []
    note = ["<p>During the timed processes; a red ground is one with signs of throttling.</p>"] if plots else []
    return [*heading, *(part for name, plot in plots for part in (f"<h3>{name}</h3>", plot)), *note]


def _tables(lines: Iterable[str]) -> list[str]:
    """The few forms that `markdown` writes: headings, tables, paragraphs with `code`."""
    out: list[str] = []
    rows: list[list[str]] = []

    def flush() -> None:
        if rows:
            head, *rest = rows
            cells = [
                "".join(f"<{tag}>{_inline(cell)}</{tag}>" for cell in row)
                for tag, row in [("th", head), *(("td", r) for r in rest)]
            ]
            out.append("<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>")
            rows.clear()

    for line in lines:
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not set("".join(cells)) <= set("-: ") or not "".join(cells):
                rows.append(cells)
            continue
        flush()
        if line.startswith("#"):
            level = len(line) - len(line.lstrip("#"))
            out.append(f"<h{level}>{_inline(line.lstrip('# '))}</h{level}>")
        elif line.strip():
            out.append(f"<p>{_inline(line)}</p>")
    flush()
    return out


def _inline(text: str) -> str:
    parts = escape(text).split("`")
    return "".join(
        f"<code>{part}</code>" if number % 2 and number < len(parts) - 1 else part for number, part in enumerate(parts)
    )
