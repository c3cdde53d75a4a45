"""torch's number of threads, for as long as a computation takes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Of torch, and of the engines that it is compared with: they split their sums by thread, and with a number of their own
# an avatar gives the same bytes whatever the environment
THREADS = 2


@contextmanager
def torch_threads(count: int | None = THREADS) -> Iterator[None]:
    """Let torch compute with `count` threads inside, and with as many as before afterwards; a decorator, too.

    None leaves their number as it is.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
