"""Poses of a track as the files that the vendor's programs read."""

from pathlib import Path

from bilayer.runtime.arrays import Floats
from bilayer.runtime.bundle import Bundle
from bilayer.runtime.engines.pose_encoding import PoseEncoder

FOLDER = "inputs"  # on the device


def write_poses(bundle: Bundle, poses: Floats, folder: Path) -> dict[str, Path]:
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
