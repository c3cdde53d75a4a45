"""Spectral normalisation: a weight divided by its largest singular value, as the published checkpoints store it.

Each layer keeps `weight_orig` and the power iteration's vectors `weight_u` and `weight_v`; in evaluation the weight is
weight_orig / (u . (W v)), W being weight_orig with one row per output channel.
"""

import torch
from torch import Tensor, nn

SUFFIXES = ("_orig", "_u", "_v")


def add_spectral_norm(network: nn.Module, eps: float) -> None:
    """Normalise every convolution and linear layer of `network`, one power iteration per training forward."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.utils.spectral_norm(layer, eps=eps)


def resolve_spectral_norm(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict with every normalised weight computed, its parts dropped, and other tensors as they are.

    Files older than torch 1.0 hold no `weight_v`: it is then one step of the power iteration away from `weight_u`.
    """
    resolved: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = key.removesuffix("_orig")
        if name != key:
            resolved[name] = _normalised(tensor, tensors[name + "_u"], tensors.get(name + "_v"))
        elif not any(key.endswith(s) and key.removesuffix(s) + "_orig" in tensors for s in SUFFIXES):
            resolved[key] = tensor
    return resolved


def _normalised(weight: Tensor, u: Tensor, v: Tensor | None) -> Tensor:
    matrix = weight.flatten(1)
    if v is None:
        v = matrix.T @ u
        v = v / v.norm()
    return weight / torch.dot(u, torch.mv(matrix, v))
