"""How long an avatar takes to make, stage by stage: `bilayer-bench init`.

The networks have random weights and the source is random pictures (never zeros): times do not depend on either.
"""

import itertools
import time
from dataclasses import asdict
from typing import TypeVar

import torch

from bilayer.benchmarks.speed.options import InitBench
from bilayer.benchmarks.speed.report import BenchReport, BenchRow
from bilayer.benchmarks.speed.timing import Samples
from bilayer.model.avatar import Source, embed, enhancer_steps
from bilayer.model.config import AVATAR_NETWORKS, ENHANCER, PRESETS, ModelConfig
from bilayer.model.networks.bilayer import BilayerModel, random_model
from bilayer.model.reparameterize import reparameterize_model
from bilayer.model.threads import torch_threads
from bilayer.runtime.command.console import progress

T = TypeVar("T")


def time_creation(options: InitBench) -> BenchReport:
    """Return the report of each stage's time, beside that of plain torch modules."""
    with torch_threads(options.threads):
        times = time_stages(PRESETS[options.preset], options.repeats, options.warm_up)
    rows = []
    for stage, both in times.items():
        ours, plain = (Samples(tuple(1e3 * seconds for seconds in both[side])) for side in ("ours", "plain"))
        columns = {"plain modules, median ms": round(plain.median, 2), "plain / ours": round(plain.ratio_to(ours), 2)}
        rows.append(BenchRow(stage, ours, columns))
    note = "Random weights, a source of noise. An avatar's enhancer steps count as one sample, their mean."
    return BenchReport("Making an avatar", tuple(rows), asdict(options), ("torch",), notes=(note,))


def time_stages(config: ModelConfig, repeats: int, warmup: int = 1) -> dict[str, dict[str, list[float]]]:
    """Return each stage's seconds, a sample per avatar, of the model as loaded and of plain torch modules, interleaved.

    `enhancer step` is the mean of an avatar's steps.
    """
    networks = (*AVATAR_NETWORKS, *ENHANCER)
    plain = random_model(config, networks=networks)
    sides = {"ours": reparameterize_model(plain), "plain": plain}
    source = random_source(config)
    times: dict[str, dict[str, list[float]]] = {}
    with torch.inference_mode(), progress("avatars", repeats + warmup) as advance:
        for _ in range(repeats + warmup):
            for side, model in sides.items():
                for stage, seconds in time_avatar(model, source).items():
                    times.setdefault(stage, {}).setdefault(side, []).append(seconds)
            advance()
    return {stage: {side: samples[warmup:] for side, samples in both.items()} for stage, both in times.items()}


def time_avatar(model: BilayerModel, source: Source) -> dict[str, float]:
    """Make one avatar and return the seconds of each stage."""
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


def random_source(config: ModelConfig) -> Source:
    """Return a source of noise, the same in every call."""
    generator = torch.Generator().manual_seed(0)
    size = config.image_size

    def noise(*shape: int) -> torch.Tensor:
        return torch.rand(1, *shape, generator=generator) * 2 - 1

    masks = (noise(1, size, size) + 1) / 2
    return Source(noise(3, size, size), noise(config.pse_in_channels), noise(3, size, size), masks)
