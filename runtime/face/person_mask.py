"""MediaPipe's selfie segmentation: which pixels show the person.

The authors used Graphonomy, a far larger network for CUDA; this one knows a person from the background, hair and
clothes included, and takes milliseconds (mediapipe/modules/selfie_segmentation, MediaPipe 0.10.21).
"""

import cv2
import numpy as np

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.face import model_files
from bilayer.runtime.face.tflite import TfliteNetwork

SIDE = 256  # px, side of the network's input


class PersonMasker:
    """The network that tells a person from the background."""

    def __init__(self) -> None:
        self._network = TfliteNetwork(model_files.load(model_files.PERSON_MASK))

    def mask(self, image: Bytes) -> Floats:
        """Return a soft mask (H, W) in 0..1 of the people in RGB (H, W, 3), best a crop of head and shoulders."""
        height, width = image.shape[:2]
        method = cv2.INTER_AREA if max(height, width) > SIDE else cv2.INTER_LINEAR
        view = cv2.resize(image, (SIDE, SIDE), interpolation=method)
        (mask,) = self._network(view / np.float32(255))
        full = cv2.resize(mask[0, :, :, 0], (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(full.clip(0, 1), dtype=np.float32)

    def foreground(self, crop: Bytes) -> Floats:
        """Return the mask (S, S) that the networks take of a crop (S, S, 3): eroded, as the authors did to theirs."""
        return erode_mask(self.mask(crop))


def erode_mask(mask: Floats) -> Floats:
    """Return a soft mask (H, W) in 0..1, eroded in greyscale by a 5x5 disk as the authors erode a segmentation."""
    disk = np.ones((5, 5), np.uint8)
    disk[[0, 0, -1, -1], [0, -1, 0, -1]] = 0
    return cv2.erode(mask, disk).astype(np.float32, copy=False)
