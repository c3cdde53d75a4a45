"""The stages of bilayer-export, timed over whole exports of one photo."""

import tempfile
from pathlib import Path

from bilayer.benchmarks.speed.options import ExportBench
from bilayer.benchmarks.speed.report import BenchReport, BenchRow
from bilayer.benchmarks.speed.timing import Samples
from bilayer.export.options import ExportOptions
from bilayer.export.pipeline import Stopwatch, export_avatar
from bilayer.model.config import DEMO_CHECKPOINT
from bilayer.runtime.arrays import Bytes
from bilayer.runtime.command.console import progress

PACKAGES = ("torch", "onnx", "onnxruntime", "onnxruntime-qnn", "ai-edge-litert")


def time_export(options: ExportBench, photo: Bytes | None = None) -> BenchReport:
    """Export the photo again and again into a folder that is thrown away.

    `photo` has its pixels, where they have been read already.

    Raises:
        BilayerError: the photo or the checkpoint cannot be used, as bilayer-export would say.
    """
    times: dict[str, list[float]] = {}
    turns, checkpoint = options.repeats + options.warm_up, options.checkpoint or DEMO_CHECKPOINT
    with tempfile.TemporaryDirectory() as place, progress("exporting", turns) as advance:
        for turn in range(turns):
            watch = Stopwatch()
            asked = ExportOptions(options.photo, Path(place) / "avatar.dlc", checkpoint=checkpoint)
            gmacs = export_avatar(asked, watch, photos=None if photo is None else [photo]).bundle.contract.graph.gmacs
            if turn >= options.warm_up:
                for stage, seconds in {**watch.seconds, "all": sum(watch.seconds.values())}.items():
                    times.setdefault(stage, []).append(seconds * 1e3)
            advance()
    rows = tuple(BenchRow(stage, Samples(tuple(values))) for stage, values in times.items())
    settings = {"gmacs": gmacs, "repeats": options.repeats, "warm_up": options.warm_up}
    note = "One process: imports are not in it; `bilayer-export --timings` adds the start of Python, torch and onnx."
    return BenchReport("Export", rows, settings, PACKAGES, notes=(note,))
