"""Which frames of a person make a training pair, and those frames as bytes: what worker processes do, without torch.

Preprocessing as in the authors' training: no crop (the data is cropped already), pose = landmarks over the picture's
width, stickman drawn from the pose. `frame_folders` reads the disk; `dataset` makes tensors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.face.found import mirror_landmarks
from bilayer.runtime.face.stickman import draw_stickman
from bilayer.training.data.frame_folders import StoredFrame, read_frame
from bilayer.training.data.layout import FrameSequence


@dataclass(frozen=True, eq=False)
class FrameBytes:
    """T frames of one person in the types of the disk: a third of the tensors' size, for pipes and for buses."""

    images: Bytes  # (T, S, S, 3) RGB
    stickmen: Bytes  # (T, S, S, 3)
    poses: Floats  # (T, 136) -1..1
    masks: Bytes  # (T, S, S) 255 = person
    coords: NDArray[np.float16] | None  # (T, S, S, 2) -1..1, NaN where unknown; None where the data has none
    in_twos: bool = False  # they come in twos: see FrameSequence


StoredPair = tuple[FrameBytes, FrameBytes]  # source and target


@dataclass(frozen=True)
class PairReader:
    """Draws and reads the pairs of `FramePairs`, which documents the rule."""

    image_size: int  # px, S
    stickmen_thickness: int  # px
    source_frames: int  # T of the source
    target_frames: int  # T of the target
    seed: int  # of the draw
    mirror: bool  # flip half of the pairs left to right
    masks: bool  # the data has masks
    coords: bool  # the data has texture coordinates

    def frame(self, sequence: FrameSequence, picture: Path) -> StoredFrame:
        """Read one frame from the disk, or raise an InputError where a file is missing or damaged."""
        return read_frame(sequence, picture, self.image_size, self.masks, self.coords)

    def pair(self, person: FrameSequence | Sequence[StoredFrame], epoch: int, index: int) -> StoredPair:
        """Return the pair of sequence number `index`, on the disk or kept in memory, in a pass over the data.

        Raises:
            InputError: a file is missing or damaged.
        """
        rng = np.random.default_rng([self.seed, epoch, index])
        wanted = self.source_frames + self.target_frames
        if isinstance(person, FrameSequence):
            pictures = person.pictures()
            drawn = draw_frames(rng, len(pictures), wanted, person.in_twos)
            frames = [self.frame(person, pictures[i]) for i in drawn]
        else:
            frames = [person[i] for i in draw_frames(rng, len(person), wanted, person[0].in_twos)]
        if self.mirror and rng.random() < 0.5:
            frames = [mirror_frame(frame) for frame in frames]
        source, target = frames[: self.source_frames], frames[self.source_frames :]
        return frame_bytes(source, self.stickmen_thickness), frame_bytes(target, self.stickmen_thickness)


def draw_frames(rng: np.random.Generator, count: int, wanted: int, in_twos: bool = False) -> NDArray[np.int64]:
    """Return `wanted` of `count` frames (wanted,), each once before any twice; `in_twos`, both of a two in a row."""
    if in_twos:
        twos = rng.permutation(count // 2)
        return np.resize(np.stack([2 * twos, 2 * twos + 1], axis=1), wanted)
    return np.resize(rng.permutation(count), wanted)


def frame_bytes(frames: Sequence[StoredFrame], stickmen_thickness: int) -> FrameBytes:
    """Return frames of one person, joined, with their poses and stickmen."""
    size = frames[0].image.shape[0]
    poses = np.stack([((frame.landmarks / np.float32(frame.width) - np.float32(0.5)) * 2).ravel() for frame in frames])
    known = [frame.coords for frame in frames if frame.coords is not None]
    return FrameBytes(
        images=np.stack([frame.image for frame in frames]),
        stickmen=np.stack([draw_stickman(pose, size, stickmen_thickness) for pose in poses]),
        poses=poses,
        masks=np.stack([frame.mask for frame in frames]),
        coords=np.stack(known) if known else None,
        in_twos=frames[0].in_twos,
    )


def mirror_frame(frame: StoredFrame) -> StoredFrame:
    """Mirror a frame left to right, its landmarks renamed."""
    coords = None if frame.coords is None else frame.coords[:, ::-1] * np.array([-1, 1], np.float16)
    landmarks = mirror_landmarks(frame.landmarks, frame.width)
    return StoredFrame(frame.image[:, ::-1], frame.mask[:, ::-1], landmarks, frame.width, coords, frame.in_twos)
