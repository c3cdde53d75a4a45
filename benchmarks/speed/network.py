"""The network of a frame: every export variant on every engine that is installed, against what it was made from.

The naive way is torch's own exporter and ONNX Runtime; the slowest is torch itself, without folding.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from bilayer.benchmarks.parity.random_bundle import write_random_bundle
from bilayer.benchmarks.speed import peak
from bilayer.benchmarks.speed.export_variants import UnfoldedFrame, make_model, unfolded_outputs, variants_of
from bilayer.benchmarks.speed.options import NetworkBench
from bilayer.benchmarks.speed.report import BenchReport, BenchRow, Cell
from bilayer.benchmarks.speed.timing import Samples, take_turns
from bilayer.export.network.fold import fold
from bilayer.model.config import PRESETS
from bilayer.model.threads import torch_threads
from bilayer.runtime.agreement import compare
from bilayer.runtime.bundle import Bundle, read_bundle
from bilayer.runtime.engines.choice import PRECISIONS
from bilayer.runtime.engines.load import load_engine
from bilayer.runtime.engines.onnx_runtime import make_session
from bilayer.runtime.errors import BilayerError, ToolMissingError
from bilayer.runtime.frame import NetworkOutputs
from bilayer.runtime.vocabulary import Precision

PACKAGES = ("torch", "onnxruntime", "openvino", "ncnn", "onnx")
TORCH, NAIVE = "torch eager, unfolded", "naive export, onnxruntime fp32"
POSES = 32  # different inputs, one after the other
REST = 0.002  # s between two calls: the threads of one engine go to sleep before the next begins

NOTE = (
    "Random weights, other poses at each call. Ratios are medians of the turns' own. dB: the worst result of one pose "
    "against torch in float64; large random weights amplify rounding, so that reduced precision looks worse than with "
    "trained ones."
)

Call = Callable[[], object]


@dataclass(frozen=True)
class NetworkSide:
    """The properties of a side other than its times."""

    precision: str
    gmacs: float | None = None
    parity: tuple[float, float] | None = None  # dB and largest error; of torch and the naive export: not looked at


def measure(setup: NetworkBench, left_out: Callable[[str], None]) -> list[BenchReport]:
    """Return a report for each number of threads, and one of the quickest; `left_out` is told what cannot run here."""
    model, parameters, poses = make_model(setup.preset, POSES)
    generators = variants_of(fold(model, parameters))
    config = PRESETS[setup.preset]
    reports = []
    say = cache(left_out)  # each once
    with tempfile.TemporaryDirectory() as place:
        folders = {
            name: write_random_bundle(Path(place) / str(i), generator, config, poses[:1], name)
            for i, (name, generator) in enumerate(generators.items())
        }
        expected = unfolded_outputs(model, parameters, poses[:1])
        model, parameters = model.float(), parameters.map(lambda tensor: tensor.float())
        frame = UnfoldedFrame(model, parameters).eval()
        naive = _naive_export(frame, poses, Path(place))
        for threads in setup.threads:
            with torch_threads(threads):
                sides: dict[str, Call] = {TORCH: _torch_side(frame, poses)}
                sides[NAIVE] = _naive_side(naive, poses, threads)
                sides[peak.PEAK] = peak.matrix_product(threads)
                known = {name: NetworkSide("fp32") for name in sides}
                for variant, folder in folders.items():
                    bundle = read_bundle(folder)
                    for name, engine in _engines(variant, bundle, setup, threads, say):
                        sides[name] = _engine_side(engine, poses)
                        engine.infer(poses[0].astype(np.float32))
                        found = NetworkOutputs.read(bundle.contract.outputs, engine.tensors)
                        gmacs = sum(generators[variant].macs().values()) / 1e9
                        known[name] = NetworkSide(engine.precision, round(gmacs, 3), _parity(found, expected))
                times = take_turns(sides, setup.repeats, setup.warm_up, f"{threads} threads", REST)
                reports.append(_report(setup, threads, times, known))
    return [*reports, _quickest(reports)]


def _report(setup: NetworkBench, threads: int, times: dict[str, Samples], known: dict[str, NetworkSide]) -> BenchReport:
    rows = []
    for name, samples in times.items():
        side = known[name]
        columns: dict[str, Cell] = {
            "x faster than naive": round(times[NAIVE].ratio_to(samples), 2),
            "x faster than torch": round(times[TORCH].ratio_to(samples), 2),
            "precision": side.precision,
            "GMAC": side.gmacs,
            "of peak": side.gmacs and peak.share_of_peak(side.gmacs, samples, times[peak.PEAK]),
            "ms at peak": side.gmacs and peak.at_peak(side.gmacs, times[peak.PEAK]),
            "dB": None if side.parity is None else round(side.parity[0], 1),
            "largest error": None if side.parity is None else f"{side.parity[1]:.1e}",
        }
        rows.append(BenchRow(name, samples, columns))
    settings: dict[str, Cell] = {
        "preset": setup.preset,
        "threads": threads,
        "repeats": setup.repeats,
        "warm_up": setup.warm_up,
    }
    title = f"Network of a frame, {threads} thread{'s' if threads > 1 else ''}"
    return BenchReport(title, tuple(rows), settings, PACKAGES, notes=(NOTE, peak.NOTE))


def _quickest(reports: list[BenchReport]) -> BenchReport:
    """Report, for each precision, the variant and engine that took the least time relative to the naive export."""
    rows = []
    for report in reports:
        for precision in get_args(Precision):
            pairs = [r for r in report.rows if r.columns["precision"] == precision and r.columns["GMAC"]]
            if not pairs:
                continue
            best = max(pairs, key=lambda row: float(row.columns["x faster than naive"] or 0))
            assert best.samples is not None
            columns: dict[str, Cell] = {"pair": best.name, "median ms": round(best.samples.median, 2)}
            wanted = ("x faster than naive", "x faster than torch", "dB", "largest error")
            columns |= {name: best.columns[name] for name in wanted}
            threads = report.settings["threads"]
            rows.append(BenchRow(f"{threads} thread{'' if threads == 1 else 's'}, {precision}", columns=columns))
    return BenchReport("The quickest pairs", tuple(rows), packages=PACKAGES, notes=("Of the tables above.",))


def _engines(
    variant: str, bundle: Bundle, setup: NetworkBench, threads: int, left_out: Callable[[str], None]
) -> Iterator[tuple[str, Any]]:
    path = bundle.path(bundle.contract.files.onnx)
    for engine, precisions in PRECISIONS.items():
        for precision in precisions if engine in setup.engines else ():
            try:
                loaded = load_engine(path, bundle.contract, engine, precision, threads=threads)
            except ToolMissingError as error:
                left_out(str(error))
            except BilayerError as error:
                reason = str(error).removeprefix(f"{path}: ").split("; ")[0]
                left_out(f"{variant} on {engine}: {reason}" if variant in reason or engine in reason else reason)
            else:
                yield f"{variant}, {engine} {precision}", loaded


def _engine_side(engine: Any, poses: NDArray[np.float64]) -> Call:
    inputs = cycle(list(poses.astype(np.float32)))
    return lambda: engine.infer(next(inputs))


def _torch_side(frame: UnfoldedFrame, poses: NDArray[np.float64]) -> Call:
    inputs = cycle([torch.from_numpy(pose[None].astype(np.float32)) for pose in poses])

    def call() -> None:
        with torch.inference_mode():
            frame(next(inputs))

    return call


def _naive_export(frame: UnfoldedFrame, poses: NDArray[np.float64], folder: Path) -> Path:
    """The unfolded model through torch's tracing exporter, predicted parameters as constants."""
    path = folder / "naive.onnx"
    example = torch.from_numpy(poses[:1].astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter announces its end
        torch.onnx.export(frame, (example,), str(path), opset_version=17, dynamo=False, input_names=["pose"])
    return path


def _naive_side(path: Path, poses: NDArray[np.float64], threads: int) -> Call:
    session = make_session(path, threads)  # as the player's
    inputs = cycle(list(poses.astype(np.float32)[:, None]))
    return lambda: session.run(None, {"pose": next(inputs)})


def _parity(found: NetworkOutputs, expected: NDArray[np.float64]) -> tuple[float, float]:
    """PSNR of the worst result in dB, and the largest error of any number."""
    agreement = compare(found, NetworkOutputs(expected[:2], expected[2:5], expected[5:]))
    error = np.abs(np.concatenate(list(found.by_name.values())) - expected).max()
    return min(agreement.psnr_db.values()), float(error)
