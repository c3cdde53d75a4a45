"""Frames per second of the player, by network engine: `bilayer-bench frame`.

A random avatar of a preset, or any bundle, played by every installed engine in turns of a few frames, so that a busy
moment hits them alike. Before each turn it waits until the last engine's threads sleep, and leaves one frame untimed.
Times are wall times, medians.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bilayer.benchmarks.parity.random_bundle import write_random_bundle
from bilayer.benchmarks.speed import peak
from bilayer.benchmarks.speed.export_variants import make_generator
from bilayer.benchmarks.speed.options import FrameBench
from bilayer.benchmarks.speed.report import BenchReport, BenchRow, Cell
from bilayer.benchmarks.speed.timing import Samples
from bilayer.export.network.lower import GraphOptions, lower
from bilayer.export.network.rewrite import fold_norms
from bilayer.model.config import PRESETS
from bilayer.runtime.agreement import FRAME, MOST_DB, RANGES, psnr
from bilayer.runtime.command.console import progress
from bilayer.runtime.engines.choice import PRECISIONS
from bilayer.runtime.engines.pose_encoding import PoseEncoder
from bilayer.runtime.errors import InputError, ToolMissingError
from bilayer.runtime.motion.poses import load_poses
from bilayer.runtime.player import AvatarPlayer

TURN = 5  # timed frames of one engine
REST = 0.05  # s; other engines' threads spin for some milliseconds after a frame


@dataclass(frozen=True)
class EngineTimes:
    """The times and errors of the frames that one engine played."""

    network_ms: list[float]  # and the check and encoding of the pose
    sample_ms: list[float]  # warp, layers, mask and bytes in one pass
    pose_ms: list[float]  # check and encoding, done once more
    levels_off: int  # largest difference of any byte to ONNX Runtime's fp32 frames, of 255
    frame_db: float  # PSNR of the worst frame compared, against those
    within_a_level: float  # share of bytes, 0..1


def time_frames(options: FrameBench, left_out: Callable[[str], None]) -> BenchReport:
    """Report a frame of each engine; what cannot run here is said to `left_out`."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = options.bundle or random_bundle(Path(folder), options.preset, options.upsample, options.size)
        avatars = load_avatars(bundle, options.threads, options.vulkan, left_out)
        played, product = measure(avatars, options.repeats, options.warm_up, options.threads)
        contract = avatars[0].bundle.contract
    settings: dict[str, Cell] = {
        "image_size": contract.image_size,
        "frame_size": contract.frame_size,
        "gmacs": contract.graph.gmacs,
        "threads": options.threads,
        "repeats": options.repeats,
        "warm_up": options.warm_up,
    }
    return report_of(avatars, played, product, settings)


def report_of(
    avatars: list[AvatarPlayer], played: list[EngineTimes], product: Samples, settings: dict[str, Cell]
) -> BenchReport:
    """Return a row for each engine, the time of a row the whole frame's; `product` is timed in the same turns."""
    rows, gmacs = [], avatars[0].bundle.contract.graph.gmacs
    for avatar, own in zip(avatars, played, strict=True):
        frame = Samples(tuple(a + b for a, b in zip(own.network_ms, own.sample_ms, strict=True)))
        sample, pose = median(own.sample_ms), median(own.pose_ms)
        columns: dict[str, Cell] = {
            "frames/s": round(1e3 / frame.median, 1),
            "network ms": round(median(own.network_ms) - pose, 3),
            "network of peak": peak.share_of_peak(gmacs, Samples(tuple(own.network_ms)), product),
            "ms at peak": peak.at_peak(gmacs, product),
            "warp to bytes ms": round(sample, 3),
            "pose ms": round(pose, 3),
            "outside the network": f"{(sample + pose) / frame.median:.1%}",
            "dB": round(own.frame_db, 1),
            "levels off": own.levels_off,
            "bytes <= 1": f"{own.within_a_level:.3%}",
        }
        rows.append(BenchRow(f"{avatar.engine} {avatar.precision}", frame, columns))
    packages = tuple(dict.fromkeys(avatar.engine.removesuffix("-vulkan") for avatar in avatars))
    note = "Wall times. dB, levels and bytes: frames against those of the first row; 200 dB where they are equal."
    return BenchReport(
        "A frame, by engine", tuple(rows), settings, packages, baseline=rows[0].name, notes=(note, peak.NOTE)
    )


def load_avatars(bundle: Path, threads: int, vulkan: bool, left_out: Callable[[str], None]) -> list[AvatarPlayer]:
    """Return the bundle in every engine and precision that this machine has; ONNX Runtime first."""
    avatars = []
    for engine, precisions in PRECISIONS.items():
        for precision in precisions if vulkan or engine != "ncnn-vulkan" else ():
            try:
                avatars.append(AvatarPlayer.load(bundle, engine=engine, precision=precision, threads=threads))
            except (InputError, ToolMissingError) as error:
                if not avatars:
                    raise
                left_out(str(error))
    return avatars


def measure(avatars: list[AvatarPlayer], frames: int, warmup: int, threads: int) -> tuple[list[EngineTimes], Samples]:
    """Render the same poses with each, and time a matrix product as often, on so many threads."""
    source = avatars[0].source_pose
    poses, _ = load_poses(source)
    encoder = PoseEncoder(avatars[0].bundle.contract.input, "")
    size = avatars[0].size
    buffers = [np.empty((size, size, 4), np.uint8) for _ in avatars]
    samples: list[list[tuple[float, float, float]]] = [[] for _ in avatars]
    product, products = peak.matrix_product(threads), []
    off, equal, least = [0] * len(avatars), [0] * len(avatars), [MOST_DB] * len(avatars)
    turns = -(-frames // TURN)
    with progress("playing", turns) as advance:
        for turn in range(turns):
            for avatar, buffer, times in zip(avatars, buffers, samples, strict=True):
                time.sleep(REST)
                for _ in range(warmup):
                    avatar.render(source, buffer)
                for i in range(min(TURN, frames - turn * TURN)):
                    pose = poses[(turn * TURN + i) % len(poses)]
                    begin = time.perf_counter()
                    avatar.infer(pose)
                    between = time.perf_counter()
                    avatar.compose(buffer)
                    end = time.perf_counter()
                    encoder.encode(pose)
                    encoded = time.perf_counter() - end
                    times.append((1e3 * (between - begin), 1e3 * (end - between), 1e3 * encoded))
            time.sleep(REST)
            for i in range(warmup + min(TURN, frames - turn * TURN)):
                begin = time.perf_counter()
                product()
                if i >= warmup:
                    products.append(1e3 * (time.perf_counter() - begin))
            for k, buffer in enumerate(buffers):  # of the turn's last pose
                difference = np.abs(buffer.astype(np.int16) - buffers[0])
                off[k], equal[k] = max(off[k], int(difference.max())), equal[k] + int((difference <= 1).sum())
                least[k] = min(least[k], psnr(buffer, buffers[0], RANGES[FRAME]))
            advance()
    shares = [count / (buffers[0].size * turns) for count in equal]
    played = []
    for times, levels, decibel, share in zip(samples, off, least, shares, strict=True):
        network, sample, pose_times = (list(stage) for stage in zip(*times, strict=True))
        played.append(EngineTimes(network, sample, pose_times, levels, decibel, share))
    return played, Samples(tuple(products))


def random_bundle(folder: Path, preset: str, upsample: Any, frame_size: int | None = None) -> Path:
    """Return a bundle with a random network and texture; frames of None are the network's size."""
    plain, pose, _ = make_generator(preset)
    generator = lower(fold_norms(plain)[0], GraphOptions(upsample))
    return write_random_bundle(folder, generator, PRESETS[preset], pose, upsample, frame_size=frame_size)
