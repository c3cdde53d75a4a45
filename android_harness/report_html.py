"""Results as one HTML file with its plots in it: it loads nothing, and prints."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from bilayer.android_harness.report import label, markdown
from bilayer.android_harness.report_sampler import frame_ms
from bilayer.android_harness.results import Result

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1c2024;background:#fff}
table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}th,td{padding:.3rem .7rem;text-align:left;
border-bottom:1px solid #d9dce0;vertical-align:top}th{border-bottom:2px solid #8b9096}h1,h2,h3{line-height:1.2}
code{background:#f0f1f3;padding:0 .2rem}svg{max-width:100%;height:auto}.none{color:#60656c}
"""
_LEFT, _WIDTH, _ROW, _TOP = 400, 1040, 30, 34  # px: where bars begin, the whole plot's width, a bar's height and head
_FORWARD, _REST, _SAMPLER, _PARITY, _WRONG = "#2563a8", "#a9c4e4", "#c98a1b", "#4b8a5f", "#b3382c"  # colours
_PAPER_MS = 42.0


@dataclass(frozen=True)
class _Bar:
    """One line of a plot."""

    name: str
    parts: tuple[tuple[float, str], ...]  # lengths and colours, one after the other
    text: str


def html(results: Sequence[Result]) -> str:
    """The report as one file: plots first, then what `markdown` says."""
    body = [
        "<h1>Avatars on devices</h1>",
        "<h2>Latency</h2>",
        _latency_plot(results),
        "<h2>Parity with ONNX Runtime</h2>",
        _parity_plot(results),
        *_tables(markdown(results).splitlines()[1:]),
    ]
    head = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Avatars on devices</title><style>{_STYLE}</style>'
    )
    return head + "\n".join(body) + "\n</html>\n"


def _latency_plot(results: Sequence[Result]) -> str:
    bars = []
    for result in results:
        for row in result.rows:
            latency = row.latency if result.measured_on == "device" else None
            if latency is None:
                continue
            total = latency.total_ms.median
            forward = min(total, latency.forward_ms.median) if latency.forward_ms else total
            mark = ", throttled" if row.throttled else ""
            text = f"{forward:.1f} + {total - forward:.1f} ms{mark}"
            parts: tuple[tuple[float, str], ...] = ((forward, _FORWARD), (total - forward, _REST))
            whole = frame_ms(result, row)
            if whole is not None:
                parts += ((whole - total, _SAMPLER),)
                text = f"{forward:.1f} + {total - forward:.1f} + {whole - total:.1f} ms{mark}"
            bars.append(_Bar(f"{label(result)}, {row.title}", parts, text))
    if not bars:
        return '<p class="none">No latency: nothing here was measured on a device.</p>'
    legend = [("runtime alone", _FORWARD), ("copies and layout", _REST), ("sampler on the processor", _SAMPLER)]
    return _plot(bars, "ms", legend, (_PAPER_MS, "paper: 42 ms"))


def _parity_plot(results: Sequence[Result]) -> str:
    bars = []
    for result in results:
        for row in result.rows:
            if row.parity is None:
                continue
            worst = row.parity.worst_db
            exact = worst == float("inf")
            colour = _PARITY if row.parity.plausible else _WRONG
            text = "exact" if exact else f"{worst:.1f} dB"
            bars.append(_Bar(f"{label(result)}, {row.title}", ((150.0 if exact else max(worst, 0.0), colour),), text))
    if not bars:
        return '<p class="none">Nothing was compared.</p>'
    return _plot(bars, "dB, the worst of warp, lf and mask", [], None)


def _plot(bars: Sequence[_Bar], unit: str, legend: Sequence[tuple[str, str]], line: tuple[float, str] | None) -> str:
    """Bars one below the other, as SVG."""
    longest = max([sum(length for length, _ in bar.parts) for bar in bars] + ([line[0]] if line else []))
    scale = (_WIDTH - _LEFT - 190) / (longest or 1.0)
    height = _TOP + _ROW * len(bars) + 26
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" font-family="system-ui,sans-serif" font-size="13">'
    ]
    for number, (name, colour) in enumerate(legend):
        left = _LEFT + 150 * number
        parts.append(f'<rect x="{left}" y="4" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{left + 18}" y="15">{escape(name)}</text>')
    for number, bar in enumerate(bars):
        y, x = _TOP + _ROW * number, float(_LEFT)
        parts.append(f'<text x="{_LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(_short(bar.name))}</text>')
        for length, colour in bar.parts:
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{length * scale:.1f}" height="22" fill="{colour}"/>')
            x += length * scale
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 16}">{escape(bar.text)}</text>')
    bottom = _TOP + _ROW * len(bars)
    if line:
        at = _LEFT + line[0] * scale
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP - 4}" y2="{bottom}" stroke="#333" stroke-dasharray="4 3"/>'
        )
        parts.append(f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{escape(line[1])}</text>')
    parts.append(f'<text x="{_LEFT}" y="{bottom + 16}">{escape(unit)}</text></svg>')
    return "".join(parts)


def _short(name: str) -> str:
    return name if len(name) <= 52 else f"{name[:12]}…{name[-39:]}"  # whether it is a stand-in stands last


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
