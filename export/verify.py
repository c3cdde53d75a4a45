"""Does the exported network compute what was trained? ONNX Runtime in float32, and emulated FP16 storage."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from bilayer.export.network.evaluate import evaluate_hybrid, read_outputs
from bilayer.export.network.layers import FoldedGenerator
from bilayer.model.adaptive import AdaptiveParameters
from bilayer.model.bilayer import BilayerModel
from bilayer.model.config import ModelConfig
from bilayer.model.embedders import harmonic_encoding
from bilayer.model.generators import GeneratorOutputs
from bilayer.runtime.agreement import DEFAULT
from bilayer.runtime.bundle import Channels, Outputs, Verification
from bilayer.runtime.errors import ParityError
from bilayer.runtime.sampler.compositor import FrameCompositor
from bilayer.runtime.sampler.grid_sample import pack_texture

MOST_PSNR = 200.0  # dB, said of equal arrays
THREADS = 2
POSES = 4  # compared in ONNX Runtime
HALF_POSES = 2  # of them, compared in emulated FP16

NOT_VERIFIED = Verification(verified=False, poses=0, psnr_db={}, hybrid_frame_db=None, hybrid_uv_pixels=None)

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
        layers: GeneratorOutputs = model.inference_generator(model.keypoints_embedder(poses), parameters)
    frame = {"delta_uv": layers.delta_uv[0].numpy(), "lf_rgb": layers.lf_rgb[0].numpy()}
    return frame | ({} if layers.seg_logits is None else {"seg": torch.sigmoid(layers.seg_logits)[0].numpy()})


@dataclass(frozen=True, eq=False)
class Probe:
    """A pose, and what the trained model makes of it."""

    pose: NDArray[np.float32]  # (136,)
    expected: Frame


def make_probes(
    model: BilayerModel, parameters: AdaptiveParameters, pose: NDArray[np.float32], count: int = POSES
) -> list[Probe]:
    """By the trained model: the pose itself, then other inputs of the same kind."""
    return [Probe(probe, reference_frame(model, parameters, probe)) for probe in probe_poses(pose, count)]


def probe_poses(pose: NDArray[np.float32], count: int) -> list[NDArray[np.float32]]:
    """The pose itself, then the same landmarks turned, shifted and stretched."""
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


def verify(probes: Sequence[Probe], network: OnnxNetwork) -> Verification:
    """Compare every probe.

    Raises:
        ParityError: a result is under Thresholds.float32_psnr in a pose; names it.
    """
    worst: dict[str, float] = {}
    for probe in probes:
        actual = network.run(probe.pose)
        for name, values in probe.expected.items():
            found = psnr(actual[name], values, value_range=1.0 if name == "seg" else 2.0)
            worst[name] = min(worst.get(name, MOST_PSNR), found)
    for name, found in worst.items():
        if not found >= DEFAULT.float32_psnr:
            raise ParityError(
                f"{name}: expected at least {DEFAULT.float32_psnr:.0f} dB between the exported and the trained "
                f"network, found {found:.1f}; try --keep-norms (nothing was written)"
            )
    psnr_db = {name: round(db, 2) for name, db in worst.items()}
    return replace(NOT_VERIFIED, verified=True, poses=len(probes), psnr_db=psnr_db)


def verify_half(
    probes: Sequence[Probe],
    generator: FoldedGenerator,
    texture: NDArray[np.float32],  # (3, S, S)
    config: ModelConfig,
) -> tuple[float, float]:
    """Emulated FP16 storage (GPU_FLOAT32_16_HYBRID) against the trained model: dB of the 8-bit frame, and the warp's
    largest error in texture pixels, of the worst probe.
    """
    # numpy's loops have the bytes of Numba's, whose start takes longer than these few frames
    compositor = FrameCompositor(pack_texture(texture), config.align_corners, engine="numpy")
    worst, pixels = MOST_PSNR, 0.0
    for probe in probes:
        poses = torch.from_numpy(probe.pose)[None]
        encoded = harmonic_encoding(poses, config.pse_num_harmonics) if config.pse_use_harmonic_enc else poses
        layers = read_outputs(generator, evaluate_hybrid(generator, encoded))
        found = {"delta_uv": layers.delta_uv[0].numpy(), "lf_rgb": layers.lf_rgb[0].numpy()}
        if layers.seg_logits is not None:
            found["seg"] = torch.sigmoid(layers.seg_logits)[0].numpy()
        apart = psnr(_composed(compositor, found), _composed(compositor, probe.expected), value_range=255.0)
        side = texture.shape[-1]
        x, y = (found["delta_uv"].astype(np.float64) - probe.expected["delta_uv"]) * (side / 2)
        off = np.nan_to_num(np.hypot(x, y), nan=side, posinf=side)  # FP16 overflowed: anywhere
        worst, pixels = min(worst, apart), max(pixels, float(off.max()))
    return worst, pixels


def half_failure(frame_db: float, uv_pixels: float) -> str:
    """What is wrong with the findings of `verify_half`, and what to do; empty where nothing is."""
    if frame_db >= DEFAULT.hybrid_frame_psnr and uv_pixels <= DEFAULT.hybrid_uv_pixels:
        return ""
    return (
        f"FP16 storage (emulated): the frame has {frame_db:.1f} dB against the trained model and its warp is "
        f"{uv_pixels:.2g} px off, expected at least {DEFAULT.hybrid_frame_psnr:.0f} dB and at most "
        f"{DEFAULT.hybrid_uv_pixels:g} px; try --keep-norms"
    )


def _composed(compositor: FrameCompositor, frame: Frame) -> NDArray[np.float32]:
    planes = {name: np.ascontiguousarray(np.nan_to_num(values), np.float32) for name, values in frame.items()}
    return compositor.render(planes["delta_uv"], planes["lf_rgb"], planes.get("seg")).astype(np.float32)
