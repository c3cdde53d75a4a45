"""How warm and how fast a device is: thermal state, clocks, governors and battery, and what of them betrays throttling.

Everything is read from files and services that the shell's user may read; phones differ in which of them there are, so
each may be None. The GPU's are those of Qualcomm's driver, /sys/class/kgsl/kgsl-3d0.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bilayer.android_harness.device.adb import Device

MODERATE = 2  # of Android's thermal status, 0 to 6: from here on apps are told to do less
SLOWER = 0.95  # of a clock: below it something is held back
_HOT_PLACES = re.compile(r"cpu|gpu|soc|skin", re.IGNORECASE)
_CELSIUS = (1.0, 150.0)  # what a sensor that works may say

# Only shell built-ins: sixty forks a second would be load. `read` fails quietly on what is not there
_FILES = """
show() { read -r v 2>/dev/null < "$2" && echo "$1 $v"; }
read -r v rest 2>/dev/null < /proc/uptime && echo "uptime $v"
g=/sys/class/kgsl/kgsl-3d0
show gpu.clock $g/gpuclk; show gpu.limit $g/max_gpuclk; show gpu.level $g/thermal_pwrlevel
show gpu.governor $g/devfreq/governor
for c in /sys/devices/system/cpu/cpu[0-9]*; do
show cpu.clock $c/cpufreq/scaling_cur_freq; show cpu.limit $c/cpufreq/scaling_max_freq
show cpu.top $c/cpufreq/cpuinfo_max_freq; show cpu.governor $c/cpufreq/scaling_governor
done
"""
_SENSORS = """
for z in /sys/class/thermal/thermal_zone*; do
t=; read -r t 2>/dev/null < $z/type; show "zone.$t" $z/temp
done
"""
_SERVICES = """
dumpsys thermalservice 2>/dev/null | grep -m 1 'Thermal Status'
dumpsys battery 2>/dev/null | grep -E '^ *(level|temperature|AC powered|USB powered):'
true
"""
# For a script that samples while something runs; no sensors, no services
SAMPLE = _FILES


@dataclass(frozen=True)
class Conditions:
    """The temperatures, clocks, governors and battery of a device at one moment."""

    thermal_status: int | None  # Android's, 0 none to 6 shutdown
    hottest_celsius: float | None  # of the sensors at CPU, GPU, SoC and skin
    gpu_mhz: float | None
    gpu_limit_mhz: float | None  # what it may run at now
    gpu_thermal_level: int | None  # above 0 the driver holds it back
    gpu_governor: str | None
    cpu_mhz: list[float]  # of each core
    cpu_limit_mhz: list[float]  # what each may run at now
    cpu_top_mhz: list[float]  # what each is made for
    cpu_governor: str | None
    battery_percent: float | None
    battery_celsius: float | None
    powered: bool | None  # by a cable
    uptime_s: float | None  # since the device started: when this was


def read_conditions(device: Device) -> Conditions:
    """Ask a device for its temperatures, clocks, governors and battery now, or raise a DeviceError where it is gone."""
    return parse_conditions(device.answer(f"{_FILES}{_SENSORS}{_SERVICES}", "its clocks and heat"))


def parse_conditions(text: str) -> Conditions:
    """Read what the scripts of this module print; lines that are none of theirs are passed over."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.strip().partition(": " if ": " in line else " ")
        values.setdefault(name, []).append(value.strip())
    zones = [(name, number) for name in values if name.startswith("zone.") for number in _numbers(values[name])]
    degrees = [(name, value / 1000 if abs(value) >= 1000 else value) for name, value in zones]
    hot = [value for name, value in degrees if _HOT_PLACES.search(name) and _CELSIUS[0] < value < _CELSIUS[1]]
    powered = [value == "true" for name in ("AC powered", "USB powered") for value in values.get(name, [])]
    return Conditions(
        thermal_status=_whole(values, "Thermal Status"),
        hottest_celsius=max(hot, default=None),
        gpu_mhz=_scaled(values, "gpu.clock", 1e6),
        gpu_limit_mhz=_scaled(values, "gpu.limit", 1e6),
        gpu_thermal_level=_whole(values, "gpu.level"),
        gpu_governor=_word(values, "gpu.governor"),
        cpu_mhz=[value / 1e3 for value in _numbers(values.get("cpu.clock", []))],
        cpu_limit_mhz=[value / 1e3 for value in _numbers(values.get("cpu.limit", []))],
        cpu_top_mhz=[value / 1e3 for value in _numbers(values.get("cpu.top", []))],
        cpu_governor=_word(values, "cpu.governor"),
        battery_percent=_first(values, "level"),
        battery_celsius=_scaled(values, "temperature", 10),
        powered=any(powered) if powered else None,
        uptime_s=_first(values, "uptime"),
    )


def throttling(
    before: Conditions, during: Sequence[Conditions], after: Conditions, first_mhz: float | None
) -> list[str]:
    """Return signs that a measurement was slowed down by heat or saving, one line each; empty if there are none.

    Args:
        before: the moment before it.
        during: samples while it ran.
        after: the moment after.
        first_mhz: `busy_gpu_mhz` of the first measurement of this kind.
    """
    signs = []
    status = max((one.thermal_status or 0 for one in (before, after)), default=0)
    if status >= MODERATE:
        signs.append(f"thermal status {status} of 6")
    if any((one.gpu_thermal_level or 0) > 0 for one in (before, *during, after)):
        signs.append("GPU held back by its driver")
    limits = [one.gpu_limit_mhz for one in (before, *during, after) if one.gpu_limit_mhz]
    if limits and min(limits) < max(limits):
        signs.append(f"GPU's limit fell from {max(limits):.0f} to {min(limits):.0f} MHz")
    busy = busy_gpu_mhz(during)
    if busy and first_mhz and busy < SLOWER * first_mhz:
        signs.append(f"GPU at {busy:.0f} MHz, at first {first_mhz:.0f}")
    if any(_capped(one) for one in (before, *during, after)):
        signs.append("CPU cores held below their top clock")
    return signs


def busy_gpu_mhz(during: Sequence[Conditions]) -> float | None:
    """Return the GPU's clock in MHz while something ran; None where it is unknown."""
    clocks = [one.gpu_mhz for one in during if one.gpu_mhz]
    return median(clocks) if clocks else None


def _capped(one: Conditions) -> bool:
    tops = zip(one.cpu_limit_mhz, one.cpu_top_mhz, strict=False)
    return any(limit < SLOWER * top for limit, top in tops)


def _numbers(texts: Sequence[str]) -> list[float]:
    return [float(text) for text in texts if re.fullmatch(r"-?\d{1,12}(\.\d{1,6})?", text)]


def _first(values: dict[str, list[str]], name: str) -> float | None:
    return next(iter(_numbers(values.get(name, []))), None)


def _whole(values: dict[str, list[str]], name: str) -> int | None:
    found = _first(values, name)
    return None if found is None else int(found)


def _scaled(values: dict[str, list[str]], name: str, unit: float) -> float | None:
    found = _first(values, name)
    return None if found is None else found / unit


def _word(values: dict[str, list[str]], name: str) -> str | None:
    words = values.get(name, [])
    return words[-1][:40] if words else None  # of the cores the last, a big one
