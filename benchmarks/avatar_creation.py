"""How long an avatar takes to make, stage by stage: `python -m bilayer.benchmarks.avatar_creation`.

The networks have random weights and the source is random pictures (never zeros): times do not depend on either.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from bilayer.runtime.console import Command, progress, table

if TYPE_CHECKING:
    from bilayer.model.avatar import Source
    from bilayer.model.config import ModelConfig

T = TypeVar("T")


@click.command(cls=Command)
@click.option("--preset", default="medium", show_default=True, help="Architecture, as bilayer-checkpoint has it.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1), help="CPU threads.")
@click.option("--repeats", default=7, show_default=True, type=click.IntRange(1), help="Timed avatars.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(preset: str, threads: int, repeats: int, as_json: bool) -> None:
    """Median wall time of each stage of avatar creation, after one avatar to warm up."""
    import torch

    from bilayer.model.config import PRESETS

    if preset not in PRESETS:
        raise click.BadParameter(f"expected one of {', '.join(PRESETS)}", param_hint="--preset")
    torch.set_num_threads(threads)
    times = time_stages(PRESETS[preset], repeats)
    report = {
        "preset": preset,
        "threads": threads,
        "repeats": repeats,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "median_ms": {stage: statistics.median(samples) * 1e3 for stage, samples in times.items()},
        "min_ms": {stage: min(samples) * 1e3 for stage, samples in times.items()},
    }
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    click.echo(f"{preset}, {threads} threads, torch {torch.__version__}, {platform.machine()}; {repeats} avatars\n")
    rows = [(stage, f"{statistics.median(s) * 1e3:.0f}", f"{min(s) * 1e3:.0f}") for stage, s in times.items()]
    click.echo(table(["stage", "median ms", "min ms"], rows))


def time_stages(config: "ModelConfig", repeats: int) -> dict[str, list[float]]:
    """Seconds of each stage, a sample per avatar. `enhancer step` is the mean of an avatar's steps."""
    import torch

    from bilayer.model.avatar import embed, enhancer_steps
    from bilayer.model.bilayer import random_model
    from bilayer.model.config import AVATAR_NETWORKS

    model = random_model(config, networks=(*AVATAR_NETWORKS, "texture_enhancer"))
    source = random_source(config)
    times: dict[str, list[float]] = {}

    def timed(stage: str, function: Callable[[], T]) -> T:
        start = time.perf_counter()
        result = function()
        times.setdefault(stage, []).append(time.perf_counter() - start)
        return result

    with torch.inference_mode(), progress("avatars", repeats + 1) as advance:
        for _ in range(repeats + 1):
            start = time.perf_counter()
            embeddings = timed("embedder", lambda: embed(model, source))
            parameters = timed("projector", lambda e=embeddings: model.inference_generator.predict_parameters(e))  # type: ignore[misc]
            texture = timed("texture", lambda e=embeddings: model.texture_generator(e))  # type: ignore[misc]
            steps = timed("enhancer step", lambda p=parameters, t=texture: list(enhancer_steps(model, source, p, t)))  # type: ignore[misc]
            times["enhancer step"][-1] /= len(steps)
            times.setdefault("whole avatar", []).append(time.perf_counter() - start)
            advance()
    return {stage: samples[1:] for stage, samples in times.items()}


def random_source(config: "ModelConfig", seed: int = 0) -> "Source":
    """A source of noise, the same for the same seed."""
    import torch

    from bilayer.model.avatar import Source

    generator = torch.Generator().manual_seed(seed)
    size = config.image_size

    def noise(*shape: int) -> torch.Tensor:
        return torch.rand(1, *shape, generator=generator) * 2 - 1

    masks = (noise(1, size, size) + 1) / 2
    return Source(noise(3, size, size), noise(config.pse_in_channels), noise(3, size, size), masks)


if __name__ == "__main__":
    main()
