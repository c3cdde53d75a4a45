"""LPIPS: how far apart two pictures are to a network whose judgement was fitted to people's (Zhang et al. 2018)."""

from pathlib import Path

import torch
from torch import Tensor, nn

from bilayer.model.files.safe_load import read_pth, read_safetensors
from bilayer.runtime.errors import CheckpointError
from bilayer.training.feature_stacks import FeatureStack, vgg16_lpips
from bilayer.training.weight_files import LPIPS_HEADS, is_safetensors

EPSILON = 1e-10  # beside the norm of a feature vector, as published


class Lpips(nn.Module):
    """The paper's variant, net-lin on VGG16: pictures (N, 3, H, W) in -1..1 -> distances (N,), 0 for equal ones.

    Each pixel's feature vector is brought to length 1; the squared differences are weighed per channel by a linear
    head, averaged over the pixels, and summed over the layers.
    """

    def __init__(self, stack: FeatureStack, heads: list[Tensor]) -> None:
        super().__init__()
        self.stack = stack
        for index, head in enumerate(heads):  # (1, C, 1, 1)
            self.register_buffer(f"head_{index}", head.float())

    def forward(self, pictures: Tensor, truths: Tensor) -> Tensor:
        """Return the distance of each picture from its truth."""
        distances = torch.zeros(len(pictures), device=pictures.device)
        for index, (a, b) in enumerate(zip(self.stack(pictures), self.stack(truths), strict=True)):
            difference = (_directions(a) - _directions(b)).square()
            head = self.get_buffer(f"head_{index}")
            distances = distances + (difference * head).sum(dim=1).mean(dim=(1, 2))
        return distances


def load_lpips(vgg16: Path | str, heads: Path | str, sha256: str | None = None) -> Lpips:
    """Return LPIPS from a user's two files: torchvision's VGG16, and the linear heads `lin0.model.1.weight`, ...

    Args:
        vgg16: see `vgg16_lpips`.
        heads: see `LPIPS_HEADS`.
        sha256: of the VGG16 file, where it is to be checked.

    Raises:
        CheckpointError: a file is missing, damaged, or another one.
    """
    stack = vgg16_lpips(vgg16, sha256)
    return Lpips(stack, _read_heads(Path(heads), stack))


def _read_heads(path: Path, stack: FeatureStack) -> list[Tensor]:
    LPIPS_HEADS.check_there(path)
    tensors = read_safetensors(path)[0] if is_safetensors(path) else read_pth(path)
    heads = []
    for index, width in enumerate(stack.settings.widths):
        key, shape = f"lin{index}.model.1.weight", (1, width, 1, 1)
        if key not in tensors or tuple(tensors[key].shape) != shape:
            found = tuple(tensors[key].shape) if key in tensors else f"only {', '.join(list(tensors)[:5]) or 'nothing'}"
            raise CheckpointError(f"{path}: {key}: expected a tensor {shape}, found {found}; give {LPIPS_HEADS.source}")
        heads.append(tensors[key])
    return heads


def _directions(features: Tensor) -> Tensor:
    """(N, C, H, W) -> each pixel's vector at length 1."""
    return features / (features.square().sum(dim=1, keepdim=True).sqrt() + EPSILON)
