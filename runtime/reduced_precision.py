"""The parity gate of a player that computes in less than float32: its frames are held to float32's before it plays."""

import math

import numpy as np

from bilayer.runtime.agreement import DEFAULT, Thresholds
from bilayer.runtime.errors import ParityError
from bilayer.runtime.motion.track import demo_motion
from bilayer.runtime.player import AvatarPlayer, Bytes

POSES = 3  # compared: the photo's, and others spread over the built-in motion


def check_reduced_precision(avatar: AvatarPlayer, reference: AvatarPlayer, thresholds: Thresholds = DEFAULT) -> str:
    """Compare an avatar's frames with those of the same bundle in float32, loaded with the same background.

    Returns:
        a warning where the worst frame has under `thresholds.arithmetic_warning` dB; else an empty string.

    Raises:
        ParityError: it has under `thresholds.arithmetic_floor` dB: there is no picture left of it.
    """
    source = avatar.source_pose
    track = demo_motion(source.reshape(-1, 2)).landmarks.reshape(-1, source.size)
    poses = [source, *track[np.arange(1, POSES) * len(track) // POSES]]
    worst = min(_decibels(avatar.render(pose), reference.render(pose)) for pose in poses)
    found = f"{avatar.engine} in {avatar.precision}: a frame has {worst:.1f} dB against float32"
    if not worst >= thresholds.arithmetic_floor:
        raise ParityError(f"{found}, expected at least {thresholds.arithmetic_floor:.0f}; take --precision fp32")
    if worst < thresholds.arithmetic_warning:
        return f"{found}, under {thresholds.arithmetic_warning:.0f}; --precision fp32 has none of it"
    return ""


def _decibels(found: Bytes, expected: Bytes) -> float:
    """PSNR of 8-bit frames; infinite where they are equal."""
    error = float(np.mean(np.square(found.astype(np.float64) - expected)))
    return 10 * math.log10(255**2 / error) if error else math.inf
