"""The same networks, quicker to evaluate: rewrites that are exact, and a memory layout that CPUs like.

A 3x3 convolution before a 2x2 average pool, or after a nearest upsampling, has 2.25 times fewer products as one
strided or transposed 4x4 convolution; a 1x1 convolution is cheaper at the smaller size. Parameters keep their names
and shapes: kernels are derived in the forward. For evaluation the inference generator keeps its form: export/ rewrites
that.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bilayer.model.bilayer import BilayerModel
from bilayer.model.blocks import AdaptiveUpBlock, ResidualBlock, upsample
from bilayer.model.generators import Heads


def pooled_kernel(weight: Tensor) -> Tensor:
    """3x3 convolution, then 2x2 average pool -> (out, in, 4, 4) for a convolution of stride 2 and padding 1."""
    return _overlapped(weight) / 4


def upsampled_kernel(weight: Tensor) -> Tensor:
    """Nearest x2, then 3x3 convolution -> (in, out, 4, 4) for a transposed convolution of stride 2 and padding 1."""
    return _overlapped(weight.flip(2, 3).transpose(0, 1))


def _overlapped(weight: Tensor) -> Tensor:
    """(a, b, 3, 3) -> (a, b, 4, 4): the sum of the kernel, itself one row down, and both one column on."""
    padded = F.pad(weight, (1, 1, 1, 1))
    rows = padded[:, :, :-1] + padded[:, :, 1:]
    return rows[..., :-1] + rows[..., 1:]


class _Rewritten(nn.Module):
    """A convolution together with the resizing beside it; holds the convolution's own parameters."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias

    @property
    def is_pointwise(self) -> bool:
        """1x1: needs no other kernel, only the other order."""
        return self.weight.shape[2] == 1


class ConvThenPool(_Rewritten):
    """Convolution, then 2x2 average pool."""

    def forward(self, x: Tensor) -> Tensor:
        if self.is_pointwise:
            return F.conv2d(F.avg_pool2d(x, 2), self.weight, self.bias)
        return F.conv2d(x, pooled_kernel(self.weight), self.bias, stride=2, padding=1)


class UpsampleThenConv(_Rewritten):
    """Nearest upsampling to twice the size, then convolution."""

    def forward(self, x: Tensor) -> Tensor:
        if self.is_pointwise:
            return upsample(F.conv2d(x, self.weight, self.bias))
        return F.conv_transpose2d(x, upsampled_kernel(self.weight), self.bias, stride=2, padding=1)


def reparameterize_model(model: BilayerModel) -> BilayerModel:
    """Rewrite `model` in place, for evaluation on a CPU or GPU; its state dict stays as it is. Returns it.

    Measured by `python -m bilayer.benchmarks.speed.avatar_creation`.
    """
    for block in model.modules():
        if isinstance(block, ResidualBlock):
            for sequence in (block.block_feats, block.block, block.skip):
                if isinstance(sequence, nn.Sequential):
                    _join(sequence)
        elif isinstance(block, AdaptiveUpBlock) and not block.efficient:
            conv1 = block.block_feats["3"]
            assert isinstance(conv1, nn.Conv2d)
            block.block_feats["2"], block.block_feats["3"] = nn.Identity(), UpsampleThenConv(conv1)
            block.skip_first = True
    # Measured: 1.1 to 1.2 times faster for these, slower for the texture generator, whose 1x1 products want planes
    for name in ("identity_embedder", "inference_generator", "texture_enhancer"):
        if name in model.networks:
            model.get_submodule(name).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stubs lack it
    return model


def for_training(model: BilayerModel) -> BilayerModel:
    """The same, and the generators' skips before their upsampling, their heads as one convolution; in place. For
    training without spectral norm, which replaces weights that this derives kernels from."""
    for module in reparameterize_model(model).modules():
        if isinstance(module, AdaptiveUpBlock):
            module.skip_first = True
        elif isinstance(module, Heads):
            module.joined = True
    return model


def _join(sequence: nn.Sequential) -> None:
    for i, (first, second) in enumerate(itertools.pairwise(list(sequence))):
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.AvgPool2d):
            sequence[i], sequence[i + 1] = ConvThenPool(first), nn.Identity()
        elif isinstance(first, nn.Upsample) and isinstance(second, nn.Conv2d):
            sequence[i], sequence[i + 1] = nn.Identity(), UpsampleThenConv(second)
