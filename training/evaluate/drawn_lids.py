"""An avatar's frames as players show them with drawn lids (model/lids.py), for a network that leaves eyes open."""

from dataclasses import replace

import torch
from torch import Tensor

from bilayer.model.avatar import Avatar
from bilayer.model.lids import draw_lids
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.runtime.lids import LidPainter
from bilayer.runtime.sampler.grid_sample import pack_texture


def frames_with_lids(model: BilayerModel, avatar: Avatar, photo: Tensor, poses: Tensor) -> Tensor:
    """Return the frames (T, 3, S, S) of `poses` (T, 136) of one person, whose photo has the pose `photo` (1, 136).

    Where an eye is shut in the photo nothing is drawn, as the export draws nothing.
    """
    painted = draw_lids(avatar.texture, photo, avatar.at_rest.delta_uv, model.config.align_corners)
    if painted is None:
        return avatar.render(model, poses).image
    device, side = avatar.texture.device, avatar.texture.shape[-1]
    packed = pack_texture(avatar.texture[0].cpu().numpy())  # (T + 3, T + 3, 4)
    eyes = LidPainter(painted.lids, list(painted.pieces.values()), packed, photo[0].cpu().numpy())
    frames = []
    for pose in poses:
        eyes.show(pose.cpu().numpy())
        texture = torch.tensor(packed[1 : side + 1, 1 : side + 1, :3]).permute(2, 0, 1)[None]
        frames.append(replace(avatar, texture=texture.to(device)).render(model, pose[None]).image)
    return torch.cat(frames)
