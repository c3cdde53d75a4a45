"""An avatar's .tflite files: written from the folded layers, and run by LiteRT before they go into a bundle."""

from collections.abc import Mapping, Sequence

from bilayer.export.network.layers import FoldedGenerator
from bilayer.export.network.tflite_write import Storage, build_tflite
from bilayer.export.options import AlsoFile, ConversionTarget
from bilayer.export.tflite.read import parse_tflite
from bilayer.export.tflite.rules import check_tflite
from bilayer.export.verify import HALF_POSES, THREADS, Probe, half_failure, verify_half
from bilayer.runtime.agreement import Agreement, compare, judge
from bilayer.runtime.bundle import PoseInput
from bilayer.runtime.engines.litert import litert_tensors
from bilayer.runtime.engines.pose_encoding import TensorNetwork
from bilayer.runtime.errors import InputError, ParityError
from bilayer.runtime.frame import Floats, Network

_STORAGE: dict[AlsoFile, tuple[str, Storage]] = {  # the contract's field, and what the weights are stored in
    "tflite": ("tflite", "float32"),
    "tflite-fp16": ("tflite_fp16", "float16"),
}


def wanted_files(target: ConversionTarget, also: Sequence[AlsoFile]) -> tuple[AlsoFile, ...]:
    """The .tflite files that are asked for, each once: by name, and by the target that is one of them."""
    asked = dict.fromkeys((*(("tflite",) if target == "litert" else ()), *also))
    return tuple(file for file in asked if file in _STORAGE)


def write_tflites(
    generator: FoldedGenerator, metadata: Mapping[str, str], files: Sequence[AlsoFile]
) -> dict[str, bytes]:
    """The content of each file by its field of the contract.

    Raises:
        InputError: a weight is beyond what FP16 holds, for the file that stores them so.
    """
    return {field: build_tflite(generator, metadata, storage) for field, storage in map(_STORAGE.__getitem__, files)}


def check_tflites(contents: Mapping[str, bytes], target: ConversionTarget) -> list[str]:
    """What the GPU delegate would not take of the files, a sentence each.

    Raises:
        InputError: there is such a thing, and the target is the delegate.
    """
    found = [finding for field, content in contents.items() for finding in check_tflite(parse_tflite(content, field))]
    refused = [finding for finding in found if finding.severity == "error"]
    if refused and target == "litert":
        raise InputError(f"litert refuses the network: {refused[0].describe()}")
    return [finding.describe() for finding in found]


def verify_tflites(
    contents: Mapping[str, bytes],
    generator: FoldedGenerator,
    given: PoseInput,
    onnx: Network,
    probes: Sequence[Probe],
    texture: Floats,  # (3, T, T)
    align_corners: bool,
    frame_size: int,
) -> float | None:
    """Run the files in LiteRT: the float32 one against ONNX Runtime, that with FP16 weights against the trained model.

    Returns:
        the first one's dB, of the worst result and pose; None where it is not among them.

    Raises:
        ParityError: a file differs by more than float32's or FP16 storage's thresholds; names it.
    """
    networks = {
        field: TensorNetwork(given, generator.outputs, litert_tensors(content, THREADS), field)
        for field, content in contents.items()
    }
    if "tflite_fp16" in networks:
        half = verify_half(probes[:HALF_POSES], networks["tflite_fp16"], texture, align_corners, frame_size)
        if failure := half_failure(half):
            raise ParityError(f"the .tflite with weights in FP16: {failure} (nothing was written)")
    if "tflite" not in networks:
        return None
    run = networks["tflite"].run
    found = Agreement.worst(compare(run(probe.pose), onnx.run(probe.pose)) for probe in probes)
    ruling = judge(found, "fp32")
    if ruling.verdict != "passed":
        reasons = "; ".join(ruling.reasons)
        raise ParityError(
            f"the .tflite in LiteRT is not the ONNX: {reasons}; report this as a bug (nothing was written)"
        )
    return round(min(found.psnr_db.values()), 2)
