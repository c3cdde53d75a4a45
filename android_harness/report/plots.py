"""The plots of a report, as SVG to stand in its page: latency, layers, parity, and clocks and heat over time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from bilayer.android_harness.report.sampler import frame_ms
from bilayer.android_harness.report.series import processes, slowed
from bilayer.android_harness.report.tables import PARITY_COLUMNS, decibels, label
from bilayer.android_harness.results import ModeResult, Moment, Result, Spread
from bilayer.runtime.agreement import DEFAULT, MOST_DB

PAPER_MS = 42.0
_LEFT, _WIDTH, _ROW, _TOP = 350, 1040, 30, 34  # px: where plots begin, their whole width, a line's height, the legend's
_RIGHT = 190  # px for the text after a bar
_SMALLEST_SHARE = 0.03  # of a layer that is shown by itself
_FORWARD, _REST, _SAMPLER, _WRONG = "#2563a8", "#a9c4e4", "#c98a1b", "#b3382c"
_DOTS = {"delta_uv": "#2563a8", "lf_rgb": "#c98a1b", "seg": "#4b8a5f", "frame": "#5b4a8a"}
_SHADES = ("#2563a8", "#6d97c9", "#4f7fb8", "#8fb0d6")
_GPU, _CPU, _HEAT, _GRID = "#2563a8", "#4b8a5f", "#c98a1b", "#d9dce0"

_HALO = 'stroke="#fff" stroke-width="4" paint-order="stroke"'  # keeps lines out of a text


@dataclass(frozen=True)
class _Line:
    """A row of a result with the result it is of."""

    result: Result
    row: ModeResult

    @property
    def name(self) -> str:
        """Whether it is a stand-in stands last."""
        name = f"{label(self.result)}, {self.row.title}"
        return name if len(name) <= 44 else f"{name[:10]}…{name[-33:]}"


def latency_plot(results: Sequence[Result]) -> str:
    """Medians end to end; whiskers from the lowest to the highest process."""
    lines = [one for one in _lines(results) if one.result.measured_on == "device" and one.row.latency]
    if not lines:
        return _none("No latency: nothing here was measured on a device.")
    longest = max([PAPER_MS, *(_end(line) for line in lines)])
    x = _scale(0, longest, _LEFT, _WIDTH - _RIGHT)
    bottom = _TOP + _ROW * len(lines)
    legend = [("runtime alone", _FORWARD), ("copies and layout", _REST), ("sampler on the processor", _SAMPLER)]
    parts = [*_axis(x, longest, bottom, "ms"), *_legend(legend)]
    for number, line in enumerate(lines):
        latency, y = line.row.latency, _TOP + _ROW * number
        assert latency is not None
        total, forward = latency.total_ms, latency.forward_ms or latency.total_ms
        whole = frame_ms(line.result, line.row)
        steps = [(0.0, forward.median, _FORWARD), (forward.median, total.median, _REST)]
        steps += [(total.median, whole, _SAMPLER)] if whole else []
        parts += [_rect(x(a), y, x(b) - x(a), 22, colour) for a, b, colour in steps]
        parts += [_whisker(x, spread, y + 11) for spread in {forward, total}]
        figures = " + ".join(f"{b - a:.1f}" for a, b, _ in steps if b > a)
        throttled = f'<tspan fill="{_WRONG}"> throttled</tspan>' if line.row.throttled else ""
        parts += [_name(line, y), _text(x(_end(line)) + 8, y + 16, f"{figures} ms", _HALO, throttled)]
    at = x(PAPER_MS)
    parts += [_stroke(at, _TOP - 4, at, bottom, "#333", 'stroke-dasharray="4 3"')]
    parts += [_text(at, bottom + 34, "paper: 42 ms", 'text-anchor="middle"')]
    return _svg(bottom + 42, parts)


def layers_plot(results: Sequence[Result]) -> str:
    """What each layer has of the whole, in the network's order; those too small to see together at the end."""
    lines = [one for one in _lines(results) if one.result.measured_on == "device" and one.row.layers]
    if not lines:
        return _none("No layers: no detailed profile of a device.")
    bottom = _TOP + _ROW * len(lines)
    x = _scale(0, 1, _LEFT, _WIDTH - 20)
    parts = [_text(_LEFT, 15, "share of the network's time")]
    for number, line in enumerate(lines):
        y, done = _TOP + _ROW * number, 0.0
        whole = sum(layer.ms for layer in line.row.layers) or 1.0
        shares = [(layer.name, layer.ms / whole) for layer in line.row.layers if layer.ms / whole >= _SMALLEST_SHARE]
        small = len(line.row.layers) - len(shares)
        rest = 1 - sum(share for _, share in shares)
        parts.append(_name(line, y))
        for place, (name, share) in enumerate([*shares, *([(f"{small} more", rest)] if small else [])]):
            colour = "#b9bec4" if place == len(shares) else _SHADES[place % len(_SHADES)]
            width = x(done + share) - x(done)
            hint = f"<title>{escape(name)}: {100 * share:.0f} %</title>"
            parts.append(f"<g>{hint}{_rect(x(done), y, max(width - 1, 0.5), 22, colour)}")
            fits = name[: max(0, int((width - 6) / 7))]
            parts.append((_text(x(done) + 4, y + 16, fits, 'fill="#fff"') if len(fits) > 1 else "") + "</g>")
            done += share
    return _svg(bottom + 4, parts)


def parity_plot(results: Sequence[Result]) -> str:
    """A dot for each quantity; what is exact lies beyond the axis."""
    lines = [one for one in _lines(results) if one.row.parity]
    if not lines:
        return _none("Nothing was compared.")
    known = [db for one in lines if one.row.parity for db in one.row.parity.psnr_db.values() if db < MOST_DB]
    longest = max([DEFAULT.plausible + 20, *known])
    x = _scale(0, longest, _LEFT, _WIDTH - 110)
    bottom = _TOP + _ROW * len(lines)
    legend = [(title.removesuffix(" dB"), _DOTS[name]) for name, title in PARITY_COLUMNS.items()]
    parts = [*_axis(x, longest, bottom, "dB"), *_legend(legend)]
    exact, least = _WIDTH - 60, x(DEFAULT.plausible)
    parts += [_text(exact, bottom + 16, "exact", 'text-anchor="middle"')]
    parts += [_stroke(least, _TOP - 4, least, bottom, _WRONG, 'stroke-dasharray="4 3"')]
    for number, line in enumerate(lines):
        y = _TOP + _ROW * number + 11
        parity = line.row.parity
        assert parity is not None
        parts += [_name(line, y - 11), _stroke(_LEFT, y, _WIDTH - 110, y, _GRID)]
        for place, (name, colour) in enumerate(_DOTS.items()):
            if name in parity.psnr_db:
                db = parity.psnr_db[name]
                at = exact + 10 * place - 15 if db >= MOST_DB else x(max(db, 0.0))
                hint = f"<title>{escape(PARITY_COLUMNS[name])}: {decibels(parity, name)}</title>"
                parts.append(f'<circle cx="{at:.1f}" cy="{y}" r="6" fill="{colour}" fill-opacity=".85">{hint}</circle>')
        if not parity.plausible:
            parts.append(_text(exact + 24, y + 5, "wrong", f'fill="{_WRONG}"'))
    return _svg(bottom + 24, parts)


def series_plot(result: Result) -> str:
    """Clocks and heat of a result's timed processes; red where the GPU was slowed down. Empty without any."""
    rows = [row for row in result.rows if row.series and result.measured_on == "device"]
    if not rows:
        return ""
    moments = [moment for row in rows for moment in row.series]
    begin, end = min(one.uptime_s for one in moments), max(one.uptime_s for one in moments)
    x = _scale(begin, max(end, begin + 1), 60, _WIDTH - 20)
    clocks = [value for one in moments for value in (one.gpu_mhz, one.gpu_limit_mhz, one.cpu_mhz) if value is not None]
    heat = [one.celsius for one in moments if one.celsius is not None]
    mhz = _scale(0, max(clocks, default=1.0) * 1.05, 220, 50)
    celsius = _scale(min(heat, default=20.0) - 2, max(heat, default=40.0) + 2, 330, 240)
    dots = [("GPU", _GPU), ("GPU slowed down", _WRONG), ("fastest CPU core", _CPU), ("hottest sensor", _HEAT)]
    parts = [*_legend(dots, 60)]
    for row in rows:
        marked = slowed(row)
        for own in processes(row):
            process = own[0].process
            left, right = x(own[0].uptime_s), x(own[-1].uptime_s)
            colour = "#fbeae8" if any(one in marked for one in own) else "#f3f5f7"
            hint = f"<title>{escape(row.title)}, process {process}</title>"
            parts.append(f"<g>{hint}{_rect(left - 2, 24, right - left + 4, 306, colour)}</g>")
            parts.append(_text(left, 36, f"{row.title} {process}"[: max(2, int((right - left) / 6))], 'font-size="11"'))
            parts += _curve(own, x, mhz, lambda one: one.gpu_limit_mhz, "#8b9096", dashed=True)
            parts += _curve(own, x, mhz, lambda one: one.gpu_mhz, _GPU, _WRONG, marked)
            parts += _curve(own, x, mhz, lambda one: one.cpu_mhz, _CPU)
            parts += _curve(own, x, celsius, lambda one: one.celsius, _HEAT)
    for value in _ticks(max(clocks, default=0.0)):
        parts.append(_text(54, mhz(value) + 4, f"{value:g}", 'text-anchor="end" font-size="11"'))
    for value in sorted({min(heat), max(heat)} if heat else set()):
        parts.append(_text(54, celsius(value) + 4, f"{value:.0f} °C", 'text-anchor="end" font-size="11"'))
    parts += [_text(4, 14, "MHz"), _text(_WIDTH - 20, 350, f"{end - begin:.0f} s", 'text-anchor="end" font-size="11"')]
    parts += [_stroke(60, 220, _WIDTH - 20, 220, _GRID), _stroke(60, 332, _WIDTH - 20, 332, _GRID)]
    return _svg(356, parts)


def _curve(
    moments: Sequence[Moment],
    x: Callable[[float], float],
    y: Callable[[float], float],
    value: Callable[[Moment], float | None],
    colour: str,
    other: str = "",
    marked: Sequence[Moment] = (),
    dashed: bool = False,
) -> list[str]:
    points = [(one, at) for one in moments if (at := value(one)) is not None]
    line = " ".join(f"{x(one.uptime_s):.1f},{y(at):.1f}" for one, at in points)
    style = 'stroke-dasharray="3 3"' if dashed else ""
    parts = [f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5" {style}/>']
    for one, at in points if not dashed else []:
        fill = other if one in marked else colour
        parts.append(f'<circle cx="{x(one.uptime_s):.1f}" cy="{y(at):.1f}" r="3" fill="{fill}"/>')
    return parts


def _lines(results: Sequence[Result]) -> list[_Line]:
    return [_Line(result, row) for result in results for row in result.rows]


def _end(line: _Line) -> float:
    """Where a line's bar or whisker ends, in ms."""
    assert line.row.latency is not None
    return max(frame_ms(line.result, line.row) or 0.0, line.row.latency.total_ms.high)


def _scale(low: float, high: float, begin: float, end: float) -> Callable[[float], float]:
    return lambda value: begin + (value - low) / ((high - low) or 1.0) * (end - begin)


def _ticks(longest: float) -> list[float]:
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 1e9) if longest / step <= 8)
    return [step * number for number in range(int(longest / step) + 1)]


def _axis(x: Callable[[float], float], longest: float, bottom: int, unit: str) -> list[str]:
    parts = []
    for value in _ticks(longest):
        parts.append(_stroke(x(value), _TOP - 4, x(value), bottom, _GRID))
        parts.append(_text(x(value), bottom + 16, f"{value:g}", 'text-anchor="middle"'))
    return [*parts, _text(_LEFT - 10, bottom + 16, unit, 'text-anchor="end"')]


def _legend(entries: Sequence[tuple[str, str]], left: float = _LEFT) -> list[str]:
    parts = []
    for name, colour in entries:
        parts += [_rect(left, 4, 12, 12, colour), _text(left + 18, 15, name)]
        left += 44 + 7 * len(name)
    return parts


def _whisker(x: Callable[[float], float], spread: Spread, y: float) -> str:
    low, high = x(spread.low), x(spread.high)
    return "".join(
        [
            _stroke(low, y, high, y, "#111"),
            _stroke(low, y - 5, low, y + 5, "#111"),
            _stroke(high, y - 5, high, y + 5, "#111"),
        ]
    )


def _name(line: _Line, y: float) -> str:
    return _text(_LEFT - 10, y + 16, line.name, 'text-anchor="end"')


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height}" fill="{colour}"/>'


def _stroke(x1: float, y1: float, x2: float, y2: float, colour: str, style: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {style}/>'


def _text(x: float, y: float, text: str, style: str = "", after: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}{after}</text>'


def _none(text: str) -> str:
    return f'<p class="none">{text}</p>'


def _svg(height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
    )
    return head + 'role="img" font-family="system-ui,sans-serif" font-size="13">' + "".join(parts) + "</svg>"
