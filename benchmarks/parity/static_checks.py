"""What is compared without running anything: the contract with the network, the .dlc with the ONNX."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bilayer.benchmarks.parity.rungs.rung import NotRun
from bilayer.benchmarks.parity.subject import Subject
from bilayer.export.dlc.compare import compare_dlc
from bilayer.export.dlc.read import read_dlc
from bilayer.export.integers.qdq import read_qdq
from bilayer.export.integers.scheme import ACTIVATION_BITS
from bilayer.export.metadata import AVATAR_ENTRY, contradictions, describe_contract
from bilayer.runtime.agreement import FRAME, Agreement, Verdict
from bilayer.runtime.bundle import BundledFile
from bilayer.runtime.errors import ParityError
from bilayer.runtime.frame import RESULTS
from bilayer.runtime.provenance import Quantization, Verification

if TYPE_CHECKING:
    import onnx

    from bilayer.export.network.tflite_write import Storage

POSES_APART = 10.0  # dB between the worst of some poses and of others


@dataclass(frozen=True)
class Check:
    """What one comparison found: passed, warned or broken, and why."""

    name: str
    label: str
    verdict: Verdict
    text: str


def check_metadata(subject: Subject) -> Check:
    """Check that outputs, input, source pose and texture are those that the network was written with."""
    return _check_metadata(subject, subject.model, "metadata", "avatar.json and the texture belong to the network")


def check_integers(subject: Subject) -> list[Check]:
    """Check the same of the network in integers, and its precision against avatar.json; an empty list without one."""
    contract = subject.bundle.contract
    if subject.integers is None:
        return []
    check = _check_metadata(subject, subject.integers, "integers", "avatar.json belongs to the network in integers")
    said = None if contract.quantization is None else contract.quantization.precision
    qdq = read_qdq(subject.integers, check.name)
    bits = {grid.bits for grid in qdq.grids.values()}
    if check.verdict == "broken" or (said is not None and bits == {ACTIVATION_BITS[said]}):
        return [check]
    text = f"avatar.json says {said or 'nothing'}, its outputs have {', '.join(map(str, sorted(bits)))} bits"
    return [replace(check, verdict="broken", text=f"{text}; export the avatar again")]


def _check_metadata(subject: Subject, network: "onnx.ModelProto", name: str, label: str) -> Check:
    contract = subject.bundle.contract
    described = describe_contract(
        contract.input,
        contract.outputs,
        contract.image_size,
        contract.frame_size,
        subject.align_corners,  # avatar.json's own is checked above
        contract.source.pose,
        subject.texture,
    )
    found = contradictions(network, described)
    if found:
        return Check(name, label, "broken", f"{found[0]}; copy the avatar's whole folder, or export it again")
    if not any(entry.key == AVATAR_ENTRY for entry in network.metadata_props):
        return Check(name, label, "warned", "the network does not say: it was exported by version 0.1")
    return Check(name, label, "passed", f"avatar {described[AVATAR_ENTRY]}")


def check_contract(subject: Subject) -> Check:
    """Check that avatar.json tells the align_corners that the network was made for, which its weights do not show."""
    name, label = "contract", "align_corners of avatar.json and of the network"
    said, right = subject.bundle.contract.align_corners, subject.align_corners
    if said != right:
        text = f"avatar.json says align_corners {said}, the network was made for {right}; export the avatar again"
        return Check(name, label, "broken", text)
    return Check(name, label, "passed", f"align_corners {right} in both")


def check_verification(
    claimed: Verification, found: Mapping[str, Agreement], integers: Quantization | None = None
) -> Check:
    """Compare avatar.json's own numbers with those made anew, by rung: they are of other poses, so some dB apart.

    A claim that is better than what is found by more than POSES_APART is no measurement of this avatar.
    """
    name, label = "verification", "numbers that avatar.json claims, made anew"
    if not claimed.verified:
        return Check(name, label, "warned", "avatar.json says that the avatar was never verified (--no-verify)")
    pairs = []
    if "onnx" in found:
        made = {key: db for key, db in found["onnx"].psnr_db.items() if key in RESULTS}
        pairs += [(f"onnx {key}", db, made[key]) for key, db in claimed.psnr_db.items() if key in made]
    if "fp16-hybrid" in found and claimed.hybrid_frame_db is not None:
        pairs.append(("fp16-hybrid frame", claimed.hybrid_frame_db, found["fp16-hybrid"].psnr_db[FRAME]))
    if "litert" in found and claimed.litert_db is not None:
        pairs.append(("litert", claimed.litert_db, found["litert"].worst_db))
    if "litert-fp16-weights" in found and claimed.litert_fp16_frame_db is not None:
        half = found["litert-fp16-weights"].psnr_db[FRAME]
        pairs.append(("litert-fp16-weights frame", claimed.litert_fp16_frame_db, half))
    ort = None if integers is None else found.get(f"{integers.precision}-ort")
    if integers is not None and ort is not None and integers.frame_db is not None:
        pairs.append((f"{integers.precision} frame", integers.frame_db, ort.psnr_db[FRAME]))
    text = ", ".join(f"{what}: {claim:.0f} dB claimed, {db:.0f} found" for what, claim, db in pairs)
    better = any(claim > db + POSES_APART for _, claim, db in pairs)
    return Check(name, label, "broken" if better else "passed", text or "nothing of it was computed")


def check_tflites(subject: Subject) -> list[Check]:
    """Check every number, operator, setting and edge of a bundle's .tflite files against the ONNX, and whose they are.

    Raises:
        InputError: a file is damaged.
    """
    files = subject.bundle.contract.files
    given: list[tuple[BundledFile | None, Storage]] = [(files.tflite, "float32"), (files.tflite_fp16, "float16")]
    return [_check_tflite(subject, file, storage) for file, storage in given if file is not None]


def _check_tflite(subject: Subject, file: BundledFile, storage: "Storage") -> Check:
    from bilayer.export.network.tflite_write import build_tflite
    from bilayer.export.tflite.compare import difference
    from bilayer.export.tflite.read import parse_tflite, read_tflite

    name, label = file.name, f"{file.name} read back: numbers, operators, settings, edges, the avatar's name"
    found = read_tflite(subject.bundle.path(file))
    apart = difference(found, parse_tflite(build_tflite(subject.own, storage=storage), "the ONNX's"))
    if apart:
        return Check(name, label, "broken", f"{apart}; export the avatar again")
    avatar = next((entry.value for entry in subject.model.metadata_props if entry.key == AVATAR_ENTRY), None)
    if found.metadata.get(AVATAR_ENTRY) != avatar:
        text = f"it is of avatar {found.metadata.get(AVATAR_ENTRY, 'unknown')}, the ONNX of {avatar}"
        return Check(name, label, "broken", f"{text}; copy the avatar's whole folder, or export it again")
    return Check(name, label, "passed", f"{len(found.operators)} operators, equal to the ONNX's layers")


def check_dlc(subject: Subject) -> Check | NotRun:
    """Check every number, layer, setting and edge against the ONNX, and the outputs' layout against avatar.json.

    Raises:
        DlcError: the file is damaged.
    """
    name, label = "dlc", ".dlc read back: numbers, layers, settings, edges, layout"
    file = subject.bundle.contract.files.dlc
    if file is None:
        return NotRun(name, label, "the bundle has no .dlc; bilayer-export --target qairt makes one")
    dlc = read_dlc(subject.bundle.path(file))
    try:
        report = compare_dlc(dlc, subject.converted)
    except ParityError as error:
        return Check(name, label, "broken", str(error))
    found = {end.layout for end in report.ends if end.layout}
    said = subject.bundle.contract.dlc.layout if subject.bundle.contract.dlc else ""
    if found != {said}:
        text = f"avatar.json says that its outputs are {said or 'nothing'}, the file's are {', '.join(sorted(found))}"
        return Check(name, label, "broken", f"{text}; export the avatar again")
    return Check(name, label, "passed", f"DLC v{dlc.version}: {report}")
