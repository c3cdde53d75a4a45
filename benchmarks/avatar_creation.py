"""How long an avatar takes to make, stage by stage: `python -m bilayer.benchmarks.avatar_creation`.

The networks have random weights and the source is random pictures (never zeros): times do not depend on either.
"""

import itertools
import json
import platform
import statistics
import time
from typing import TYPE_CHECKING, TypeVar

import click

from bilayer.runtime.console import Command, progress, table

if TYPE_CHECKING:
    from bilayer.model.avatar import Source
    from bilayer.model.bilayer import BilayerModel
    from bilayer.model.config import ModelConfig

T = TypeVar("T")


@click.command(cls=Command)
@click.option("--preset", default="medium", show_default=True, help="Architecture, as bilayer-checkpoint has it.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1), help="CPU threads.")
@click.option("--repeats", default=7, show_default=True, type=click.IntRange(1), help="Timed avatars.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(preset: str, threads: int, repeats: int, as_json: bool) -> None:
    """Median wall time of each stage of avatar creation, after one avatar to warm up.

    The second column is the modules as they are trained, without model/fast.py, timed in the same run.
    """
    import torch

    from bilayer.model.config import PRESETS

    if preset not in PRESETS:
        raise click.BadParameter(f"expected one of {', '.join(PRESETS)}", param_hint="--preset")
    torch.set_num_threads(threads)
    times = time_stages(PRESETS[preset], repeats)
    medians = {stage: {k: statistics.median(v) * 1e3 for k, v in sides.items()} for stage, sides in times.items()}
    machine = {"threads": threads, "avatars": repeats, "torch": torch.__version__, "machine": platform.machine()}
    if as_json:
        click.echo(json.dumps({"preset": preset, **machine, "median_ms": medians}, indent=2))
        return
    click.echo(f"{preset}; " + ", ".join(f"{name} {value}" for name, value in machine.items()) + "\n")
    rows = [
        (stage, f"{m['ours']:.0f}", f"{m['plain']:.0f}", f"{m['plain'] / m['ours']:.2f}")
        for stage, m in medians.items()
    ]
    click.echo(table(["stage", "median ms", "plain modules, ms", "ratio"], rows))


def time_stages(config: "ModelConfig", repeats: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of each stage, a sample per avatar, of the model as it is loaded and of plain torch modules, interleaved.

    `enhancer step` is the mean of an avatar's steps.
    """
    import torch

    from bilayer.model.bilayer import random_model
    from bilayer.model.config import AVATAR_NETWORKS, ENHANCER
    from bilayer.model.fast import for_evaluation

    networks = (*AVATAR_NETWORKS, *ENHANCER)
    ours, plain = (random_model(config, networks=networks) for _ in range(2))
    sides = {"ours": for_evaluation(ours), "plain": plain}
    source = random_source(config)
    times: dict[str, dict[str, list[float]]] = {}
    with torch.inference_mode(), progress("avatars", repeats + 1) as advance:
        for _ in range(repeats + 1):
            for side, model in sides.items():
                for stage, seconds in time_avatar(model, source).items():
                    times.setdefault(stage, {}).setdefault(side, []).append(seconds)
            advance()
    return {stage: {side: samples[1:] for side, samples in both.items()} for stage, both in times.items()}


def time_avatar(model: "BilayerModel", source: "Source") -> dict[str, float]:
    """Seconds of each stage of one avatar."""
    from bilayer.model.avatar import embed, enhancer_steps

    marks = [time.perf_counter()]

    def mark(result: T) -> T:
        marks.append(time.perf_counter())
        return result

    embeddings = mark(embed(model, source))
    parameters = mark(model.inference_generator.predict_parameters(embeddings))
    texture = mark(model.texture_generator(embeddings))
    steps = mark(list(enhancer_steps(model, source, parameters, texture)))
    embedder, projector, generator, enhancer = (end - start for start, end in itertools.pairwise(marks))
    return {
        "embedder": embedder,
        "projector": projector,
        "texture generator": generator,
        "enhancer step": enhancer / len(steps),
        "whole avatar": marks[-1] - marks[0],
    }


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
