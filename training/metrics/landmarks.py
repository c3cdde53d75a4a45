"""Metrics of where the face's points are. Landmarks are (68, 2) in pixels, iBUG order.

What is measured on a picture is measured by a detector, and the truth by the same one, so that its bias cancels.
"""

import numpy as np

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.face.found import Landmarker
from bilayer.runtime.face.ibug import LEFT_EYE, NUM_LANDMARKS, RIGHT_EYE

PAPER_FACTOR = 10  # of the NME in the paper's tables


def eye_distance(landmarks: Floats) -> float:
    """Return pixels between the centres of the eyes, each the mean of its six points: what errors are divided by.

    As in the published code. 300-W divides by the distance of the outer corners, about 1.4 times as far.
    """
    gap = landmarks[LEFT_EYE].mean(axis=0, dtype=np.float64) - landmarks[RIGHT_EYE].mean(axis=0, dtype=np.float64)
    return max(float(np.linalg.norm(gap)), 1e-6)


def nme(landmarks: Floats, truth: Floats, points: slice = slice(0, NUM_LANDMARKS)) -> float:
    """Return the normalised mean error: mean distance of `points` from the truth's, over the truth's eye distance.

    The paper's tables show ten times that (section 4), the published code this (losses/pose_matching.py).
    """
    distances = np.linalg.norm(landmarks[points].astype(np.float64) - truth[points], axis=1)
    return float(distances.mean()) / eye_distance(truth)


def find_landmarks(landmarker: Landmarker, picture: Bytes) -> Floats | None:
    """Find the landmarks (68, 2) in pixels of the largest face in a picture (H, W, 3) RGB; None without one."""
    faces = landmarker.find(picture)
    return faces[0].landmarks if faces else None


def default_landmarker() -> Landmarker:
    """Load MediaPipe's detector and landmarks, or raise a ToolMissingError that says how to get them."""
    from bilayer.runtime.face.mediapipe import MediapipeLandmarker

    return MediapipeLandmarker()
