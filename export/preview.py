"""AVATAR.preview.png: what went in, what was made of it, and what comes out, side by side."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from bilayer.model.avatar import Avatar
from bilayer.model.warp import warp, warping_field
from bilayer.runtime.arrays import Bytes
from bilayer.runtime.face.crop import Crop, draw_stickman
from bilayer.runtime.frame import NetworkOutputs, Values
from bilayer.runtime.sampler.compositor import resize_outputs

CAPTION_HEIGHT = 20  # px
GAP = 4  # px


def draw_preview(crop: Crop, avatar: Avatar, outputs: NetworkOutputs, align_corners: bool) -> Image.Image:
    """Draw a strip of six pictures, F px each: source, landmarks, texture, warped texture, low-frequency layer, result.

    Args:
        crop: the source, its picture (F, F, 3).
        avatar: whose texture is shown.
        outputs: what the exported network gave for the source's pose.
        align_corners: of the warp.
    """
    size = crop.image.shape[0]
    outputs = resize_outputs(outputs, size, size)
    uv = warping_field(torch.from_numpy(outputs.delta_uv)[None])
    hf = warp(avatar.texture, uv, align_corners)[0].numpy()
    lf = outputs.lf_rgb
    mask = np.ones((1, size, size), np.float32) if outputs.seg is None else outputs.seg
    result = _to_bytes(lf + hf).astype(np.float32) * mask[0, :, :, None] + 255 * (1 - mask[0, :, :, None])
    pictures = {
        "source": crop.image,
        "landmarks": draw_stickman(crop.pose, size),
        "texture": _to_bytes(avatar.texture[0].numpy()),
        "warped texture": _to_bytes(hf),
        "low-frequency layer": _to_bytes(lf),
        "result": result.astype(np.uint8),
    }
    strip = Image.new("RGB", ((size + GAP) * len(pictures) - GAP, size + CAPTION_HEIGHT), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(12)
    for i, (caption, picture) in enumerate(pictures.items()):
        left = i * (size + GAP)
        strip.paste(Image.fromarray(picture), (left, CAPTION_HEIGHT))
        draw.text((left + 2, 2), caption, fill="black", font=font)
    return strip


def _to_bytes(planar: Values) -> Bytes:
    """Turn (3, H, W) in -1..1 into bytes (H, W, 3), clamped and truncated as the authors display them."""
    return ((np.clip(planar, -1, 1) + 1) / 2 * 255).astype(np.uint8).transpose(1, 2, 0)
