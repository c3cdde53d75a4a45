"""Where each texel of the skin lies on the neutral generic head, and how far it is from lips, eyes and brows.

The texture atlas holds four tiles side by side: the face's skin, the head's skin, and both once more as hair.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Bytes, Floats, Ints
from bilayer.runtime.face.ibug import BROWS, EYES, OUTER_LIPS
from bilayer.training.heads.kernels.raster import interpolate, rasterise
from bilayer.training.heads.parts import HEAD

TILE = 384  # texels; about 13 a centimetre of skin, where the picture at 256 px has 8.5
REACH = 3.0  # cm; distances to lips, eyes and brows are exact up to here and REACH beyond


@dataclass(frozen=True, eq=False)
class SkinAtlas:
    """The n covered texels of the skin's two tiles; each array has one row a texel."""

    nearest: Ints  # (TILE, 2 * TILE) the covered texel at or next to each texel
    texels: NDArray[np.int64]  # (n,) flat index into (TILE, 2 * TILE)
    position: Floats  # (n, 3) cm on the neutral head
    azimuth: Floats  # (n,) degrees from straight ahead, 0..180
    on_face: NDArray[np.bool_]  # (n,) in the face's tile
    lips: Floats  # (n,) cm outside of the outer lips' contour, negative inside
    eyes: tuple[Floats, Floats]  # (n,) cm outside of each eye's contour, negative inside
    brows: tuple[Floats, Floats]  # (n,) cm from each brow's line
    brow_places: tuple[Floats, Floats]  # (n,) 0 at the brow's inner end .. 1 at its outer end

    def spread(self, painted: Floats) -> Floats:
        """Return values (n, C) of the covered texels as a picture (TILE, 2 * TILE, C) without gaps."""
        return painted[self.nearest]


def atlas_corners(uv: Floats, uv_triangles: Ints) -> Floats:
    """Return texel positions (T, 3, 2) of the triangles' corners in the skin's half of the atlas."""
    texels = np.stack([uv[:, 0] * TILE, (1 - uv[:, 1]) * TILE], axis=1).astype(np.float32)
    return texels[uv_triangles]


def build_atlas(
    vertices: Floats, triangles: Ints, uv: Floats, uv_triangles: Ints, part: Bytes, landmarks: NDArray[np.int64]
) -> SkinAtlas:
    """Rasterise the neutral head in texture space and measure."""
    skin = (part[triangles] <= HEAD).all(axis=1)
    screen = np.stack([uv[:, 0] * TILE, (1 - uv[:, 1]) * TILE, np.ones(len(uv))], axis=1).astype(np.float32)
    owner, depth = np.full((TILE, 2 * TILE), -1, np.int32), np.zeros((TILE, 2 * TILE), np.float32)
    mapped = np.ascontiguousarray(uv_triangles[skin])
    rasterise(screen, mapped, 0, len(mapped), False, 0, 0, 2 * TILE, TILE, depth, owner)
    positions, covered = np.zeros((*owner.shape, 3), np.float32), np.zeros(owner.shape, np.bool_)
    interpolate(screen, mapped, owner, vertices[triangles[skin]], positions, covered)
    _, labels = cv2.distanceTransformWithLabels(
        (~covered).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    texels = np.flatnonzero(covered)
    row_of_label = np.zeros(int(labels.max()) + 1, np.int32)
    row_of_label[labels.ravel()[texels]] = np.arange(len(texels), dtype=np.int32)
    position = np.ascontiguousarray(positions.reshape(-1, 3)[texels])

    points = vertices[landmarks]
    flat = np.ascontiguousarray(position[:, :2])
    front = position[:, 2] > 3.0
    brows = [_distance_to_line(flat, points[brow, :2], False, front) for brow in BROWS]
    return SkinAtlas(
        nearest=row_of_label[labels],
        texels=texels,
        position=position,
        azimuth=np.degrees(np.arctan2(np.abs(position[:, 0]), position[:, 2])),
        on_face=texels % (2 * TILE) < TILE,
        lips=_distance_to_line(flat, points[OUTER_LIPS, :2], True, front)[0],
        eyes=(
            _distance_to_line(flat, points[EYES[0], :2], True, front)[0],
            _distance_to_line(flat, points[EYES[1], :2], True, front)[0],
        ),
        brows=(brows[0][0], brows[1][0]),
        brow_places=(1 - brows[0][1], brows[1][1]),
    )


def _distance_to_line(points: Floats, corners: Floats, closed: bool, front: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Distance (n,) in the frontal plane to a polyline, negative inside a closed one, and the place 0..1 along it."""
    ends = np.roll(corners, -1, axis=0) if closed else corners[1:]
    starts = corners if closed else corners[:-1]
    low, high = corners.min(axis=0) - REACH, corners.max(axis=0) + REACH
    near = np.flatnonzero(front & (points > low).all(axis=1) & (points < high).all(axis=1))
    close = points[near]
    best, place = np.full(len(near), np.inf, np.float32), np.zeros(len(near), np.float32)
    inside = np.zeros(len(near), np.bool_)
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        edge, off = end - start, close - start
        share = np.clip((off[:, 0] * edge[0] + off[:, 1] * edge[1]) / (edge[0] ** 2 + edge[1] ** 2), 0, 1)
        square = (off[:, 0] - share * edge[0]) ** 2 + (off[:, 1] - share * edge[1]) ** 2
        closer = square < best
        best[closer] = square[closer]
        place[closer] = (number + share[closer]) / len(starts)
        crosses = (start[1] > close[:, 1]) != (end[1] > close[:, 1])
        inside ^= crosses & (off[:, 0] * edge[1] < off[:, 1] * edge[0] if edge[1] > 0 else
                             off[:, 0] * edge[1] > off[:, 1] * edge[0])  # fmt: skip
    distance = np.sqrt(best)
    if closed:
        distance = np.where(inside, -distance, distance)
    everywhere, places = np.full(len(points), 2 * REACH, np.float32), np.zeros(len(points), np.float32)
    everywhere[near] = distance
    places[near] = place
    return everywhere, places
