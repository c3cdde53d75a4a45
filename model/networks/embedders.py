"""The identity embedder (paper, figure 12) and the pose MLP."""

import itertools
import math

import torch
from torch import Tensor, nn

from bilayer.model.config import ModelConfig, doublings
from bilayer.model.networks.blocks import LEAKY_SLOPE, ResidualBlock


class IdentityEmbedder(nn.Module):
    """Source picture and landmark image (B, 6, S, S) -> embeddings, the k-th (B, C_k, s, s) for block k.

    Of several frames of a person, (B, N, 6, S, S), the encodings are averaged.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        halvings = doublings(config.emb_output_tensor_size, config.image_size, "emb_output_tensor_size")
        encoder = [min(config.emb_num_channels << i, config.emb_max_channels) for i in range(halvings + 1)]
        decoder = [encoder[-1], *config.texture_channels[1:]]
        self.net = nn.ModuleDict(
            {
                "enc": nn.Sequential(
                    nn.Conv2d(3 if config.emb_no_stickman else 6, encoder[0], 3, padding=1),
                    *(ResidualBlock(a, b, "down") for a, b in itertools.pairwise(encoder)),
                ),
                "dec_blocks": nn.ModuleList(ResidualBlock(a, b) for a, b in itertools.pairwise(decoder)),
            }
        )

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        people = len(frames)
        first, *encoder = self.net["enc"].children()
        x = first(frames.flatten(0, -4))  # (B * N, 6, S, S)
        for block in encoder:
            x, _ = block(x)
        x = x.unflatten(0, (people, -1)).mean(dim=1)
        embeddings = []
        for block in self.net["dec_blocks"].children():
            x, embedding = block(x)
            embeddings.append(embedding)
        return tuple(embeddings)


class KeypointsEmbedder(nn.Module):
    """Pose vector (B, 136) in -1..1 -> (B, C, s, s), the input of the inference generator."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.harmonics = config.pse_num_harmonics if config.pse_use_harmonic_enc else 0
        self.out_shape = (
            config.inference_channels[0],
            config.inf_input_tensor_size,
            config.inf_input_tensor_size,
        )
        hidden = [config.pse_num_channels] * (config.pse_num_blocks - 1)
        widths = [config.pse_in_channels * (2 * self.harmonics or 1), *hidden, math.prod(self.out_shape)]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [nn.Linear(a, b), nn.LeakyReLU(LEAKY_SLOPE)]
        self.net = nn.ModuleDict({"mlp": nn.Sequential(*layers[:-1])})

    def forward(self, poses: Tensor) -> Tensor:
        x = harmonic_encoding(poses, self.harmonics) if self.harmonics else poses
        return self.net["mlp"](x).view(-1, *self.out_shape)  # type: ignore[no-any-return]  # Any of a Module


def harmonic_encoding(poses: Tensor, harmonics: int) -> Tensor:
    """Return (B, 2 * 136 * harmonics) of poses (B, 136): sines, then cosines, a coordinate's frequencies adjacent."""
    frequencies = math.pi * 2.0 ** torch.arange(harmonics, dtype=poses.dtype, device=poses.device)
    phases = (poses[:, :, None] * frequencies).flatten(1)
    return torch.cat([phases.sin(), phases.cos()], dim=1)
