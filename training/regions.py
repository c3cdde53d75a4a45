"""Where a face shows expression, as maps over the picture, and a blur."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bilayer.runtime.face.ibug import EYES, MOUTH, NUM_LANDMARKS

FEATURES = (*EYES, MOUTH)
_MARGIN = 0.06  # of the picture's -1..1, around the landmarks
_SOFTNESS = 0.04  # of the same, from outside to inside


def feature_mask(poses: Tensor, size: int, features: Sequence[slice] = FEATURES) -> Tensor:
    """Return eyes and mouth of `poses` (N, 136), each a soft box around its landmarks: (N, 1, S, S) in 0..1."""
    points = poses.view(-1, NUM_LANDMARKS, 2)
    centres = (2 * torch.arange(size, dtype=poses.dtype, device=poses.device) + 1) / size - 1
    mask = poses.new_zeros(len(points), 1, size, size)
    for feature in features:
        low = points[:, feature].amin(dim=1) - _MARGIN  # (N, 2)
        high = points[:, feature].amax(dim=1) + _MARGIN
        inside = torch.minimum(centres - low[..., None], high[..., None] - centres)  # (N, 2, S)
        soft = (inside / _SOFTNESS).clamp(0, 1)
        mask = torch.maximum(mask, soft[:, 1, None, :, None] * soft[:, 0, None, None, :])
    return mask


def blur(pictures: Tensor, sigma: float) -> Tensor:
    """Return Gaussian blur of (N, C, H, W), `sigma` in pixels; edges are repeated."""
    height, width = pictures.shape[2:]
    down, across = (_blur_matrix(size, sigma).to(pictures) for size in (height, width))
    return down @ pictures @ across.T  # on a CPU many times quicker than a convolution of three channels


def _blur_matrix(size: int, sigma: float) -> Tensor:
    """(size, size): row i weighs the values of a line for its i-th result."""
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    taps = torch.exp(-0.5 * (offsets / sigma) ** 2)
    places = (torch.arange(size)[:, None] + offsets.long()).clamp(0, size - 1)  # those outside: the edge
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(1, places, (taps / taps.sum()).expand_as(places))
