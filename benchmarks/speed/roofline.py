"""What a phone's GPU could do at best: a generator's layers on a device's peak arithmetic and memory bandwidth.

Everything here is computed. A layer takes at least the longer of its arithmetic and its traffic; real kernels reach a
small share of the peak, which published measurements tell.
"""

from dataclasses import dataclass

import numpy as np

from bilayer.benchmarks.report.rates import DeviceRates, RatedPrecision
from bilayer.export.network.layers import Activation, FoldedGenerator, LeakyRelu, Reshape

BYTES: dict[RatedPrecision, int] = {"fp16": 2, "fp32": 4}


@dataclass(frozen=True)
class Rate:
    """A published measurement of a whole network on a device: what share of the peak real kernels reach."""

    what: str
    gmacs_per_second: float
    source: str


RATES = (
    Rate("the paper's model: 4.32 GMAC in 42 ms by SNPE in FP16", 4.32 / 0.042, "Zakharov et al. 2020, section 4"),
    Rate("VGG16 by ncnn on Vulkan, Snapdragon 855+: 15.5 GMAC in 106 ms", 15.5 / 0.106, "ncnn, benchmark/README.md"),
)


@dataclass(frozen=True)
class LayerCost:
    """The arithmetic and memory traffic of one kernel: a layer, with the activations that follow it."""

    name: str
    macs: int
    elements: int  # read and written: inputs, weights, output

    def milliseconds(self, device: DeviceRates, precision: RatedPrecision) -> float:
        """Return the least time in ms: that of its arithmetic or of its traffic, whichever is longer."""
        return 1e3 * max(self.arithmetic(device, precision), self.traffic(device, precision))

    def megabytes(self, precision: RatedPrecision) -> float:
        """Return the megabytes that are moved if no cache helps."""
        return self.elements * BYTES[precision] / 1e6

    def bound(self, device: DeviceRates, precision: RatedPrecision) -> str:
        """Return which of the two bounds its time: "arithmetic" or "memory"."""
        return "arithmetic" if self.arithmetic(device, precision) > self.traffic(device, precision) else "memory"

    def arithmetic(self, device: DeviceRates, precision: RatedPrecision) -> float:
        """Return the seconds at the peak of the arithmetic units."""
        return 2 * self.macs / (device.gflops[precision] * 1e9)

    def traffic(self, device: DeviceRates, precision: RatedPrecision) -> float:
        """Return the seconds at the peak of the memory, if no cache helps."""
        return self.elements * BYTES[precision] / (device.gigabytes_per_second * 1e9)


def layer_costs(generator: FoldedGenerator) -> list[LayerCost]:
    """Return the kernels of a frame in order. Activations are counted with what they follow; reshapes cost nothing."""
    shapes, macs = generator.shapes(), generator.macs()
    sizes = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    costs = []
    for layer in generator.layers:
        if isinstance(layer, Reshape | LeakyRelu | Activation):
            continue
        weights = sum(
            getattr(layer, field).size for field in ("weight", "bias", "scale", "shift") if hasattr(layer, field)
        )
        elements = sum(sizes[name] for name in layer.inputs) + weights + sizes[layer.name]
        costs.append(LayerCost(layer.name, macs.get(layer.name, 0), elements))
    return costs


def frame_milliseconds(costs: list[LayerCost], device: DeviceRates, precision: RatedPrecision) -> float:
    """Return the least time of a frame in ms: that of its kernels one after the other."""
    return sum(cost.milliseconds(device, precision) for cost in costs)
