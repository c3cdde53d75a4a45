"""What the vendor's log viewers print, read: snpe-diagview's text and CSV, qnn-profile-viewer's text.

Total Inference Time is a whole execution, copies and changes of layout included; Forward Propagate the runtime alone.
Both are the mean over the executions of one process; Init happens once for each.
"""

import csv
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from bilayer.runtime.errors import DeviceError

MAX_LINES = 100_000
_TIME = re.compile(r"^(?P<name>[^:]{1,120}):\s+(?P<us>\d{1,15}(?:\.\d{1,15})?)\s+us$")
_LAYER = re.compile(
    r"^(?P<index>\d+)(?:\s*\((?P<name>[^()]*)\))?:\s+(?P<us>\d{1,15}(?:\.\d{1,15})?)\s+us(?:\s*:\s*(?P<unit>\w+))?$"
)
_NET_RUN = re.compile(r"^NetRun:\s+(?P<us>\d{1,15}(?:\.\d{1,15})?)\s+us$")
_QNN_ALONE = re.compile(r"^Backend \(QNN \(execute\) time\):\s+(?P<us>\d{1,15}(?:\.\d{1,15})?)\s+us$")
_QNN_LAYER = re.compile(r"^(?P<name>[\w./]+)(?::OpId_(?P<index>\d+) \(\w+\))?:\s+(?P<us>\d{1,15}(?:\.\d{1,15})?)\s+us$")
_VERSION = re.compile(r"Software library version:\s*(\S+)")
# Rows of the viewer's CSV that are no layers, without the word Time that some versions end them with
_NAMES = {
    "load", "deserialize", "create", "init", "de-init", "create network(s)", "rpc init", "snpe accelerator init",
    "accelerator init", "total inference", "forward propagate", "rpc execute", "snpe accelerator", "accelerator",
    "misc accelerator",
}  # fmt: skip


@dataclass(frozen=True)
class LayerTime:
    """One layer; a GPU has several in one."""

    name: str
    us: float
    unit: str  # the processor, where the log has it


@dataclass(frozen=True)
class Profile:
    """The times that one process measured, in microseconds."""

    version: str  # of the runtime; empty where the log does not tell
    total_us: float | None  # mean of the executions, copies included; None where it means nothing
    forward_us: float | None  # mean of the executions, the runtime alone
    init_us: float | None  # once
    layers: tuple[LayerTime, ...]  # of a detailed log


def parse_profile(text: str, where: str) -> Profile:
    """Read what snpe-diagview (text or CSV) or qnn-profile-viewer printed.

    Raises:
        DeviceError: there is no inference time in it; `where` names the log.
    """
    lines = [line.strip() for line in text.splitlines()[:MAX_LINES]]
    if any(line.startswith("Execute Stats (Average)") for line in lines):
        profile = _qnn(lines)
    elif any(_TIME.match(line) for line in lines):
        profile = _diagview(lines, text)
    else:
        profile = _table(lines, text)
    if profile is None:
        found = next((line for line in lines if line), "nothing")[:100]
        raise DeviceError(f"{where}: expected a Total Inference Time, found {found!r}; was --profiling_level taken?")
    return profile


def _diagview(lines: list[str], text: str) -> Profile | None:
    times: dict[str, float] = {}
    layers: list[LayerTime] = []
    in_layers = False
    for line in lines:
        if line.startswith("Layer Times"):
            in_layers = True
        layer = _LAYER.match(line) if in_layers else None
        if layer:
            name = layer["name"] or layer["index"]
            layers.append(LayerTime(name.removeprefix("Name:").strip(), float(layer["us"]), layer["unit"] or ""))
            continue
        time = _TIME.match(line)
        if time:
            times.setdefault(_plain(time["name"]), float(time["us"]))
    return _profile(times, layers, text)


def _table(lines: list[str], text: str) -> Profile | None:
    times: dict[str, float] = {}
    layers: list[LayerTime] = []
    for row in _rows(lines):
        if len(row) < 3:
            continue
        name, us = row[0].strip(), _number(row[2])
        if us is None or not name:
            continue  # a heading
        if _plain(name) in _NAMES:
            times.setdefault(_plain(name), us)
        else:
            layers.append(LayerTime(name, us, row[4].strip() if len(row) > 4 else ""))
    return _profile(times, layers, text)


def _rows(lines: Iterable[str]) -> list[list[str]]:
    try:
        return list(csv.reader(lines))
    except csv.Error:
        return []


def _qnn(lines: list[str]) -> Profile | None:
    section, total, forward, init = "", None, None, None
    layers: list[LayerTime] = []
    for line in lines:
        if line.endswith("Stats:") or re.match(r"^Execute Stats \(\w+\)", line):
            section = line
            continue
        net_run, alone = _NET_RUN.match(line), _QNN_ALONE.match(line)
        if section.startswith("Execute Stats (Average)"):
            layer = None if net_run or alone else _QNN_LAYER.match(line)
            total = float(net_run["us"]) if net_run and total is None else total
            forward = float(alone["us"]) if alone and forward is None else forward
            layers += [LayerTime(layer["name"], float(layer["us"]), "")] if layer else []
        elif section.startswith("Init Stats") and net_run:
            init = float(net_run["us"])
    return None if total is None else Profile("", total, forward, init, tuple(layers))


def _profile(times: dict[str, float], layers: list[LayerTime], text: str) -> Profile | None:
    if "total inference" not in times:
        return None
    version = _VERSION.search(text)
    return Profile(
        version=version[1][:60] if version else "",
        total_us=times["total inference"],
        forward_us=times.get("forward propagate"),
        init_us=times.get("init"),
        layers=tuple(layers),
    )


def _plain(name: str) -> str:
    return name.strip().lower().removesuffix("time").strip()


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
