"""The texture enhancer: the paper's updater network G_upd (figure 14)."""

import itertools

import torch
from torch import Tensor, nn

from bilayer.model.config import ModelConfig, doublings
from bilayer.model.networks.blocks import ResidualBlock, activate


class TextureEnhancer(nn.Module):
    """Texture and the gradient of its source error, (B, 3, S, S) each -> the update (B, 3, S, S), before tanh."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        halvings = doublings(config.enh_bottleneck_tensor_size, config.image_size, "enh_bottleneck_tensor_size")
        channels = [min(config.enh_num_channels << i, config.enh_max_channels) for i in range(halvings + 1)]
        down = [ResidualBlock(a, b, "down") for a, b in itertools.pairwise(channels)]
        same = [ResidualBlock(channels[-1], channels[-1]) for _ in range(config.enh_num_blocks)]
        up = [ResidualBlock(b, a, "up") for a, b in reversed(list(itertools.pairwise(channels)))]
        blocks: list[nn.Module] = [
            nn.Conv2d(6, channels[0], 3, padding=1),
            *down,
            *same,
            *up,
            nn.Identity(),  # published: a norm of type "none" ...
            nn.Identity(),  # ... and the activation that forward applies
            nn.Conv2d(channels[0], 3, 3, padding=1),
        ]
        self.net = nn.ModuleDict({"blocks": nn.ModuleList(blocks)})

    def forward(self, texture: Tensor, gradient: Tensor) -> Tensor:
        first, *blocks, _norm, _activation, last = self.net["blocks"].children()
        x = first(torch.cat([texture, gradient], dim=1))
        for block in blocks:
            x, _ = block(x)
        return last(activate(x))  # type: ignore[no-any-return]  # a Module's result is Any
