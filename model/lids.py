"""Lids are drawn into the texture of a person whose network leaves them open. Not in the paper.

The demo weights' network reads the lids' landmarks and yet hardly moves the lids. The texture that is fitted to the
photo shows an open eye; here it is drawn shut by c, in steps: the skin between brow and lid is drawn down over the eye.
In openings of the eye, x along its corners' line and y down from it, for a texel in the column x:

    u, v                             the upper lid's edge and the lower's: parabolas through the corners
    l    = u + c (v - u)             where the upper lid's edge is now
    d    = c (v - u) (1 + lashes)    how far it has come down, and a little farther: no lashes are stretched
    y'   = y - d (y - y0) / (l - y0) what the texel shows, for y0 < y < l, y0 between lid and brow

The skin is stretched, and what is above y0 stays. Along the edge a line of lashes is drawn.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bilayer.model.warp import warp, warping_field
from bilayer.runtime.arrays import Floats, Points
from bilayer.runtime.bundle import DrawnEye, DrawnLids


@dataclass(frozen=True)
class LidSettings:
    """How lids are drawn. Lengths are in openings of the eye, in its middle."""

    levels: int = 8  # pieces: a blink of 0.3 s has fewer frames on its way
    wider: float = 1.05  # than its corners' landmarks are apart
    lashes: float = 0.15  # openings; lashes and their shadow above the upper lid's edge
    stretched: float = 0.6  # of the skin between lid and brow
    skin: tuple[float, float] = (0.5, 3.0)  # from lid to brow, within: a brow may lie on the lid
    below: float = 0.1  # how far below the lower lid's landmarks the lids meet
    line: float = 0.1  # half the line of lashes, where the eye is widest
    dark: float = 0.5  # of -1..1, what the line takes off the texture
    narrowest: float = 2.0  # texels of the network's texture; an eye that is open
    widest: float = 4.0  # openings, half of the way from corner to corner; an eye that is open
    samples: int = 4  # of a texel's side, for the edge


@dataclass(frozen=True, eq=False)
class PaintedLids:
    """What a bundle has of the lids."""

    lids: DrawnLids
    pieces: dict[str, Floats]  # by the eye's tensor: (levels, height, width, 4), the texture's layout


@dataclass(frozen=True, eq=False)
class Eye:
    """An eye in the texture; lengths in openings, y from the corners' line."""

    origin: Points  # (2,) x, y of the middle between the corners, in the texture's -1..1
    along: Points  # (2,) one opening to the right
    down: Points  # (2,) one opening down
    half: float  # half of the way from corner to corner
    upper: float  # u in the middle
    lower: float  # v in the middle
    start: float  # y0


# An eye's first landmark, and the middle of its brow
_EYES = {"left": (36, slice(18, 21)), "right": (42, slice(23, 26))}


def draw_lids(
    texture: Tensor, pose: Tensor, delta_uv: Tensor, align_corners: bool, settings: LidSettings = LidSettings()
) -> PaintedLids | None:
    """Return the lids of one person.

    Args:
        texture: (1, 3, T, T), with open eyes.
        pose: (1, 136), the photo's.
        delta_uv: (1, 2, S, S), what the network predicts for it.
        align_corners: of the warp.
        settings: how they are drawn.

    Returns:
        None, if an eye is shut in the photo or hardly open.
    """
    eyes = [_find_eye(pose, delta_uv, first, brow, settings) for first, brow in _EYES.values()]
    least = 2 * settings.narrowest / delta_uv.shape[-1]
    if not all(np.hypot(*eye.down) > least and eye.half < settings.widest for eye in eyes):
        return None
    side, drawn, pieces = texture.shape[-1], [], {}
    for name, eye in zip(_EYES, eyes, strict=True):
        left, top, right, bottom = _box(eye, side, align_corners, settings)
        if left >= right or top >= bottom:
            return None
        drawn.append(DrawnEye(name, left, top, right - left, bottom - top))
        levels = [
            _draw(texture, eye, level / settings.levels, drawn[-1], align_corners, settings)
            for level in range(1, settings.levels + 1)
        ]
        pieces[name] = np.stack(levels)
    return PaintedLids(DrawnLids(settings.levels, drawn), pieces)


def _find_eye(pose: Tensor, delta_uv: Tensor, first: int, brow: slice, settings: LidSettings) -> Eye:
    field = warping_field(delta_uv).permute(0, 3, 1, 2)
    points = F.grid_sample(field, pose.view(1, 1, -1, 2), align_corners=False)[0, :, 0].double().numpy().T  # (68, 2)
    start, end = points[first], points[first + 3]
    origin, width = (start + end) / 2, float(np.hypot(*(end - start))) or 1e-6
    along = (end - start) / width
    down = np.array([-along[1], along[0]])
    above, first_lid, second_lid = (
        (points[of] - origin) @ np.stack([along, down], axis=1)  # (N, 2) x, y
        for of in (brow, [first + 1, first + 2], [first + 4, first + 5])
    )
    opening = max(float(second_lid[:, 1].mean() - first_lid[:, 1].mean()), 1e-6)
    half = settings.wider * width / 2

    def middle(lid: Points) -> float:
        """Return the height of the parabola over the corners' line that is nearest to two landmarks."""
        bow = 1 - (lid[:, 0] / half) ** 2
        return float(bow @ lid[:, 1]) / max(float(bow @ bow), 1e-6) / opening

    upper = middle(first_lid)
    return Eye(
        origin=origin,
        along=along * opening,
        down=down * opening,
        half=half / opening,
        upper=upper,
        lower=middle(second_lid),
        start=upper - settings.stretched * float(np.clip(upper - above[:, 1].mean() / opening, *settings.skin)),
    )


def _texels(points: Points, side: int, align_corners: bool) -> Points:
    """Return places in -1..1 as texels, 0 the first one's middle."""
    return (points + 1) / 2 * (side - 1) if align_corners else ((points + 1) * side - 1) / 2


def _places(texels: Points, side: int, align_corners: bool) -> Points:
    return texels * 2 / max(side - 1, 1) - 1 if align_corners else (2 * texels + 1) / side - 1


def _box(eye: Eye, side: int, align_corners: bool, settings: LidSettings) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the texels that change."""
    end = max(_edges(eye, np.zeros(1), settings)[1][0], 0.0) + 2 * settings.line
    corners = np.array(
        [eye.origin + x * eye.along + y * eye.down for x in (-eye.half, eye.half) for y in (eye.start, end)]
    )
    texels = _texels(corners, side, align_corners)
    left, top = (max(0, int(np.floor(low))) for low in texels.min(0))
    right, bottom = (min(side, int(np.ceil(high)) + 1) for high in texels.max(0))
    return left, top, right, bottom


def _edges(eye: Eye, x: Points, settings: LidSettings) -> tuple[Points, Points]:
    """Return u and v at `x`, v as far down as the lids meet; 0 beyond the corners."""
    bow = np.maximum(1 - (x / eye.half) ** 2, 0)
    return eye.upper * bow, (eye.lower + settings.below) * bow


def _draw(
    texture: Tensor, eye: Eye, shut: float, place: DrawnEye, align_corners: bool, settings: LidSettings
) -> Floats:
    """Return the piece (height, width, 4) of the texture with the eye shut by `shut`."""
    side, fine = texture.shape[-1], settings.samples
    within = (np.arange(fine) + 0.5) / fine - 0.5
    columns, rows = (
        (start + np.arange(count)[:, None] + within).ravel()
        for start, count in ((place.left, place.width), (place.top, place.height))
    )
    uv = _places(np.stack(np.meshgrid(columns, rows), axis=-1), side, align_corners)  # (fine * h, fine * w, 2)
    x, y = ((uv - eye.origin) @ axis / (axis @ axis) for axis in (eye.along, eye.down))
    upper, lower = _edges(eye, x, settings)
    edge = upper + shut * (lower - upper)
    drop = shut * (lower - upper) * (1 + settings.lashes)
    moves = (y > eye.start) & (y < edge) & (drop > 0)
    moved = np.where(moves, drop * (y - eye.start) / np.maximum(edge - eye.start, 1e-6), 0)
    thick = settings.line * np.sqrt(np.maximum(lower - upper, 0)) + 1e-6
    dark = settings.dark * min(1.0, 4 * shut) * np.clip(1.5 - np.abs(y - edge) / thick, 0, 1) * (lower > upper)
    seen = warp(texture, torch.from_numpy(uv - moved[..., None] * eye.down)[None].float(), align_corners)[0].numpy()

    def mean(values: Points) -> Points:  # (..., fine * h, fine * w) -> (..., h, w)
        whole = values.reshape(*values.shape[:-2], place.height, fine, place.width, fine)
        return np.asarray(whole.mean((-3, -1)))

    before = texture[0, :, place.top : place.top + place.height, place.left : place.left + place.width].numpy()
    shown = before * (1 - mean(moves.astype(np.float64))) + mean(seen * moves) - mean(dark)
    piece = np.zeros((place.height, place.width, 4), np.float32)
    piece[..., :3] = shown.transpose(1, 2, 0)
    return piece
