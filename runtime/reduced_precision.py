"""The parity gate of a player that computes in less than float32: its frames are held to float32's before it plays."""

from bilayer.runtime.agreement import DEFAULT, Agreement, Thresholds, compare, judge
from bilayer.runtime.arrays import Floats
from bilayer.runtime.errors import ParityError
from bilayer.runtime.motion.poses import choose_poses
from bilayer.runtime.player import AvatarPlayer

POSES = 3  # compared


def check_reduced_precision(avatar: AvatarPlayer, reference: AvatarPlayer, thresholds: Thresholds = DEFAULT) -> str:
    """Compare an avatar's frames with those of the same bundle in float32, loaded with the same background.

    Returns:
        a warning where the worst frame's SSIM is under `thresholds.reduced_warning_ssim`; else an empty string.

    Raises:
        ParityError: it has under `thresholds.reduced_floor` dB, or a number is not finite: there is no picture left.
    """

    def measured(pose: Floats) -> Agreement:
        frames = [player.render(pose) for player in (avatar, reference)]
        return compare(avatar.outputs, reference.outputs, *frames)

    worst = Agreement.worst(map(measured, choose_poses(avatar.source_pose, POSES)))
    ruling = judge(worst, "fp16", thresholds)
    found = f"{avatar.engine} in {avatar.precision} against float32: {'; '.join(ruling.reasons)}"
    if ruling.verdict == "broken":
        raise ParityError(f"{found}; take --precision fp32")
    return f"{found}; --precision fp32 has none of it" if ruling.reasons else ""
