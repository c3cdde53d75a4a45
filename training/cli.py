"""`bilayer-train`: the paper's two stages."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from bilayer.model.files.given import check_checkpoint_file
from bilayer.runtime.bundle_names import check_holds_no_avatar
from bilayer.runtime.command.console import Group, as_json_option, progress, show, table
from bilayer.runtime.command.options import Option, fills
from bilayer.runtime.errors import InputError
from bilayer.runtime.files.given import check_kind_of
from bilayer.runtime.files.kinds import DATA, EMPTY, TEXT
from bilayer.runtime.files.reading import check_folder, size_of
from bilayer.runtime.files.shell import pasted
from bilayer.runtime.files.writing import check_apart, check_output
from bilayer.training.run_files import RUN_FILES

if TYPE_CHECKING:
    from bilayer.training.evaluate.protocol import EvaluationProtocol
    from bilayer.training.settings import StageName, TrainingSettings


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The options of both stages: data, place and length of a run; the rest is in the file of settings."""

    config: Annotated[Path, Option("Settings, TOML; see docs/training.md.")]
    out: Annotated[Path, Option("The run's folder; a begun run goes on.", ("-o",))]
    data: Annotated[Path | None, Option("Data folder, in place of [data] root.")] = None
    iterations: Annotated[int | None, Option("In place of [schedule] iterations.", at_least=1)] = None
    device: Annotated[str, Option("auto, cpu, cuda or cuda:N.", forms=("auto", "cpu", "cuda", "cuda:N"))] = "auto"
    validate: Annotated[bool, Option("Measure each checkpoint on the test split.")] = True
    init: Annotated[
        Path | None,
        Option("Weights to start from: a checkpoint of this picture size, or of a half, a quarter, ... of it."),
    ] = None

    def check(self) -> None:
        """Check what can be checked before torch is imported.

        Raises:
            InputError: a file is not there, or the run's place cannot be written to.
        """
        check_kind_of(self.config, "settings (.toml)", (TEXT, DATA, EMPTY), "see docs/training.md")
        check_folder(self.data)
        check_checkpoint_file(self.init)
        check_holds_no_avatar(self.out)
        written = [self.out / name for name in RUN_FILES]
        for file in written:
            check_output(file)
        check_apart(written, (self.config, self.init))


@dataclass(frozen=True, kw_only=True)
class EnhancerOptions(TrainOptions):
    """The options of all training, and the model that is enhanced."""

    base: Annotated[Path, Option("The trained model.")]

    def check(self) -> None:
        """Check what can be checked before torch is imported."""
        check_checkpoint_file(self.base)
        super().check()
        check_apart([self.out / name for name in RUN_FILES], [self.base])


@click.group(cls=Group)
def main() -> None:
    """Train the bi-layer model. On several GPUs: `torchrun --nproc-per-node N -m bilayer.training base ...`."""


@main.command()
@fills(TrainOptions)
@as_json_option
def base(options: TrainOptions, as_json: bool) -> None:
    """Stage 1: embedder, pose MLP, both generators and the discriminator at once."""
    _train("base", options, as_json)


@main.command()
@fills(EnhancerOptions)
@as_json_option
def enhancer(options: EnhancerOptions, as_json: bool) -> None:
    """Stage 2: the texture enhancer, for the model of a finished stage 1, which stays as it is."""
    _train("enhancer", options, as_json)


def _train(name: "StageName", options: TrainOptions, as_json: bool) -> None:
    options.check()
    from bilayer.training.data.given import check_data, check_weight_files
    from bilayer.training.data.layout import IMAGES, has_kind
    from bilayer.training.run_files import check_claim
    from bilayer.training.settings import read_settings

    settings = read_settings(options.config, name)  # a slip in it is told before torch is loaded
    if options.data is not None:
        settings = replace(settings, data=replace(settings.data, root=str(options.data)))
    if options.iterations is not None:
        settings = replace(settings, schedule=replace(settings.schedule, iterations=options.iterations))
    asked = settings
    check_claim(options.out, name, asked)
    check_data(settings)
    check_weight_files(settings)
    if options.validate and has_kind(Path(settings.data.root), "test", IMAGES):
        _check_validation(settings)
    from bilayer.training.build import choose_precision, make_base_stage, make_data, make_enhancer_stage
    from bilayer.training.loop import Data, train
    from bilayer.training.processes import join_processes
    from bilayer.training.run_folder import RunFolder

    with join_processes(options.device) as process, _stoppable(options.out):

        def say(line: str) -> None:
            if process.is_first:
                click.echo(line, err=True)

        settings = choose_precision(settings, process.device, say)
        training, pictures = make_data(settings, process.rank)
        measure = _validation(settings) if options.validate and pictures is not None else None
        if isinstance(options, EnhancerOptions):
            stage = make_enhancer_stage(settings, options.base, options.init, say).to(process.device)
        else:
            stage = make_base_stage(settings, options.init, say, training).to(process.device)
        folder = RunFolder(options.out)  # of a run that can begin
        if process.is_first:
            folder.claim(name, asked)
        say(f"{len(training)} sequences from {settings.data.root}, on {process.count} x {process.device}")
        with progress(f"training {name}", settings.schedule.iterations) as advance:
            losses = train(stage, settings, Data(training, pictures), folder, process, advance, measure)
        if process.is_first:
            _report(folder.checkpoint, losses, as_json)


def _check_validation(settings: "TrainingSettings") -> None:
    """Raise an InputError where the held-out people are too few to be measured, or damaged."""
    from bilayer.training.evaluate.cases import read_case
    from bilayer.training.evaluate.protocol import choose_sequences

    protocol = _protocol(settings)
    try:
        for sequence in choose_sequences(settings.data.root, protocol):
            read_case(sequence, protocol.every, settings.model.image_size)
    except InputError as error:
        raise InputError(f"validation: {error}; or lower [schedule] validated_every, or give --no-validate") from error


def _protocol(settings: "TrainingSettings") -> "EvaluationProtocol":
    from bilayer.training.evaluate.protocol import EvaluationProtocol

    schedule = settings.schedule
    return EvaluationProtocol(identities=schedule.validated_people, every=schedule.validated_every)


def _validation(settings: "TrainingSettings") -> Callable[[Path], dict[str, float]]:
    """Metrics without a network, on a few held-out people."""
    root, protocol = Path(settings.data.root), _protocol(settings)

    def measure(checkpoint: Path) -> dict[str, float]:
        from bilayer.model.checkpoint import load_model
        from bilayer.training.evaluate.models import evaluate_model

        result = evaluate_model(load_model(checkpoint), root, protocol, baselines=False)
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


def _report(checkpoint: Path, losses: dict[str, Any], as_json: bool) -> None:
    last = {key: float(value) for key, value in losses.items()}
    size = size_of(checkpoint)
    rows = table(["loss", "last step"], [(key, f"{value:.4f}") for key, value in last.items()]) + "\n\n" if last else ""
    following = f"bilayer-export PHOTO --checkpoint {pasted(checkpoint)} --out avatar.dlc"
    report = {"out": str(checkpoint), "bytes": size, "losses": last}
    show(report, lambda: f"{rows}{checkpoint}  {size / 1e6:.1f} MB", as_json, following)
