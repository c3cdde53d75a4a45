"""The poses that an avatar is measured and compared on: the same for export, ladder, phones and player."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from bilayer.runtime.arrays import Floats
from bilayer.runtime.errors import InputError, LandmarkError
from bilayer.runtime.motion.retarget import driving_poses
from bilayer.runtime.motion.track import demo_motion
from bilayer.runtime.motion.track_files import read_track
from bilayer.runtime.vocabulary import RetargetMode


def load_poses(source: ArrayLike, drive: Path | None = None, mode: RetargetMode = "relative") -> tuple[Floats, float]:
    """Return poses (T, 136) of a track for the avatar with the pose `source` (136,), and their frames a second.

    Without a track they are those of the built-in motion, whose first is the source itself.

    Raises:
        LandmarkError: the file is no landmark track, or the source no face.
    """
    if drive is None:
        track = demo_motion(np.asarray(source, np.float32).reshape(-1, 2))
        return track.landmarks.reshape(len(track), -1), float(track.fps)
    track = read_track(drive)
    try:
        return driving_poses(np.asarray(source, np.float32), track, mode), float(track.fps)
    except LandmarkError as error:
        raise LandmarkError(f"{drive}: {error}") from error


def choose_poses(source: ArrayLike, count: int, drive: Path | None = None) -> Floats:
    """Return the poses (N, 136) that `spread` chooses of those of `load_poses`, at most `count`.

    Raises:
        LandmarkError: as `load_poses` does.
        InputError: no pose asked for.
    """
    if count < 1:
        raise InputError(f"poses: expected 1 or more, found {count}")
    poses, _ = load_poses(source, drive)
    return np.ascontiguousarray(poses[spread(len(poses), count)])


def spread(length: int, count: int) -> list[int]:
    """Return at most `count` numbers below `length`, evenly spread from 0: a looping motion ends where it begins."""
    return [number * length // count for number in range(count)] if count < length else list(range(length))
