"""What every engine is, and the checks that all of them make.

An engine owns its input and output arrays and reuses them, so that a frame allocates nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from bilayer.runtime.arrays import Floats
from bilayer.runtime.bundle import Contract, PoseInput
from bilayer.runtime.engines.pose_encoding import PoseEncoder
from bilayer.runtime.errors import BundleError, in_short
from bilayer.runtime.frame import Network, NetworkOutputs, OutputsView

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class IoSpec:
    """Inputs and outputs of a network, their shapes by tensor name, in order; () where not static or not float32."""

    inputs: Shapes
    outputs: Shapes


class NetworkEngine(Network, Protocol):
    """A network that the player can play: one of ours, or any other that has these."""

    name: str
    precision: str  # which it computes in


class TensorEngine(ABC):
    """One avatar's network, loaded, between arrays of its own. Not for use by several threads at once.

    Attributes:
        tensors: its outputs (1, C, S, S) by name, the same arrays in every call.

    Raises:
        BundleError: its ends are not the contract's, or its input is no pose.
    """

    name: str
    precision: str

    def __init__(self, path: Path, contract: Contract, ends: IoSpec) -> None:
        check_ends(path, contract, ends)
        self._encoder = PoseEncoder(contract.input, str(path))
        self._pose = np.zeros((1, contract.input.width), np.float32)
        self.tensors: dict[str, Floats] = {name: np.zeros(shape, np.float32) for name, shape in ends.outputs.items()}
        self._view = OutputsView(contract.outputs, self.tensors)

    def run(self, pose: ArrayLike) -> NetworkOutputs:
        """Return the results for a pose (136,) or (68, 2), in the same arrays every time: nothing is allocated."""
        self.infer(self._encoder.encode(pose))
        return self._view.refresh()

    def infer(self, encoded: Floats) -> None:
        """Fill `tensors` for an encoded pose (width,)."""
        self._pose[0] = encoded
        self._compute()

    @abstractmethod
    def _compute(self) -> None:
        """`_pose` (1, width) -> `tensors`."""


def reading(path: Path, load: Callable[[], Any]) -> Any:
    """Return `load()`; whatever an engine raises in it, but an ImportError, becomes a BundleError about the file."""
    try:
        return load()
    except ImportError:
        raise
    except Exception as error:
        raise BundleError(
            f"{path}: not a network that can be run ({in_short(error)}); export the avatar again"
        ) from error


def check_ends(path: Path, contract: Contract, ends: IoSpec) -> None:
    """Raise a BundleError where the ends of the network in `path` are not the contract's."""
    given: PoseInput = contract.input
    if ends.inputs != {given.tensor: (1, given.width)}:
        found = ", ".join(f"{name} {list(shape)}" for name, shape in sorted(ends.inputs.items())) or "none"
        raise BundleError(f"{path}: input: expected {given.tensor} [1, {given.width}] in float32, found {found}")
    size = contract.image_size
    for result in contract.outputs.by_name.values():
        shape = ends.outputs.get(result.tensor, ())
        if len(shape) != 4 or shape[0] != 1 or shape[1] < result.stop or shape[2:] != (size, size):
            expected = f"[1, at least {result.stop}, {size}, {size}] in float32"
            raise BundleError(f"{path}: output {result.tensor}: expected {expected}, found {list(shape) or 'none'}")
