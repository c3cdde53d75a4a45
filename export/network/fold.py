"""A trained model and one avatar's predicted parameters -> the generator that is left of them: plain weights, float64.

Spectral norm is divided out, predicted skips become ordinary 1x1 convolutions, predicted norms ordinary batch norms.
The model is only read.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from bilayer.export.network.layers import Array
from bilayer.model.networks.adaptive import AdaptiveBatchNorm, AdaptiveParameters, Affine, Conv1x1
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.model.networks.blocks import AdaptiveUpBlock
from bilayer.model.networks.spectral import resolve_spectral_norm


@dataclass(frozen=True, eq=False)
class Weights:
    """A linear layer's weight (out, in) or a convolution's (out, in, k, k), and its bias (out,)."""

    weight: Array
    bias: Array

    def scaled_rows(self, scale: Array, shift: Array | float = 0.0) -> "Weights":
        """Return this layer followed by `y * scale + shift` per output channel."""
        rows = scale.reshape(-1, *[1] * (self.weight.ndim - 1))
        return Weights(self.weight * rows, self.bias * scale + shift)

    def of_unscaled_input(self, scale: Array, shift: Array) -> "Weights":
        """Return this 1x1 convolution for an input that comes as `x * scale + shift`. Exact: it has no padding."""
        weight = self.weight / scale[:, None, None]
        return Weights(weight, self.bias - weight[:, :, 0, 0] @ shift)


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """A batch norm in evaluation: gamma * (x - mean) / sqrt(var + eps) + beta, each (C,)."""

    gamma: Array
    beta: Array
    mean: Array
    var: Array
    eps: float

    @property
    def scale(self) -> Array:
        """The factor (C,) that x is multiplied by."""
        return self.gamma / np.sqrt(self.var + self.eps)

    @property
    def shift(self) -> Array:
        """The shift (C,) that is then added."""
        return self.beta - self.mean * self.scale

    @property
    def kappa(self) -> float:
        """How much precision is lost to whoever needs x back from this norm's output; infinite if a gamma is 0."""
        gamma, beta = np.abs(self.gamma), np.abs(self.beta)
        with np.errstate(divide="ignore"):
            return float(np.max(np.where(gamma > 0, 1 + beta / np.where(gamma > 0, gamma, 1), np.inf)))


@dataclass(frozen=True, eq=False)
class Block:
    """A residual block: norm1, act, conv1 3x3, norm2, act, up, conv2 3x3; plus skip: up, 1x1. None: folded away."""

    norm1: BatchNorm | None
    conv1: Weights
    norm2: BatchNorm | None
    conv2: Weights
    skip: Weights


@dataclass(frozen=True, eq=False)
class PlainGenerator:
    """The inference generator of one avatar, its pose MLP in front."""

    linears: tuple[Weights, ...]  # LeakyReLU between them; the last makes the first block's input
    input_shape: tuple[int, int, int]  # of the first block: (channels, height, width)
    blocks: tuple[Block, ...]
    final_norm: BatchNorm | None
    heads: tuple[Weights, ...]  # 3x3: delta uv (2), low-frequency RGB (3), and segmentation logits (1) if there


def fold(model: BilayerModel, parameters: AdaptiveParameters, avatar: int = 0) -> PlainGenerator:
    """Return the generator of one avatar, in float64.

    Args:
        model: with pose MLP and inference generator; spectral norm may still be in place.
        parameters: of one or more avatars, as predicted by the model.
        avatar: which of them.
    """
    pose = _Reader(model.keypoints_embedder)
    generator = _Reader(model.inference_generator)
    decoder = model.inference_generator.gen_inf
    layers = model.keypoints_embedder.net["mlp"].named_children()
    linears = [f"net.mlp.{place}" for place, layer in layers if isinstance(layer, nn.Linear)]
    blocks = []
    *residual, final = decoder.blocks
    for k, (block, predicted) in enumerate(zip(residual, parameters.blocks, strict=True)):
        assert isinstance(block, AdaptiveUpBlock)
        name = f"gen_inf.blocks.{k}"
        norm1, _, norm2 = block.block_feats.values()
        blocks.append(
            Block(
                norm1=generator.norm(f"{name}.block_feats.0", norm1, predicted.norm1, avatar),
                conv1=generator.layer(f"{name}.block_feats.2"),
                norm2=generator.norm(f"{name}.block_feats.3", norm2, predicted.norm2, avatar),
                conv2=generator.layer(f"{name}.block.1"),
                skip=_predicted_conv(predicted.skip, avatar) if predicted.skip else generator.layer(f"{name}.skip.1"),
            )
        )
    return PlainGenerator(
        linears=tuple(pose.layer(name) for name in linears),
        input_shape=model.keypoints_embedder.out_shape,
        blocks=tuple(blocks),
        final_norm=generator.norm(f"gen_inf.blocks.{len(blocks)}", final, parameters.final_norm, avatar),
        heads=tuple(generator.layer(f"gen_inf.heads.{i}.0") for i in range(len(decoder.heads))),
    )


class _Reader:
    """A network's weights in float64, by name."""

    def __init__(self, network: nn.Module) -> None:
        self.arrays = {key: _array(t) for key, t in resolve_spectral_norm(network.state_dict()).items()}

    def layer(self, name: str) -> Weights:
        return Weights(self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"])

    def norm(self, name: str, module: nn.Module, predicted: object, avatar: int) -> BatchNorm:
        if isinstance(module, AdaptiveBatchNorm):
            assert isinstance(predicted, Affine)
            name += ".norm_layer"
            gamma, beta, eps = (
                1 + _array(predicted.weight[avatar]),
                _array(predicted.bias[avatar]),
                module.norm_layer.eps,
            )
        else:
            assert isinstance(module, nn.BatchNorm2d)
            gamma, beta, eps = self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"], module.eps
        return BatchNorm(gamma, beta, self.arrays[f"{name}.running_mean"], self.arrays[f"{name}.running_var"], eps)


def _predicted_conv(predicted: Conv1x1, avatar: int) -> Weights:
    return Weights(_array(predicted.weight[avatar])[:, :, None, None], _array(predicted.bias[avatar]))


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().cpu().double().numpy()
