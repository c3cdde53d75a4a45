"""The turned square around a face: what a network is shown, and the way back to the photo.

Points are (x, y) in pixels with the centre of the top left pixel at (0, 0).
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.face.ibug import LEFT_EYE, RIGHT_EYE

MARGIN = 1.5  # side of a region over the longer side of the face in it (MediaPipe, face_landmark_landmarks_to_roi)
# The mesh that MARGIN was made for ends at the hair line, the 68 landmarks at the brows: height of the forehead
# over the height from chin to brows, on 121 meshes 0.188 with a standard deviation of 0.025.
FOREHEAD = 0.19


@dataclass(frozen=True)
class Region:
    """A square in a photo whose top edge is parallel to a face's eye line."""

    x: float  # centre, photo pixels
    y: float
    side: float  # photo pixels
    angle: float  # radians, clockwise in the picture

    def turned(self, quarters: int) -> "Region":
        """Return the same square, its top edge `quarters` quarter turns further clockwise."""
        return replace(self, angle=self.angle + quarters * math.pi / 2)

    def scaled(self, factor: float) -> "Region":
        """Return the square `factor` times as large around the same centre."""
        return replace(self, side=self.side * factor)

    def matrix(self, size: int) -> NDArray[np.float64]:
        """Return (2, 3) affine map from pixels of the cut-out, `size` pixels a side, to photo pixels."""
        scale = self.side / size
        cos, sin = scale * math.cos(self.angle), scale * math.sin(self.angle)
        middle = (size - 1) / 2
        return np.array(
            [
                [cos, -sin, self.x - (cos - sin) * middle],
                [sin, cos, self.y - (sin + cos) * middle],
            ]
        )

    def cut(self, photo: Bytes, size: int) -> Bytes:
        """Return the square as an upright picture (size, size, 3); what lies outside of the photo is black."""
        matrix = self.matrix(size)
        corners = apply(matrix, np.array([[0, 0], [size, 0], [0, size], [size, size]]) - 0.5)
        low = np.clip(np.floor(corners.min(axis=0)) - 1, 0, photo.shape[1::-1]).astype(int)
        high = np.clip(np.ceil(corners.max(axis=0)) + 2, 0, photo.shape[1::-1]).astype(int)
        patch = photo[low[1] : high[1], low[0] : high[0]]
        if patch.size == 0:
            return np.zeros((size, size, 3), np.uint8)
        matrix[:, 2] -= low
        shrink = int(self.side / size)
        if shrink > 1:  # bilinear sampling alone would skip pixels
            shrink = shrink if shrink < 4 else shrink // 4 * 4
            patch = _average(patch, shrink)
            matrix /= shrink
            matrix[:, 2] -= (1 - 1 / shrink) / 2  # pixel centres
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(patch, matrix, (size, size), flags=flags).astype(np.uint8, copy=False)


def _average(patch: Bytes, factor: int) -> Bytes:
    """Shrink by a whole factor, 2, 3 or a multiple of 4, with black where the last block is not full."""
    height, width = patch.shape[:2]
    patch = np.pad(patch, ((0, -height % factor), (0, -width % factor), (0, 0)))
    size = (patch.shape[1] // factor, patch.shape[0] // factor)
    step = max(1, factor // 4)  # 16 pixels are enough for an average; reading all of a large photo is slow
    some = patch[step // 2 :: step, step // 2 :: step]
    return cv2.resize(some, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def apply(matrix: NDArray[np.float64], points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Map points (N, 2) by an affine matrix (2, 3)."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], dtype=np.float64)


def region_of_landmarks(landmarks: Floats) -> Region:
    """Return the region in which a mesh network finds these 68 landmarks (68, 2) again."""
    across = landmarks[LEFT_EYE].mean(axis=0) - landmarks[RIGHT_EYE].mean(axis=0)
    angle = math.atan2(float(across[1]), float(across[0]))
    cos, sin = math.cos(angle), math.sin(angle)
    to_photo = np.array([[cos, -sin], [sin, cos]])
    upright = landmarks @ to_photo
    low, high = upright.min(axis=0), upright.max(axis=0)
    low[1] -= FOREHEAD * (high[1] - low[1])
    x, y = to_photo @ ((low + high) / 2)
    return Region(float(x), float(y), MARGIN * float((high - low).max()), angle)
