"""What is counted and computed of a model: multiply-accumulates, and the roofline of mobile GPUs."""

import re
from collections.abc import Mapping

from bilayer.benchmarks.report.rates import DEVICES, RatedPrecision
from bilayer.benchmarks.speed.export_variants import make_generator, variants_of
from bilayer.benchmarks.speed.report import BenchReport, BenchRow, Cell
from bilayer.benchmarks.speed.roofline import RATES, frame_milliseconds, layer_costs
from bilayer.export.network.layers import FoldedGenerator
from bilayer.model.config import PRESETS
from bilayer.model.macs import PAPER_GMACS, count_costs, macs_per_frame

# GMACs of the other rows of the paper's Table 2, by size of the model
OTHER_METHODS = {
    "Few-shot Vid-to-Vid": {"small": 10.2, "medium": 18.2, "large": 22.2},
    "First Order Motion Model": {"small": 3.78, "medium": 13.9, "large": 53.7},
    "Neural Talking Heads": {"large": 52.8},
}


def count_reports(preset: str) -> list[BenchReport]:
    """Report GMACs of every network, of each block by variant, and of each variant beside the paper's Table 2."""
    config = PRESETS[preset]
    costs = count_costs(config)
    networks = [
        BenchRow(
            f"{cost.network} {cost.part}".strip(),
            columns={"when": cost.when, "parameters": cost.parameters, "GMAC": round(cost.macs / 1e9, 4)},
        )
        for cost in costs
    ]
    generators = variants_of(make_generator(preset)[0])
    by_block = {name: _by_block(generator) for name, generator in generators.items()}
    blocks = [
        BenchRow(block, columns={name: round(counted.get(block, 0) / 1e6, 2) for name, counted in by_block.items()})
        for block in next(iter(by_block.values()))
    ]
    variants = [BenchRow("as trained", columns={"GMAC": round(macs_per_frame(costs) / 1e9, 4)})]
    variants += [
        BenchRow(name, columns={"GMAC": round(sum(g.macs().values()) / 1e9, 4), "nodes": len(g.layers)})
        for name, g in generators.items()
    ]
    if preset in PAPER_GMACS:
        variants.insert(0, BenchRow("the paper's Table 2", columns={"GMAC": PAPER_GMACS[preset]}))
    published = [
        BenchRow(
            name,
            columns={
                "paper, GMAC": gmacs,
                "here, as trained": round(macs_per_frame(count_costs(PRESETS[name])) / 1e9, 3),
                **{other: counted.get(name) for other, counted in OTHER_METHODS.items()},
            },
        )
        for name, gmacs in PAPER_GMACS.items()
    ]
    settings: dict[str, Cell] = {"preset": preset, "image_size": config.image_size}
    return [
        BenchReport("Networks", tuple(networks), settings, measured=False, bar="GMAC"),
        BenchReport("A frame by block, MMAC", tuple(blocks), settings, measured=False, bar="deconv"),
        BenchReport("A frame by variant", tuple(variants), settings, measured=False, bar="GMAC"),
        BenchReport("A frame by model, the paper's Table 2", tuple(published), measured=False, bar="here, as trained"),
    ]


def roofline_reports(preset: str, precision: RatedPrecision) -> list[BenchReport]:
    """Return bounds of a frame on each device, published rates, and what binds each layer on the paper's phone."""
    generators = variants_of(make_generator(preset)[0])
    settings: dict[str, Cell] = {"preset": preset, "precision": precision}
    bounds, predicted = [], []
    for name, generator in generators.items():
        costs = layer_costs(generator)
        gmacs = sum(generator.macs().values()) / 1e9
        limits = {device.name: round(frame_milliseconds(costs, device, precision), 2) for device in DEVICES}
        bounds.append(BenchRow(name, columns={"GMAC": round(gmacs, 3), **limits}))
        rates = {rate.what: round(1e3 * gmacs / rate.gmacs_per_second, 1) for rate in RATES}
        predicted.append(BenchRow(name, columns={"GMAC": round(gmacs, 3), **rates}))
    peaks = [
        BenchRow(
            device.name,
            columns={
                "FP16 GFLOPS": device.gflops["fp16"],
                "FP32 GFLOPS": device.gflops["fp32"],
                "GB/s": device.gigabytes_per_second,
            },
        )
        for device in DEVICES
    ]
    device = DEVICES[0]
    costs = sorted(layer_costs(generators["deconv"]), key=lambda cost: -cost.milliseconds(device, precision))
    layers = [
        BenchRow(
            cost.name,
            columns={
                "MMAC": round(cost.macs / 1e6, 1),
                "MB moved": round(cost.megabytes(precision), 2),
                "ms at least": round(cost.milliseconds(device, precision), 3),
                "bound by": cost.bound(device, precision),
            },
        )
        for cost in costs
    ]
    sources = tuple(f"{device.name}: {device.source}" for device in DEVICES)
    published = tuple(f"{rate.what}: {rate.source}" for rate in RATES)
    paper = "The paper's 42 ms were measured by its authors; every number here is computed."
    return [
        BenchReport("Peaks, as published", tuple(peaks), measured=False, notes=sources, bar="FP16 GFLOPS"),
        BenchReport("A frame at best, ms", tuple(bounds), settings, measured=False, bar=device.name),
        BenchReport(
            "A frame at published rates, ms",
            tuple(predicted),
            settings,
            measured=False,
            notes=published,
            bar=RATES[0].what,
        ),
        BenchReport(
            f"Layers of deconv, {device.name}, the longest first",
            tuple(layers),
            settings,
            measured=False,
            notes=(paper,),
            bar="ms at least",
        ),
    ]


def _by_block(generator: FoldedGenerator) -> Mapping[str, int]:
    """Multiply-accumulates of a frame by the block that a layer's name begins with."""
    counted: dict[str, int] = {}
    for name, macs in generator.macs().items():
        match = re.match(r"(block\d+|head|pose)", name)
        block = match[1] if match else name
        counted[block] = counted.get(block, 0) + macs
    return counted
