"""The training loop of either stage: steps, checkpoints, logs; it goes on where it was stopped."""

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bilayer.model.checkpoint import save_checkpoint
from bilayer.model.files.safe_load import count_not_finite
from bilayer.runtime.errors import CheckpointError, InputError, TrainingError
from bilayer.runtime.files.reading import is_file
from bilayer.training.average import WeightAverage
from bilayer.training.data.batches import training_batches
from bilayer.training.data.dataset import FramePairs, TrainingBatch
from bilayer.training.logs import RunLog
from bilayer.training.networks import weights_of
from bilayer.training.objective import Losses
from bilayer.training.processes import Process, is_distributed, mean_over_processes
from bilayer.training.run_folder import RunFolder
from bilayer.training.settings import Optimisation, TrainingSettings
from bilayer.training.stages import Stage
from bilayer.training.standing_statistics import standing_statistics

_STANDING_SEED = 1 << 20  # added to the seed: batches for the standing statistics are none of the training's

_WAY_OUT = (
    "what was saved before is sound: go on from its checkpoint with a lower learning rate, by --init in another --out"
)
_ANEW = "nothing was saved before: begin anew with a lower learning rate, in another --out"

Validate = Callable[[Path], dict[str, float]]  # a saved checkpoint -> named results


@dataclass(frozen=True, eq=False)
class Data:
    """The data of a run: pairs to train on, and held-out people."""

    training: FramePairs
    pictures: TrainingBatch | None  # held-out people for the picture grids


def train(
    stage: Stage,
    settings: TrainingSettings,
    data: Data,
    folder: RunFolder,
    process: Process,
    advance: Callable[..., None],
    validate: Validate | None = None,
) -> Losses:
    """Train until `settings.schedule.iterations`, from where `folder` left off. Returns the last step's losses.

    Raises:
        InputError: a damaged file of the run or the data.
        TrainingError: a loss or a weight is no longer finite; nothing of that is written.
    """
    run = _Run(stage, settings, data, folder, process)
    schedule, losses = settings.schedule, {}
    batches = training_batches(
        data.training, settings.data.batch_size, settings.seed, process, settings.data.workers, run.iteration
    )
    advance(steps=run.iteration)
    with closing(batches):
        for batch in itertools.islice(batches, max(schedule.iterations - run.iteration, 0)):
            losses = run.step(batch)
            done, last = run.iteration, run.iteration == schedule.iterations
            if any(done % every == 0 for every in (schedule.log_every, schedule.checkpoint_every)) or last:
                run.report(losses)
            saves = (schedule.pictures_every, schedule.validate_every, schedule.checkpoint_every)
            if any(done % every == 0 for every in saves) or last:
                run.require_finite()
            if done % schedule.pictures_every == 0 or last:
                run.draw_pictures()
            if done % schedule.validate_every == 0 or last:
                run.save_checkpoint(validate)
            if done % schedule.checkpoint_every == 0 or last:
                run.save_state()  # at last: a run that was killed before does again what came before
            advance()
    return losses


class _Run:
    """The moving parts of a run, and its position."""

    def __init__(
        self, stage: Stage, settings: TrainingSettings, data: Data, folder: RunFolder, process: Process
    ) -> None:
        self.iteration = 0
        self._stage, self._settings, self._data, self._folder, self._process = stage, settings, data, folder, process
        trained = [p for p in stage.parameters() if p.requires_grad]
        optimisation = settings.optimisation
        self._optimiser = torch.optim.Adam(
            trained, optimisation.learning_rate, optimisation.betas, eps=settings.model.eps
        )
        self._average = WeightAverage(trained, optimisation.average)
        self._resume()
        self._log = RunLog(folder, self.iteration) if process.is_first else None
        if self._log:
            self._log.start(self.iteration, settings.precision, str(process.device))
        # The embedder's last convolution feeds nothing: it never has a gradient
        self._forward: nn.Module = stage
        if is_distributed():
            self._forward = DistributedDataParallel(stage, find_unused_parameters=True)

    def _resume(self) -> None:
        """Go on from the folder's state, if any, or raise an InputError where it is damaged, or of another model."""
        state = self._folder.load_state(self._process.device)
        if state is None:
            return
        groups = [dict(group) for group in self._optimiser.param_groups]
        try:
            self.iteration = operator.index(state["iteration"])
            self._stage.model.load_state_dict(state["model"])
            self._optimiser.load_state_dict(state["optimiser"])
            for group, own in zip(self._optimiser.param_groups, groups, strict=True):  # the settings' own, not a file's
                group.update({name: value for name, value in own.items() if name != "params"})
            for parameter, moments in self._optimiser.state.items():
                shapes = {name: moment.shape for name, moment in moments.items() if name != "step"}
                if shapes != dict.fromkeys(("exp_avg", "exp_avg_sq"), parameter.shape) or "step" not in moments:
                    raise ValueError("Adam's moments do not fit the weights")
            self._average.load(state["average"])
            if self.iteration < 0:
                raise ValueError(f"iteration {self.iteration}")
            self.require_finite()
        except Exception as error:  # a damaged file can hold anything
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            raise InputError(
                f"{self._folder.state}: not the state of this run ({reason}); remove it to begin anew, or give "
                "another --out"
            ) from error

    def step(self, batch: TrainingBatch) -> Losses:
        """Do one step of all networks at once, the discriminator's by D_ losses alone; return the losses before it."""
        rate = learning_rate(self._settings.optimisation, self.iteration, self._settings.schedule.iterations)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        losses: Losses
        losses, _ = self._forward(batch, self.iteration)
        total = torch.stack(list(losses.values())).sum()
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self._average.update(self.iteration)
        self.iteration += 1
        return {name: loss.detach() for name, loss in losses.items()}

    def report(self, losses: Losses) -> None:
        """Log the losses, those of all processes together, or raise a TrainingError where one is not finite."""
        values = {name: float(mean_over_processes(loss)) for name, loss in losses.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"{self._folder.path}: {name} is {value} at iteration {self.iteration - 1}; {self._way_out()}"
                )
        if self._log:
            self._log.losses(self.iteration - 1, values)

    def require_finite(self) -> None:
        """See that weights, their averages and Adam's moments are finite, so that what is saved is.

        Raises:
            TrainingError: one is not; names it.
        """
        moments = self._optimiser.state_dict()["state"]
        state = self._stage.model.state_dict() | {f"average {i}": t for i, t in enumerate(self._average.state())}
        state |= {f"Adam's {name} {i}": t for i, own in moments.items() for name, t in own.items()}
        sums = torch.stack([tensor.sum().double().to(self._process.device) for tensor in state.values()])
        if torch.isfinite(sums).all():  # one wait for the device; a sum might also overflow by itself
            return
        for name, tensor in state.items():
            if bad := count_not_finite(tensor):
                raise TrainingError(
                    f"{self._folder.path}: {name} has {bad} numbers that are NaN or infinite at iteration "
                    f"{self.iteration}; nothing of it was saved: {self._way_out()}"
                )

    def _way_out(self) -> str:
        return _WAY_OUT if is_file(self._folder.checkpoint) else _ANEW

    def draw_pictures(self) -> None:
        """A grid of held-out people, as the averaged weights predict them."""
        if self._log is None or self._data.pictures is None:
            return
        batch = self._data.pictures.to(self._process.device)
        with self._evaluating(()), torch.no_grad():
            self._log.pictures(self.iteration, batch, self._stage.predict(batch))

    def save_state(self) -> None:
        """Save all that an interrupted run goes on from."""
        if self._process.is_first:
            self._folder.save_state(
                {
                    "iteration": self.iteration,
                    "model": self._stage.model.state_dict(),
                    "optimiser": self._optimiser.state_dict(),
                    "average": self._average.state(),
                }
            )

    def save_checkpoint(self, validate: Validate | None) -> None:
        """The model for the other programs, and how good it is on held-out people."""
        model = self._stage.model
        with self._evaluating(self._standing_batches()):
            if not self._process.is_first:
                return
            states = {name: weights_of(model.get_submodule(name)) for name in model.networks}
            try:
                save_checkpoint(self._folder.checkpoint, model.config, states)
            except CheckpointError as error:  # weights that are finite, of which the standing statistics are not
                raise TrainingError(f"{error} at iteration {self.iteration}; {self._way_out()}") from error
        if validate and self._log:
            self._log.metrics(self.iteration - 1, validate(self._folder.checkpoint))

    @contextmanager
    def _evaluating(self, batches: Iterable[TrainingBatch]) -> Iterator[None]:
        """Averaged weights, and the statistics of `batches`, if any, in what is trained beside the discriminator."""
        generators = [self._stage.model.get_submodule(name) for name in self._stage.generators]
        with self._average.applied(), standing_statistics(generators, batches, self._stage.predict):
            yield

    def _standing_batches(self) -> Iterator[TrainingBatch]:
        settings = self._settings
        if settings.optimisation.keep_statistics:
            return iter(())
        seed = settings.seed + _STANDING_SEED
        batches = training_batches(self._data.training, settings.data.batch_size, seed, self._process, workers=0)
        return itertools.islice(batches, settings.schedule.standing_batches)


def learning_rate(settings: Optimisation, iteration: int, iterations: int) -> float:
    """Return half a cosine from the learning rate to its `final_learning_rate` share, after a warm-up."""
    share = settings.final_learning_rate
    cosine = share + (1 - share) * (1 + math.cos(math.pi * iteration / iterations)) / 2
    return settings.learning_rate * cosine * min((iteration + 1) / (settings.warm_up + 1), 1.0)
