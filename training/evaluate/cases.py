"""The paper's protocol: which frames of a dataset are a source, and which are to be made of it (section 4)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bilayer.runtime.arrays import Floats
from bilayer.runtime.errors import InputError
from bilayer.runtime.vocabulary import Split
from bilayer.training.data.frame_folders import (
    MASKS,
    FrameSequence,
    StoredFrame,
    has_kind,
    list_sequences,
    read_frame,
)


@dataclass(frozen=True)
class EvaluationProtocol:
    """Which people and frames of a dataset are evaluated; the defaults are the paper's protocol (section 4)."""

    split: Split = "test"
    identities: int = 50  # people, one sequence of each
    every: int = 25  # frames from one target to the next: 1 FPS of a video of 25, as VoxCeleb2's are


PAPER_PROTOCOL = EvaluationProtocol()


@dataclass(frozen=True, eq=False)
class EvaluationCase:
    """One identity: a source, and the T frames that drive it."""

    label: str  # PERSON/VIDEO/SEQUENCE
    names: tuple[str, ...]  # of the targets' files, without their suffix
    source: StoredFrame  # the sequence's first frame
    targets: tuple[StoredFrame, ...]  # the source is none of them


def choose_sequences(data: Path, protocol: EvaluationProtocol) -> list[FrameSequence]:
    """The first sequence long enough for a target, of each of the first people in sorted order.

    Raises:
        InputError: no data, or no sequence is long enough.
    """
    chosen: dict[str, FrameSequence] = {}
    for sequence in list_sequences(data, protocol.split):
        if len(chosen) == protocol.identities:
            break
        if sequence.person not in chosen and len(sequence.pictures()) > protocol.every:
            chosen[sequence.person] = sequence
    if not chosen:
        raise InputError(
            f"{data}: {protocol.split}: expected a sequence of more than {protocol.every} frames, found none; "
            "take targets more often (--every)"
        )
    return list(chosen.values())


def read_case(sequence: FrameSequence, every: int, size: int) -> EvaluationCase:
    """The frames of one identity, `size` pixels square, or an InputError where a file is missing or damaged."""
    pictures = sequence.pictures()[::every]
    masks = has_kind(sequence.root, sequence.split, MASKS)
    frames = [read_frame(sequence, picture, size, masks, coords=False) for picture in pictures]
    names = tuple(picture.stem for picture in pictures[1:])
    return EvaluationCase(sequence.label, names, frames[0], tuple(frames[1:]))


def first_frame(sequence: FrameSequence, size: int) -> StoredFrame:
    """Read a sequence's first frame, its source, or raise an InputError where a file is missing or damaged."""
    masks = has_kind(sequence.root, sequence.split, MASKS)
    return read_frame(sequence, sequence.pictures()[0], size, masks, coords=False)


def scaled_keypoints(frame: StoredFrame) -> Floats:
    """Landmarks (68, 2) in pixels of the picture as it was read, not as stored."""
    return frame.keypoints * np.float32(frame.image.shape[0] / frame.width)
