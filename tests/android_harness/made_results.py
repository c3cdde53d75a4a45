"""Results of a bench as a test wants them."""

from dataclasses import replace
from pathlib import Path

from bilayer import android_harness
from bilayer.android_harness.device.probe import parse_facts
from bilayer.android_harness.report.tables import make_report
from bilayer.android_harness.results import (
    BenchProtocol,
    FrameTimes,
    Latency,
    LayerResult,
    ModelInfo,
    ModeResult,
    Moment,
    Parity,
    Result,
    SamplerRow,
    SamplerTimes,
    Spread,
    Tools,
)

SCHEMA = Path(android_harness.__file__).parent / "result.schema.json"
EMULATED = {"delta_uv": 57.5, "lf_rgb": 60.0, "seg": 64.75}
PARITY = Parity(
    8, "fp16", {"delta_uv": 61.25, "lf_rgb": 58.5, "seg": 200.0, "frame": 49.0}, 0.9975, 0.041, 0, EMULATED, None
)
WRONG = replace(PARITY, psnr_db={"delta_uv": 12.0, "lf_rgb": 30.0, "seg": 41.0, "frame": 9.0})
LATENCY = Latency(Spread(41.98, 41.5, 42.75), Spread(44.15, 44.0, 45.0), Spread(903.746, 900.0, 910.0))


FRAME_TIMES = FrameTimes(1.625, 1.875, 2.125, 2.375, 7.875, 1.925)


def markdown(results):
    return make_report(results).markdown()


def make_sampler(times=FRAME_TIMES):
    """On the scheduler's cores and on little ones, of which the former is what a user sees."""
    rows = [
        SamplerRow("portable", "any", None, 1, 8, 0, 0, replace(times, median=5.5) if times else None, 41.5, False),
        SamplerRow("numba", "any", None, 1, 8, 0, 0, times, 41.5, False),
        SamplerRow("numba", "prime", 2841.6, 1, 8, 0, 0, replace(times, median=1.125) if times else None, 42.5, True),
        SamplerRow("neon", "any", None, 1, 8, 77, 9, replace(times, median=0.25) if times else None, 41.5, False),
    ]
    return SamplerTimes("d" * 64, 300, 60, 8, "merged", rows)


def make_series():
    """Invented: three processes, in the last of which the GPU is held back."""
    moments = []
    for process, (gpu, limit, heat) in enumerate([(585, 585, 40.25), (585, 585, 44.5), (427, 499, 52.75)], 1):
        for second in range(6):
            busy, celsius = 0 < second < 5, None if 0 < second < 5 else heat + second
            begin = 1000 + 20 * process
            moments.append(Moment(process, begin + second, gpu if busy else 257.0, limit, 2841.6, celsius))
    return moments


def make(measured_on="device", latency=LATENCY, model="Phone 1", parity=PARITY, throttled=(), sampler=None):
    facts = replace(parse_facts("uname aarch64 4.14\ngpu Adreno640v2\n"), maker="Test", model=model, build="QD1A")
    layers = [LayerResult("block0", 3.5, "GPU"), LayerResult("layers", 0.25, "GPU")] if latency else []
    row = ModeResult(
        "gpu-fp16",
        "GPU_FLOAT16",
        None,
        parity,
        3,
        latency,
        layers,
        list(throttled),
        0,
        make_series() if latency else [],
    )
    missing = ModeResult("gpu-fp16-hybrid", "GPU_FLOAT32_16_HYBRID", "no such runtime", None, 0, None, [], [], 0, [])
    return Result(
        measured_on,
        [] if measured_on == "device" else ["its processor is x86_64"],
        "2026-01-02T03:04:05+00:00",
        facts,
        ModelInfo("avatar", 256, 3.946, True, "a" * 64, "b" * 64, "tool"),
        Tools("snpe", "snpe-net-run", "1.32.0", "1.32.0.555", "c" * 64, "29.0.6", "0.1.0"),
        BenchProtocol(100, 20, 3, "8 of track.npy", "mean", 60.0, 38.5),
        [row, missing],
        sampler,
    )
