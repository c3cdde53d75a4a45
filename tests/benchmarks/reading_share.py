"""The share of a training step that is reading its batch: processor time of both, in one process and thread.

python -m tests.benchmarks.reading_share training/configs/demo-5-base-256.toml
"""

import itertools
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
import torch

from bilayer.training.build import make_base_stage, make_data
from bilayer.training.data.batches import training_batches
from bilayer.training.prepare.heads import HeadJob, HeadSettings, model_fingerprint, render_identity
from bilayer.training.processes import Process
from bilayer.training.settings import read_settings


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--steps", default=3)
def main(config, steps):
    """Train a few steps of CONFIG on heads that are drawn for it, and print the seconds of reading and of the rest."""
    torch.set_num_threads(1)
    settings = read_settings(config)
    with tempfile.TemporaryDirectory() as root:
        drawn = HeadSettings(model_fingerprint(None), frames=8, size=settings.model.image_size, supersampling=1)
        for identity in range(max(2, settings.data.batch_size)):
            render_identity(HeadJob(identity, None, Path(root), "train", drawn))
        data = replace(settings.data, root=root, in_memory=False, workers=0)
        settings = replace(settings, data=data, losses=replace(settings.losses, twos=0.0, twos_picture=0.0))
        stage = make_base_stage(settings, None, None, click.echo)
        optimiser = torch.optim.Adam(p for p in stage.parameters() if p.requires_grad)
        training, _ = make_data(settings, 0)
        one = Process(0, 1, torch.device("cpu"))
        read = trained = 0.0
        start = time.process_time()
        batches = training_batches(training, data.batch_size, settings.seed, one, 0)
        for step, batch in enumerate(itertools.islice(batches, steps + 1)):
            came = time.process_time()
            losses, _ = stage(batch, step)
            optimiser.zero_grad(set_to_none=True)
            torch.stack(list(losses.values())).sum().backward()
            optimiser.step()
            done = time.process_time()
            if step:  # the first warms up
                read, trained = read + came - start, trained + done - came
            start = done
    frames = data.batch_size * (1 + data.target_frames)
    click.echo(
        f"{config.name}: {frames} frames a batch, {settings.model.image_size} px: reading {read / steps:.3f} s, "
        f"the rest {trained / steps:.2f} s: {read / (read + trained):.1%} of a step"
    )


if __name__ == "__main__":
    main()
