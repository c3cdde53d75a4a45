"""The texture generator and the inference generator (paper, figures 10 and 11)."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bilayer.model.config import ModelConfig
from bilayer.model.networks.adaptive import AdaptiveBatchNorm, AdaptiveParameters, AdaptiveSpade
from bilayer.model.networks.blocks import AdaptiveUpBlock, activate
from bilayer.model.networks.projector import Projector


@dataclass(frozen=True, eq=False)
class GeneratorOutputs:
    """What the inference generator predicts for a pose, S = image size."""

    delta_uv: Tensor  # (B, 2, S, S) x, y; -1..1, added to the identity grid of the warp
    lf_rgb: Tensor  # (B, 3, S, S) low-frequency layer, -1..1
    seg_logits: Tensor | None  # (B, 1, S, S) foreground


class Heads(nn.ModuleList):
    """3x3 convolutions of the same features (B, C, S, S), each to a result of its own; the first `tanh` end in tanh.

    Attributes:
        joined: compute them as one convolution, which is quicker (model/reparameterize.py).
    """

    def __init__(self, channels: int, outs: Sequence[int], tanh: int) -> None:
        super().__init__(
            nn.Sequential(nn.Conv2d(channels, out, 3, padding=1), *([nn.Tanh()] if i < tanh else []))
            for i, out in enumerate(outs)
        )
        self.tanh = tanh
        self.joined = False

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        """The convolutions, one of each head."""
        return [layer for layer in self.modules() if isinstance(layer, nn.Conv2d)]

    def forward(self, x: Tensor) -> list[Tensor]:
        if not self.joined:
            return [head(x) for head in self]
        convs = self.convolutions
        weight, bias = (torch.cat([getattr(conv, name) for conv in convs]) for name in ("weight", "bias"))
        results = torch.split(F.conv2d(x, weight, bias, padding=1), [conv.out_channels for conv in convs], dim=1)
        return [torch.tanh(result) if i < self.tanh else result for i, result in enumerate(results)]


class Decoder(nn.Module):
    """Upsampling blocks, a last norm and 3x3 convolution heads."""

    def __init__(
        self,
        channels: Sequence[int],  # of the input, then after each block
        input_size: int,
        make_norm: Callable[[int, int], nn.Module],  # (channels, size)
        head_channels: Sequence[int],
        tanh_heads: int,  # the first so many heads end in tanh
        eps: float,
        adaptive_skip: bool,
        efficient: bool,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for k, (channels_in, channels_out) in enumerate(itertools.pairwise(channels)):
            size = input_size << k
            norm1 = make_norm(channels_in, size) if k else nn.BatchNorm2d(channels_in, eps=eps)
            norm2 = make_norm(channels_out, size if efficient else 2 * size)
            self.blocks.append(AdaptiveUpBlock(channels_in, channels_out, norm1, norm2, adaptive_skip, efficient))
        self.blocks.append(make_norm(channels[-1], input_size << (len(channels) - 1)))
        self.heads = Heads(channels[-1], head_channels, tanh_heads)

    def forward(self, x: Tensor, predicted: AdaptiveParameters) -> list[Tensor]:
        *blocks, final_norm = self.blocks
        for block, parameters in zip(blocks, predicted.blocks, strict=True):
            x = block(x, parameters)
        x = activate(final_norm(x, predicted.final_norm))
        return self.heads(x)  # type: ignore[no-any-return]  # a Module's result is Any


class TextureGenerator(nn.Module):
    """Embeddings -> the avatar's RGB texture (B, 3, S, S) in -1..1."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels, size, eps = config.texture_channels, config.tex_input_tensor_size, config.eps
        spade = config.tex_norm_layer_type == "ada_spade_bn"
        biased = config.tex_pixelwise_bias_type == "bias"
        adaptive_skip = config.tex_skip_layer_type == "ada_conv"

        def make_norm(channels: int, size: int) -> nn.Module:
            if spade:
                return AdaptiveSpade(channels, size, eps)
            return AdaptiveBatchNorm(channels, eps, bias_size=size if biased else None)

        self.gen_tex_input = nn.Parameter(torch.empty(1, channels[0], size, size))
        if not self.gen_tex_input.is_meta:  # where it would have torch import its compiler, for two seconds
            nn.init.normal_(self.gen_tex_input)
        self.gen_tex = Decoder(
            channels,
            size,
            make_norm,
            head_channels=[3],
            tanh_heads=1,
            eps=eps,
            adaptive_skip=adaptive_skip,
            efficient=False,
        )
        self.prj_tex = Projector(
            channels[1:], channels, config.projector_channels, spade=spade, adaptive_skip=adaptive_skip
        )

    def forward(self, embeddings: Sequence[Tensor]) -> Tensor:
        x = self.gen_tex_input.expand(len(embeddings[0]), -1, -1, -1)
        (texture,) = self.gen_tex(x, self.prj_tex(embeddings))
        return texture  # type: ignore[no-any-return]  # a Module's result is Any


class InferenceGenerator(nn.Module):
    """Pose embedding (B, C, s, s) and predicted parameters -> GeneratorOutputs. The part that runs on the phone."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels, eps = config.inference_channels, config.eps
        adaptive_skip = config.inf_skip_layer_type == "ada_conv"
        self.gen_inf = Decoder(
            channels,
            config.inf_input_tensor_size,
            lambda channels, size: AdaptiveBatchNorm(channels, eps),
            head_channels=[2, 3, 1] if config.inf_pred_segmentation else [2, 3],
            tanh_heads=2,
            eps=eps,
            adaptive_skip=adaptive_skip,
            efficient=True,
        )
        self.prj_inf = Projector(
            config.texture_channels[1:],
            channels,
            config.projector_channels,
            spade=False,
            adaptive_skip=adaptive_skip,
        )

    def predict_parameters(self, embeddings: Sequence[Tensor]) -> AdaptiveParameters:
        """Return what is computed once per avatar, from its embeddings, the k-th (B, C_k, s, s)."""
        return self.prj_inf(embeddings)  # type: ignore[no-any-return]  # a Module's result is Any

    def forward(self, pose_embedding: Tensor, predicted: AdaptiveParameters) -> GeneratorOutputs:
        delta_uv, lf_rgb, *seg_logits = self.gen_inf(pose_embedding, predicted)
        return GeneratorOutputs(delta_uv, lf_rgb, seg_logits[0] if seg_logits else None)
