"""The stream of training batches: a pure function of the seed and the iteration, for any number of processes."""

import itertools
from collections.abc import Iterator

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from bilayer.runtime.errors import InputError
from bilayer.training.dataset import FramePairs, TrainingBatch, collate
from bilayer.training.processes import Process

Draw = tuple[int, int]  # a pass over the data, and a sequence


class _Draws(Dataset[TrainingBatch]):
    """The data of all passes: a worker that reads ahead may be in the next one already."""

    def __init__(self, data: FramePairs) -> None:
        self._data = data

    def __getitem__(self, draw: Draw) -> TrainingBatch:
        return self._data.draw(*draw)


class EndlessBatches(Sampler[list[Draw]]):
    """Batches of one pass after another, each in its own order; this process's share of each batch.

    Sequences that do not fill a pass's last batch are left out, others in each pass; fewer than a batch are repeated.
    """

    def __init__(self, sequences: int, batch_size: int, seed: int, process: Process, first: int = 0) -> None:
        self._sequences, self._size, self._seed, self._process = sequences, batch_size, seed, process
        self._first = first

    def __iter__(self) -> Iterator[list[Draw]]:
        per_pass = max(self._sequences // self._size, 1)
        pass_, skipped = divmod(self._first, per_pass)
        for epoch in itertools.count(pass_):
            order = np.random.default_rng([self._seed, epoch]).permutation(self._sequences)
            batches = np.resize(order, per_pass * self._size).reshape(per_pass, self._size)
            for batch in batches[skipped:, self._process.rank :: self._process.count]:
                yield [(epoch, int(sequence)) for sequence in batch]
            skipped = 0


def training_batches(
    data: FramePairs, batch_size: int, seed: int, process: Process, workers: int, first: int = 0
) -> Iterator[TrainingBatch]:
    """This process's batches from the `first` iteration on, without end.

    Raises:
        InputError: the batch does not divide among the processes.
    """
    if batch_size % process.count:
        raise InputError(f"[data] batch_size: expected a multiple of the {process.count} processes, found {batch_size}")
    # Forked threads of OpenCV would hang, or worse, in a resize; what is kept in memory is not, nor to be copied
    start = "fork" if data.in_memory else "spawn"
    loader = DataLoader(
        _Draws(data),
        batch_sampler=EndlessBatches(len(data), batch_size, seed, process, first),
        num_workers=workers,
        multiprocessing_context=start if workers else None,
        collate_fn=collate,
        pin_memory=process.device.type == "cuda",
    )
    for batch in loader:
        yield batch.to(process.device)
