"""The paper's own landmarker: the package `face-alignment` (FAN, arXiv:1703.07332), an optional extra.

It downloads its weights when first used and needs torch. Landmarks follow the visible contour of the jaw, as those
the published model was trained with do.
"""

import importlib
import warnings
from typing import Any

import numpy as np

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.errors import ToolMissingError
from bilayer.runtime.face.found import Face, largest_first


class FanLandmarker:
    """`face_alignment.FaceAlignment` (1.5 or newer) as the authors set it: 2D landmarks, averaged with a flip.

    Raises:
        ToolMissingError: the package is not installed, or its weights cannot be fetched.
    """

    def __init__(self, device: str = "cpu") -> None:
        try:
            package: Any = importlib.import_module("face_alignment")
        except ImportError as error:
            advice = "pip install 'bilayer[face-alignment]', or use the default landmarker"
            raise ToolMissingError(f"the package face-alignment is not installed; {advice}") from error
        try:
            # Not compiled: that takes a minute and pays only after hundreds of frames
            self._finder = package.FaceAlignment(
                package.LandmarksType.TWO_D, device=device, flip_input=True, compile=False
            )
        except OSError as error:  # urllib's errors are OSErrors
            raise ToolMissingError(f"face-alignment cannot fetch its weights ({error}); connect once") from error

    def find(self, photo: Bytes) -> list[Face]:
        """Return all faces of `photo` (H, W, 3) RGB, the largest first."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "No faces were detected."
            landmarks, _, boxes = self._finder.get_landmarks_from_image(photo, return_bboxes=True)
        faces = []
        for points, (left, top, right, bottom, score) in zip(landmarks or [], boxes or [], strict=True):
            box = (float(left), float(top), float(right), float(bottom))
            faces.append(Face(np.asarray(points, dtype=np.float32), float(score), box))
        return largest_first(faces)
