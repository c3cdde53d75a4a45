"""MediaPipe's 468-point face mesh, reduced to the 68 landmarks of iBUG (300-W).

The network: arXiv:1907.06724, mediapipe/modules/face_landmark (MediaPipe 0.10.21, the one without attention).
"""

import math

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.face import model_files
from bilayer.runtime.face.region import Region, apply
from bilayer.runtime.face.tflite import TfliteNetwork

SIDE = 192  # px, side of the network's input
NUM_POINTS = 468

# Mesh point of each iBUG landmark, chosen by least distance to the exact landmarks of 120 synthetic renders.
# Errors over the distance of the outer eye corners, |yaw| up to 42 degrees: jaw 0.07 (the mesh lies on the skin,
# iBUG's jaw is the visible contour), brows 0.05, nose 0.04, eyes 0.02, mouth 0.03.
_IBUG = np.array([
    127, 234, 93, 58, 172, 150, 149, 148, 152, 377, 378, 379, 397, 288, 323, 454, 356,  # jaw
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows, upper edge
    168, 197, 195, 4, 98, 97, 2, 326, 327,  # nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
    61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91,  # outer lips
    78, 81, 13, 311, 308, 402, 14, 178,  # inner lips
])  # fmt: skip
_BOTH_BROWS = slice(17, 27)
_BROWS_LOWER_EDGE = np.array([46, 53, 52, 65, 55, 285, 295, 282, 283, 276])


class FaceMesh:
    """The mesh network; needs to be told where the face is."""

    def __init__(self) -> None:
        self._network = TfliteNetwork(model_files.load(model_files.FACE_MESH))

    def find(self, photo: Bytes, region: Region) -> tuple[Floats, float]:
        """Return landmarks (68, 2) in pixels of `photo` (H, W, 3), and how likely `region` holds a face, 0..1."""
        view = region.cut(photo, SIDE)
        mesh, presence = self._network(view / np.float32(255))
        points = mesh.reshape(NUM_POINTS, 3)[:, :2].astype(np.float64)  # the third is depth
        landmarks = apply(region.matrix(SIDE), _to_ibug(points)).astype(np.float32)
        logit = min(max(float(presence.ravel()[0]), -100.0), 100.0)
        return landmarks, 1 / (1 + math.exp(-logit))


def _to_ibug(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(468, 2) -> (68, 2): one mesh point each, but brows run along the middle between their edges."""
    landmarks: NDArray[np.float64] = points[_IBUG]
    landmarks[_BOTH_BROWS] = (landmarks[_BOTH_BROWS] + points[_BROWS_LOWER_EDGE]) / 2
    return landmarks
