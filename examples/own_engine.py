"""An engine of your own runs the avatar's network: `python examples/own_engine.py out` compares it with a built-in one.

An engine has a name, a precision and `run`: a pose in, the network's results out. This one is ONNX Runtime in six
lines; yours may be an accelerator's SDK, or a phone at the other end of a cable.
"""

import sys
from pathlib import Path

import onnxruntime
from numpy.typing import ArrayLike

import bilayer
from bilayer.runtime import Contract, NetworkOutputs, PoseEncoder
from bilayer.runtime.agreement import psnr


class OwnEngine:
    """What `load_avatar(engine=...)` calls with the network's file, and avatar.json's content."""

    name, precision = "own", "fp32"

    def __init__(self, path: Path, contract: Contract) -> None:
        self._session = onnxruntime.InferenceSession(path)
        self._contract, self._encoder = contract, PoseEncoder(contract.input, str(path))

    def run(self, pose: ArrayLike) -> NetworkOutputs:
        """The results for a pose (136,), read from the output tensors (1, C, S, S) as the contract says."""
        encoded = self._encoder.encode(pose)  # (width,)
        names = [output.name for output in self._session.get_outputs()]
        tensors = self._session.run(names, {self._contract.input.tensor: encoded[None]})
        return NetworkOutputs.read(self._contract.outputs, dict(zip(names, tensors, strict=True)))


def main(bundle: str) -> None:
    """Print how far the frames of both engines agree, the worst of the built-in motion."""
    own, expected = bilayer.load_avatar(bundle, engine=OwnEngine), bilayer.load_avatar(bundle, engine="onnxruntime")
    track = bilayer.demo_motion(expected, seconds=1)
    pairs = zip(own.frames(track), expected.frames(track), strict=True)
    worst = min(psnr(frame, other, 255) for frame, other in pairs)  # 200 where they are equal
    print(f"{own.engine} and {expected.engine}: {worst:.0f} dB over {len(track)} frames")


if __name__ == "__main__":
    main(*sys.argv[1:])
