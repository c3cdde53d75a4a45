"""The pretrained networks behind the perceptual losses and LPIPS, as plain convolutions. The weights are a user's file.

Layers and key names (`features.N.weight`) are those of torchvision's VGG, which is not needed. Of the file nothing
is read beyond the last layer that counts: the classifier may be missing.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bilayer.model.files.safe_load import read_pth, read_safetensors
from bilayer.runtime.errors import CheckpointError
from bilayer.runtime.files.reading import FileKind, open_file
from bilayer.training import weight_files
from bilayer.training.weight_files import WeightFile, is_safetensors

VGG_WIDTHS = (64, 128, 256, 512, 512)  # channels of each stage

# Of relu1_1 to relu5_1 in the published code; the paper's equation 4 means a mean over the layers: 1/5 each
LAYER_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)


@dataclass(frozen=True)
class StackSettings:
    """One VGG, cut off after its last feature."""

    file: WeightFile  # with its weights
    convolutions: tuple[int, ...]  # of each stage; a pooling by two stands between stages
    features: tuple[int, ...]  # indices, as torchvision counts layers, of the activations that are handed out
    pooling: Literal["average", "max"]
    mean: tuple[float, float, float]  # subtracted from the channels of a picture in -1..1 ...
    deviation: tuple[float, float, float]  # ... which are then divided by this
    widths: tuple[int, ...] = VGG_WIDTHS


# relu1_1, relu2_1, relu3_1, relu4_1, relu5_1, average-pooled (published code, losses/perceptual.py)
VGG19_IMAGENET = StackSettings(
    file=weight_files.VGG19,
    convolutions=(2, 2, 4, 4, 4),
    features=(1, 6, 11, 20, 29),
    pooling="average",
    mean=(2 * 0.485 - 1, 2 * 0.456 - 1, 2 * 0.406 - 1),  # ImageNet's, of pictures in 0..1
    deviation=(2 * 0.229, 2 * 0.224, 2 * 0.225),
)

# The published code subtracts Caffe's BGR means from RGB, as the weights were used in training the released model
VGG_FACE = StackSettings(
    file=weight_files.VGG_FACE,
    convolutions=(2, 2, 3, 3, 3),
    features=(1, 6, 11, 18, 25),
    pooling="average",
    mean=(103.939 / 127.5 - 1, 116.779 / 127.5 - 1, 123.680 / 127.5 - 1),
    deviation=(1 / 127.5, 1 / 127.5, 1 / 127.5),
)

# relu1_2, relu2_2, relu3_3, relu4_3, relu5_3 (Zhang et al. 2018; richzhang/PerceptualSimilarity, net-lin, vgg)
VGG16_LPIPS = StackSettings(
    file=weight_files.VGG16,
    convolutions=(2, 2, 3, 3, 3),
    features=(3, 8, 15, 22, 29),
    pooling="max",
    mean=(-0.030, -0.088, -0.188),
    deviation=(0.458, 0.448, 0.450),
)


class FeatureStack(nn.Module):
    """Pictures (N, 3, H, W) in -1..1 -> one feature map per entry of `settings.features`, shallow to deep.

    Frozen: gradients flow to the pictures, none to the weights. Random until `load_weights`.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, settings: StackSettings) -> None:
        super().__init__()
        self.settings = settings
        self.features = nn.ModuleList(_layers(settings))
        self.register_buffer("mean", torch.tensor(settings.mean)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(settings.deviation)[:, None, None], persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Return the feature maps, each half the size of the one before."""
        x = (pictures - self.mean) / self.deviation
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.settings.features:
                maps.append(x)
        return maps

    def load_weights(self, path: Path | str, sha256: str | None = None) -> None:
        """Take the weights from a .safetensors file or a state dict saved by torch.

        Raises:
            CheckpointError: no such file, damaged, unsafe, another sha256 than asked for or than the file's name
                tells (as torchvision's do), or a tensor missing or of another shape.
        """
        path, file = Path(path), self.settings.file
        file.check_there(path)
        check_digest(path, sha256)
        tensors = read_safetensors(path)[0] if is_safetensors(path) else read_pth(path)
        state = {}
        for key, own in self.state_dict().items():
            if key not in tensors:
                found = ", ".join(list(tensors)[:3]) or "nothing"
                raise CheckpointError(f"{path}: {key}: missing (the file has {found}, ...); expected {file.source}")
            if tensors[key].shape != own.shape:
                shapes = f"expected {tuple(own.shape)}, found {tuple(tensors[key].shape)}"
                raise CheckpointError(f"{path}: {key}: {shapes}; {file.name} is {file.source}")
            state[key] = tensors[key].float()
        self.load_state_dict(state)


class PerceptualLoss(nn.Module):
    """Weighted sum over layers of the L1 distance of features, each a mean over all its elements.

    Source: the paper's equation 4, with the published code's `LAYER_WEIGHTS` unless told otherwise.
    """

    def __init__(self, stack: FeatureStack, weights: Sequence[float] = LAYER_WEIGHTS) -> None:
        super().__init__()
        self.stack, self.weights = stack, tuple(weights)

    def forward(self, pictures: Tensor, targets: Tensor) -> Tensor:
        """Return the weighted L1 distance of the features of two (N, 3, H, W) in -1..1: a scalar.

        No gradient flows into `targets`.
        """
        with torch.no_grad():
            wanted = self.stack(targets)
        distances = [F.l1_loss(found, real) for found, real in zip(self.stack(pictures), wanted, strict=True)]
        return torch.stack([weight * d for weight, d in zip(self.weights, distances, strict=True)]).sum()


def vgg19_imagenet(path: Path | str, sha256: str | None = None) -> FeatureStack:
    """Return VGG19 of the perceptual loss, from torchvision's file; errors: see `FeatureStack.load_weights`."""
    return _loaded(VGG19_IMAGENET, path, sha256)


def vgg_face(path: Path | str, sha256: str | None = None) -> FeatureStack:
    """Return VGG16 trained on faces, from the authors' file; errors: see `FeatureStack.load_weights`."""
    return _loaded(VGG_FACE, path, sha256)


def vgg16_lpips(path: Path | str, sha256: str | None = None) -> FeatureStack:
    """Return VGG16 below LPIPS' linear heads, from torchvision's file; errors: see `FeatureStack.load_weights`."""
    return _loaded(VGG16_LPIPS, path, sha256)


def _layers(settings: StackSettings) -> list[nn.Module]:
    """Convolution, ReLU, ... in torchvision's order, up to the last feature."""
    layers: list[nn.Module] = []
    channels = 3
    for count, width in zip(settings.convolutions, settings.widths, strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.AvgPool2d(2) if settings.pooling == "average" else nn.MaxPool2d(2))
    return layers[: settings.features[-1] + 1]


def _loaded(settings: StackSettings, path: Path | str, sha256: str | None) -> FeatureStack:
    with torch.random.fork_rng(devices=[]):  # the initial values, soon overwritten, are not to cost the caller's
        stack = FeatureStack(settings)
    stack.load_weights(path, sha256)
    return stack


def check_digest(path: Path, sha256: str | None = None) -> None:
    """Raise a CheckpointError unless the file has that sha256, or the one whose first digits its name has."""
    named = re.search(r"-([0-9a-f]{8,64})\.pth$", path.name)  # torch.hub's way: the first digits stand in the name
    expected = sha256 or (named[1] if named else None)
    if expected is None:
        return
    with open_file(path, FileKind.CHECKPOINT, CheckpointError) as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(expected.lower()):
        raise CheckpointError(f"{path}: sha256: expected {expected}, found {found}; download it again")
