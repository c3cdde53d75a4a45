"""Pre-activation residual blocks (paper, figures 10 to 14).

Submodule names are those of the published state dicts: `block_feats` up to the second activation, whose output is
the block's feature; `block` for the second convolution; `skip`. Digits are places in the published Sequential.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from bilayer.model.networks.adaptive import BlockParameters
from bilayer.model.networks.resized_conv import UpsampleThenConv, join_resizing

LEAKY_SLOPE = 0.2


def activate(x: Tensor) -> Tensor:
    """Apply the leaky ReLU that all networks have, but for the heads' tanh."""
    return F.leaky_relu(x, LEAKY_SLOPE)


def upsample(x: Tensor) -> Tensor:
    """Return x (B, C, H, W) at twice its size (B, C, 2H, 2W), every pixel four times."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


class ResidualBlock(nn.Module):
    """A block without predicted layers, that halves, keeps or doubles the size; with batch norm if `norm_eps` is set.

    Returns its output and its feature.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        resize: Literal["down", "same", "up"] = "same",
        norm_eps: float | None = None,
    ) -> None:
        super().__init__()

        def norm(channels: int) -> list[nn.Module]:
            return [] if norm_eps is None else [nn.BatchNorm2d(channels, eps=norm_eps)]

        up: list[nn.Module] = [nn.Upsample(scale_factor=2)] if resize == "up" else []
        down: list[nn.Module] = [nn.AvgPool2d(2)] if resize == "down" else []
        keeps = resize == "same" and channels_in == channels_out
        self.block_feats = nn.Sequential(
            *norm(channels_in),
            nn.LeakyReLU(LEAKY_SLOPE, inplace=norm_eps is not None),  # without a norm x itself would change
            *up,
            nn.Conv2d(channels_in, channels_out, 3, padding=1),
            *norm(channels_out),
            nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
        )
        self.block = nn.Sequential(nn.Conv2d(channels_out, channels_out, 3, padding=1), *down)
        self.skip = nn.Identity() if keeps else nn.Sequential(*up, nn.Conv2d(channels_in, channels_out, 1), *down)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        feature = self.block_feats(x)
        return self.block(feature) + self.skip(x), feature

    def fuse(self) -> "ResidualBlock":
        """Join the convolutions with the resizing beside them, and return the block itself: equal results, quicker."""
        for sequence in (self.block_feats, self.block, self.skip):
            if isinstance(sequence, nn.Sequential):
                join_resizing(sequence)
        return self


class AdaptiveUpBlock(nn.Module):
    """A generator's block, that doubles the size and has predicted norms and a predicted (or plain) skip.

    The texture generator upsamples before the first convolution; the inference generator after it
    (`efficient`), which halves its cost (appendix A.2).

    Attributes:
        skip_first: upsample after the skip, not before it: the same for a quarter of its products; see `fuse`.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        norm1: nn.Module,
        norm2: nn.Module,
        adaptive_skip: bool,
        efficient: bool,
    ) -> None:
        super().__init__()
        conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        if efficient:
            self.block_feats = nn.ModuleDict({"0": norm1, "2": conv1, "3": norm2})
            self.block = nn.ModuleDict({"1": conv2})
        else:
            up = nn.Upsample(scale_factor=2)
            self.block_feats = nn.ModuleDict({"0": norm1, "2": up, "3": conv1, "4": norm2})
            self.block = nn.ModuleDict({"0": conv2})
        self.skip = nn.ModuleDict({} if adaptive_skip else {"1": nn.Conv2d(channels_in, channels_out, 1)})
        self.efficient = efficient
        self.skip_first = False

    def forward(self, x: Tensor, predicted: BlockParameters) -> Tensor:  # (B, C, H, W) -> (B, C', 2H, 2W)
        norm1, *up, conv1, norm2 = self.block_feats.values()
        (conv2,) = self.block.values()
        y = activate(norm1(x) if predicted.norm1 is None else norm1(x, predicted.norm1))
        for resize in up:
            y = resize(y)
        y = activate(norm2(conv1(y), predicted.norm2))
        if self.efficient:
            y = upsample(y)
        skip = predicted.skip or self.skip["1"]
        skipped = upsample(skip(x)) if self.skip_first else skip(upsample(x))
        return conv2(y) + skipped  # type: ignore[no-any-return]  # a Module's result is Any

    def fuse(self) -> "AdaptiveUpBlock":
        """Join a texture generator's upsamplings with the convolutions behind them, and return the block itself:
        equal results, quicker. A block of the inference generator keeps its form.
        """
        conv1 = self.block_feats["3"]
        if not self.efficient and isinstance(conv1, nn.Conv2d):
            self.block_feats["2"], self.block_feats["3"] = nn.Identity(), UpsampleThenConv(conv1)
            self.skip_first = True
        return self
