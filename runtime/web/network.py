"""Which of an avatar's networks a page computes: the smallest whose frames are those of the player."""

import numpy as np

from bilayer.runtime.bundle import Bundle
from bilayer.runtime.motion.track import demo_motion
from bilayer.runtime.player import AvatarPlayer
from bilayer.runtime.web.engines import WebEngine

_FRAMES = 8  # of the built-in motion
_LEVELS = 2  # of 255, by which a byte may differ
LEAST_SAME = 0.999  # of the bytes


def network_of(bundle: Bundle | None, webgpu: bool = False) -> tuple[WebEngine, str]:
    """Return what computes the avatar in a browser, and which of its files.

    LiteRT the .tflite, with weights in FP16 where that draws the same frames; it is the quicker and the smaller. ONNX
    Runtime the .onnx where there is none, for graphics processors, and for avatars that are dropped.

    Raises:
        BundleError: a file of the avatar is damaged.
    """
    files = None if bundle is None or webgpu else bundle.contract.files
    if bundle is not None and files is not None and files.tflite_fp16 is not None and _same_frames(bundle):
        return "litert", "tflite_fp16"
    return ("ort", "onnx") if files is None or files.tflite is None else ("litert", "tflite")


def _same_frames(bundle: Bundle) -> bool:
    path = bundle.path(bundle.contract.files.onnx).with_suffix(".json")
    players = [
        AvatarPlayer.load(path, engine="onnxruntime"),
        AvatarPlayer.load(path, engine="litert", precision="fp16"),
    ]
    track = demo_motion(players[0]).landmarks
    poses = track[:: max(len(track) // _FRAMES, 1)]
    one, other = (np.stack([player.render(pose) for pose in poses]).astype(np.int16) for player in players)
    return float((np.abs(one - other) <= _LEVELS).mean()) >= LEAST_SAME
