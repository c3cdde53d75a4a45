"""The same network in numbers that FP16 rounds less: what is left of its error is the activations' alone.

Two rewrites that change no result in exact arithmetic, nor the cost:

- A leaky ReLU hands positive factors on. Each channel between two layers is multiplied by a factor in 1..2 that its
  bias fits FP16 with, and divided by it behind; of many such factors, by the one that the weights fit best with. This
  is cross-layer equalisation (Nagel et al., Data-Free Quantization, ICCV 2019) for a format whose error is relative.
- A block's sum has two biases, of which only the sum counts: one takes what FP16 holds of it, the other the rest.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from bilayer.export.network.layers import (
    INPUT,
    Add,
    Adjustment,
    Array,
    Conv,
    ConvTranspose,
    FoldedGenerator,
    Gemm,
    Layer,
    LeakyRelu,
    Upsample,
)

FACTORS = 256  # tried for each channel, at most
_MOST_WORK = 1 << 20  # numbers rounded for each layer: wider ones try fewer factors, or none: their errors average out
_CACHED = 1 << 17  # numbers rounded at once: they stay in a core's cache
_LEAST_BIAS = 2.0**-14  # below, FP16 has fewer digits
_LARGEST = 2.0**14  # a number times a factor stays far from FP16's 65504


def equalize(generator: FoldedGenerator) -> FoldedGenerator:
    """Return `generator` with hidden channels scaled and blocks' biases split; float32 results differ by rounding."""
    work = _Rewrite(generator)
    for layer in generator.layers:
        if isinstance(layer, Add):
            work.split_bias(layer)
        elif isinstance(layer, LeakyRelu):
            work.scale_channels(layer)
    layers = tuple(work.layers[layer.name] for layer in generator.layers)
    return replace(generator, layers=layers, adjusted=work.adjusted)


def half_rounded(values: Array) -> Array:
    """Return the nearest numbers that FP16 has, in float64; infinite beyond 65504."""
    rounded: Array = torch.from_numpy(np.ascontiguousarray(values)).float().half().double().numpy()
    return rounded


class _Rewrite:
    """The layers by name while they change, and what their outputs are now."""

    def __init__(self, generator: FoldedGenerator) -> None:
        self.layers = {layer.name: layer for layer in generator.layers}
        self.adjusted: dict[str, Adjustment] = {}
        self._readers: dict[str, list[str]] = {name: [] for name in (INPUT, *self.layers)}
        for layer in generator.layers:
            for name in layer.inputs:
                self._readers[name].append(layer.name)

    def split_bias(self, add: Add) -> None:
        """Give one of two summands what FP16 holds of their biases' sum, the other the rest."""
        first, second = (self._producer(name) for name in add.inputs)
        if not isinstance(first, Conv | ConvTranspose) or not isinstance(second, Conv):
            return
        total = first.bias + second.bias
        if not np.abs(total).max() < _LARGEST:
            return
        held = half_rounded(total)
        for layer, bias, name in ((first, held, add.inputs[0]), (second, total - held, add.inputs[1])):
            self.layers[layer.name] = replace(layer, bias=bias)
            self.adjusted |= dict.fromkeys((layer.name, name), Adjustment(np.ones_like(bias), bias - layer.bias))

    def scale_channels(self, activation: LeakyRelu) -> None:
        """Scale the channels that go through `activation` from one layer to another, if nothing else reads them."""
        before, way = self.layers.get(activation.inputs[0]), [activation.name]
        after = self._only_reader(activation.name)
        if isinstance(after, Upsample):
            way.append(after.name)
            after = self._only_reader(after.name)
        if not isinstance(before, Gemm | Conv) or not isinstance(after, Gemm | Conv | ConvTranspose):
            return
        count = min(_MOST_WORK // (before.weight.size + after.weight.size), FACTORS)
        if self._only_reader(before.name) is None or not count:
            return
        factors, axis = _best_factors(before, after, count), 0 if isinstance(after, ConvTranspose) else 1
        made = before.weight * _along(factors, 0, before.weight.ndim)
        self.layers[before.name] = replace(before, weight=made, bias=before.bias * factors)
        self.layers[after.name] = replace(after, weight=after.weight / _along(factors, axis, after.weight.ndim))
        self.adjusted |= dict.fromkeys((before.name, *way), Adjustment(factors, np.zeros_like(factors)))

    def _producer(self, name: str) -> Layer:
        layer = self.layers[name]
        return self.layers[layer.inputs[0]] if isinstance(layer, Upsample) else layer

    def _only_reader(self, name: str) -> Layer | None:
        readers = self._readers[name]
        return self.layers[readers[0]] if len(readers) == 1 else None


def _best_factors(before: Gemm | Conv, after: Gemm | Conv | ConvTranspose, count: int) -> Array:
    """Return a factor for each channel (C,) between two layers, the best of `count`."""
    transposed = isinstance(after, ConvTranspose)
    columns = np.moveaxis(after.weight, 0 if transposed else 1, 0)
    factors = np.ones(len(before.bias))
    largest = np.maximum(np.abs(before.weight).reshape(len(factors), -1).max(1), np.abs(before.bias))
    fitting = np.flatnonzero(largest < _LARGEST)
    together = max(1, _CACHED // (count * max(before.weight[0].size, columns[0].size)))
    for start in range(0, len(fitting), together):
        channels = fitting[start : start + together]
        tried = _factors(before.bias[channels], count)
        errors = _errors(before.weight[channels], columns[channels], before.bias[channels], tried, transposed)
        factors[channels] = np.take_along_axis(tried, errors.argmin(1)[:, None], 1)[:, 0]
    return factors


def _along(factors: Array, axis: int, dimensions: int) -> Array:
    return factors.reshape([-1 if i == axis else 1 for i in range(dimensions)])


def _factors(bias: Array, count: int) -> Array:
    """Return factors in 1..2 (C, N), the first near 1, by which the biases (C,) become numbers that FP16 has."""
    size = np.maximum(np.abs(bias), _LEAST_BIAS)[:, None]
    step: Array = np.ldexp(1.0, np.floor(np.log2(size)).astype(np.int64) - 10)
    sizes: Array = (np.ceil(size / step) + np.arange(count) * (1024 // count)) * step
    small = np.abs(bias)[:, None] < _LEAST_BIAS
    return np.where(small, 1 + np.arange(count) / count, half_rounded(sizes) / size)


def _errors(rows: Array, columns: Array, bias: Array, factors: Array, transposed: bool) -> NDArray[np.float64]:
    """The expected squared errors (C, N) of what is computed from each channel, for each of its factors (C, N).

    Neighbouring pixels are nearly equal, so that the errors of a kernel's taps add up; inputs are taken to be about 1.
    """
    made = _squares(_rounding(rows, factors), False)
    read = _squares(_rounding(columns, factors, divide=True), transposed)
    size = bias**2 + _squares(rows, False)  # of the channels' values
    gain = _squares(columns, transposed)
    return np.asarray(made.reshape(factors.shape) * gain[:, None] + read.reshape(factors.shape) * size[:, None])


def _rounding(values: Array, factors: Array, divide: bool = False) -> Array:
    """Return what rounding the values (C, ...) changes, seen without the factors (C, N): (C N, ...)."""
    along = (1 / factors if divide else factors).reshape(*factors.shape, *[1] * (values.ndim - 1))
    changed = half_rounded(values[:, None] * along)
    changed /= along
    changed -= values[:, None]
    return changed.reshape(-1, *values.shape[1:])


def _squares(kernels: Array, transposed: bool) -> Array:
    """Return the sums (B,) of the squares of `_taps`."""
    return np.asarray((_taps(kernels, transposed) ** 2).reshape(len(kernels), -1).sum(1))


def _taps(kernels: Array, transposed: bool) -> Array:
    """Return sums of the taps of (B, C, k, k) that meet in one pixel; a transposed convolution has four kinds."""
    if kernels.ndim < 4:
        return kernels
    if not transposed:
        return np.asarray(kernels.sum((2, 3)))
    phases = [kernels[:, :, i::2, j::2].sum((2, 3)) for i in (0, 1) for j in (0, 1)]
    return np.stack(phases, axis=-1) / 2
