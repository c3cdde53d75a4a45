"""The frames of an identity that is evaluated: a source, and what is to be made of it."""

import sys
from dataclasses import dataclass

import numpy as np

from bilayer.runtime.arrays import Floats
from bilayer.training.data.frame_folders import StoredFrame, read_frame
from bilayer.training.data.frame_stores import StoredSequence, frames_here
from bilayer.training.data.layout import MASKS, FrameSequence, has_kind


@dataclass(frozen=True, eq=False)
class EvaluationCase:
    """One identity: a source, and the T frames that drive it."""

    label: str  # PERSON/VIDEO/SEQUENCE
    names: tuple[str, ...]  # of the targets' files, without their suffix
    source: StoredFrame  # the sequence's first frame
    targets: tuple[StoredFrame, ...]  # the source is none of them


def read_case(sequence: FrameSequence | StoredSequence, every: int, size: int) -> EvaluationCase:
    """Return the frames of one identity, `size` pixels square, or an InputError where a file is missing or damaged."""
    with frames_here(sequence, every) as (here, pictures):
        masks = has_kind(here.root, here.split, MASKS)
        frames = [read_frame(here, picture, size, masks, coords=False) for picture in pictures]
    names = tuple(picture.stem for picture in pictures[1:])
    return EvaluationCase(here.label, names, frames[0], tuple(frames[1:]))


def first_frame(sequence: FrameSequence | StoredSequence, size: int) -> StoredFrame:
    """Read a sequence's first frame, its source, or raise an InputError where a file is missing or damaged."""
    with frames_here(sequence, every=sys.maxsize) as (here, pictures):
        masks = has_kind(here.root, here.split, MASKS)
        return read_frame(here, pictures[0], size, masks, coords=False)


def scaled_landmarks(frame: StoredFrame) -> Floats:
    """Return landmarks (68, 2) in pixels of the picture as it was read, not as stored."""
    return frame.landmarks * np.float32(frame.image.shape[0] / frame.width)
