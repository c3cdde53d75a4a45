"""Charts and frames of a parity ladder, and the page that they stand on."""

import base64
import io
import itertools
from collections.abc import Iterator

import numpy as np
from PIL import Image

from bilayer.benchmarks.parity.ladder import Ladder, Pictures
from bilayer.benchmarks.parity.report import make_report
from bilayer.benchmarks.report import charts
from bilayer.benchmarks.report.charts import Bar, BarChart, ChartRow, Curve, Panel, Part
from bilayer.benchmarks.report.document import Picture
from bilayer.runtime.agreement import FRAME
from bilayer.runtime.arrays import Bytes
from bilayer.runtime.frame import RESULTS
from bilayer.runtime.media.writers import on_white

GAIN = 32  # of the differences, to be seen at all
STRIP_POSES = 3  # per rung
MOST_SHOWN = 150.0  # dB: longer bars would shorten all others
LEAST_SHOWN = 1e-8  # px, of an error that is none on a logarithmic axis


def page(ladder: Ladder) -> str:
    """Return the report as one HTML file that loads nothing; a ToolMissingError without jinja2 or matplotlib."""
    return make_report(ladder).page([_psnr(ladder), _warp(ladder), *_frames(ladder)] if ladder.steps else [])


def _psnr(ladder: Ladder) -> Picture:
    """A bar for each result of each rung; as lines the gates in dB."""
    rows = []
    for step in ladder.steps:
        psnr_db = step.truth.agreement.psnr_db
        values = {name: psnr_db[name] for name in (*RESULTS, FRAME) if name in psnr_db}
        bars = [
            Bar(
                [Part(float(np.clip(db, 0, MOST_SHOWN)), charts.RESULT_COLOURS[name], hint=f"{name}: {db:.1f} dB")],
                (),
                f"{db:.1f}",
            )
            for name, db in values.items()
        ]
        rows.append(ChartRow(step.name, bars))
    held = ladder.thresholds
    limits = (held.reduced_floor, held.fp16_hybrid_psnr, held.fp32_psnr)
    chart = BarChart(
        "PSNR, dB", rows, legend=charts.RESULT_COLOURS, marks={f"{limit:.0f} dB": limit for limit in limits}
    )
    caption = (
        f"Against: {ladder.truth}. Of the worst pose; 200 dB: no difference. Dashed, from the left: under it frames of "
        "FP16 arithmetic, lf and mask of FP16 storage, and any result of float32 are broken."
    )
    return Picture(charts.bar_charts([chart]), "How near each rung is to the truth", caption)


def _warp(ladder: Ladder) -> Picture:
    """The warp's error in texture pixels by pose; one line for each rung."""
    curves = []
    for step, colour in zip(ladder.steps, itertools.cycle(charts.SERIES), strict=False):
        pixels = [max(pose.uv_pixels, LEAST_SHOWN) for pose in step.truth.poses]
        curves.append(Curve(step.name, colour, [number + 1 for number in ladder.pictures[step.name].found], pixels))
    panel = Panel("largest error, texture pixels", curves, logarithmic=True)
    return Picture(charts.line_panels([panel], "pose"), "The warp along the track")


def _frames(ladder: Ladder) -> Iterator[Picture]:
    title = f"Frames: truth, rung, |difference| × {GAIN}"
    for step in ladder.steps:
        yield Picture(
            _data_uri(strip(ladder.pictures[step.name])), title, f"{step.name}: {step.label}", step.ruling.verdict
        )
        title = ""


def strip(pictures: Pictures) -> Image.Image:
    """Return truth, rung and difference over white of up to three poses in rows: (N S, 3 S); of alpha in grey."""
    poses = list(pictures.found)
    count = min(STRIP_POSES, len(poses))
    lines = []
    for i in (poses[k * len(poses) // count] for k in range(count)):
        found, expected = pictures.found[i], pictures.expected[i]
        panels = [on_white(expected), on_white(found), _difference(found, expected)]
        lines.append(np.concatenate(panels, axis=1))
    return Image.fromarray(np.concatenate(lines))


def _difference(found: Bytes, expected: Bytes) -> Bytes:
    apart = np.abs(found.astype(np.int32) - expected)
    shown: Bytes = np.minimum(255, GAIN * np.maximum(apart[..., :3], apart[..., 3:])).astype(np.uint8)
    return shown


def _data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
