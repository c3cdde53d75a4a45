"""`bilayer-train`: the paper's two stages."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bilayer.runtime.console import Group, progress

if TYPE_CHECKING:
    from bilayer.training.data.dataset import FramePairs
    from bilayer.training.settings import TrainingSettings
    from bilayer.training.stages import Stage

_options = [
    click.option(
        "--config", type=click.Path(path_type=Path), required=True, help="Settings, TOML; see docs/training.md."
    ),
    click.option(
        "--out", type=click.Path(path_type=Path), required=True, help="The run's folder; a begun run goes on."
    ),
    click.option("--data", metavar="FOLDER", help="In place of [data] root."),
    click.option("--iterations", type=click.IntRange(min=1), help="In place of [schedule] iterations."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option("--validate/--no-validate", default=True, help="Measure each checkpoint on the test split."),
]

_with_init = click.option(
    "--init",
    type=click.Path(path_type=Path),
    help="Weights to start from: a checkpoint of this picture size, or of a half, a quarter, ... of it.",
)


def _with_options(command: Any) -> Any:
    for option in reversed(_options):
        command = option(command)
    return command


@click.group(cls=Group)
def main() -> None:
    """Train the bi-layer model. On several GPUs: `torchrun --nproc-per-node N -m bilayer.training base ...`."""


@main.command()
@_with_options
@_with_init
def base(init: Path | None, **options: Any) -> None:
    """Stage 1: embedder, pose MLP, both generators and the discriminator at once."""

    def make_stage(settings: "TrainingSettings", say: Callable[[str], None], training: "FramePairs") -> "Stage":
        from bilayer.training.build import make_base_stage

        return make_base_stage(settings, init, say, training)

    _train("base", make_stage, **options)


@main.command()
@_with_options
@click.option("--base", "base_checkpoint", type=click.Path(path_type=Path), required=True, help="The trained model.")
@_with_init
def enhancer(base_checkpoint: Path, init: Path | None, **options: Any) -> None:
    """Stage 2: the texture enhancer, for the model of a finished stage 1, which stays as it is."""

    def make_stage(settings: "TrainingSettings", say: Callable[[str], None], training: "FramePairs") -> "Stage":
        from bilayer.training.build import make_enhancer_stage

        return make_enhancer_stage(settings, base_checkpoint, init, say)

    _train("enhancer", make_stage, **options)


def _train(
    name: Any,
    make_stage: Callable[["TrainingSettings", Callable[[str], None], "FramePairs"], "Stage"],
    config: Path,
    out: Path,
    data: str | None,
    iterations: int | None,
    device: str,
    validate: bool,
) -> None:
    from bilayer.training.build import make_data
    from bilayer.training.loop import Data, train
    from bilayer.training.processes import join_processes
    from bilayer.training.run_folder import RunFolder
    from bilayer.training.settings import read_settings

    settings = read_settings(config)
    if data is not None:
        settings = replace(settings, data=replace(settings.data, root=data))
    if iterations is not None:
        settings = replace(settings, schedule=replace(settings.schedule, iterations=iterations))
    with join_processes(device) as process, _stoppable(out):

        def say(line: str) -> None:
            if process.is_first:
                click.echo(line, err=True)

        folder = RunFolder(out)
        if process.is_first:
            folder.claim(name, settings)
        training, pictures = make_data(settings, process.rank)
        stage = make_stage(settings, say, training).to(process.device)
        say(f"{len(training)} sequences from {settings.data.root}, on {process.count} x {process.device}")
        with progress(f"training {name}", settings.schedule.iterations) as advance:
            measure = _validation(settings) if validate and pictures is not None else None
            losses = train(stage, settings, Data(training, pictures), folder, process, advance, measure)
        if process.is_first:
            _report(name, folder.checkpoint, losses)


def _validation(settings: "TrainingSettings") -> Callable[[Path], dict[str, float]]:
    """Metrics that need no network, on a few held-out people."""

    def measure(checkpoint: Path) -> dict[str, float]:
        from bilayer.model.checkpoint import load_model
        from bilayer.training.evaluate.cases import EvaluationProtocol
        from bilayer.training.evaluate.models import evaluate_model

        schedule = settings.schedule
        protocol = EvaluationProtocol(identities=schedule.validated_people, every=schedule.validated_every)
        result = evaluate_model(load_model(checkpoint), Path(settings.data.root), protocol, baselines=False)
        return {
            f"{method.name} {metric}": value
            for method in result.methods
            for metric in method.scores
            if (value := method.mean(metric)) is not None
        }

    return measure


@contextmanager
def _stoppable(out: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"\nstopped; the same command goes on from the last state in {out}", err=True)
        raise click.exceptions.Exit(130) from None


def _report(name: str, checkpoint: Path, losses: dict[str, Any]) -> None:
    from bilayer.runtime.console import table

    if losses:
        click.echo(table(["loss", "last step"], [(key, f"{float(value):.4f}") for key, value in losses.items()]))
        click.echo()
    click.echo(f"{checkpoint}  {checkpoint.stat().st_size / 1e6:.1f} MB")
    follow_up = f"bilayer-export PHOTO --checkpoint {checkpoint} --out avatar.dlc"
    click.echo(f"\nnext: {follow_up}", err=True)
