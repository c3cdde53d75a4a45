"""What every engine is, and the checks that all of them make.

An engine owns its input and output arrays and reuses them, so that a frame allocates nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.bundle import Contract, PoseInput
from bilayer.runtime.errors import BundleError

EngineName = Literal["auto", "onnxruntime", "openvino", "ncnn", "ncnn-vulkan"]
Precision = Literal["f32", "bf16", "f16"]

Floats = NDArray[np.float32]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class IoSpec:
    """Inputs and outputs of a network, their shapes by tensor name, in order; () where not static or not float32."""

    inputs: Shapes
    outputs: Shapes


class NetworkEngine(Protocol):
    """One avatar's network, loaded. Not for use by several threads at once."""

    name: str
    precision: str

    def run(self, pose: Floats) -> dict[str, Floats]:
        """The outputs (1, C, S, S) by tensor name for an encoded pose (width,): the same arrays in every call."""
        ...


def reading(path: Path, load: Callable[[], Any]) -> Any:
    """`load()`, whose errors are about the file: the engines raise many kinds."""
    try:
        return load()
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BundleError(f"{path}: not a network that can be run ({reason}); export the avatar again") from error


def allocate(path: Path, contract: Contract, ends: IoSpec) -> tuple[Floats, dict[str, Floats]]:
    """The input (1, width) and the outputs (1, C, S, S) of the network in `path`, by tensor name.

    Raises:
        BundleError: its ends are not the contract's.
    """
    check_ends(path, contract, ends)
    outputs = {name: np.zeros(shape, np.float32) for name, shape in ends.outputs.items()}
    return np.zeros((1, contract.input.width), np.float32), outputs


def check_ends(path: Path, contract: Contract, ends: IoSpec) -> None:
    """Raise a BundleError where the ends of the network in `path` are not the contract's."""
    given: PoseInput = contract.input
    if ends.inputs != {given.tensor: (1, given.width)}:
        found = ", ".join(f"{name} {list(shape)}" for name, shape in sorted(ends.inputs.items())) or "none"
        raise BundleError(f"{path}: input: expected {given.tensor} [1, {given.width}] in float32, found {found}")
    size = contract.image_size
    for result in (contract.outputs.delta_uv, contract.outputs.lf_rgb, contract.outputs.seg):
        if result is None:
            continue
        shape = ends.outputs.get(result.tensor, ())
        if len(shape) != 4 or shape[0] != 1 or shape[1] < result.stop or shape[2:] != (size, size):
            expected = f"[1, at least {result.stop}, {size}, {size}] in float32"
            raise BundleError(f"{path}: output {result.tensor}: expected {expected}, found {list(shape) or 'none'}")
