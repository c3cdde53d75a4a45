"""Metrics that compare pixels. Pictures are (N, 3, H, W) in -1..1; each gives one value per picture (N,)."""

import torch
import torch.nn.functional as F
from torch import Tensor

# dB, given to equal pictures, whose PSNR is infinite: it must have a mean and stand in JSON. Of 8-bit pictures of
# 256 px that differ in one value by one it is 101.
MAX_PSNR = 100.0

SSIM_TAPS = 11  # px, side of the window
SSIM_SIGMA = 1.5  # px
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # Wang et al. 2004 for a range of 1, though the range here is 2: as published


def l1(pictures: Tensor, truths: Tensor) -> Tensor:
    """Mean absolute difference over pixels and channels, as a share of the whole range: 0 equal, 1 black and white."""
    return (pictures - truths).abs().mean(dim=(1, 2, 3)) / 2


def psnr(pictures: Tensor, truths: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB: -10 log10 of the mean squared difference over the squared range, 2."""
    error = ((pictures - truths) / 2).square().mean(dim=(1, 2, 3))
    return (-10 * torch.log10(error.clamp_min(1e-30))).clamp_max(MAX_PSNR)


def ssim(pictures: Tensor, truths: Tensor) -> Tensor:
    """Structural similarity as the paper's authors measure it: 1 equal.

    Wang et al. 2004: a Gaussian window of 11 taps, sigma 1.5, each channel by itself. As in the published code the
    pictures are padded with zeros (mid grey), and the constants are those for a range of 1 although it is 2: values
    are lower than scikit-image's, and comparable with the paper's Table 2 alone.
    """
    x, y = pictures, truths
    means = _blur(torch.cat([x, y, x * x, y * y, x * y], dim=1))
    mean_x, mean_y, square_x, square_y, product = means.chunk(5, dim=1)
    variance_x, variance_y = square_x - mean_x.square(), square_y - mean_y.square()
    covariance = product - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x.square() + mean_y.square() + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (variance_x + variance_y + SSIM_C2)
    return (luminance * structure).mean(dim=(1, 2, 3))


def _blur(planes: Tensor) -> Tensor:
    """(N, C, H, W) -> the same, by the window of SSIM, separably."""
    channels = planes.shape[1]
    offsets = torch.arange(SSIM_TAPS, dtype=planes.dtype, device=planes.device) - SSIM_TAPS // 2
    taps = torch.exp(-offsets.square() / (2 * SSIM_SIGMA**2))
    window = (taps / taps.sum()).expand(channels, 1, 1, SSIM_TAPS)
    half = SSIM_TAPS // 2
    across = F.conv2d(planes, window, padding=(0, half), groups=channels)
    return F.conv2d(across, window.transpose(2, 3), padding=(half, 0), groups=channels)
