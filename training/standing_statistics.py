"""Standing statistics (Brock et al., ICLR 2019), which a saved model's batch norms normalise by (paper, section 3.5).

The mean over many batches of each batch's mean and (unbiased) variance. The published routine sets every batch norm
to evaluation before it counts, and so changes nothing; this one does what was meant.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from bilayer.training.data.dataset import TrainingBatch


@contextmanager
def standing_statistics(
    networks: Sequence[nn.Module], batches: Iterable[TrainingBatch], forward: Callable[[TrainingBatch], object]
) -> Iterator[None]:
    """Keep `networks` in evaluation mode inside, with statistics by `forward` over `batches`; restore them afterwards.

    Without any batch the statistics are those that they have. Networks without batch norms take no batch.
    """
    training = {module: module.training for network in networks for module in network.modules()}
    norms = [module for module in training if isinstance(module, nn.BatchNorm2d)]
    kept = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    momenta = [norm.momentum for norm in norms]
    for network in networks:
        network.eval()
    try:
        if norms:
            _accumulate(norms, batches, forward)
        yield
    finally:
        for norm, buffers, momentum in zip(norms, kept, momenta, strict=True):
            norm.momentum = momentum
            for name, buffer in buffers.items():
                norm.get_buffer(name).copy_(buffer)
        for module, mode in training.items():
            module.training = mode


@torch.no_grad()
def _accumulate(
    norms: list[nn.BatchNorm2d], batches: Iterable[TrainingBatch], forward: Callable[[TrainingBatch], object]
) -> None:
    for count, batch in enumerate(batches):
        if count == 0:
            for norm in norms:
                norm.train()
                norm.momentum = None  # a plain mean over the batches
                norm.reset_running_stats()
        forward(batch)
    for norm in norms:
        norm.eval()
