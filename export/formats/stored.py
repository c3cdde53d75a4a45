"""How a network's numbers are stored: in which types, and what integers stand for, whatever file they come from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bilayer.runtime.command.console import table

HEADERS = ("tensor", "of", "shape", "type", "bits", "zero", "scales", "a step", "from", "to")


@dataclass(frozen=True)
class Stored:
    """One tensor of a file: a constant, or what is computed in integers."""

    name: str
    what: Literal["weights", "computed"]
    shape: tuple[int, ...]  # empty where the file does not say
    dtype: str  # as numpy calls it: int8, float32
    bits: int  # of one number
    bytes: int  # 0 of what is computed
    scales: tuple[float, ...] = ()  # none: it is in float
    zeros: tuple[int, ...] = ()  # what stands for 0.0: one, or one for each scale
    axis: int | None = None  # along which each index has a scale of its own

    @property
    def symmetric(self) -> bool:
        """Whether 0.0 stands in the middle of the integers: at 0 of signed ones."""
        middle = 2 ** (self.bits - 1) if self.dtype.startswith("u") else 0
        return all(zero == middle for zero in self.zeros)

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest number that it can hold, of the channel that reaches farthest."""
        lowest, highest = (0, 2**self.bits - 1) if self.dtype.startswith("u") else (-(2 ** (self.bits - 1)), 0)
        highest = highest or 2 ** (self.bits - 1) - 1
        zeros = self.zeros if len(self.zeros) == len(self.scales) else self.zeros[:1] * len(self.scales)
        pairs = list(zip(self.scales, zeros, strict=True))
        return min((lowest - zero) * scale for scale, zero in pairs), max((highest - z) * scale for scale, z in pairs)

    def describe(self) -> dict[str, Any]:
        """Return all of it for JSON, long lists of scales by their ends."""
        return {
            "name": self.name,
            "of": self.what,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "bits": self.bits,
            "symmetric": self.symmetric,
            "zero": self.zeros[0] if len(set(self.zeros)) == 1 else list(self.zeros),
            "per_channel": self.axis is not None,
            "axis": self.axis,
            "scales": len(self.scales),
            "scale": [min(self.scales), max(self.scales)],
            "range": list(self.bounds),
        }


def quantised(tensors: Iterable[Stored]) -> list[Stored]:
    """Return those that are in integers with a scale."""
    return [tensor for tensor in tensors if tensor.scales]


def bytes_by_type(tensors: Iterable[Stored]) -> dict[str, int]:
    """Return the bytes of the constants by their type, the largest first."""
    found: dict[str, int] = {}
    for tensor in tensors:
        if tensor.bytes:
            found[tensor.dtype] = found.get(tensor.dtype, 0) + tensor.bytes
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape in one cell, such as 1x3x256x256; a dash where it is not known."""
    return "x".join(map(str, shape)) or "-"


def told_bytes(found: dict[str, int]) -> str:
    """Return what `bytes_by_type` found in MB, in one cell."""
    return ", ".join(f"{kind} {size / 1e6:.2f} MB" for kind, size in found.items()) or "nothing"


def network_tables(
    file: str,
    facts: Sequence[tuple[str, str]],
    ends: Iterable[tuple[str, str, Sequence[int], str]],
    headings: Sequence[str],
    layers: Sequence[Sequence[object]],
    tensors: Iterable[Stored],
) -> str:
    """Return tables for a terminal: a file's facts, ends (which, name, shape, type), layers, what is in integers."""
    shown = [(end, name, shape_text(shape), kind) for end, name, shape, kind in ends]
    parts = [table(["file", file], facts), table(["", "tensor", "shape", "type"], shown), table(headings, layers)]
    return "\n\n".join(filter(None, [*parts, integer_table(quantised(tensors))]))


def integer_table(tensors: Sequence[Stored]) -> str:
    """Return a table of what is in integers, weights and what is computed; empty where nothing is."""
    return table(HEADERS, map(_row, tensors)) if tensors else ""


def _row(tensor: Stored) -> list[str]:
    low, high = tensor.bounds
    least, most = min(tensor.scales), max(tensor.scales)
    zero = "symmetric" if tensor.symmetric else str(tensor.zeros[0]) if len(set(tensor.zeros)) == 1 else "each"
    return [
        tensor.name,
        tensor.what,
        shape_text(tensor.shape),
        tensor.dtype,
        str(tensor.bits),
        zero,
        "1" if tensor.axis is None else f"{len(tensor.scales)} (axis {tensor.axis})",
        f"{least:.3g}" if least == most else f"{least:.3g} to {most:.3g}",
        f"{low:.3g}",
        f"{high:.3g}",
    ]
