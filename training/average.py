"""A moving average of the weights: what is saved moves less from step to step than what is trained."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = tuple[Tensor, ...] | list[Tensor]


class WeightAverage:
    """Exponential moving average of parameters, by torch; warms up, so that the first values do not linger."""

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self._trained = nn.ParameterList(parameters)

        def warming_up(averages: Tensors, trained: Tensors, count: Tensor | int) -> None:
            now = min(decay, int(count) / (9 + int(count)))
            get_ema_multi_avg_fn(now)(averages, trained, count)  # type: ignore[no-untyped-call]

        self._average = AveragedModel(self._trained, multi_avg_fn=warming_up) if decay else None

    def update(self, iteration: int) -> None:
        """Take in the weights after the `iteration`-th step, counted from 0."""
        if self._average:
            self._average.n_averaged.fill_(iteration + 1)  # at 0 it would forget the weights that training began with
            self._average.update_parameters(self._trained)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the context the parameters have their averages."""
        if not self._average:
            yield
            return
        trained = [parameter.detach().clone() for parameter in self._trained]
        _assign(self._trained, self.state())
        try:
            yield
        finally:
            _assign(self._trained, trained)

    def state(self) -> list[Tensor]:
        """Return the averages of all parameters, in their order, for a checkpoint; an empty list without averaging."""
        return [parameter.detach() for parameter in self._average.parameters()] if self._average else []

    def load(self, averages: list[Tensor]) -> None:
        """Set the averages to those of a checkpoint, as `state` returned them; a ValueError if they do not fit."""
        if [tensor.shape for tensor in averages] != [tensor.shape for tensor in self.state()]:
            raise ValueError("the averages have other shapes than the weights")
        _assign(self.state(), averages)


@torch.no_grad()
def _assign(places: Iterable[Tensor], values: list[Tensor]) -> None:
    for place, value in zip(places, values, strict=True):
        place.copy_(value)
