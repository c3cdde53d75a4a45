"""The discriminator: a conditional relativistic PatchGAN (paper, figure 13)."""

import itertools

import torch
from torch import Tensor, nn

from bilayer.model.config import ModelConfig, doublings
from bilayer.model.networks.blocks import ResidualBlock, activate


class Discriminator(nn.Module):
    """Pictures and their landmark images, (B, 3, S, S) each -> realism scores (B, 1, s, s) and block features.

    Real and fake pictures go in as one batch, so that batch norm does not tell them apart (appendix A.2).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        halvings = doublings(config.dis_output_tensor_size, config.image_size, "dis_output_tensor_size")
        channels = [
            min(config.dis_num_channels << i, config.dis_max_channels) for i in range(config.dis_num_blocks + 1)
        ]
        self.with_stickman = not config.dis_no_stickman
        self.net = nn.ModuleDict(
            {
                "first_conv": nn.Conv2d(6 if self.with_stickman else 3, channels[0], 3, padding=1),
                "blocks": nn.ModuleList(
                    ResidualBlock(a, b, "down" if i < halvings else "same", norm_eps=config.eps)
                    for i, (a, b) in enumerate(itertools.pairwise(channels))
                ),
                "final_block": nn.ModuleList([nn.BatchNorm2d(channels[-1], eps=config.eps)]),
                "linear": nn.Conv2d(channels[-1], 1, 1),
            }
        )

    def forward(self, pictures: Tensor, stickmen: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = torch.cat([pictures, stickmen], dim=1) if self.with_stickman else pictures
        x = self.net["first_conv"](x)
        features = []
        for block in self.net["blocks"].children():
            x, feature = block(x)
            features.append(feature)
        (final_norm,) = self.net["final_block"].children()
        return self.net["linear"](activate(final_norm(x))), features
