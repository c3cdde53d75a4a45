"""The same networks, quicker to evaluate: convolutions joined with the resizing beside them (networks/resized_conv)."""

from copy import deepcopy

import torch
from torch import nn

from bilayer.model.networks.bilayer import BilayerModel
from bilayer.model.networks.blocks import AdaptiveUpBlock
from bilayer.model.networks.generators import Heads


def reparameterize_model(model: BilayerModel, inplace: bool = False) -> BilayerModel:
    """Return a copy of `model` for evaluation on a CPU or GPU: the same results but for rounding, the same state dict.

    Each part that has a method `fuse()` is replaced by what that returns. The inference generator keeps its form:
    export/ rewrites that. Measured by `python -m bilayer.benchmarks.speed.avatar_creation`.

    Args:
        model: one without spectral norm, as `load_model` gives it; it stays as it is unless `inplace`.
        inplace: rewrite `model` itself, without a second copy of its weights, and return it.
    """
    fused = model if inplace else deepcopy(model)
    _fuse_children(fused)
    # Measured: 1.1 to 1.2 times faster for these, slower for the texture generator, whose 1x1 products want planes
    for name in ("identity_embedder", "inference_generator", "texture_enhancer"):
        if name in fused.networks:
            fused.get_submodule(name).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stubs lack it
    return fused


def for_training(model: BilayerModel) -> BilayerModel:
    """Return `model` itself, rewritten in place as for evaluation, for training without spectral norm.

    Its generators' skips come before their upsampling, too, and their heads are one convolution. Spectral norm would
    replace weights that kernels derive from.
    """
    for module in reparameterize_model(model, inplace=True).modules():
        if isinstance(module, AdaptiveUpBlock):
            module.skip_first = True
        elif isinstance(module, Heads):
            module.joined = True
    return model


def _fuse_children(module: nn.Module) -> None:
    for name, child in module.named_children():
        fuse = getattr(child, "fuse", None)
        if callable(fuse):
            module.add_module(name, fuse())
        else:
            _fuse_children(child)
