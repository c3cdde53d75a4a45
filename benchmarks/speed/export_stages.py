"""The stages of bilayer-export, timed over whole exports of one photo."""

import tempfile
from pathlib import Path

from bilayer.benchmarks.speed.report import BenchReport, BenchRow
from bilayer.benchmarks.speed.timing import Samples
from bilayer.export.options import ExportOptions
from bilayer.export.pipeline import Stopwatch, export_avatar
from bilayer.model.config import DEMO_CHECKPOINT
from bilayer.runtime.console import progress

PACKAGES = ("torch", "onnx", "onnxruntime", "onnxruntime-qnn", "ai-edge-litert")


def time_export(photo: Path, checkpoint: Path | None, repeats: int, warmup: int) -> BenchReport:
    """Export `photo` again and again into a folder that is thrown away.

    Raises:
        BilayerError: the photo or the checkpoint cannot be used, as bilayer-export would say.
    """
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place, progress("exporting", repeats + warmup) as advance:
        for turn in range(repeats + warmup):
            watch = Stopwatch()
            options = ExportOptions(photo, Path(place) / "avatar.dlc", checkpoint=checkpoint or DEMO_CHECKPOINT)
            gmacs = export_avatar(options, watch).bundle.contract.graph.gmacs
            if turn >= warmup:
                for stage, seconds in {**watch.seconds, "all": sum(watch.seconds.values())}.items():
                    times.setdefault(stage, []).append(seconds * 1e3)
            advance()
    rows = tuple(BenchRow(stage, Samples(tuple(values))) for stage, values in times.items())
    settings = {"GMAC a frame": gmacs, "repeats": repeats, "warm-up": warmup}
    note = "One process: imports are not in it; `bilayer-export --timings` adds the start of Python, torch and onnx."
    return BenchReport("Export", rows, settings, PACKAGES, notes=(note,))
