"""Look at every file of a data folder before a training run does."""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from bilayer.runtime.errors import InputError
from bilayer.runtime.vocabulary import Split
from bilayer.training.data.frame_folders import StoredFrame, read_frame, read_picture
from bilayer.training.data.layout import COORDS, IMAGES, MASKS, SPLITS, FrameSequence, has_kind, list_sequences

SHOWN_PROBLEMS = 10
MIN_SPAN = 0.1  # of the picture's width: a face's landmarks span half of it by the crop rule
MIN_INSIDE = 0.5  # of the landmarks lie in the picture, else they are of another picture or in other units
MIN_PERSON = 0.01  # of a mask


@dataclass(frozen=True)
class SplitCounts:
    """The number of people, videos, sequences and frames of a split, and whether it has masks."""

    persons: int
    videos: int
    sequences: int
    frames: int
    masks: bool
    coords: bool


@dataclass(frozen=True)
class DatasetCheck:
    """The contents of a dataset, and all that is wrong with them."""

    splits: dict[str, SplitCounts]
    sizes: dict[int, int]  # px of the pictures -> how many
    problems: list[str]  # one line each, in the order of the files
    notes: list[str]  # what may be meant so


def check_dataset(root: Path, on_sequence: Callable[[], None] = lambda: None) -> DatasetCheck:
    """Read all of a data folder; `on_sequence` hears of each sequence looked at.

    Raises:
        InputError: there is no data of either split.
    """
    splits: dict[str, SplitCounts] = {}
    sizes: Counter[int] = Counter()
    problems: list[str] = []
    persons: dict[str, set[str]] = {}
    for split, sequences in sequences_by_split(root).items():
        frames = 0
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoders let other threads run
            for found_sizes, found_problems in pool.map(check_sequence, sequences):
                frames += found_sizes.total()
                sizes += found_sizes
                problems += found_problems
                on_sequence()
        persons[split] = {sequence.person for sequence in sequences}
        videos = {(sequence.person, sequence.video) for sequence in sequences}
        extras = (has_kind(root, split, kind) for kind in (MASKS, COORDS))
        splits[split] = SplitCounts(len(persons[split]), len(videos), len(sequences), frames, *extras)
    return DatasetCheck(splits, dict(sorted(sizes.items())), problems, _notes(root, splits, sizes, persons))


def sequences_by_split(root: Path) -> dict[Split, list[FrameSequence]]:
    """Return the sequences of each split that is there, or an InputError where none is there, or an empty one."""
    there: list[Split] = [split for split in SPLITS if has_kind(root, split, IMAGES)]
    return {split: list_sequences(root, split) for split in there or SPLITS[:1]}


def check_sequence(sequence: FrameSequence) -> tuple[Counter[int], list[str]]:
    """Read all of a sequence; return how many pictures there are of each side in px, and what is wrong, a line each."""
    sizes: Counter[int] = Counter()
    problems: list[str] = []
    masks = has_kind(sequence.root, sequence.split, MASKS)
    coords = has_kind(sequence.root, sequence.split, COORDS)
    try:
        pictures = sequence.pictures()
    except InputError as error:
        return sizes, [str(error)]
    for picture in pictures:
        try:
            size = read_picture(picture, cv2.IMREAD_COLOR_RGB).shape[0]
            sizes[size] += 1
            frame = read_frame(sequence, picture, size, masks, coords)
        except InputError as error:
            problems.append(str(error))
            continue
        problems += [f"{picture}: {problem}" for problem in _implausible(frame)]
    return sizes, problems


def _implausible(frame: StoredFrame) -> list[str]:
    """Return what of a readable frame cannot be meant, a line each: landmarks far off, a mask that is nearly empty."""
    problems = []
    span = float(np.ptp(frame.landmarks, axis=0).max()) / frame.width
    inside = float(((frame.landmarks >= 0) & (frame.landmarks <= frame.width)).all(axis=1).mean())
    if span < MIN_SPAN or inside < MIN_INSIDE:
        found = f"found {inside:.0%} of them inside, spanning {span:.2f} of its width"
        problems.append(f"landmarks: expected pixels of this picture, {found}; scale them to the crop")
    if float((frame.mask > 127).mean()) < MIN_PERSON:
        problems.append(f"mask: expected 255 where the person is, found under {MIN_PERSON:.0%} of it; redo it")
    if frame.coords is not None:
        known = np.isfinite(frame.coords)
        if known.any() and float(np.abs(frame.coords[known]).max()) > 1:
            largest = float(np.abs(frame.coords[known]).max())
            problems.append(f"coords: expected -1..1 or NaN, found up to {largest:g}; render them anew")
    return problems


def _notes(root: Path, splits: dict[str, SplitCounts], sizes: Counter[int], persons: dict[str, set[str]]) -> list[str]:
    notes = []
    for split, counts in splits.items():
        if not counts.masks:
            notes.append(f"{root}: {split} has no {MASKS}: training takes every pixel as the person")
    if len(sizes) > 1:
        found = ", ".join(f"{count} of {size} px" for size, count in sorted(sizes.items()))
        notes.append(f"{root}: pictures of different sizes ({found}): training resizes them")
    both = set.intersection(*persons.values()) if len(persons) > 1 else set()
    if both:
        notes.append(f"{root}: persons in both splits: {len(both)}, first {min(both)}; a test should be of others")
    return notes
