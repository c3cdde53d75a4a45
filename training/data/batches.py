"""The stream of training batches: a pure function of the seed and the iteration, for any number of processes."""

import itertools
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import numpy as np

from bilayer.runtime.errors import InputError
from bilayer.runtime.jobs.processes import worker_processes
from bilayer.training.data.dataset import FramePairs, TrainingBatch, pair_batch
from bilayer.training.data.stored_pairs import StoredPair
from bilayer.training.processes import Process

Draw = tuple[int, int]  # a pass over the data, and a sequence

_ADVICE = "run the same command again, which goes on from the last state, with fewer [data] workers"


def training_batches(
    data: FramePairs, batch_size: int, seed: int, process: Process, workers: int, first: int = 0
) -> Generator[TrainingBatch]:
    """Yield this process's batches from the `first` iteration on, without end; close it, and its workers end.

    Args:
        data: pairs, and whether they come from the disk (workers are processes) or from memory (threads).
        batch_size: pairs of all processes.
        seed: of the order of sequences.
        process: whose share is wanted.
        workers: 0: pairs are read when they are asked for.
        first: the iteration to begin with.

    Raises:
        InputError: the batch does not divide among the processes; a file of the data is missing or damaged; a worker
            was killed.
    """
    if batch_size % process.count:
        raise InputError(f"[data] batch_size: expected a multiple of the {process.count} processes, found {batch_size}")
    draws = endless_draws(len(data), batch_size, seed, process, first)
    if workers:
        share = batch_size // process.count
        read = _read_ahead(data, draws, workers, batches=1 + -(-2 * workers // share))  # two pairs wait for each worker
    else:
        read = ([data.reader.pair(data.person(index), epoch, index) for epoch, index in batch] for batch in draws)
    with closing(read):
        for pairs in read:
            yield pair_batch(pairs, process.device)


def endless_draws(sequences: int, batch_size: int, seed: int, process: Process, first: int = 0) -> Iterator[list[Draw]]:
    """Yield batches of one pass after another, each in its own order; this process's share of each batch.

    Sequences that do not fill a pass's last batch are left out, others in each pass; fewer than a batch are repeated.
    """
    per_pass = max(sequences // batch_size, 1)
    pass_, skipped = divmod(first, per_pass)
    for epoch in itertools.count(pass_):
        order = np.random.default_rng([seed, epoch]).permutation(sequences)
        batches = np.resize(order, per_pass * batch_size).reshape(per_pass, batch_size)
        for batch in batches[skipped:, process.rank :: process.count]:
            yield [(epoch, int(sequence)) for sequence in batch]
        skipped = 0


def _read_ahead(
    data: FramePairs, draws: Iterable[list[Draw]], workers: int, batches: int
) -> Generator[list[StoredPair]]:
    """The pairs of each batch, read in other processes; frames in memory, which take little, in other threads."""
    with ThreadPoolExecutor(workers) if data.in_memory else worker_processes(workers, _ADVICE) as pool:
        reading: deque[list[Future[StoredPair]]] = deque()
        for batch in draws:
            reading.append([pool.submit(data.reader.pair, data.person(index), epoch, index) for epoch, index in batch])
            if len(reading) > batches:
                yield [pair.result() for pair in reading.popleft()]
