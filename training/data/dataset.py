"""Training pairs: source and target frames of one person, drawn at random, as tensors that the networks take."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from bilayer.runtime.vocabulary import Split
from bilayer.training.data.frame_folders import StoredFrame, read_frame
from bilayer.training.data.layout import COORDS, MASKS, FrameSequence, has_kind, list_sequences
from bilayer.training.data.stored_pairs import FrameBytes, PairReader, StoredPair, frame_bytes


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """T frames of each of B people; pictures in -1..1. As targets of a loss they are in one row: (B * T, ...)."""

    images: Tensor  # (B, T, 3, S, S)
    stickmen: Tensor  # (B, T, 3, S, S)
    poses: Tensor  # (B, T, 136)
    masks: Tensor  # (B, T, 1, S, S) 0..1
    coords: Tensor | None  # (B, T, S, S, 2) -1..1, NaN where unknown; None where the data has none

    def to(self, device: torch.device | str) -> "FrameBatch":
        """Return the same on another device."""
        return self.map(lambda tensor: tensor.to(device))

    def map(self, function: Callable[[Tensor], Tensor]) -> "FrameBatch":
        """Return the same with `function` applied to each tensor."""
        tensors: dict[str, Any] = {name: t if t is None else function(t) for name, t in vars(self).items()}
        return FrameBatch(**tensors)


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """The frames that one training step takes: of B sequences, source and target frames."""

    source: FrameBatch  # T = source_frames
    target: FrameBatch  # T = target_frames
    in_twos: Tensor  # (B,) of bool, on the CPU: a person's frames come in twos, source and target in one row

    def to(self, device: torch.device | str) -> "TrainingBatch":
        """Return the same on another device."""
        return TrainingBatch(self.source.to(device), self.target.to(device), self.in_twos)


class FramePairs(Dataset[TrainingBatch]):
    """One item per sequence: its source and target frames, a `TrainingBatch` of one person.

    Which frames is a pure function of (`seed`, epoch, index): the same whatever the number of workers, and the same in
    a run resumed at that epoch. All are different where the sequence has enough frames; where it has not, all of its
    frames are used before one comes twice.

    Args:
        root: holds the folders of `layout`.
        split: "train" or "test".
        image_size: of the tensors, px; what is stored in another size is resized.
        stickmen_thickness: px, `ModelConfig.stickmen_thickness`.
        source_frames: T of the source.
        target_frames: T of the target.
        in_memory: decode and resize every frame now, once, and keep it in bytes: S * S * 4 bytes a frame, S * S * 8
            with coordinates (0.25 and 0.5 MiB at 256 px).
        seed: of the draw.
        mirror: flip half of the items left to right, source and target alike.

    Attributes:
        in_memory: as asked for.
        reader: what draws and reads, without the data; a worker process has no need of more.
        has_masks: whether the data has masks; without them `masks` is one everywhere.
        has_coords: whether the data has texture coordinates.

    Raises:
        InputError: no data there; a file that is missing or damaged (when its frame is drawn).
    """

    def __init__(
        self,
        root: Path,
        split: Split,
        image_size: int,
        stickmen_thickness: int,
        source_frames: int = 1,
        target_frames: int = 1,
        in_memory: bool = False,
        seed: int = 0,
        mirror: bool = False,
    ) -> None:
        if min(image_size, stickmen_thickness, source_frames, target_frames) < 1 or seed < 0:
            raise ValueError("image_size, stickmen_thickness and frames are at least 1, the seed is not negative")
        self.sequences = list_sequences(root, split)
        self.has_masks, self.has_coords = has_kind(root, split, MASKS), has_kind(root, split, COORDS)
        self.reader = PairReader(
            image_size,
            stickmen_thickness,
            source_frames,
            target_frames,
            seed,
            mirror,
            masks=self.has_masks,
            coords=self.has_coords,
        )
        self.in_memory = in_memory
        self._kept = self._keep_all() if in_memory else None
        self._epoch = 0

    def __len__(self) -> int:
        return len(self.sequences)

    def set_epoch(self, epoch: int) -> None:
        """Draw other frames: call it before each pass over the data, with the number of the pass."""
        self._epoch = epoch

    def __getitem__(self, index: int) -> TrainingBatch:
        return self.draw(self._epoch, index)

    def draw(self, epoch: int, index: int) -> TrainingBatch:
        """Return the item of a sequence in a pass, whatever pass `set_epoch` told."""
        return pair_batch([self.reader.pair(self.person(index), epoch, index)])

    def person(self, index: int) -> FrameSequence | Sequence[StoredFrame]:
        """Return the frames of sequence `index`: decoded ones if they are kept in memory, else the files to read."""
        if not 0 <= index < len(self):
            raise IndexError(f"sequence {index} of {len(self)}")
        return self._kept[index] if self._kept else self.sequences[index]

    def _keep_all(self) -> list[list[StoredFrame]]:
        def read(sequence: FrameSequence) -> list[StoredFrame]:
            return [self.reader.frame(sequence, picture) for picture in sequence.pictures()]

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoders let other threads run
            return list(pool.map(read, self.sequences))


def pair_batch(pairs: Sequence[StoredPair], device: torch.device | str = "cpu") -> TrainingBatch:
    """Put pairs of B people together as a batch on a device."""
    sources, targets = ([pair[place] for pair in pairs] for place in (0, 1))
    in_twos = torch.tensor([source.in_twos for source in sources])
    return TrainingBatch(_on_device(sources, device), _on_device(targets, device), in_twos)


def frame_batch(frames: Sequence[StoredFrame], stickmen_thickness: int) -> FrameBatch:
    """Return frames of one person as tensors (1, T, ...)."""
    return _on_device([frame_bytes(frames, stickmen_thickness)], "cpu")


def _on_device(people: Sequence[FrameBytes], device: torch.device | str) -> FrameBatch:
    """Move a frame's bytes to a device, and make float32 of them there."""

    def put(arrays: Sequence[NDArray[np.generic]]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)).to(device)

    known = [person.coords for person in people if person.coords is not None]
    return FrameBatch(
        images=_scaled(put([person.images for person in people])),
        stickmen=_scaled(put([person.stickmen for person in people])),
        poses=put([person.poses for person in people]),
        masks=put([person.masks for person in people])[:, :, None].float() / 255,
        coords=put(known).float() if known else None,
    )


def _scaled(pictures: Tensor) -> Tensor:
    """Bytes (B, T, S, S, 3) as (B, T, 3, S, S) in -1..1."""
    return (pictures.movedim(-1, 2).contiguous().float() / 255 - 0.5) * 2


def in_one_row(first: FrameBatch, then: FrameBatch) -> FrameBatch:
    """Return the frames of `first` and `then`, of the same people, as one batch: (B, T1 + T2, ...)."""
    return _join([first, then], dim=1)


def collate(items: Sequence[TrainingBatch]) -> TrainingBatch:
    """Return items of `FramePairs`, or batches, as one batch."""
    in_twos = torch.cat([item.in_twos for item in items])
    return TrainingBatch(_join([item.source for item in items]), _join([item.target for item in items]), in_twos)


def _join(batches: Sequence[FrameBatch], dim: int = 0) -> FrameBatch:
    columns = zip(*(vars(batch).values() for batch in batches), strict=True)
    joined: list[Any] = [None if any(part is None for part in parts) else torch.cat(parts, dim) for parts in columns]
    return FrameBatch(*joined)


def sequence_frames(
    sequence: FrameSequence, image_size: int, stickmen_thickness: int, every: int = 1
) -> Iterator[FrameBatch]:
    """Yield a sequence's frames in order for evaluation: each `every`-th from the first on, (1, 1, ...), read lazily.

    Raises:
        InputError: a file is missing or damaged.
    """
    masks = has_kind(sequence.root, sequence.split, MASKS)
    coords = has_kind(sequence.root, sequence.split, COORDS)
    for picture in sequence.pictures()[::every]:
        yield frame_batch([read_frame(sequence, picture, image_size, masks, coords)], stickmen_thickness)
