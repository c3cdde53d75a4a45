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
    for channel, bias in enumerate(before.bias):
        row = before.weight[channel]
        if max(np.abs(row).max(), abs(bias)) < _LARGEST:
            tried = _factors(float(bias), count)
            errors = _errors(row, columns[channel], float(bias), tried, transposed)
            factors[channel] = tried[np.argmin(errors)]
    return factors


def _along(factors: Array, axis: int, dimensions: int) -> Array:
    return factors.reshape([-1 if i == axis else 1 for i in range(dimensions)])


def _factors(bias: float, count: int) -> Array:
    """Return factors in 1..2 (N,), the first near 1, by which `bias` becomes a number that FP16 has."""
    size = abs(bias)
    if size < _LEAST_BIAS:
        return 1 + np.arange(count) / count
    step = 2.0 ** (np.floor(np.log2(size)) - 10)
    sizes = (np.ceil(size / step) + np.arange(count) * (1024 // count)) * step
    factors: Array = half_rounded(sizes) / size
    return factors


def _errors(row: Array, column: Array, bias: float, factors: Array, transposed: bool) -> NDArray[np.float64]:
    """The expected squared error (N,) of what is computed from a channel, for each of the factors (N,).

    Neighbouring pixels are nearly equal, so that the errors of a kernel's taps add up; inputs are taken to be about 1.
    """
    made = _taps(_rounding(row, factors), False) ** 2
    read = _taps(_rounding(column, factors, divide=True), transposed) ** 2
    size = bias**2 + (_taps(row[None], False) ** 2).sum()  # of the channel's values
    gain = (_taps(column[None], transposed) ** 2).sum()
    return np.asarray(made.reshape(len(factors), -1).sum(1) * gain + read.reshape(len(factors), -1).sum(1) * size)


def _rounding(values: Array, factors: Array, divide: bool = False) -> Array:
    """Return what rounding changes, seen without the factors: (N, *values.shape)."""
    along = _along(1 / factors if divide else factors, 0, values.ndim + 1)
    return half_rounded(values * along) / along - values


def _taps(kernels: Array, transposed: bool) -> Array:
    """Return sums of the taps of (N, C, k, k) that meet in one pixel; a transposed convolution has four kinds."""
    if kernels.ndim < 4:
        return kernels
    if not transposed:
        return np.asarray(kernels.sum((2, 3)))
    phases = [kernels[:, :, i::2, j::2].sum((2, 3)) for i in (0, 1) for j in (0, 1)]
    return np.stack(phases, axis=-1) / 2
