"""The stickman: a face's landmarks as a picture of lines, which the networks were trained on."""

import cv2
import numpy as np

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.face.ibug import NUM_LANDMARKS

# First and last landmark of each stroke, drawn in this order, later over earlier; colours in channel order.
_STROKES: tuple[tuple[list[int], bool, tuple[int, int, int]], ...] = (
    (list(range(0, 17)), False, (255, 255, 255)),  # jaw
    (list(range(17, 22)), False, (255, 0, 0)),  # right brow
    (list(range(22, 27)), False, (0, 255, 0)),  # left brow
    ([27, 28, 29, 30, 30, 33], False, (0, 0, 255)),  # nose ridge
    (list(range(31, 36)), False, (0, 0, 255)),  # nostrils
    (list(range(36, 42)), True, (255, 0, 255)),  # right eye
    (list(range(42, 48)), True, (0, 255, 255)),  # left eye
    (list(range(48, 60)), True, (255, 255, 0)),  # outer lips
    (list(range(60, 68)), True, (255, 255, 0)),  # inner lips
)


def draw_stickman(pose: Floats, image_size: int, thickness: int = 2) -> Bytes:
    """Return the landmark image (S, S, 3) RGB of a pose (136,): lines `thickness` pixels wide on 1, not 0."""
    points = ((pose.reshape(NUM_LANDMARKS, 2) + 1) / 2 * image_size).astype(np.int32)  # truncates towards zero
    canvas = np.full((image_size, image_size, 3), 1, np.uint8)
    for indices, closed, colour in _STROKES:
        cv2.polylines(canvas, [points[indices]], closed, colour, thickness=thickness, lineType=cv2.LINE_8)
    return canvas
