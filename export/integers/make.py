"""An avatar's network in integers: calibrated on its own face, searched, and held to the gate."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import onnx
import torch

from bilayer.export.integers.calibrate import calibration_poses, motion_poses, network_outputs
from bilayer.export.integers.equalize import equalized
from bilayer.export.integers.gate import Gate
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
    """Return the network in integers, with as few 16-bit weights as the gate lets it have; equalised where better.

    The better one has the better frames on the poses that the search judges by, in which none has a part that judge the
    result. w8a8 has no weights in 16 bits: its gate is not reached by them, see docs/quantisation.md. `told` hears of
    every step.

    Raises:
        InputError: numbers that are not finite, or a layer that gives the same in every pose.
    """
    generator = with_heads_apart(generator)
    with torch.inference_mode():
        poses, judging = calibration_poses(pose, given), motion_poses(pose, given, "search")
        gate = Gate(network_outputs(generator, judging), generator.outputs, compositor)

        def rounded(one: FoldedGenerator) -> IntegerGenerator:
            if precision == "w8a8":
                return quantize(one, precision, poses, told=told)
            return fewest_wide(one, precision, poses, judging, gate.excess, told)

        scaled = equalized(generator, poses)
        plain, found = rounded(generator), rounded(scaled)
        # Which layers a search keeps is partly chance: the other search's are tried, too
        made = [found, quantize(scaled, precision, poses, plain.wide, found, told)]
        forms = [*(replace(one, equalized=True) for one in made), plain]
        return max(forms, key=lambda one: gate.rank(network_outputs(one.generator, judging, one.grids)))


def verify_integers(
    integers: IntegerGenerator, network: Network, probes: Sequence[Probe], compositor: FrameCompositor
) -> Quantization:
    """Return what avatar.json says of the network in integers, compared with the trained model over the probes.

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
    return replace(
        describe_integers(integers),
        frame_db=round(found.psnr_db[FRAME], 2),
        uv_pixels=round(found.uv_pixels, 4),
    )


def sealed_qdq(integers: IntegerGenerator, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Return the QDQ ONNX of a network in integers, sealed as that of the float network is."""
    model = build_qdq(integers, metadata)
    seal(model)
    return model


def describe_integers(integers: IntegerGenerator) -> Quantization:
    """Return what avatar.json says of a network in integers that was compared with nothing."""
    return Quantization(integers.precision, list(integers.wide), None, None, integers.equalized or None)
