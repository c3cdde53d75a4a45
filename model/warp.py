"""The texture warp and its transpose, in torch: the reference that the phone's sampler must equal.

A warping field `uv` (B, H, W, 2) holds (x, y) in texture coordinates from -1 to 1. With align_corners False
these are the texture's outer edges, with True the centres of its outer texels (torch's grid_sample). Outside is zero.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def identity_grid(size: int, like: Tensor) -> Tensor:
    """Return the pixel centres (1, S, S, 2): an exact identity under align_corners False only, as published."""
    centres = (2 * torch.arange(size, dtype=like.dtype, device=like.device) + 1) / size - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y], dim=-1)[None]


def warping_field(delta_uv: Tensor) -> Tensor:
    """Return the field (B, S, S, 2) of offsets (B, 2, S, S) from the identity."""
    return identity_grid(delta_uv.shape[-1], delta_uv) + delta_uv.permute(0, 2, 3, 1)


def resize_picture(picture: Tensor, size: int) -> Tensor:
    """Return pictures (B, C, s, s) bilinearly resized to (B, C, size, size), between pixel centres."""
    return resize_texture(picture, size, align_corners=False)


def resize_texture(texture: Tensor, size: int, align_corners: bool) -> Tensor:
    """Return textures (B, C, t, t) bilinearly resized to (B, C, size, size), as the warp means its coordinates."""
    if texture.shape[-1] == size:
        return texture
    return F.interpolate(texture, (size, size), mode="bilinear", align_corners=align_corners)


def warp(texture: Tensor, uv: Tensor, align_corners: bool) -> Tensor:
    """Return the texture (B, C, H, W) sampled bilinearly at `uv` (B, h, w, 2): (B, C, h, w)."""
    return F.grid_sample(texture, uv, mode="bilinear", padding_mode="zeros", align_corners=align_corners)


def bilinear_taps(uv: Tensor, texture_size: tuple[int, int], align_corners: bool) -> list[tuple[Tensor, Tensor]]:
    """Return the four texels that a pixel of `uv` (B, h, w, 2) reads: their flat places and weights, (B, h * w) each.

    In order: top left, top right, bottom left, bottom right. A texel outside of the texture has weight 0 (and place 0).
    """
    height, width = texture_size
    x, y = (_to_texels(uv[..., i], size, align_corners).flatten(1) for i, size in enumerate((width, height)))
    left, top = x.floor(), y.floor()
    taps = []
    for row in (top, top + 1):
        for column in (left, left + 1):
            weight = (1 - (x - column).abs()) * (1 - (y - row).abs())
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            place = torch.where(inside, row * width + column, 0).long()
            taps.append((place, torch.where(inside, weight, 0)))
    return taps


def warp_transpose(image: Tensor, uv: Tensor, texture_size: tuple[int, int], align_corners: bool) -> Tensor:
    """Return the gradient of `warp` for its texture, (B, C, H, W): (B, C, h, w) scattered back through `uv`."""
    batch, channels = image.shape[:2]
    height, width = texture_size
    values = image.flatten(2)  # (B, C, h * w)
    texture = image.new_zeros(batch, channels, height * width)
    for place, weight in bilinear_taps(uv, texture_size, align_corners):
        contribution = values * weight[:, None]
        texture.scatter_add_(2, place[:, None].expand_as(contribution), contribution)
    return texture.view(batch, channels, height, width)


def _to_texels(coordinate: Tensor, size: int, align_corners: bool) -> Tensor:
    if align_corners:
        return (coordinate + 1) / 2 * (size - 1)
    return ((coordinate + 1) * size - 1) / 2
