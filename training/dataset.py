"""Training pairs: source and target frames of one person, drawn at random, as the networks take them.

Preprocessing as in the authors' training: no crop (the data is cropped already), pose = landmarks over the picture's
width, stickman drawn from the pose. `frame_folders` reads the disk.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from bilayer.runtime.crop import draw_stickman, scale_image
from bilayer.runtime.face import mirror_landmarks
from bilayer.training.frame_folders import (
    COORDS,
    MASKS,
    FrameSequence,
    Split,
    StoredFrame,
    has_kind,
    list_sequences,
    read_frame,
)


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """T frames of each of B people; pictures in -1..1."""

    images: Tensor  # (B, T, 3, S, S)
    stickmen: Tensor  # (B, T, 3, S, S)
    poses: Tensor  # (B, T, 136)
    masks: Tensor  # (B, T, 1, S, S) 0..1
    coords: Tensor | None  # (B, T, S, S, 2) -1..1, NaN where unknown; None where the data has none

    def to(self, device: torch.device | str) -> "FrameBatch":
        """The same on another device; from pinned memory to a GPU without waiting."""
        ahead = torch.device(device).type != "cpu"  # on the CPU one could read what has not come yet
        return self._each(lambda tensor: tensor.to(device, non_blocking=ahead))

    def pin_memory(self) -> "FrameBatch":
        """The same in pinned memory: what a DataLoader with `pin_memory=True` calls."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "FrameBatch":
        return FrameBatch(
            images=change(self.images),
            stickmen=change(self.stickmen),
            poses=change(self.poses),
            masks=change(self.masks),
            coords=None if self.coords is None else change(self.coords),
        )


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """What one training step takes."""

    source: FrameBatch  # T = source_frames
    target: FrameBatch  # T = target_frames

    def to(self, device: torch.device | str) -> "TrainingBatch":
        """The same on another device."""
        return TrainingBatch(self.source.to(device), self.target.to(device))

    def pin_memory(self) -> "TrainingBatch":
        """The same in pinned memory."""
        return TrainingBatch(self.source.pin_memory(), self.target.pin_memory())


class FramePairs(Dataset[TrainingBatch]):
    """One item per sequence: its source and target frames, a `TrainingBatch` of one person.

    Which frames is a pure function of (`seed`, epoch, index): the same whatever the number of workers, and the same in
    a run resumed at that epoch. All are different where the sequence has enough frames; where it has not, all of its
    frames are used before one comes twice.

    Args:
        root: holds the folders of `frame_folders`.
        split: "train" or "test".
        image_size: of the tensors, px; what is stored in another size is resized.
        stickmen_thickness: px, `ModelConfig.stickmen_thickness`.
        source_frames: T of the source.
        target_frames: T of the target.
        in_memory: decode and resize every frame now, once, and keep it in bytes: S * S * 4 bytes a frame, S * S * 8
            with coordinates (0.25 and 0.5 MiB at 256 px). DataLoader workers share them where they are forked.
        seed: of the draw.
        mirror: flip half of the items left to right, source and target alike.

    Attributes:
        in_memory: as asked for.
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
        self._size, self._thickness, self._seed, self._mirror = image_size, stickmen_thickness, seed, mirror
        self._source_frames, self._target_frames = source_frames, target_frames
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # workers that persist see it change
        self.in_memory = in_memory
        self._kept = self._keep_all() if in_memory else None

    def __len__(self) -> int:
        return len(self.sequences)

    def set_epoch(self, epoch: int) -> None:
        """Draw other frames: call it before each pass over the data, with the number of the pass."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> TrainingBatch:
        return self.draw(int(self._epoch), index)

    def draw(self, epoch: int, index: int) -> TrainingBatch:
        """The item of a sequence in a pass, whatever pass `set_epoch` told."""
        if not 0 <= index < len(self):
            raise IndexError(f"sequence {index} of {len(self)}")
        rng = np.random.default_rng([self._seed, epoch, index])
        pictures = [] if self._kept else self.sequences[index].pictures()
        count = len(self._kept[index]) if self._kept else len(pictures)
        chosen = draw_frames(rng, count, self._source_frames + self._target_frames)
        mirrored = self._mirror and bool(rng.random() < 0.5)
        if self._kept:
            frames = [self._kept[index][i] for i in chosen]
        else:
            frames = [self._read(self.sequences[index], pictures[i]) for i in chosen]
        parts = frames[: self._source_frames], frames[self._source_frames :]
        return TrainingBatch(*(frame_batch(part, self._thickness, mirrored) for part in parts))

    def _read(self, sequence: FrameSequence, picture: Path) -> StoredFrame:
        return read_frame(sequence, picture, self._size, self.has_masks, self.has_coords)

    def _keep_all(self) -> list[list[StoredFrame]]:
        def read(sequence: FrameSequence) -> list[StoredFrame]:
            return [self._read(sequence, picture) for picture in sequence.pictures()]

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoders let other threads run
            return list(pool.map(read, self.sequences))


def draw_frames(rng: np.random.Generator, count: int, wanted: int) -> NDArray[np.int64]:
    """`wanted` of `count` frames (wanted,), each once before any comes twice."""
    return np.resize(rng.permutation(count), wanted)


def frame_batch(frames: Sequence[StoredFrame], stickmen_thickness: int, mirrored: bool = False) -> FrameBatch:
    """Frames of one person as tensors (1, T, ...), flipped left to right if `mirrored`."""
    if mirrored:
        frames = [_mirror(frame) for frame in frames]
    size = frames[0].image.shape[0]
    poses = np.stack([((frame.keypoints / np.float32(frame.width) - np.float32(0.5)) * 2).ravel() for frame in frames])
    stickmen = [draw_stickman(pose, size, stickmen_thickness) for pose in poses]
    known = [frame.coords for frame in frames if frame.coords is not None]
    return FrameBatch(
        images=torch.from_numpy(np.stack([scale_image(frame.image) for frame in frames]))[None],
        stickmen=torch.from_numpy(np.stack([scale_image(stickman) for stickman in stickmen]))[None],
        poses=torch.from_numpy(poses)[None],
        masks=torch.from_numpy(np.stack([frame.mask for frame in frames]).astype(np.float32) / 255)[None, :, None],
        coords=torch.from_numpy(np.stack(known).astype(np.float32))[None] if known else None,
    )


def _mirror(frame: StoredFrame) -> StoredFrame:
    coords = None if frame.coords is None else frame.coords[:, ::-1] * np.array([-1, 1], np.float16)
    keypoints = mirror_landmarks(frame.keypoints, frame.width)
    return StoredFrame(np.ascontiguousarray(frame.image[:, ::-1]), frame.mask[:, ::-1], keypoints, frame.width, coords)


def collate(items: Sequence[TrainingBatch]) -> TrainingBatch:
    """Items of `FramePairs`, or batches, as one batch."""
    return TrainingBatch(_join([item.source for item in items]), _join([item.target for item in items]))


def _join(batches: Sequence[FrameBatch]) -> FrameBatch:
    coords = [batch.coords for batch in batches if batch.coords is not None]
    return FrameBatch(
        images=torch.cat([batch.images for batch in batches]),
        stickmen=torch.cat([batch.stickmen for batch in batches]),
        poses=torch.cat([batch.poses for batch in batches]),
        masks=torch.cat([batch.masks for batch in batches]),
        coords=torch.cat(coords) if coords else None,
    )


def sequence_frames(
    sequence: FrameSequence, image_size: int, stickmen_thickness: int, every: int = 1
) -> Iterator[FrameBatch]:
    """For evaluation: the sequence's frames in order (1, 1, ...), lazily; only each `every`-th, from the first on.

    Raises:
        InputError: a file is missing or damaged.
    """
    masks = has_kind(sequence.root, sequence.split, MASKS)
    coords = has_kind(sequence.root, sequence.split, COORDS)
    for picture in sequence.pictures()[::every]:
        yield frame_batch([read_frame(sequence, picture, image_size, masks, coords)], stickmen_thickness)
