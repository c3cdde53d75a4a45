"""The formulas of the losses (paper, section 3.2), each without its weight.

Means run over all elements, channels included, as in the published code; the paper's equations 2 to 6 sum channels.
Under `torchrun` the adversarial loss is that of the whole batch over all processes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bilayer.training.processes import mean_over_processes


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return the discriminator's relativistic average hinge loss; scores (B, 1, s, s) of real and detached fakes.

    Realism is relative to the other kind's mean score over the batch and its patches (the paper's [24]).
    """
    real_mean, fake_mean = mean_over_processes(real), mean_over_processes(fake)
    return F.relu(1 - (real - fake_mean)).mean() + F.relu(1 + (fake - real_mean)).mean()


def generator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return the generators' relativistic average hinge loss: the same, kinds swapped; real scores are constants."""
    real = real.detach()
    real_mean, fake_mean = mean_over_processes(real), mean_over_processes(fake)
    return F.relu(1 - (fake - real_mean)).mean() + F.relu(1 + (real - fake_mean)).mean()


def feature_matching_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Return the L1 distance between the discriminator's features of real and fake pictures, a mean over its blocks."""
    return torch.stack([F.l1_loss(f, r.detach()) for r, f in zip(real, fake, strict=True)]).mean()


def warping_loss(delta_uv: Tensor) -> Tensor:
    """Return the mean distance of the warping field from the identity (equation 6)."""
    return delta_uv.abs().mean()


# Beyond the paper, for data whose geometry is known: synthetic heads. All their weights are zero by default.


LARGE_ERROR = 0.05  # of the texture's -1..1, 6 texels of 256: where a lid or a lip has not moved at all


def coordinate_loss(uv: Tensor, coords: Tensor, region_weight: Tensor, large: float = 0.0) -> Tensor:
    """Return the L1 distance of the warping field `uv` (B, S, S, 2) from the renderer's canonical texture coordinates,
    of the pixels that have some: NaN marks the others. `region_weight` (B, 1, S, S) weighs the pixels.

    With `large`, that much of Huber's loss is added, quadratic up to LARGE_ERROR: the median, which L1 aims at, of an
    eye that is open most of the time is an open one.
    """
    known = torch.isfinite(coords)
    error = torch.where(known, uv - torch.where(known, coords, 0), 0)
    loss = error.abs()
    if large:
        loss = loss + large * F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=LARGE_ERROR)
    return (loss * region_weight.permute(0, 2, 3, 1)).mean()


def difference_loss(found: Tensor, wanted: Tensor, region_weight: Tensor) -> Tensor:
    """Return the L1 distance of the differences of frames 2k and 2k + 1 in `found` (N, C, S, S) from those in `wanted`,
    a mean over the larger `region_weight` (N, 1, S, S) of both. Pixels that are NaN in either of `wanted` are left out.
    """
    weight = torch.maximum(region_weight[::2], region_weight[1::2])
    change = wanted[1::2] - wanted[::2]
    known = torch.isfinite(change)
    error = torch.where(known, found[1::2] - found[::2] - torch.where(known, change, 0), 0).abs()
    return (error * weight).sum() / (weight.sum() * found.shape[1]).clamp(min=1)


def reconstruction_loss(picture: Tensor, target: Tensor, region_weight: Tensor) -> Tensor:
    """Return the L1 distance (B, 3, S, S) of the pixels, weighed by `region_weight` (B, 1, S, S)."""
    return ((picture - target).abs() * region_weight).mean()


def gradient_loss(picture: Tensor, target: Tensor, region_weight: Tensor) -> Tensor:
    """Return the L1 distance of neighbouring pixels' differences at full, half and quarter size: edges in place."""
    loss = picture.new_zeros(())
    error, weight = picture - target, region_weight
    for _ in range(3):
        across = (error.diff(dim=3).abs() * weight[..., 1:]).mean()
        down = (error.diff(dim=2).abs() * weight[..., 1:, :]).mean()
        loss = loss + across + down
        error, weight = F.avg_pool2d(error, 2), F.avg_pool2d(weight, 2)
    return loss / 3
