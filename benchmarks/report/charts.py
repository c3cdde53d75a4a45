"""Charts in one style, as SVG whose texts stay text: the same data give the same bytes.

What is drawn is said in data, so that nobody imports matplotlib who draws nothing.
"""

import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bilayer.benchmarks.report.document import GRID, INK, MUTED, PAPER, SHADE, require_packages

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

ALARM, ALARM_SHADE = "#d1493b", "#d1493b33"
BLUE, PALE_BLUE, OCHRE, GREEN, PURPLE, GREY = "#3f7cc4", "#93b8e3", "#cf8f24", "#4a9b66", "#8a6fc0", "#8d959e"
SERIES = (BLUE, OCHRE, GREEN, PURPLE, ALARM, "#2f9c9c", "#b45f95", "#8b7a3a", "#5d6fd0", GREY, "#7aa33a")
RESULT_COLOURS = {"delta_uv": BLUE, "lf_rgb": OCHRE, "seg": GREEN, "frame": PURPLE}  # of a network and its frame
HINT = "hint: "  # begins the name of an element that has one
WIDTH = 1000  # px of a chart
LONGEST_NAME = 44  # characters of a row's name
_STYLE: dict[Any, Any] = {
    "figure.dpi": 72, "svg.fonttype": "none", "svg.hashsalt": "bilayer", "text.parse_math": False,
    "font.family": "DejaVu Sans", "font.size": 12, "text.color": INK, "axes.labelcolor": MUTED, "axes.labelsize": 12,
    "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelsize": 11, "ytick.labelsize": 11, "axes.titlesize": 13,
    "axes.edgecolor": GRID, "axes.facecolor": PAPER, "figure.facecolor": PAPER, "grid.color": GRID,
    "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False,
    "xtick.major.size": 0, "ytick.major.size": 0, "legend.frameon": False, "legend.fontsize": 11,
    "figure.constrained_layout.hspace": 0.06, "figure.constrained_layout.h_pad": 0.12,
    "figure.constrained_layout.w_pad": 0.1,
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A part of a bar, which begins where the one before ends."""

    length: float
    colour: str
    text: str = ""  # inside, where it fits
    hint: str = ""  # beside a reader's pointer


@dataclass(frozen=True)
class Bar:
    """A bar of one quantity: its parts, whiskers and texts."""

    parts: Sequence[Part]
    spans: Sequence[tuple[float, float]] = ()  # whiskers, from and to
    text: str = ""  # beyond its end
    alarm: str = ""  # after that, in red


@dataclass(frozen=True)
class ChartRow:
    """Bars of one name, one below the other."""

    name: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class BarChart:
    """Rows over one axis, which begins at 0."""

    label: str  # of the axis, with its unit
    rows: Sequence[ChartRow]
    title: str = ""
    legend: Mapping[str, str] = field(default_factory=dict)  # colours by what they mean
    marks: Mapping[str, float] = field(default_factory=dict)  # dashed lines by what they mean


@dataclass(frozen=True)
class Curve:
    """A line with a dot at each point."""

    name: str
    colour: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False  # without dots
    marked: Sequence[int] = ()  # numbers of the points that are red


@dataclass(frozen=True)
class Panel:
    """Curves over one vertical axis."""

    label: str  # of the axis, with its unit
    curves: Sequence[Curve]
    logarithmic: bool = False
    least: float | None = None  # where the axis begins, instead of at the lowest point


@dataclass(frozen=True)
class Ground:
    """A stretch of the horizontal axis with a ground of its own."""

    left: float
    right: float
    text: str
    alarm: bool  # red


def bar_charts(charts: Sequence[BarChart]) -> str:
    """Return charts one below the other, as SVG, or a ToolMissingError where matplotlib is not installed."""
    heights = [sum(_height(row) for row in chart.rows) for chart in charts]
    around = [60 + 24 * bool(chart.title) + 20 * bool(chart.marks) + 24 * bool(chart.legend) for chart in charts]
    with _figure(sum(heights) + sum(around)) as figure:
        grid = figure.subplots(len(charts), squeeze=False, height_ratios=heights)
        drawn = [(axes, _draw_bars(axes, chart)) for axes, chart in zip(grid[:, 0], charts, strict=True)]
        _legend(figure, {name: colour for chart in charts for name, colour in chart.legend.items()})
        figure.draw_without_rendering()  # from here on it is known how wide texts are
        for axes, texts in drawn:
            _make_room(axes, texts)
        figure.draw_without_rendering()
        return _svg(figure)


def line_panels(panels: Sequence[Panel], label: str, grounds: Sequence[Ground] = ()) -> str:
    """Return panels over one horizontal axis with that label, as SVG; errors are those of `bar_charts`."""
    with _figure(110 + (300 if len(panels) == 1 else 200) * len(panels)) as figure:
        grid = figure.subplots(len(panels), squeeze=False, sharex=True)[:, 0]
        for axes, panel in zip(grid, panels, strict=True):
            axes.grid(visible=True, axis="both")
            axes.set_ylabel(panel.label)
            if panel.logarithmic:
                powers = [math.log10(y) for curve in panel.curves for y in curve.y]
                low, high = math.floor(min(powers)), math.ceil(max(powers))
                axes.set_yscale("log")
                axes.set_ylim(10.0**low, 10.0 ** max(high, low + 1))
                axes.yaxis.set_major_formatter("{x:g}")
                axes.yaxis.set_minor_formatter("")
            for ground in grounds:
                colour = ALARM_SHADE if ground.alarm else SHADE
                axes.axvspan(ground.left, ground.right, facecolor=colour, edgecolor="none", zorder=0)
            for curve in panel.curves:
                style = (0, (4, 3)) if curve.dashed else "-"
                axes.plot(curve.x, curve.y, color=curve.colour, linewidth=1.4, linestyle=style)
                for number, point in enumerate(zip(curve.x, curve.y, strict=True)) if not curve.dashed else ():
                    colour = ALARM if number in curve.marked else curve.colour
                    axes.plot(*point, "o", color=colour, markersize=4.5)
            if panel.least is not None:
                axes.set_ylim(bottom=panel.least)
        grid[-1].set_xlabel(label)
        if all(x == int(x) for panel in panels for curve in panel.curves for x in curve.x):  # poses: no half ones
            grid[-1].locator_params(axis="x", integer=True)
        _legend(figure, {curve.name: curve.colour for panel in panels for curve in panel.curves})
        figure.draw_without_rendering()
        _name_grounds(grid[0], grounds)
        return _svg(figure)


@contextmanager
def _figure(height: float) -> Iterator["Figure"]:
    """An empty figure in our style; what matplotlib is set to, and what it logs, is as before afterwards."""
    import logging

    logger = logging.getLogger("matplotlib")  # says at its first start that it looks for fonts
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        require_packages("matplotlib")
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        with rc_context(_STYLE), warnings.catch_warnings():
            # A name in Chinese is measured by another font's widths here, and shown right in a browser
            warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
            yield Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
    finally:
        logger.setLevel(before)


def _svg(figure: "Figure") -> str:
    """SVG without a date, and without names of elements, which would occur twice on a page of two charts."""
    file = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(file, format="svg", metadata=nothing)
    text = re.sub('(width|height)="([0-9.]+)pt"', r'\1="\2"', file.getvalue())  # a point is a pixel here
    text = re.sub(f'<g id="{HINT}([^"]*)">', r"<g><title>\1</title>", text)
    return re.sub(r'<g id="[^"]*"(/?)>', r"<g\1>", text[text.index("<svg") :])


def _height(row: ChartRow) -> float:
    """Px, the gap to the next row included."""
    return 32.0 if len(row.bars) == 1 else 13.0 * len(row.bars) + 14


@dataclass(frozen=True)
class _Texts:
    """The texts of a bar that is drawn."""

    end: float  # of the bar
    beyond: "list[Text]"
    inside: "list[tuple[Text, float]]"  # with the length of its part


def _draw_bars(axes: "Axes", chart: BarChart) -> list[_Texts]:
    axes.grid(visible=True, axis="x")
    axes.set_xlabel(chart.label)
    axes.set_title(chart.title, loc="left", fontweight="bold", pad=24 if chart.marks else 8)
    top, middles, drawn = 0.0, [], []
    for row in chart.rows:
        thick, gap = (22.0, 10.0) if len(row.bars) == 1 else (13.0, 14.0)
        middles.append(top + _height(row) / 2)
        for number, bar in enumerate(row.bars):
            y = top + gap / 2 + (number + 0.5) * thick
            drawn.append(_draw_bar(axes, bar, y, thick - (2 if len(row.bars) > 1 else 0)))
        top += _height(row)
    for text, x in chart.marks.items():
        axes.axvline(x, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1.5)
        axes.annotate(text, (x, 1), (0, 4), ("data", "axes fraction"), "offset points", ha="center", size=11)
    axes.set_yticks(middles, [_shortened(row.name) for row in chart.rows], color=INK, size=12)
    axes.set_ylim(top, 0)
    axes.set_xlim(0, max([one.end for one in drawn] + list(chart.marks.values()), default=0.0) or 1.0)
    return drawn


def _draw_bar(axes: "Axes", bar: Bar, y: float, thick: float) -> _Texts:
    size = 12 if thick > 15 else 10
    inside, left = [], 0.0
    for part in bar.parts:
        (drawn,) = axes.barh(y, part.length, thick, left, color=part.colour, linewidth=0)
        drawn.set_gid(HINT + part.hint if part.hint else None)
        middle = left + part.length / 2
        name = axes.text(middle, y, part.text, ha="center", va="center_baseline", size=11, color="#fff")
        inside.append((name, part.length))
        left += part.length
    for low, high in bar.spans:
        axes.errorbar((low + high) / 2, y, xerr=(high - low) / 2, color=INK, capsize=thick / 5, linewidth=1.2)
    end = max([left, *(high for _, high in bar.spans)])
    ground = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}  # no mark goes through a number
    text = axes.annotate(
        bar.text, (end, y), (6, 0), "data", "offset points", va="center_baseline", size=size, bbox=ground
    )
    beyond: list[Text] = [text]
    if bar.alarm:
        alarm = axes.annotate(bar.alarm, (1, 0), (8, 0), text, "offset points", size=size, color=ALARM, weight="bold")
        beyond.append(alarm)
    for one in (*beyond, *(name for name, _ in inside)):
        one.set_in_layout(False)
    return _Texts(end, beyond, inside)


def _make_room(axes: "Axes", drawn: Sequence[_Texts]) -> None:
    """Lengthen the axis until the texts beyond the bars fit, and leave out texts that are wider than their part."""
    width, longest = axes.bbox.width, axes.get_xlim()[1]
    for bar in drawn:
        share = sum(text.get_window_extent().width + 10 for text in bar.beyond) / width
        longest = max(longest, bar.end / max(0.2, 1 - share))
    axes.set_xlim(0, longest)
    for text, length in (pair for bar in drawn for pair in bar.inside):
        if text.get_window_extent().width + 6 > length / longest * width:
            text.remove()


def _name_grounds(axes: "Axes", grounds: Sequence[Ground]) -> None:
    """Above the panel; upright where they are too narrow for their names."""
    left, right = axes.get_xlim()
    names = []
    for ground in grounds:
        name = axes.annotate(ground.text, (ground.left, 1), (0, 4), ("data", "axes fraction"), "offset points", size=10)
        names.append((name, (ground.right - ground.left) / (right - left) * axes.bbox.width))
    if any(name.get_window_extent().width > room for name, room in names):
        for name, _ in names:
            name.set_rotation(90)


def _legend(figure: "Figure", colours: Mapping[str, str]) -> None:
    from matplotlib.patches import Patch

    if len(colours) > 1:
        patches = [Patch(color=colour, label=name) for name, colour in colours.items()]
        figure.legend(
            handles=patches, loc="outside upper left", ncols=min(6, len(patches)), handlelength=1, handleheight=1
        )


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[:10]}…{name[11 - LONGEST_NAME :]}"
