"""MediaPipe's short-range face detector (BlazeFace, arXiv:1907.05047): where faces are, at any angle and size.

The network sees 128 x 128 pixels and finds faces of 20 of them and more, best upright ones. So the photo is
searched in windows at several scales, and each find is looked at again from all four sides: that sorts out false
finds, and tells which way up a face is.

Decoding follows mediapipe/modules/face_detection/face_detection_short_range_common.pbtxt (MediaPipe 0.10.21).
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.face import model_files
from bilayer.runtime.face.region import MARGIN, Region, apply
from bilayer.runtime.face.tflite import TfliteNetwork

WINDOW = 128  # px, side of the network's input
STRIDE = 80  # px between windows at most: a face of up to 48 px lies whole in one of them
CELLS = ((16, 2), (8, 6))  # cells a side, anchors a cell: strides 8, 16, 16, 16 with two anchors each
_RIGHT_EYE, _LEFT_EYE = 0, 1  # of the six keypoints that the network tells of a face

FIRST_LOOK = 0.5  # least score of a find (MediaPipe's own)
SECOND_LOOK = 0.3  # of the turned views of a find, to compare them
TURN_GAIN = 0.05  # a turned view must score that much more than the one before it
SAME_FACE = 0.3  # intersection over union from which two boxes are one face (MediaPipe's own)


@dataclass(frozen=True)
class Detection:
    """A face seen by the detector."""

    score: float  # 0..1
    region: Region  # the face and a margin around it


class FaceDetector:
    """The detector network and the search around it."""

    def __init__(self) -> None:
        self._network = TfliteNetwork(model_files.load(model_files.FACE_DETECTOR))

    def search(self, photo: Bytes, long_side: int) -> list[Detection]:
        """Return faces of `photo` (H, W, 3) shrunk to `long_side` pixels, window by window, each once, best first."""
        height, width = photo.shape[:2]
        scale = long_side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = _shrink(photo, size)
        finds = []
        for top in _starts(small.shape[0]):
            for left in _starts(small.shape[1]):
                window = small[top : top + WINDOW, left : left + WINDOW]
                for find in self._look(window, FIRST_LOOK):
                    x = (find.region.x + left + 0.5) * width / size[0] - 0.5
                    y = (find.region.y + top + 0.5) * height / size[1] - 0.5
                    region = Region(x, y, find.region.side / scale, find.region.angle)
                    finds.append(Detection(find.score, region))
        return best_of_each(finds)

    def turn_upright(self, photo: Bytes, find: Detection) -> Detection | None:
        """Look at a find from all four sides, then once more, upright; None where that shows nothing.

        The score of a real face in the upright view is 0.65 or more, mostly 0.9.
        """
        best = None
        for quarters in range(4):
            view = self._look_at(photo, find.region.turned(quarters))
            if view and (best is None or view.score > best.score + TURN_GAIN):
                best = view
        return best and self._look_at(photo, best.region)

    def _look_at(self, photo: Bytes, region: Region) -> Detection | None:
        """The best face in a region of the photo."""
        wider = region.scaled(1.2)  # room for a face that the first look did not centre
        finds = self._look(wider.cut(photo, WINDOW), SECOND_LOOK)
        if not finds:
            return None
        seen = finds[0].region
        (x, y), *_ = apply(wider.matrix(WINDOW), np.array([[seen.x, seen.y]]))
        placed = Region(float(x), float(y), seen.side * wider.side / WINDOW, seen.angle + wider.angle)
        return Detection(finds[0].score, placed)

    def _look(self, window: Bytes, least: float) -> list[Detection]:
        """Faces in one window (128, 128, 3), in its pixels, best first."""
        regressors, logits = self._network(window / np.float32(127.5) - 1)
        scores = 1 / (1 + np.exp(-np.clip(logits[0, :, 0].astype(np.float64), -100, 100)))
        kept = np.flatnonzero(scores >= least)
        kept = kept[np.argsort(-scores[kept], kind="stable")]
        points = regressors[0, kept].reshape(-1, 8, 2).astype(np.float64)  # box centre, box size, six keypoints
        points[:, 0] += _ANCHORS[kept]
        points[:, 2:] += _ANCHORS[kept, None]
        return _blend(scores[kept], points)


def best_of_each(finds: list[Detection]) -> list[Detection]:
    """Return the find with the best score of every face, the best first."""
    ordered = sorted(finds, key=lambda find: (-find.score, find.region.x, find.region.y))
    kept: list[Detection] = []
    for find in ordered:
        if all(_overlap(_box(find), _box(other)[None])[0] <= SAME_FACE for other in kept):
            kept.append(find)
    return kept


def _blend(scores: NDArray[np.float64], points: NDArray[np.float64]) -> list[Detection]:
    """Merge overlapping boxes, weighted by score, as MediaPipe's "weighted" non-maximum suppression does.

    `scores` (N,) fall; `points` (N, 8, 2) are box centre, box size and keypoints in window pixels.
    """
    boxes = np.concatenate([points[:, 0] - points[:, 1] / 2, points[:, 0] + points[:, 1] / 2], axis=1)
    left = np.ones(len(scores), dtype=bool)
    merged = []
    for index in range(len(scores)):
        if not left[index]:
            continue
        same = left & (_overlap(boxes[index], boxes) > SAME_FACE)
        same[index] = True  # even if its box is empty
        left &= ~same
        centre, extent, *keypoints = np.average(points[same], axis=0, weights=scores[same])
        across = keypoints[_LEFT_EYE] - keypoints[_RIGHT_EYE]
        angle = math.atan2(float(across[1]), float(across[0]))
        region = Region(float(centre[0]), float(centre[1]), MARGIN * float(extent.max()), angle)
        merged.append(Detection(float(scores[index]), region))
    return merged


def _box(find: Detection) -> NDArray[np.float64]:
    """Left, top, right, bottom of the face without its margin, as if upright."""
    region = find.region
    half = region.side / MARGIN / 2
    return np.array([region.x - half, region.y - half, region.x + half, region.y + half])


def _overlap(box: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of one box (4,) with many (N, 4)."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = sides.clip(min=0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    whole = (box[2:] - box[:2]).prod() + areas - shared
    return np.asarray(shared / np.maximum(whole, 1e-9))


def _shrink(photo: Bytes, size: tuple[int, int]) -> Bytes:
    """`photo` at `size` (width, height), with black below and to the right up to a whole window."""
    # Of a large photo, 4 x 4 pixels for one are enough to average: reading all takes most of a search's time
    step = max(1, min(photo.shape[1] // size[0], photo.shape[0] // size[1]) // 4)
    some = photo[step // 2 :: step, step // 2 :: step]
    method = cv2.INTER_AREA if some.shape[1] > size[0] else cv2.INTER_LINEAR
    small = cv2.resize(some, size, interpolation=method)
    margins = ((0, max(0, WINDOW - size[1])), (0, max(0, WINDOW - size[0])), (0, 0))
    return np.pad(small.astype(np.uint8, copy=False), margins)


def _starts(length: int) -> list[int]:
    """Where windows begin so that they cover `length` pixels evenly."""
    count = math.ceil((length - WINDOW) / STRIDE) + 1
    return [round(start) for start in np.linspace(0, length - WINDOW, count)]


def _anchor_centres() -> NDArray[np.float64]:
    """(896, 2) x, y in window pixels: cell by cell, row by row, each repeated for its anchors."""
    layers = []
    for cells, anchors in CELLS:
        centres = (np.arange(cells) + 0.5) * WINDOW / cells - 0.5
        rows, columns = np.meshgrid(centres, centres, indexing="ij")
        layers.append(np.repeat(np.stack([columns.ravel(), rows.ravel()], axis=1), anchors, axis=0))
    return np.concatenate(layers)


_ANCHORS = _anchor_centres()
