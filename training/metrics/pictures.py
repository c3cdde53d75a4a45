"""Metrics that compare pixels. Pictures are (N, 3, H, W) in -1..1; each gives one value per picture (N,)."""

import torch
from torch import Tensor

from bilayer.runtime import agreement


def l1(pictures: Tensor, truths: Tensor) -> Tensor:
    """Return the mean absolute difference of pixels and channels as a share of the range: 0 equal, 1 black to white."""
    return (pictures - truths).abs().mean(dim=(1, 2, 3)) / 2


def psnr(pictures: Tensor, truths: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB by `bilayer.runtime.agreement`, on the CPU: 200 where equal."""
    pairs = zip(pictures.cpu().numpy(), truths.cpu().numpy(), strict=True)
    return torch.tensor([agreement.psnr(*pair, value_range=2.0) for pair in pairs], dtype=torch.float64)


def ssim(pictures: Tensor, truths: Tensor) -> Tensor:
    """Return structural similarity as the paper's authors do, by `bilayer.runtime.agreement`, on the CPU: 1 equal."""
    pairs = zip(pictures.cpu().numpy(), truths.cpu().numpy(), strict=True)
    return torch.tensor([agreement.ssim(*pair) for pair in pairs], dtype=torch.float64)
