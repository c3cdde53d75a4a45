"""One pose's results of an avatar's network: what every engine, emulation, reference and phone gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.bundle import Outputs

Values = NDArray[np.floating[Any]]

RESULTS = ("delta_uv", "lf_rgb", "seg")


@dataclass(frozen=True, eq=False)
class NetworkOutputs:
    """The results as the contract means them, in the precision that computed them; S is the frame's side."""

    delta_uv: Values  # (2, S, S) x, y offsets of the warp from the identity, -1..1 across the texture
    lf_rgb: Values  # (3, S, S) low-frequency layer, -1..1
    seg: Values | None  # (1, S, S) foreground mask, 0..1; None: all is foreground

    @classmethod
    def read(cls, outputs: Outputs, tensors: Mapping[str, Values]) -> "NetworkOutputs":
        """Return the results in a network's output tensors (1, C, S, S) by name, whose memory they may share."""
        return OutputsView(outputs, tensors).refresh()

    @classmethod
    def of(cls, results: Mapping[str, Values]) -> "NetworkOutputs":
        """Return the inverse of `by_name`."""
        return cls(results["delta_uv"], results["lf_rgb"], results.get("seg"))

    @property
    def by_name(self) -> dict[str, Values]:
        """Those results that there are."""
        found = {name: getattr(self, name) for name in RESULTS}
        return {name: values for name, values in found.items() if values is not None}

    @property
    def not_finite(self) -> int:
        """How many numbers are NaN or infinite."""
        return sum(int(values.size - np.isfinite(values).sum()) for values in self.by_name.values())

    def copy(self) -> "NetworkOutputs":
        """Return the same in memory of its own: engines write over theirs."""
        return NetworkOutputs.of({name: values.copy() for name, values in self.by_name.items()})

    def drawable(self) -> "NetworkOutputs":
        """Return results that a frame can be made of: new C-contiguous float32 arrays, 0 for what is not finite."""
        with np.errstate(over="ignore"):
            planes = {name: np.array(values, np.float32, order="C") for name, values in self.by_name.items()}
        for values in planes.values():
            np.nan_to_num(values, copy=False, nan=0, posinf=0, neginf=0)
        return NetworkOutputs.of(planes)


def display_bytes(planar: Values) -> Bytes:
    """Turn planes (3, H, W) in -1..1 into pixels (H, W, 3), clamped and truncated as the authors display them."""
    return np.asarray((np.clip(planar, -1, 1) + 1) * 127.5, np.uint8).transpose(1, 2, 0)


class Network(Protocol):
    """One avatar's network, however it is computed. Not for use by several threads at once."""

    def run(self, pose: ArrayLike, /) -> NetworkOutputs:
        """Return the results for a pose (136,) or (68, 2), not encoded; valid until the next call, `copy` keeps them.

        Raises:
            LandmarkError: another shape, NaN or infinite values.
        """
        ...


class OutputsView:
    """The results in tensors that are written anew for every pose; the one reader of the contract's `outputs`.

    A result is `tensor[0, start:stop] * scale + offset`: a view of the tensor where that changes nothing, else an
    array of its own, which `refresh` fills without allocating.
    """

    def __init__(self, outputs: Outputs, tensors: Mapping[str, Values]) -> None:
        self._scaled: list[tuple[Values, Values, Any, Any]] = []  # raw, result, scale, offset
        results: dict[str, Values] = {}
        for name, channels in outputs.by_name.items():
            raw = tensors[channels.tensor][0, channels.start : channels.stop]
            results[name] = raw
            if channels.scale != 1 or channels.offset != 0:
                results[name] = np.empty_like(raw)
                scale, offset = (raw.dtype.type(number) for number in (channels.scale, channels.offset))
                self._scaled.append((raw, results[name], scale, offset))
        self._outputs = NetworkOutputs.of(results)

    def refresh(self) -> NetworkOutputs:
        """Return what the tensors hold now: the same object and arrays in every call."""
        for raw, result, scale, offset in self._scaled:
            np.multiply(raw, scale, out=result)
            np.add(result, offset, out=result)
        return self._outputs
