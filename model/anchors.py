"""Landmark anchors in torch: found once per person, and the warp moved by them; see bilayer.runtime.anchors.mover."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bilayer.runtime.anchors.mover import WarpMover, look_up
from bilayer.runtime.bundle import Anchor, WarpAnchors
from bilayer.runtime.frame import NetworkOutputs


@dataclass(frozen=True)
class AnchorSettings:
    """How the warp is moved; chosen by 16 drawn people that nothing was trained on or is measured by."""

    landmarks: range = range(17, 68)  # brows, nose, eyes and mouth: the outline's are seen on another spot in each pose
    reach: float = 0.12  # of these landmarks' extent: an eye's width or so
    ridge: float = 0.1  # nine tenths of what a landmark alone is off
    # Lids and the lower lip, which move by themselves, are left where the network has them: pulled shut whole, an eye
    # or a smile is squeezed flat
    free: tuple[int, ...] = (37, 38, 40, 41, 43, 44, 46, 47, 55, 56, 57, 58, 59, 65, 66, 67)
    free_ridge: float = 10.0  # a tenth
    limit: float = 0.1  # of -1..1: 19 of 20 are less off; beyond, it is a landmark that the head hides


def find_anchors(
    delta_uv: Tensor, poses: Tensor, settings: AnchorSettings = AnchorSettings()
) -> tuple[WarpAnchors, ...]:
    """Return the anchors of B people: by the warps (B, 2, S, S) that the network predicts for their photos' poses."""
    found = []
    for warp, pose in zip(delta_uv.cpu().numpy(), poses.cpu().numpy(), strict=True):
        points = pose.astype(np.float64).reshape(-1, 2)[settings.landmarks]
        extent = float(np.hypot(*np.ptp(points, axis=0)) / np.sqrt(2))
        places = np.clip(look_up(warp, points + 1 / warp.shape[-1]), -2, 2).round(6)
        ridges = [settings.free_ridge if k in settings.free else settings.ridge for k in settings.landmarks]
        rows = zip(settings.landmarks, places.tolist(), ridges, strict=True)
        anchors = [Anchor(landmark, x, y, ridge) for landmark, (x, y), ridge in rows]
        reach = round(float(np.clip(settings.reach * extent, 0.01, 2)), 6)
        found.append(WarpAnchors(reach, settings.limit, anchors))
    return tuple(found)


def move_warps(delta_uv: Tensor, poses: Tensor, anchors: Sequence[WarpAnchors]) -> Tensor:
    """Return the warps (B * T, 2, S, S) of T poses (B * T, 136) of each of B people, moved by their `anchors`."""
    movers = [WarpMover(own, delta_uv.shape[-1]) for own in anchors]
    frames = len(poses) // len(anchors)
    moved = []
    for k, (warp, pose) in enumerate(zip(delta_uv.cpu().numpy(), poses.cpu().numpy(), strict=True)):
        moved.append(movers[k // frames].move(NetworkOutputs(warp, warp, None), pose).delta_uv.copy())
    return torch.from_numpy(np.stack(moved)).to(delta_uv)
