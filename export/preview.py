"""AVATAR.preview.png: what went in, what was made of it, and what comes out, side by side."""

import numpy as np
import torch
from PIL import Image

from bilayer.model.avatar import Avatar
from bilayer.model.warp import warp, warping_field
from bilayer.runtime.face.crop import Crop
from bilayer.runtime.face.stickman import draw_stickman
from bilayer.runtime.frame import NetworkOutputs, display_bytes
from bilayer.runtime.media.captioned_grid import captioned_grid
from bilayer.runtime.sampler.compositor import resize_outputs


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
    result = display_bytes(lf + hf).astype(np.float32) * mask[0, :, :, None] + 255 * (1 - mask[0, :, :, None])
    pictures = {
        "source": crop.image,
        "landmarks": draw_stickman(crop.pose, size),
        "texture": display_bytes(avatar.texture[0].numpy()),
        "warped texture": display_bytes(hf),
        "low-frequency layer": display_bytes(lf),
        "result": result.astype(np.uint8),
    }
    return captioned_grid([list(pictures.values())], [list(pictures)])
