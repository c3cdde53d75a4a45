"""Does the exported network compute what was trained? ONNX Runtime against the torch model, both in float32."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from bilayer.model.adaptive import AdaptiveParameters
from bilayer.model.bilayer import BilayerModel
from bilayer.model.embedders import harmonic_encoding
from bilayer.model.generators import Layers
from bilayer.runtime.bundle import Channels, Outputs, Verification
from bilayer.runtime.errors import ParityError

LEAST_PSNR = 100.0  # dB; float32's own rounding leaves about 117
MOST_PSNR = 200.0  # dB, said of equal arrays
THREADS = 2

Frame = dict[str, NDArray[np.float32]]  # result by what it means: (channels, S, S)


@dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """An exported network in ONNX Runtime, on the CPU."""

    outputs: Outputs
    harmonics: int
    session: Any  # an onnxruntime.InferenceSession

    @classmethod
    def load(cls, model: onnx.ModelProto, outputs: Outputs, harmonics: int) -> "OnnxNetwork":
        """Start ONNX Runtime on a model in memory."""
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.log_severity_level = 3  # its advice on old opsets is not for the user
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return cls(outputs, harmonics, session)

    def run(self, pose: NDArray[np.float32]) -> Frame:
        """The results for a pose vector (136,)."""
        poses = torch.from_numpy(pose)[None]
        encoded = harmonic_encoding(poses, self.harmonics) if self.harmonics else poses
        names = [output.name for output in self.session.get_outputs()]
        tensors = dict(zip(names, self.session.run(names, {"pose": encoded.numpy()}), strict=True))

        def read(channels: Channels) -> NDArray[np.float32]:
            values: NDArray[np.float32] = tensors[channels.tensor][0, channels.start : channels.stop]
            return values * np.float32(channels.scale) + np.float32(channels.offset)

        frame = {"delta_uv": read(self.outputs.delta_uv), "lf_rgb": read(self.outputs.lf_rgb)}
        return frame | ({"seg": read(self.outputs.seg)} if self.outputs.seg else {})


def reference_frame(model: BilayerModel, parameters: AdaptiveParameters, pose: NDArray[np.float32]) -> Frame:
    """The results for a pose vector (136,) by the trained model."""
    with torch.inference_mode():
        poses = torch.from_numpy(pose)[None]
        layers: Layers = model.inference_generator(model.keypoints_embedder(poses), parameters)
    frame = {"delta_uv": layers.delta_uv[0].numpy(), "lf_rgb": layers.lf_rgb[0].numpy()}
    return frame | ({} if layers.seg_logits is None else {"seg": torch.sigmoid(layers.seg_logits)[0].numpy()})


def probe_poses(pose: NDArray[np.float32], count: int) -> list[NDArray[np.float32]]:
    """The pose itself, then the same landmarks turned, shifted and stretched: other inputs of the same kind."""
    points = pose.reshape(-1, 2).astype(np.float64)
    poses = []
    for i in range(count):
        angle = math.radians(12 * i) * (-1) ** i
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        stretched = points * [1 + 0.05 * i, 1 - 0.04 * i] + [0.03 * i, -0.02 * i]
        poses.append((stretched @ turn.T).astype(np.float32).ravel())
    return poses


def psnr(actual: NDArray[np.float32], expected: NDArray[np.float32], value_range: float) -> float:
    """Peak signal-to-noise ratio in dB, at most MOST_PSNR; -inf where values are not finite."""
    error = float(np.mean((actual.astype(np.float64) - expected) ** 2))
    if not math.isfinite(error):
        return -math.inf
    return min(MOST_PSNR, 10 * math.log10(value_range**2 / error)) if error else MOST_PSNR


def verify(
    model: BilayerModel,
    parameters: AdaptiveParameters,
    network: OnnxNetwork,
    pose: NDArray[np.float32],
    count: int = 4,
) -> Verification:
    """Compare `count` poses.

    Raises:
        ParityError: a result is under LEAST_PSNR in a pose; names it.
    """
    worst: dict[str, float] = {}
    for probe in probe_poses(pose, count):
        expected, actual = reference_frame(model, parameters, probe), network.run(probe)
        for name, values in expected.items():
            found = psnr(actual[name], values, value_range=1.0 if name == "seg" else 2.0)
            worst[name] = min(worst.get(name, MOST_PSNR), found)
    for name, found in worst.items():
        if not found >= LEAST_PSNR:
            raise ParityError(
                f"{name}: expected at least {LEAST_PSNR:.0f} dB between the exported and the trained network, found "
                f"{found:.1f}; try --keep-norms (nothing was written)"
            )
    return Verification(verified=True, poses=count, psnr_db={name: round(db, 2) for name, db in worst.items()})
