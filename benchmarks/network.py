"""The network of a frame: every export variant on every engine that is installed, against what it was made from.

The naive way is torch's own exporter and ONNX Runtime; the slowest is torch itself, without folding.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bilayer.benchmarks.bench_report import BenchReport, Cell, Row
from bilayer.benchmarks.export_variants import make_model, unfolded_outputs, variants_of
from bilayer.benchmarks.random_bundle import write_random_bundle
from bilayer.benchmarks.timing import Samples, take_turns
from bilayer.export.fold import fold
from bilayer.model.config import PRESETS
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.engines import PRECISIONS, load_engine
from bilayer.runtime.errors import BilayerError

PACKAGES = ("torch", "onnxruntime", "openvino", "ncnn", "onnx")
TORCH, NAIVE = "torch eager, unfolded", "naive export, onnxruntime f32"
POSES = 32  # different inputs, one after the other
REST = 0.002  # s between two calls: the threads of one engine go to sleep before the next begins
PLAYABLE = {"+ one head: nearest": "nearest", "deconv": "deconv", "phase": "phase"}  # what bilayer-export makes

Call = Callable[[], object]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Setup:
    """What is to be timed."""

    preset: str = "medium"
    threads: tuple[int, ...] = (1, 2)
    repeats: int = 15
    warmup: int = 2
    engines: tuple[str, ...] = ("onnxruntime", "openvino", "ncnn")


def measure(setup: Setup, left_out: Callable[[str], None]) -> list[BenchReport]:
    """A report for each number of threads; what cannot run here is said to `left_out`."""
    model, parameters, poses = make_model(setup.preset, POSES)
    plain = fold(model, parameters)
    generators = variants_of(plain)
    config = PRESETS[setup.preset]
    reports = []
    with tempfile.TemporaryDirectory() as place:
        folders = {
            name: write_random_bundle(Path(place) / upsample, generators[name], config, poses[:1], upsample)
            for name, upsample in PLAYABLE.items()
        }
        expected = unfolded_outputs(model, parameters, poses[:1])
        model, parameters = model.float(), parameters.map(lambda tensor: tensor.float())
        naive = _naive_export(model, parameters, poses, Path(place))
        for threads in setup.threads:
            torch.set_num_threads(threads)
            sides: dict[str, Call] = {TORCH: _torch_side(model, parameters, poses)}
            sides[NAIVE] = _naive_side(naive, poses, threads)
            errors: dict[str, float] = {}
            for name, engine in _engines(folders, setup, threads, left_out):
                sides[name] = _engine_side(engine, poses)
                errors[name] = _error(engine.run(poses[0].astype(np.float32)), expected)
            times = take_turns(sides, setup.repeats, setup.warmup, f"{threads} threads", REST)
            gmacs = {name: sum(generators[name].macs().values()) / 1e9 for name in PLAYABLE}
            reports.append(_report(setup, threads, times, errors, gmacs))
    return reports


def _report(
    setup: Setup, threads: int, times: dict[str, Samples], errors: dict[str, float], gmacs: dict[str, float]
) -> BenchReport:
    rows = []
    for name, samples in times.items():
        variant = next((known for known in gmacs if name.startswith(known + ", ")), None)
        columns: dict[str, Cell] = {
            "x faster than torch": times[TORCH].ratio_to(samples),
            "GMAC": round(gmacs[variant], 3) if variant else None,
            "largest error": f"{errors[name]:.1e}" if name in errors else None,
        }
        rows.append(Row(name, samples, columns))
    settings: dict[str, Cell] = {
        "preset": setup.preset,
        "threads": threads,
        "repeats": setup.repeats,
        "warm-up": setup.warmup,
    }
    note = "Random weights, other poses at each call. Largest error: of any output, against torch in float64."
    title = f"Network of a frame, {threads} thread{'s' if threads > 1 else ''}"
    return BenchReport(title, tuple(rows), settings, PACKAGES, baseline=NAIVE, notes=(note,))


def _engines(
    folders: dict[str, Path], setup: Setup, threads: int, left_out: Callable[[str], None]
) -> Iterator[tuple[str, Any]]:
    for variant, folder in folders.items():
        bundle = read_bundle(folder)
        path = bundle.path(bundle.contract.files.onnx)
        for engine, precisions in PRECISIONS.items():
            for precision in precisions if engine in setup.engines else ():
                try:
                    loaded = load_engine(path, bundle.contract, engine, precision, threads=threads)
                except BilayerError as error:
                    left_out(f"{variant}, {engine} {precision}: {error}")
                    continue
                yield f"{variant}, {engine} {precision}", loaded


def _engine_side(engine: Any, poses: NDArray[np.float64]) -> Call:
    inputs = cycle(list(poses.astype(np.float32)))
    return lambda: engine.run(next(inputs))


def _torch_side(model: Any, parameters: Any, poses: NDArray[np.float64]) -> Call:
    inputs = cycle([torch.from_numpy(pose[None].astype(np.float32)) for pose in poses])

    def call() -> None:
        with torch.inference_mode():
            model.inference_generator(_embedded(model, next(inputs)), parameters)

    return call


def _naive_export(model: Any, parameters: Any, poses: NDArray[np.float64], folder: Path) -> Path:
    """The unfolded model through torch's tracing exporter, predicted parameters as constants."""

    class Frame(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedder, self.generator = model.keypoints_embedder, model.inference_generator

        def forward(self, encoded: torch.Tensor) -> tuple[torch.Tensor, ...]:
            layers = self.generator(_embedded(model, encoded), parameters)
            return layers.delta_uv, layers.lf_rgb, torch.sigmoid(layers.seg_logits)

    path = folder / "naive.onnx"
    example = torch.from_numpy(poses[:1].astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter announces its end
        torch.onnx.export(Frame().eval(), (example,), str(path), opset_version=17, dynamo=False, input_names=["pose"])
    return path


def _naive_side(path: Path, poses: NDArray[np.float64], threads: int) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as the player's
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = cycle(list(poses.astype(np.float32)[:, None]))
    return lambda: session.run(None, {"pose": next(inputs)})


def _embedded(model: Any, encoded: torch.Tensor) -> torch.Tensor:
    """The pose embedding of an already encoded pose: sines and cosines are made outside of the exported network."""
    mlp = model.keypoints_embedder
    return mlp.net["mlp"](encoded).view(-1, *mlp.out_shape)  # type: ignore[no-any-return]


def _error(outputs: dict[str, Floats], expected: NDArray[np.float64]) -> float:
    (merged,) = outputs.values()
    found = merged[0].astype(np.float64)
    found[5:] = found[5:] * 0.5 + 0.5  # as the segmentation is to be read: export/lower.py
    return float(np.abs(found - expected).max())
