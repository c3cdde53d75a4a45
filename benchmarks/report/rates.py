"""Published peaks of phones' chips: of these are computed limits made, in benchmarks and beside a phone's figures."""

from dataclasses import dataclass
from typing import Literal

RatedPrecision = Literal["fp16", "fp32"]


@dataclass(frozen=True)
class DeviceRates:
    """Peaks of a mobile GPU. A GFLOP is 1e9 multiplications or additions: two to a multiply-accumulate."""

    name: str
    gflops: dict[RatedPrecision, float]
    gigabytes_per_second: float  # of its DRAM, shared with the CPU
    source: str
    platform: str = ""  # ro.board.platform of phones with it
    # Integer operations a second of Hexagon, GPU and CPU together, in 1e12: Qualcomm gives none of Hexagon alone
    ai_tops: float | None = None
    ai_source: str = ""


DEVICES = (
    DeviceRates(
        "Adreno 640 (Snapdragon 855)",
        {"fp16": 1797.1, "fp32": 898.5},
        29.9,
        "585 MHz, 768 ALUs: github.com/azhirnov/cpu-gpu-arch, gpu/Adreno-600.md; DRAM just under 30 GB/s",
        "msmnile",
        7.0,
        "Qualcomm's claim for its 4th generation AI Engine as the press told it at the launch (hothardware.com, "
        "December 2018, 'Qualcomm Snapdragon 855 Unleashed'); in no document of Qualcomm's that could be read",
    ),
    DeviceRates(
        "Adreno 660 (Snapdragon 888)",
        {"fp16": 2764.8, "fp32": 1382.4},
        51.2,
        "900 MHz, 1536 FP32 operations a clock: the same page; LPDDR5 at 3200 MHz on 64 bits",
        "lahaina",
        26.0,
        "Qualcomm's claim for its 6th generation AI Engine as the press told it at the launch (liliputing.com and "
        "business-standard.com, December 2020); in no document of Qualcomm's that could be read",
    ),
    DeviceRates(
        "Adreno 690 (Snapdragon 8cx Gen 3), as clpeak measured it",
        {"fp16": 4021.5, "fp32": 2582.4},
        57.9,
        "gist.github.com/woachk/3fa9916bb12667bb11320ad62bc6c81f: the best of each kind",
    ),
)
