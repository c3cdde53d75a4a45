"""A moving average of the weights: what is saved moves less from step to step than what is trained."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of parameters; warms up, so that the first values do not linger."""

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self._parameters = list(parameters)
        self._decay = decay
        self._averages = [parameter.detach().clone() for parameter in self._parameters] if decay else []

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Take in the weights after the `iteration`-th step, counted from 0."""
        if self._averages:
            decay = min(self._decay, (1 + iteration) / (10 + iteration))
            torch._foreach_lerp_(self._averages, [p.detach() for p in self._parameters], 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the context the parameters have their averages."""
        if not self._averages:
            yield
            return
        trained = [parameter.detach().clone() for parameter in self._parameters]
        self._assign(self._averages)
        try:
            yield
        finally:
            self._assign(trained)

    def state(self) -> list[Tensor]:
        """Return the averages of all parameters, in their order, for a checkpoint; an empty list without averaging."""
        return self._averages

    def load(self, averages: list[Tensor]) -> None:
        """Set the averages to those of a checkpoint, as `state` returned them."""
        for average, saved in zip(self._averages, averages, strict=True):
            average.copy_(saved)

    @torch.no_grad()
    def _assign(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)
