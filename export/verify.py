"""Does the exported network compute what was trained? ONNX Runtime in float32, and emulated FP16 storage."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
from numpy.typing import ArrayLike
from torch.nn.functional import interpolate

from bilayer.export.network.emulate import emulate
from bilayer.export.network.layers import FoldedGenerator
from bilayer.model.anchors import move_warps
from bilayer.model.avatar import Avatar, predict_layers
from bilayer.model.networks.adaptive import AdaptiveParameters
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.model.networks.generators import GeneratorOutputs
from bilayer.model.threads import THREADS
from bilayer.model.warp import warp, warping_field
from bilayer.runtime.agreement import DEFAULT, FRAME, RANGES, Agreement, compare, compare_drawn, judge, psnr
from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.bundle import Bundle, Outputs, PoseInput
from bilayer.runtime.engines.load import load_engine
from bilayer.runtime.engines.onnx_runtime import onnx_tensors
from bilayer.runtime.engines.pose_encoding import TensorNetwork
from bilayer.runtime.errors import ParityError
from bilayer.runtime.frame import Network, NetworkOutputs
from bilayer.runtime.motion.poses import choose_poses
from bilayer.runtime.player import AvatarPlayer, read_lids, read_texture
from bilayer.runtime.provenance import Verification
from bilayer.runtime.sampler.compositor import FrameCompositor

POSES = 4  # compared in ONNX Runtime
HALF_POSES = 2  # of them, compared in emulated FP16
PLAYED_POSES = 2  # of them, played from the written bundle

NOT_VERIFIED = Verification(verified=False, poses=0, psnr_db={}, hybrid_frame_db=None, hybrid_uv_pixels=None)


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """The model as it was trained, in torch: a `Network`."""

    model: BilayerModel
    parameters: AdaptiveParameters

    def run(self, pose: ArrayLike) -> NetworkOutputs:
        """Return the trained model's results for a pose (136,), in new arrays."""
        poses = torch.from_numpy(np.asarray(pose, np.float32).reshape(1, -1))
        with torch.inference_mode():
            return _first_of(predict_layers(self.model, self.parameters, poses))


def _first_of(layers: GeneratorOutputs) -> NetworkOutputs:
    seg = None if layers.seg_logits is None else torch.sigmoid(layers.seg_logits)[0].numpy()
    return NetworkOutputs(layers.delta_uv[0].numpy(), layers.lf_rgb[0].numpy(), seg)


def onnx_network(model: onnx.ModelProto, given: PoseInput, outputs: Outputs) -> Network:
    """Return the exported network as ONNX Runtime runs it on the CPU."""
    return TensorNetwork(given, outputs, onnx_tensors(model.SerializeToString(), THREADS))


def hybrid_network(generator: FoldedGenerator, given: PoseInput) -> Network:
    """Return the folded network in emulated FP16 storage (GPU_FLOAT32_16_HYBRID)."""

    def infer(encoded: Floats) -> dict[str, Floats]:
        stored = emulate(generator, encoded, "hybrid")
        return {name: stored[name] for name in generator.output_tensors}

    return TensorNetwork(given, generator.outputs, infer)


@dataclass(frozen=True, eq=False)
class Probe:
    """A pose, and what the trained model makes of it."""

    pose: Floats  # (136,)
    expected: NetworkOutputs


def make_probes(model: BilayerModel, avatar: Avatar, pose: Floats, count: int = POSES) -> list[Probe]:
    """Return `count` probes by the trained model: the source's pose (136,), then others of the built-in motion."""
    trained = TrainedNetwork(model, avatar.parameters)
    first, *others = choose_poses(pose, count)
    return [Probe(first, _first_of(avatar.at_rest)), *(Probe(other, trained.run(other)) for other in others)]


def verify(probes: Sequence[Probe], results: Sequence[NetworkOutputs], keep_norms: bool = False) -> Verification:
    """Return the worst agreement of the exported network's `results` with the trained model's, for each of the probes.

    `keep_norms` tells what was asked for already, so that the message does not advise it again.

    Raises:
        ParityError: a result is under Thresholds.fp32_psnr in a pose; names it.
    """
    found = Agreement.worst(compare(one, probe.expected) for one, probe in zip(results, probes, strict=True))
    ruling = judge(found, "fp32")
    if ruling.verdict != "passed":
        reasons = "; ".join(ruling.reasons)
        advice = "report this as a bug" if keep_norms else "try --keep-norms"
        raise ParityError(f"the exported network is not the trained one: {reasons}; {advice} (nothing was written)")
    psnr_db = {name: round(db, 2) for name, db in found.psnr_db.items()}
    return replace(NOT_VERIFIED, verified=True, poses=len(probes), psnr_db=psnr_db)


def verify_half(probes: Sequence[Probe], network: Network, compositor: FrameCompositor) -> Agreement:
    """Return the worst agreement of `hybrid_network` and its frames with the trained model's over the probes."""
    return Agreement.worst(compare_drawn(network.run(one.pose), one.expected, compositor.compose) for one in probes)


def verify_bundle(
    bundle: Bundle, probes: Sequence[Probe], avatar: Avatar, align_corners: bool, frame_size: int
) -> None:
    """Play a written bundle as a user's player does, and compare its frames with the trained model's.

    Args:
        bundle: read back from its files.
        probes: what the trained model makes of some poses; the first PLAYED_POSES are compared.
        avatar: of one person, as torch made it.
        align_corners: of the trained model's warp.
        frame_size: F, of the frames that the avatar was asked for.

    Raises:
        ParityError: a frame differs by more than float32's rounding shows: what was written is not what was made.
    """
    packed = read_texture(bundle)
    lids = read_lids(bundle, packed)
    contract, path = bundle.contract, bundle.path(bundle.contract.files.onnx)
    # numpy's loops start quicker than Numba's
    compositor = FrameCompositor(packed, contract.align_corners, size=contract.frame_size, engine="numpy")
    player = AvatarPlayer(bundle, load_engine(path, contract, "onnxruntime", threads=THREADS), packed, compositor, lids)
    for probe in probes[:PLAYED_POSES]:
        found, expected = player.render(probe.pose), _torch_frame(probe, avatar, align_corners, frame_size)
        db = psnr(found, expected, RANGES[FRAME])
        if not db >= DEFAULT.fp32_frame_psnr:
            raise ParityError(
                f"{path.with_suffix('.json').name}: played from the files that were written, a frame has {db:.1f} dB "
                f"against the trained model's, expected at least {DEFAULT.fp32_frame_psnr:.0f}: its texture, "
                "align_corners, frame_size or outputs were written wrong; report this as a bug (nothing was written)"
            )


def _torch_frame(probe: Probe, avatar: Avatar, align_corners: bool, frame_size: int) -> Bytes:
    """(F, F, 4) RGBA by torch's own interpolation and warp: equation 1 of the paper, its mask as alpha."""
    results = {name: torch.from_numpy(values)[None] for name, values in probe.expected.by_name.items()}
    if avatar.anchors:
        results["delta_uv"] = move_warps(results["delta_uv"], torch.from_numpy(probe.pose)[None], avatar.anchors)
    size = (frame_size, frame_size)
    planes = {name: interpolate(values, size=size, mode="bilinear") for name, values in results.items()}
    uv = warping_field(planes["delta_uv"])
    image = (planes["lf_rgb"] + warp(avatar.texture, uv, align_corners))[0].numpy()
    mask = planes["seg"][0, 0].clamp(0, 1).numpy() if "seg" in planes else np.ones(image.shape[1:], np.float32)
    colours = np.floor((np.clip(image, -1, 1) + 1) / 2 * 255)  # as published: the fraction is cut off
    frame = np.concatenate([colours, np.rint(mask * 255)[None]]).transpose(1, 2, 0)
    return np.ascontiguousarray(frame, np.uint8)


def half_failure(found: Agreement, keep_norms: bool = False) -> str:
    """Return what is wrong with the findings of `verify_half`, and what to do that was not done; else nothing."""
    ruling = judge(found, "fp16-hybrid")
    if ruling.verdict == "passed":
        return ""
    advice = "the norms are kept already, so the weights themselves round too far" if keep_norms else "try --keep-norms"
    return f"FP16 storage (emulated) against the trained model: {'; '.join(ruling.reasons)}; {advice}"
