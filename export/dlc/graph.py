"""What both kinds of .dlc describe: a graph of layers, its tensors, and their constant data."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.errors import DlcError

MAX_DIMENSIONS = 16


@dataclass(frozen=True)
class Steps:
    """What a tensor's integers stand for: (integer + offset) * scale."""

    bits: int
    scales: tuple[float, ...]  # one, or one for each index along `axis`
    offset: int = 0
    axis: int = 0


@dataclass(frozen=True)
class DlcTensor:
    """A tensor's name and type."""

    name: str
    shape: tuple[int, ...]  # empty also where a v3 file does not record it
    dtype: str  # float32, ufixed8, ...; empty where a v3 file does not record it
    steps: Steps | None = None  # of integers, where the file tells


# What a layer is set to: a number, a word, an array of numbers; None: it lies where nothing public says
Setting = bool | int | float | str | NDArray[np.generic] | None


@dataclass(frozen=True, eq=False)
class DlcNode:
    """A layer; constants are named in `weights` and not in `inputs`."""

    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[str, ...]
    settings: Mapping[str, Setting] = field(default_factory=dict)  # by the name that the file gives them


@dataclass(frozen=True, eq=False)
class DlcGraph:
    """The network of a .dlc."""

    inputs: tuple[DlcTensor, ...]  # what the application feeds
    outputs: tuple[DlcTensor, ...]  # what it gets
    nodes: tuple[DlcNode, ...]  # the layers, in order
    tensors: Mapping[str, DlcTensor]  # activations and constants
    weights: Mapping[str, NDArray[np.generic]]  # the constants; read-only views of the file


def base_name(name: str) -> str:
    """Return a layer's ONNX name: ONNX Runtime renames a layer that it moves to NHWC: conv1_token_12."""
    base, token, number = name.rpartition("_token_")
    return base if token and number.isdigit() else name


def as_array(tensor: DlcTensor, data: memoryview, layout: str) -> NDArray[np.generic]:
    """Return constant `data` in numpy's `layout`, such as <f4.

    Raises:
        DlcError: there is no data, or not as much as the shape says.
    """
    check_shape(tensor)
    if not data:
        raise DlcError(f"tensor {tensor.name}: has no data")
    dtype = np.dtype(layout)
    expected = math.prod(tensor.shape) * dtype.itemsize
    if expected != len(data):
        found = f"expected {expected} bytes for {tensor.dtype} {tensor.shape}, found {len(data)}"
        raise DlcError(f"tensor {tensor.name}: {found}")
    return np.frombuffer(data, dtype).reshape(tensor.shape)


def check_shape(tensor: DlcTensor) -> None:
    """Raise unless the shape is one that a tensor can have."""
    if len(tensor.shape) > MAX_DIMENSIONS or any(size < 0 for size in tensor.shape):
        raise DlcError(f"tensor {tensor.name}: expected up to {MAX_DIMENSIONS} sizes from 0 up, found {tensor.shape}")
