"""The paper's protocol: which frames of a dataset are a source, and which are to be made of it (section 4)."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from bilayer.runtime.arrays import Floats
from bilayer.runtime.errors import InputError
from bilayer.runtime.files.reading import StrPath
from bilayer.runtime.files.stores import is_url
from bilayer.runtime.vocabulary import Split
from bilayer.training.data.frame_folders import MASKS, FrameSequence, StoredFrame, has_kind, list_sequences, read_frame
from bilayer.training.data.frame_stores import StoredSequence, frames_here, list_stored

Listed = TypeVar("Listed", FrameSequence, StoredSequence)


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


def choose_sequences(data: StrPath, protocol: EvaluationProtocol) -> Sequence[FrameSequence | StoredSequence]:
    """Return the first sequence long enough for a target, of each of the first people in sorted order.

    `data` is a folder, or the URL of one in a store.

    Raises:
        InputError: no data, or no sequence is long enough.
    """
    if is_url(str(data)):
        stored = list_stored(str(data), protocol.split)
        return _choose(data, protocol, stored, lambda sequence: len(sequence.names))
    here = list_sequences(Path(data), protocol.split)
    return _choose(data, protocol, here, lambda sequence: len(sequence.pictures()))


def _choose(
    data: StrPath, protocol: EvaluationProtocol, sequences: Sequence[Listed], length: Callable[[Listed], int]
) -> list[Listed]:
    chosen: dict[str, Listed] = {}
    for sequence in sequences:
        if len(chosen) == protocol.identities:
            break
        if sequence.person not in chosen and length(sequence) > protocol.every:
            chosen[sequence.person] = sequence
    if not chosen:
        raise InputError(
            f"{data}: {protocol.split}: expected a sequence of more than {protocol.every} frames, found none; "
            "take targets more often (--every)"
        )
    return list(chosen.values())


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
