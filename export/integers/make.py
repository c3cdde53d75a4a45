"""An avatar's network in integers: calibrated on its own face, searched, and held to the gate."""

from collections.abc import Mapping, Sequence

import onnx
import torch

from bilayer.export.integers.calibrate import extreme_poses, motion_poses, network_outputs
from bilayer.export.integers.gate import gate_of
from bilayer.export.integers.heads import with_heads_apart
from bilayer.export.integers.qdq import build_qdq
from bilayer.export.integers.quantize import Told, fewest_wide, quantize, untold
from bilayer.export.integers.scheme import IntegerGenerator
from bilayer.export.metadata import seal
from bilayer.export.network.layers import FoldedGenerator
from bilayer.export.verify import Probe, verify_half
from bilayer.model.threads import torch_threads
from bilayer.runtime.agreement import FRAME, judge
from bilayer.runtime.arrays import Floats
from bilayer.runtime.bundle import PoseInput
from bilayer.runtime.errors import ParityError
from bilayer.runtime.frame import Network
from bilayer.runtime.provenance import Quantization
from bilayer.runtime.sampler.compositor import FrameCompositor
from bilayer.runtime.vocabulary import IntegerPrecision


@torch_threads(1)  # sums split by thread would change roundings, and so the bytes
def make_integers(
    generator: FoldedGenerator,
    precision: IntegerPrecision,
    given: PoseInput,
    pose: Floats,  # (136,) of the source
    compositor: FrameCompositor,
    told: Told = untold,
) -> IntegerGenerator:
    """The network in integers, with as few weights in 16 bits as the gate lets it have.

    w8a8 has none in 16 bits: its gate is not reached by weights, see docs/quantisation.md. `told` hears of every step.

    Raises:
        InputError: numbers that are not finite, or a layer that gives the same in every pose.
    """
    generator = with_heads_apart(generator)
    with torch.inference_mode():
        poses = torch.cat([motion_poses(pose, given, "calibrate"), extreme_poses(pose, given)])
        if precision == "w8a8":
            return quantize(generator, precision, poses, told=told)
        judging = motion_poses(pose, given, "search")
        exact = network_outputs(generator, judging)
        gate = gate_of(exact, generator.outputs, compositor)
        return fewest_wide(generator, precision, poses, judging, gate, told)


def verify_integers(
    integers: IntegerGenerator, network: Network, probes: Sequence[Probe], compositor: FrameCompositor
) -> Quantization:
    """What avatar.json says of the network in integers, compared with the trained model over the probes.

    Raises:
        ParityError: integers would be seen; says by how much.
    """
    found = verify_half(probes, network, compositor)
    ruling = judge(found, integers.precision)
    if ruling.verdict != "passed":
        way_out = "its 8 bits between the layers are too few for a warp: take w8a16"
        if integers.precision != "w8a8":
            way_out = "take --precision fp32"
        raise ParityError(
            f"{integers.precision} against the trained model: {'; '.join(ruling.reasons)}; {way_out}, or --no-verify, "
            "and avatar.json says so (nothing was written)"
        )
    described = describe_integers(integers)
    return Quantization(described.precision, described.wide, round(found.psnr_db[FRAME], 2), round(found.uv_pixels, 4))


def sealed_qdq(integers: IntegerGenerator, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """The QDQ ONNX of a network in integers, sealed as that of the float network is."""
    model = build_qdq(integers, metadata)
    seal(model)
    return model


def describe_integers(integers: IntegerGenerator) -> Quantization:
    """What avatar.json says of a network in integers that was compared with nothing."""
    return Quantization(integers.precision, list(integers.wide), None, None)
