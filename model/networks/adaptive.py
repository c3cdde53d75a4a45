"""What is predicted once per avatar, as values that pass through the generators' forward.

The paper's appendix A.2: weights of every 1x1 convolution, scales and shifts of every adaptive norm.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Conv1x1:
    """A predicted 1x1 convolution for each of B avatars."""

    weight: Tensor  # (B, out, in)
    bias: Tensor  # (B, out)

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve x (B or 1, in, H, W): returns (B, out, H, W)."""
        batch, out = self.bias.shape
        columns = x.flatten(2).expand(batch, -1, -1)
        return torch.baddbmm(self.bias[:, :, None], self.weight, columns).view(batch, out, *x.shape[2:])


@dataclass(frozen=True, eq=False)
class Affine:
    """A predicted scale and shift for each of B avatars, as predicted: the scale is `1 + weight`."""

    weight: Tensor  # (B, channels)
    bias: Tensor  # (B, channels)


@dataclass(frozen=True, eq=False)
class Spade:
    """Predicted 1x1 convolutions of a learned feature map: to the scale minus one, and to the shift, per pixel."""

    weight: Conv1x1
    bias: Conv1x1


Norm = Affine | Spade


@dataclass(frozen=True, eq=False)
class BlockParameters:
    """The predicted layers of one residual block; None where the layer is an ordinary one."""

    norm1: Norm | None
    norm2: Norm
    skip: Conv1x1 | None


@dataclass(frozen=True, eq=False)
class AdaptiveParameters:
    """All that is predicted of one generator, for each of B avatars."""

    blocks: tuple[BlockParameters, ...]
    final_norm: Norm

    def map(self, function: Callable[[Tensor], Tensor]) -> "AdaptiveParameters":
        """Return the same with `function` applied to each tensor."""

        def mapped(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(mapped, value))
            if is_dataclass(value) and not isinstance(value, type):
                return replace(value, **{part.name: mapped(getattr(value, part.name)) for part in fields(value)})
            return None if value is None else function(value)

        return AdaptiveParameters(mapped(self.blocks), mapped(self.final_norm))

    def repeat_frames(self, frames: int) -> "AdaptiveParameters":
        """Return each avatar's parameters `frames` times in a row: (B, ...) becomes (B * frames, ...)."""
        return self.map(lambda tensor: tensor.repeat_interleave(frames, dim=0)) if frames > 1 else self


class AdaptiveBatchNorm(nn.Module):
    """Batch norm with a predicted scale and shift and, if `bias_size` is set, a learned bias per pixel."""

    def __init__(self, channels: int, eps: float, bias_size: int | None = None) -> None:
        super().__init__()
        if bias_size is not None:
            self.pixel_bias = nn.Parameter(torch.zeros(1, channels, bias_size, bias_size))
        self.norm_layer = nn.BatchNorm2d(channels, eps=eps, affine=False)

    def forward(self, x: Tensor, predicted: Affine) -> Tensor:  # (B, C, H, W)
        scale, shift = 1 + predicted.weight[:, :, None, None], predicted.bias[:, :, None, None]
        y: Tensor = torch.addcmul(shift, self.norm_layer(x), scale)
        return y + self.pixel_bias if hasattr(self, "pixel_bias") else y


class AdaptiveSpade(nn.Module):
    """Batch norm with a scale and a shift per pixel, made from a learned feature map (paper, section 3.5)."""

    def __init__(self, channels: int, size: int, eps: float) -> None:
        super().__init__()
        self.pixel_feats = nn.Parameter(torch.empty(1, channels, size, size))
        self.norm_layer = nn.BatchNorm2d(channels, eps=eps, affine=False)
        nn.init.kaiming_uniform_(self.pixel_feats, a=5**0.5)

    def forward(self, x: Tensor, predicted: Spade) -> Tensor:  # (B, C, H, W)
        scale = predicted.weight(self.pixel_feats) + 1
        return torch.addcmul(predicted.bias(self.pixel_feats), self.norm_layer(x), scale)
