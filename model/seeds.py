"""torch's random numbers, for as long as something is made of them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch draw on the CPU from `seed` on inside; afterwards the caller's numbers go on where they were.

    The seeds of graphics processors are left alone, unlike by torch.manual_seed: what is made here is made on the CPU.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
