"""A parity ladder as one HTML file: tables, plots in SVG, pictures inside of it, nothing from elsewhere."""

import base64
import html
import io
from pathlib import Path

import numpy as np
from PIL import Image

from bilayer.benchmarks.parity.ladder import Ladder, Pictures
from bilayer.benchmarks.parity.report import RESULTS, as_markdown
from bilayer.runtime.agreement import Bytes
from bilayer.runtime.files import replacing

GAIN = 32  # of the differences, to be seen at all
STRIP_POSES = 3  # per rung
PANELS = 3 * STRIP_POSES  # square pictures side by side
MOST_DB = 150.0  # right end of the bars
COLOURS = {"delta_uv": "#4878a8", "lf_rgb": "#c46d3f", "seg": "#5a9457", "frame": "#777777"}
_STYLE = """
body { font: 15px/1.45 sans-serif; margin: 2em auto; max-width: 1100px; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0; font-size: 13px } td, th { border: 1px solid #ccc; padding: 2px 8px }
th { background: #f0f0f0; text-align: left } td.number { text-align: right; font-variant-numeric: tabular-nums }
.broken { background: #f6c9c4 } .warned { background: #fbe9b5 } .passed { background: #d5ecd0 }
img { image-rendering: pixelated } figure { margin: 1em 0 } figcaption { font-size: 13px; color: #555 }
"""


def write_html(ladder: Ladder, path: Path) -> None:
    """Write the report.

    Raises:
        OutputError: the file cannot be written.
    """
    name = html.escape(str(ladder.bundle.folder))
    body = [f"<h1>Parity of {name}: <span class={ladder.verdict}>{ladder.verdict}</span></h1>"]
    body += [_blocks(as_markdown(ladder)), "<h2>PSNR against float64</h2>", _bars(ladder)]
    body += ["<h2>Warp error along the track</h2>", _uv_plot(ladder), f"<h2>Frames; |difference| x {GAIN}</h2>"]
    body += [
        "<p>From the left, pose by pose: reference, rung, difference, over white; differences of alpha are grey.</p>"
    ]
    for step in ladder.steps:
        picture = strip(ladder.pictures[step.name])
        share = 100 * picture.width / (PANELS * picture.height)  # a rung of fewer poses is not shown larger
        caption = html.escape(f"{step.name}: {step.label}")
        shown = f'<img alt="{caption}" src="{_data_uri(picture)}" style="width:{share:.1f}%">'
        body.append(f"<figure>{shown}<figcaption>{caption}</figcaption></figure>")
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Parity of {name}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")


def strip(pictures: Pictures) -> Image.Image:
    """Reference, rung and difference of up to three poses, side by side, each S px wide."""
    poses = list(pictures.found)
    count = min(STRIP_POSES, len(poses))
    panels = []
    for i in (poses[k * len(poses) // count] for k in range(count)):
        found, expected = pictures.found[i], pictures.expected[i]
        panels += [_over_white(expected), _over_white(found), _difference(found, expected)]
    return Image.fromarray(np.concatenate(panels, axis=1))


def _over_white(frame: Bytes) -> Bytes:
    alpha = frame[..., 3:] / 255
    shown: Bytes = np.rint(frame[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return shown


def _difference(found: Bytes, expected: Bytes) -> Bytes:
    apart = np.abs(found.astype(np.int32) - expected)
    shown: Bytes = np.minimum(255, GAIN * np.maximum(apart[..., :3], apart[..., 3:])).astype(np.uint8)
    return shown


def _data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _bars(ladder: Ladder) -> str:
    """A bar for each result of each rung; as lines two gates, and the warning of FP16 arithmetic."""
    left, width, bar = 150, 800, 11
    lines, y = [], 20
    for step in ladder.steps:
        values = {name: step.truth.results[name].psnr_db for name in RESULTS if name in step.truth.results}
        values["frame"] = step.truth.frame.psnr_db
        lines.append(f'<text x="{left - 8}" y="{y + 2 * bar}" text-anchor="end">{html.escape(step.name)}</text>')
        for name, psnr in values.items():
            length = width * float(np.clip(psnr, 0, MOST_DB)) / MOST_DB
            colour = COLOURS[name]
            lines.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar - 1}" fill="{colour}"/>')
            lines.append(f'<text x="{left + length + 4:.1f}" y="{y + bar - 2}" font-size="10">{psnr:.1f}</text>')
            y += bar
        y += 8
    held = ladder.thresholds
    for limit in (held.arithmetic_warning, held.hybrid_frame_psnr, held.float32_psnr):
        x = left + width * limit / MOST_DB
        lines.append(f'<path d="M{x:.1f} 16V{y}" stroke="#a00" stroke-dasharray="4 3"/>')
        lines.append(f'<text x="{x + 3:.1f}" y="12" font-size="10" fill="#a00">{limit:.0f} dB</text>')
    return _svg(left + width + 60, y + 24, lines + _legend(COLOURS, left, y + 16))


def _uv_plot(ladder: Ladder) -> str:
    """uv error in texture pixels by pose, logarithmic; one line for each rung."""
    left, width, height = 60, 780, 260
    drawn = {step.name: np.array(ladder.pictures[step.name].uv_pixels) for step in ladder.steps}
    drawn = {name: values for name, values in drawn.items() if np.isfinite(values).all()}
    exponents = {name: np.log10(np.maximum(values, 1e-8)) for name, values in drawn.items()}
    if not exponents:
        return "<p>No finite values.</p>"
    low = int(np.floor(min(values.min() for values in exponents.values())))
    high = max(low + 1, int(np.ceil(max(values.max() for values in exponents.values()))))

    def at(value: float) -> float:
        return 20 + height * (high - value) / (high - low)

    lines = []
    for power in range(low, high + 1):
        lines.append(f'<path d="M{left} {at(power):.1f}h{width}" stroke="#ddd"/>')
        lines.append(
            f'<text x="{left - 6}" y="{at(power) + 4:.1f}" text-anchor="end" font-size="11">1e{power} px</text>'
        )
    colours = {}
    for k, (name, values) in enumerate(exponents.items()):
        colours[name] = f"hsl({k * 360 // len(exponents)} 60% 40%)"
        poses = list(ladder.pictures[name].found)
        points = [(left + width * (i + 0.5) / ladder.poses, at(v)) for i, v in zip(poses, values, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colours[name]}"/>')
        lines += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colours[name]}"/>' for x, y in points]
    for k, (name, colour) in enumerate(colours.items()):
        y = 30 + 16 * k
        lines.append(f'<rect x="{left + width + 12}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        lines.append(f'<text x="{left + width + 26}" y="{y}" font-size="12">{html.escape(name)}</text>')
    return _svg(left + width + 160, height + 40, lines)


def _legend(colours: dict[str, str], x: int, y: int) -> list[str]:
    lines = []
    for k, (name, colour) in enumerate(colours.items()):
        lines.append(f'<rect x="{x + 90 * k}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        lines.append(f'<text x="{x + 90 * k + 14}" y="{y}" font-size="12">{name}</text>')
    return lines


def _svg(width: int, height: int, lines: list[str]) -> str:
    opening = f'<svg viewBox="0 0 {width} {height}" width="{width}" style="max-width:100%" font-family="sans-serif"'
    return f'{opening} font-size="13" xmlns="http://www.w3.org/2000/svg">{"".join(lines)}</svg>'


def _blocks(markdown: str) -> str:
    """Paragraphs and tables of our own Markdown; nothing else is in it."""
    parts = []
    for block in markdown.split("\n\n"):
        lines = block.splitlines()
        if not lines[0].startswith("|"):
            parts.append(f"<p>{'<br>'.join(html.escape(line) for line in lines)}</p>")
            continue
        rows = [[html.escape(cell.strip()) for cell in line.strip("|").split(" | ")] for line in lines]
        numeric = [rule.endswith("-:") for rule in lines[1].strip("|").split("|")]
        head = "".join(f"<th>{cell}</th>" for cell in rows[0])
        content = "".join("<tr>" + "".join(map(_cell, row, numeric)) + "</tr>" for row in rows[2:])
        parts.append(f"<table><tr>{head}</tr>{content}</table>")
    return "".join(parts)


def _cell(text: str, numeric: bool) -> str:
    kind = "number" if numeric else text if text in ("passed", "warned", "broken") else ""
    return f'<td class="{kind}">{text}</td>' if kind else f"<td>{text}</td>"
