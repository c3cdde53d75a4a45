"""Rendering in torch: x = lf + warp(texture), the paper's equation 1. The oracle of everything that runs faster."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bilayer.model.anchors import move_warps
from bilayer.model.networks.adaptive import AdaptiveParameters
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.model.warp import warp, warping_field
from bilayer.runtime.bundle import WarpAnchors


@dataclass(frozen=True, eq=False)
class Rendering:
    """One or more rendered frames and their layers; images in about -1..1, not clamped."""

    image: Tensor  # (B, 3, S, S)
    lf_rgb: Tensor  # (B, 3, S, S)
    hf_rgb: Tensor  # (B, 3, S, S) the warped texture
    uv: Tensor  # (B, S, S, 2) moved by the anchors
    delta_uv: Tensor  # (B, 2, S, S) as the network predicts it
    seg_logits: Tensor | None  # (B, 1, S, S)


def masked(image: Tensor, mask: Tensor) -> Tensor:
    """Return `image` (B, 3, S, S) in -1..1 with a black background; `mask` (B, 1, S, S) is 1 in the foreground."""
    return image * mask - (1 - mask)


def render(
    model: BilayerModel,
    parameters: AdaptiveParameters,
    texture: Tensor,  # (B, 3, S, S)
    poses: Tensor,  # (B * T, 136): T consecutive frames of each of B avatars
    enhanced: bool = False,
    anchors: Sequence[WarpAnchors] = (),  # of the B avatars; none: the warp is the network's
) -> Rendering:
    """Return frames of B avatars. `enhanced` tells whether inf_apply_masks alone or enh_apply_masks too is obeyed.

    As published, a masked enhanced frame is masked twice: its low-frequency layer, then the sum.
    """
    config, frames = model.config, len(poses) // len(texture)
    layers = model.inference_generator(model.keypoints_embedder(poses), parameters.repeat_frames(frames))
    uv = warping_field(move_warps(layers.delta_uv, poses, anchors) if anchors else layers.delta_uv)
    hf = warp(texture.repeat_interleave(frames, dim=0), uv, config.align_corners)
    lf, image = layers.lf_rgb, layers.lf_rgb + hf
    if layers.seg_logits is not None:
        mask = torch.sigmoid(layers.seg_logits)
        if config.inf_apply_masks:
            lf = masked(lf, mask)
            image = lf + hf if enhanced else masked(image, mask)
        if enhanced and config.enh_apply_masks:
            image = masked(image, mask)
    return Rendering(image, lf, hf, uv, layers.delta_uv, layers.seg_logits)
