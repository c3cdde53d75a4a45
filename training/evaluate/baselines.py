"""What a model must beat: pictures made of the source alone, by no learning.

Of the source the person is taken: its own background is painted black first, as it is for the embedder.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.errors import InputError
from bilayer.runtime.files.reading import StrPath
from bilayer.runtime.files.stores import is_url
from bilayer.runtime.vocabulary import Split
from bilayer.training.data.frame_stores import StoredSequence, list_stored
from bilayer.training.data.layout import FrameSequence, list_sequences
from bilayer.training.evaluate.cases import EvaluationCase, first_frame, scaled_landmarks
from bilayer.training.metrics.meter import remove_background

MEAN_HEAD_PICTURES = 200  # training people in the mean: more change nothing that can be seen


def source_copies(case: EvaluationCase) -> list[Bytes]:
    """Return the source picture for every target."""
    return [remove_background(case.source.image, case.source.mask)] * len(case.targets)


def affine_warps(case: EvaluationCase) -> list[Bytes]:
    """Return the source moved onto every target by the affine map that brings its landmarks nearest to the target's.

    Nearest in the least-squares sense; bilinear, black outside of the source.
    """
    picture = remove_background(case.source.image, case.source.mask)
    start = scaled_landmarks(case.source).astype(np.float64)
    return [_move(picture, affine_map(start, scaled_landmarks(target).astype(np.float64))) for target in case.targets]


def affine_map(points: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (2, 3) matrix that takes `points` (K, 2) nearest to `targets`."""
    homogeneous = np.hstack([points, np.ones((len(points), 1))])
    solution = np.linalg.lstsq(homogeneous, targets, rcond=None)[0]
    return np.asarray(solution.T, np.float64)


def mean_head(data: StrPath, size: int) -> Bytes:
    """Return the mean of training pictures (S, S, 3), on black: a frame each of sequences spread over the split.

    Without training data, of the test split's.

    Raises:
        InputError: there is neither.
    """
    sequences: Sequence[FrameSequence | StoredSequence]
    try:
        sequences = _sequences(data, "train")
    except InputError:
        sequences = _sequences(data, "test")
    count = min(len(sequences), MEAN_HEAD_PICTURES)
    total = np.zeros((size, size, 3), np.float64)
    for index in range(count):
        frame = first_frame(sequences[index * len(sequences) // count], size)
        total += remove_background(frame.image, frame.mask)
    return np.rint(total / count).astype(np.uint8)


def _sequences(data: StrPath, split: Split) -> Sequence[FrameSequence | StoredSequence]:
    return list_stored(str(data), split) if is_url(str(data)) else list_sequences(Path(data), split)


def _move(picture: Bytes, matrix: NDArray[np.float64]) -> Bytes:
    size = (picture.shape[1], picture.shape[0])
    return np.asarray(cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR), np.uint8)
