"""A head model's triangles sorted into the groups that are drawn and shaded alike."""

from dataclasses import dataclass

import numpy as np

from bilayer.runtime.arrays import Bytes, Floats, Ints
from bilayer.training.heads.atlas import atlas_corners
from bilayer.training.heads.kernels.shading import EYE, MOUTH_INSIDE, SKIN
from bilayer.training.heads.parts import GUMS, IRIS_LEFT, IRIS_RIGHT, MOUTH_SOCKET, SCLERA_LEFT, TEETH


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Triangles of skin, then of the eyes, then of the mouth's inside."""

    triangles: Ints  # (T, 3)
    corner_uv: Floats  # (T, 3, 2) texels of the atlas; meaningless outside of the skin
    kinds: Bytes  # (T,) SKIN, EYE or MOUTH_INSIDE of `kernels`
    skin_count: int  # triangles 0..skin_count are skin


def sort_surfaces(triangles: Ints, uv: Floats, uv_triangles: Ints, part: Bytes) -> Surfaces:
    """Return what is drawn, each triangle with its kind of surface, without the irises behind the painted corneas."""
    parts = part[triangles]
    kinds = np.full(len(triangles), SKIN, np.uint8)
    kinds[(parts >= MOUTH_SOCKET).any(axis=1) & (parts <= TEETH).all(axis=1)] = MOUTH_INSIDE
    kinds[(parts >= SCLERA_LEFT).any(axis=1)] = EYE
    drawn = ~np.isin(parts, (IRIS_LEFT, IRIS_RIGHT)).any(axis=1)
    order = np.concatenate([np.flatnonzero(drawn & (kinds == kind)) for kind in (SKIN, EYE, MOUTH_INSIDE)])
    return Surfaces(
        triangles=np.ascontiguousarray(triangles[order]),
        corner_uv=np.ascontiguousarray(atlas_corners(uv, uv_triangles)[order]),
        kinds=kinds[order],
        skin_count=int((kinds[order] == SKIN).sum()),
    )


def inner_occlusion(vertices: Floats, part: Bytes, occlusion: Floats) -> Floats:
    """Return the occlusion (V,) with light let in to the mouth: measured with the lips shut, it is dark throughout."""
    inner = (part >= MOUTH_SOCKET) & (part <= TEETH)
    reached = np.clip((vertices[:, 2] - 6) / 5, 0, 1) * np.where(part == TEETH, 0.6, 0.45)
    return np.where(inner, np.maximum(occlusion, reached), occlusion).astype(np.float32)


def inner_colours(part: Bytes, tooth_shade: float) -> Floats:
    """Return linear colours (V, 3) of the mouth's inside; `tooth_shade` 0..1 from yellowed to white."""
    colours = np.empty((len(part), 3), np.float32)
    colours[:] = (0.18, 0.035, 0.035)  # the rim of the lips' inner side
    colours[part == MOUTH_SOCKET] = (0.07, 0.012, 0.012)
    colours[part == GUMS] = (0.30, 0.06, 0.06)
    colours[part == TEETH] = (0.68 + 0.12 * tooth_shade, 0.60 + 0.15 * tooth_shade, 0.45 + 0.25 * tooth_shade)
    return colours
