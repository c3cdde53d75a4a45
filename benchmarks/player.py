"""Frames per second of the player, by network engine: `python -m bilayer.benchmarks.player`.

A random avatar of a preset, or any bundle, played by every installed engine in turns of a few frames, so that a busy
moment hits them alike. Before each turn it waits until the last engine's threads sleep, and leaves one frame untimed.
Times are wall times, medians.
"""

import json
import platform
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from bilayer.runtime.console import Command, progress, table

if TYPE_CHECKING:
    from bilayer.runtime.player import Avatar

TURN = 5  # timed frames of one engine
REST = 0.05  # s; other engines' threads spin for some milliseconds after a frame


@dataclass(frozen=True)
class Row:
    """One engine's result."""

    engine: str
    precision: str
    frames_per_second: float
    network_ms: float
    sample_ms: float  # warp, layers, mask and bytes in one pass
    pose_ms: float  # check and encoding
    overhead: float  # share of the frame that is not the network, 0..1
    levels_off: int  # largest difference of any byte to ONNX Runtime's f32 frames, of 255
    bytes_within_a_level: float  # share, 0..1


@click.command(cls=Command)
@click.option("--bundle", type=click.Path(path_type=Path), help="An avatar. [default: random, of the preset]")
@click.option("--preset", default="medium", show_default=True, help="Architecture, as bilayer-checkpoint has it.")
@click.option("--upsample", type=click.Choice(["nearest", "deconv", "phase"]), default="deconv", show_default=True)
@click.option("--frames", default=40, show_default=True, type=click.IntRange(1), help="Timed frames of each engine.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1), help="Of the network.")
@click.option("--vulkan", is_flag=True, help="ncnn on its Vulkan device as well.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    bundle: Path | None, preset: str, upsample: Any, frames: int, threads: int, vulkan: bool, as_json: bool
) -> None:
    """Play an avatar with every engine, and say where the frame's time goes."""
    with tempfile.TemporaryDirectory() as folder:
        avatars = load_avatars(bundle or random_bundle(Path(folder), preset, upsample), threads, vulkan)
        rows = measure(avatars, frames)
    size = avatars[0].size
    machine = f"{platform.system()}, {platform.machine()}, {threads} threads"
    gmacs = avatars[0].bundle.contract.graph.gmacs
    packages = {avatar.engine.removesuffix("-vulkan") for avatar in avatars}
    versions = {name: version(name) for name in sorted(packages)}
    if as_json:
        report = {"machine": machine, "size": size, "gmacs": gmacs, "frames": frames, "versions": versions}
        click.echo(json.dumps(report | {"engines": [asdict(row) for row in rows]}, indent=2))
        return
    named = ", ".join(f"{name} {number}" for name, number in versions.items())
    click.echo(f"{machine}; {named}; {size} px, {gmacs:.2f} GMAC a frame, medians of {frames}\n")
    headers = [
        "engine",
        "precision",
        "frames/s",
        "network ms",
        "sample ms",
        "pose ms",
        "overhead",
        "levels off",
        "<= 1",
    ]
    click.echo(table(headers, [_cells(row) for row in rows]))


def _cells(row: Row) -> tuple[object, ...]:
    times = [f"{ms:.3f}" for ms in (row.network_ms, row.sample_ms, row.pose_ms)]
    equal = f"{row.bytes_within_a_level:.4%}"
    return (
        row.engine,
        row.precision,
        f"{row.frames_per_second:.1f}",
        *times,
        f"{row.overhead:.1%}",
        row.levels_off,
        equal,
    )


def load_avatars(bundle: Path, threads: int, vulkan: bool) -> "list[Avatar]":
    """The bundle in every engine and precision that this machine has; ONNX Runtime first."""
    from bilayer.runtime.engines import PRECISIONS
    from bilayer.runtime.errors import InputError, ToolMissingError
    from bilayer.runtime.player import Avatar

    avatars = []
    for engine, precisions in PRECISIONS.items():
        for precision in precisions if vulkan or engine != "ncnn-vulkan" else ():
            try:
                avatars.append(Avatar.load(bundle, engine=engine, precision=precision, threads=threads))
            except (InputError, ToolMissingError) as error:
                if not avatars:
                    raise
                click.echo(f"left out: {error}", err=True)
    return avatars


def measure(avatars: "list[Avatar]", frames: int) -> list[Row]:
    """Render the same poses with each."""
    import numpy as np

    from bilayer.runtime.motion import demo_motion
    from bilayer.runtime.pose_encoding import PoseEncoder

    source = avatars[0].source_pose
    poses = demo_motion(source.reshape(-1, 2)).landmarks.reshape(-1, len(source))
    encoder = PoseEncoder(avatars[0].bundle.contract.input, "")
    size = avatars[0].size
    buffers = [np.empty((size, size, 4), np.uint8) for _ in avatars]
    samples: list[list[tuple[float, float, float]]] = [[] for _ in avatars]
    off, equal = [0] * len(avatars), [0] * len(avatars)
    turns = -(-frames // TURN)
    with progress("playing", turns) as advance:
        for turn in range(turns):
            for avatar, buffer, times in zip(avatars, buffers, samples, strict=True):
                time.sleep(REST)
                avatar.render(source, buffer)
                for i in range(TURN):
                    pose = poses[(turn * TURN + i) % len(poses)]
                    begin = time.perf_counter()
                    avatar.infer(pose)
                    between = time.perf_counter()
                    avatar.compose(buffer)
                    end = time.perf_counter()
                    encoder.encode(pose)
                    times.append((between - begin, end - between, time.perf_counter() - end))
            for k, buffer in enumerate(buffers):  # of the turn's last pose
                difference = np.abs(buffer.astype(np.int16) - buffers[0])
                off[k], equal[k] = max(off[k], int(difference.max())), equal[k] + int((difference <= 1).sum())
            advance()
    rows = []
    for k, (avatar, times) in enumerate(zip(avatars, samples, strict=True)):
        infer, sample, encode = (median(stage) for stage in zip(*times, strict=True))
        rows.append(
            Row(
                engine=avatar.engine,
                precision=avatar.precision,
                frames_per_second=1 / (infer + sample),
                network_ms=(infer - encode) * 1e3,
                sample_ms=sample * 1e3,
                pose_ms=encode * 1e3,
                overhead=(sample + encode) / (infer + sample),
                levels_off=off[k],
                bytes_within_a_level=equal[k] / (buffers[k].size * turns),
            )
        )
    return rows


def random_bundle(folder: Path, preset: str, upsample: Any) -> Path:
    """A bundle with a random network and texture."""
    from bilayer.benchmarks.export_variants import make_generator
    from bilayer.benchmarks.random_bundle import write_random_bundle
    from bilayer.export.lower import GraphOptions, lower
    from bilayer.export.rewrite import fold_norms
    from bilayer.model.config import PRESETS

    if preset not in PRESETS:
        raise click.BadParameter(f"expected one of {', '.join(PRESETS)}", param_hint="--preset")
    plain, pose, _ = make_generator(preset)
    generator = lower(fold_norms(plain)[0], GraphOptions(upsample))
    return write_random_bundle(folder, generator, PRESETS[preset], pose, upsample)


if __name__ == "__main__":
    main(prog_name="python -m bilayer.benchmarks.player")
