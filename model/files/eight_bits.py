"""Matrices of a checkpoint in eight bits: whole numbers, and a step for each row, by which they are multiplied.

A row is all that belongs to one index of the first dimension of more than one: what a convolution makes one channel
of, or one channel of a learned feature map (1, C, s, s).
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from bilayer.model.files.safe_load import EIGHT_BIT_STEPS
from bilayer.runtime.errors import CheckpointError

_MOST = 127  # -128 is left out: the range is the same on both sides of 0


def to_eight_bits(key: str, tensor: Tensor) -> dict[str, Tensor]:
    """Return a tensor as whole numbers of its shape, and their steps, by name; no value is off by over half a step.

    The steps have as many dimensions as the tensor, all of one but that of the rows.
    """
    rows = next((place for place, size in enumerate(tensor.shape) if size > 1), 0)
    others = [place for place in range(tensor.dim()) if place != rows]
    steps = (tensor.float().abs().amax(dim=others, keepdim=True) / _MOST).clamp(min=torch.finfo(torch.float32).tiny)
    return {key: (tensor.float() / steps).round().to(torch.int8).contiguous(), key + EIGHT_BIT_STEPS: steps}


def from_eight_bits(path: Path, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that a file holds by name, those of eight bits as float32.

    Raises:
        CheckpointError: steps that do not belong to whole numbers.
    """
    tensors = {key: tensor for key, tensor in stored.items() if not key.endswith(EIGHT_BIT_STEPS)}
    for name in stored.keys() - tensors.keys():
        key, steps = name.removesuffix(EIGHT_BIT_STEPS), stored[name]
        whole = tensors.get(key)
        if whole is None or whole.dtype != torch.int8 or not _fit(steps, whole):
            found = "nothing" if whole is None else f"{tuple(whole.shape)} of {whole.dtype}".replace("torch.", "")
            raise CheckpointError(
                f"{path}: {name}: expected a matrix of int8 that {tuple(steps.shape)} steps fit, found {found}; the "
                "file was changed: convert it again"
            )
        tensors[key] = whole.float() * steps.float()
    return tensors


def _fit(steps: Tensor, whole: Tensor) -> bool:
    return steps.dim() == whole.dim() and all(s in (1, w) for s, w in zip(steps.shape, whole.shape, strict=True))
