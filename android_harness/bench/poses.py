"""Poses of a track as the files that the vendor's programs read."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.bundle import Bundle
from bilayer.runtime.engines.pose_encoding import PoseEncoder
from bilayer.runtime.motion.retarget import driving_poses
from bilayer.runtime.motion.track import demo_motion
from bilayer.runtime.motion.track_files import read_track
from bilayer.runtime.vocabulary import RetargetMode

Floats = NDArray[np.float32]

FOLDER = "inputs"  # on the device


def load_poses(bundle: Bundle, drive: Path | None, retarget: RetargetMode = "relative") -> tuple[Floats, float]:
    """Poses (T, 136) of a track for a bundle's avatar, and their frames a second; without a track the built-in motion.

    Raises:
        LandmarkError: the file is no landmark track.
    """
    source = np.array(bundle.contract.source.pose, np.float32)
    if drive is None:
        track = demo_motion(source.reshape(-1, 2))
        return track.landmarks.reshape(len(track), -1), float(track.fps)
    track = read_track(drive)
    return driving_poses(source, track, retarget), float(track.fps)


def spread(length: int, count: int) -> list[int]:
    """`count` frames of a track, evenly spaced from first to last; all of them if there are fewer."""
    return sorted(set(np.linspace(0, length - 1, min(count, length)).round().astype(int).tolist()))


def write_inputs(bundle: Bundle, poses: Floats, folder: Path) -> dict[str, Path]:
    """Write each pose as the network takes it, raw little-endian float32; the files by their names on the device.

    Pose vectors have no picture's layout, so SNPE's NHWC does not touch them.
    """
    encoder = PoseEncoder(bundle.contract.input, str(bundle.folder))
    files = {}
    for number, pose in enumerate(poses):
        path = folder / f"pose_{number:05d}.raw"
        path.write_bytes(encoder.encode(pose).astype("<f4").tobytes())
        files[f"{FOLDER}/{path.name}"] = path
    return files
