"""What is compared without running anything: the contract with the network, the .dlc with the ONNX."""

from dataclasses import dataclass

from bilayer.benchmarks.parity.rungs import NotRun
from bilayer.benchmarks.parity.subject import Subject
from bilayer.export.dlc.compare import compare_dlc
from bilayer.export.dlc.read import read_dlc
from bilayer.export.metadata import AVATAR, contradictions, describe_contract
from bilayer.runtime.agreement import Verdict
from bilayer.runtime.errors import ParityError


@dataclass(frozen=True)
class Check:
    """Passed, or broken and why."""

    name: str
    label: str
    verdict: Verdict
    text: str


def check_metadata(subject: Subject) -> Check:
    """Outputs, input, source pose and texture are those that the network was written with."""
    name, label = "metadata", "avatar.json and the texture belong to the network"
    contract = subject.bundle.contract
    described = describe_contract(
        contract.input,
        contract.outputs,
        contract.image_size,
        subject.align_corners,  # avatar.json's own is checked above
        contract.source.pose,
        subject.texture,
    )
    found = contradictions(subject.model, described)
    if found:
        return Check(name, label, "broken", f"{found[0]}; copy the avatar's whole folder, or export it again")
    if not any(entry.key == AVATAR for entry in subject.model.metadata_props):
        return Check(name, label, "warned", "the network does not say: it was exported by version 0.1")
    return Check(name, label, "passed", f"avatar {described[AVATAR]}")


def check_contract(subject: Subject) -> Check:
    """avatar.json tells the warp that the network was made for: align_corners cannot be seen in the network."""
    name, label = "contract", "align_corners of avatar.json and of the network"
    said, right = subject.bundle.contract.align_corners, subject.align_corners
    if said != right:
        text = f"avatar.json says align_corners {said}, the network was made for {right}; export the avatar again"
        return Check(name, label, "broken", text)
    return Check(name, label, "passed", f"align_corners {right} in both")


def check_dlc(subject: Subject) -> Check | NotRun:
    """Every number, layer, setting and edge against the ONNX, and the outputs' layout against avatar.json.

    Raises:
        DlcError: the file is damaged.
    """
    name, label = "dlc", ".dlc read back: numbers, layers, settings, edges, layout"
    file = subject.bundle.contract.files.dlc
    if file is None:
        return NotRun(name, label, "the bundle has no .dlc; bilayer-export --target qairt makes one")
    dlc = read_dlc(subject.bundle.path(file))
    try:
        report = compare_dlc(dlc, subject.model)
    except ParityError as error:
        return Check(name, label, "broken", str(error))
    found = {end.layout for end in report.ends if end.layout}
    said = subject.bundle.contract.dlc.layout if subject.bundle.contract.dlc else ""
    if found != {said}:
        text = f"avatar.json says that its outputs are {said or 'nothing'}, the file's are {', '.join(sorted(found))}"
        return Check(name, label, "broken", f"{text}; export the avatar again")
    return Check(name, label, "passed", f"DLC v{dlc.version}: {report}")
