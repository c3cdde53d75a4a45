"""A bundle's further files, .tflite, .pte and .mlpackage: written from the folded layers, and run where that can be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bilayer.export.network.layers import FoldedGenerator
from bilayer.export.network.tflite_write import Storage, build_tflite
from bilayer.export.options import AlsoFile, ConversionTarget
from bilayer.export.tflite.read import parse_tflite
from bilayer.export.tflite.rules import check_tflite
from bilayer.export.verify import HALF_POSES, Probe, half_failure, verify_half
from bilayer.model.threads import THREADS
from bilayer.runtime.agreement import FRAME, Agreement, compare, judge
from bilayer.runtime.bundle import PoseInput
from bilayer.runtime.engines.litert import litert_tensors
from bilayer.runtime.engines.pose_encoding import TensorNetwork
from bilayer.runtime.errors import InputError, ParityError
from bilayer.runtime.frame import Network, NetworkOutputs
from bilayer.runtime.sampler.compositor import FrameCompositor

if TYPE_CHECKING:
    from bilayer.export.network.executorch_write import PteBackend

_BACKENDS: "dict[AlsoFile, tuple[str, PteBackend]]" = {
    "pte-xnnpack": ("pte_xnnpack", "xnnpack"),
    "pte-vulkan": ("pte_vulkan", "vulkan"),
}
_STORAGE: dict[AlsoFile, tuple[str, Storage]] = {  # the contract's field, and what the weights are stored in
    "tflite": ("tflite", "float32"),
    "tflite-fp16": ("tflite_fp16", "float16"),
}


@dataclass(frozen=True)
class FurtherDecibels:
    """What each file that runs here came to, under the contract's names; None of a file that was not asked for."""

    litert_db: float | None = None
    litert_fp16_frame_db: float | None = None
    executorch_db: float | None = None


def wanted_files(target: ConversionTarget, also: Sequence[AlsoFile]) -> tuple[AlsoFile, ...]:
    """Return the files that are asked for, each once: by name, and by the target that is one of them."""
    return tuple(dict.fromkeys((*(("tflite",) if target == "litert" else ()), *also)))


def write_further(
    generator: FoldedGenerator, metadata: Mapping[str, str], files: Sequence[AlsoFile]
) -> dict[str, bytes]:
    """Return the content of each file that is written, by its field of the contract.

    Raises:
        InputError: a weight is beyond what FP16 holds, for the file that stores them so.
        ToolMissingError: executorch is not installed, for a .pte, or coremltools, for the .mlpackage.
        ConversionError: they cannot make one.
    """
    contents = {}
    for file in files:
        if file in _STORAGE:
            field, storage = _STORAGE[file]
            contents[field] = build_tflite(generator, metadata, storage)
        elif file == "coreml":
            from bilayer.export.network.coreml_write import build_mlpackage  # coremltools takes 10 s

            contents["coreml"] = build_mlpackage(generator, metadata)
        else:
            from bilayer.export.network.executorch_write import build_pte

            field, backend = _BACKENDS[file]
            contents[field] = build_pte(generator, backend)
    return contents


def check_further(contents: Mapping[str, bytes], target: ConversionTarget) -> list[str]:
    """Return what the GPU delegate would not take of the .tflite files, and what is not run here, a sentence each.

    Raises:
        InputError: there is such a thing, and the target is the delegate.
    """
    files = [parse_tflite(content, field) for field, content in contents.items() if field.startswith("tflite")]
    found = [finding for file in files for finding in check_tflite(file)]
    refused = [finding for finding in found if finding.severity == "error"]
    if refused and target == "litert":
        raise InputError(f"litert refuses the network: {refused[0].describe()}")
    not_run = "the .pte for Vulkan is not compared with anything: executorch has no Vulkan here; bench it on the phone"
    return [finding.describe() for finding in found] + ([not_run] if "pte_vulkan" in contents else [])


def verify_further(
    contents: Mapping[str, bytes],
    generator: FoldedGenerator,
    given: PoseInput,
    results: Sequence[NetworkOutputs],
    probes: Sequence[Probe],
    compositor: FrameCompositor,
) -> FurtherDecibels:
    """Run what runs here: float32 files against ONNX Runtime's `results`, weights in FP16 against the trained model.

    Returns:
        of each file its dB, of the worst result and pose; of that with weights in FP16, of the worst frame.

    Raises:
        ParityError: a file differs by more than float32's or FP16 storage's thresholds; names it.
    """
    executorch = litert = fp16_frame = None
    networks: dict[str, Network] = {
        field: TensorNetwork(given, generator.outputs, litert_tensors(content, THREADS), field)
        for field, content in contents.items()
        if field.startswith("tflite")
    }
    if "pte_xnnpack" in contents:
        from bilayer.export.network.executorch_write import pte_tensors

        infer = pte_tensors(contents["pte_xnnpack"], generator.output_tensors)
        network = TensorNetwork(given, generator.outputs, infer, "pte")
        executorch = _same(network, results, probes, "the .pte in ExecuTorch (XNNPACK)")
    if "tflite_fp16" in networks:
        half = verify_half(probes[:HALF_POSES], networks["tflite_fp16"], compositor)
        if failure := half_failure(half):
            raise ParityError(f"the .tflite with weights in FP16: {failure} (nothing was written)")
        fp16_frame = round(half.psnr_db[FRAME], 2)
    if "tflite" in networks:
        litert = _same(networks["tflite"], results, probes, "the .tflite in LiteRT")
    return FurtherDecibels(litert, fp16_frame, executorch)


def _same(network: Network, results: Sequence[NetworkOutputs], probes: Sequence[Probe], what: str) -> float:
    """Return the dB of the worst result and pose; raise a ParityError where they are under fp32's."""
    found = Agreement.worst(compare(network.run(probe.pose), one) for one, probe in zip(results, probes, strict=True))
    ruling = judge(found, "fp32")
    if ruling.verdict != "passed":
        reasons = "; ".join(ruling.reasons)
        raise ParityError(f"{what} is not the ONNX: {reasons}; report this as a bug (nothing was written)")
    return round(min(found.psnr_db.values()), 2)
