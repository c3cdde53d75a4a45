"""Checkpoints on a dataset, an identity a job, here or on a cluster: the numbers are the same by each way."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bilayer.model.checkpoint import load_model
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.model.threads import torch_threads
from bilayer.runtime.arrays import Bytes
from bilayer.runtime.errors import InputError
from bilayer.runtime.jobs.run import Workers, run_jobs
from bilayer.training.data.frame_stores import StoredSequence
from bilayer.training.data.layout import FrameSequence
from bilayer.training.evaluate.asked import make_meter
from bilayer.training.evaluate.baselines import mean_head
from bilayer.training.evaluate.cases import read_case
from bilayer.training.evaluate.frames import save_case
from bilayer.training.evaluate.models import MeasuredCase, common_size, measure_case, summarise
from bilayer.training.evaluate.options import CheckpointOptions
from bilayer.training.evaluate.result import EvaluationResult
from bilayer.training.metrics.meter import Meter

WORKER_BYTES = 700_000_000  # of a process that measures the demo weights by landmarks


@dataclass(frozen=True)
class Loaded:
    """What a process measures with."""

    models: Mapping[str, BilayerModel]
    meter: Meter


@dataclass(frozen=True, eq=False)
class IdentityJob:
    """An identity that a process is to measure: its frames, and what they are compared with."""

    options: CheckpointOptions
    sequence: FrameSequence | StoredSequence
    frames: Path | None  # a draft's folder: save all frames there
    mean: Bytes  # head (S, S, 3)


@functools.lru_cache(maxsize=1)  # a process keeps its models
def load_asked(options: CheckpointOptions) -> Loaded:
    """Return the models and the meter that are asked for.

    Raises:
        CheckpointError: a model cannot be loaded.
        InputError: the models are of several sizes, there is no data, or weights cannot be used.
        ToolMissingError: an extra, or a face network, is not installed.
    """
    meter = make_meter(options)
    models = {name: load_model(path).to(options.device) for name, path in options.models.items()}
    return Loaded(models, meter)


def evaluate_asked(
    options: CheckpointOptions,
    sequences: Sequence[FrameSequence | StoredSequence],
    workers: Workers,
    frames: Path | None,
    on_done: Callable[[], None],
) -> EvaluationResult:
    """Return what `evaluate_models` finds, and all frames in the folder `frames`; `on_done` hears of each identity.

    Raises:
        InputError: a damaged file, or a worker process was killed at an identity twice.
        CheckpointError: a model lacks a network that an avatar needs.
        ToolMissingError: a worker's machine has not what this one has.
    """
    loaded = load_asked(options)
    measured: dict[FrameSequence | StoredSequence, MeasuredCase] = {}
    mean = mean_head(options.data, common_size(loaded.models))
    jobs = [IdentityJob(options, sequence, frames, mean) for sequence in sequences]
    for job, found in run_jobs(_measure, jobs, workers):
        if isinstance(found, InputError):
            raise found
        measured[job.sequence] = found
        on_done()
    in_order = [measured[sequence] for sequence in sequences]
    return summarise(in_order, loaded.models, options.data, options.protocol, loaded.meter)


def _measure(job: IdentityJob) -> MeasuredCase:
    loaded = load_asked(job.options)
    size = common_size(loaded.models)
    case = read_case(job.sequence, job.options.every, size)
    with torch_threads(job.options.threads):
        measured, truths, pictures = measure_case(case, loaded.models, job.mean, loaded.meter, job.options.drawn_lids)
    if job.frames is not None:
        save_case(job.frames, case, truths, pictures)
    return measured
