"""`bilayer-export`: a photo in, a .dlc out."""

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bilayer.runtime.console import Command, importing, progress, table

if TYPE_CHECKING:
    from bilayer.export.pipeline import Export, ExportOptions
    from bilayer.export.targets import ConversionTarget

TARGETS = ("auto", "qairt", "qairt-sdk", "snpe-1.32", "none")
LANDMARKERS = ("mediapipe", "face-alignment")
UPSAMPLES = ("auto", "nearest", "deconv", "phase")

_DEMO_NOTE = """\
no --checkpoint: these are the demo weights, small and trained on drawn heads alone. model/demo_weights/README.md says
what they can and cannot do; the authors' checkpoint gives the paper's quality."""


@click.command(cls=Command)
@click.argument("photo", type=click.Path(path_type=Path), required=False)
@click.option(
    "--out", type=click.Path(path_type=Path), default="avatar.dlc", show_default=True, help="The .dlc to write."
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="A .safetensors, or the authors' runs folder. [default: the demo weights]",
)
@click.option("--target", type=click.Choice(TARGETS), default="auto", show_default=True, help="What converts.")
@click.option("--keypoints", type=click.Path(path_type=Path), help="68 landmarks (.npy .json .csv .pts): no detector.")
@click.option(
    "--landmarker",
    type=click.Choice(LANDMARKERS),
    default="mediapipe",
    show_default=True,
    help="Who finds the face; face-alignment is what the paper used (extra [face-alignment]).",
)
@click.option("--face", type=click.IntRange(min=1), help="Which of several faces, from the largest (default: 1).")
@click.option(
    "--rotate", type=click.Choice(["0", "90", "180", "270"]), default="0", help="Turn the photo clockwise first."
)
@click.option("--no-mask", is_flag=True, help="Keep the photo's background instead of cutting the person out.")
@click.option("--enhance/--no-enhance", default=None, help="Refine the texture (default: if the checkpoint can).")
@click.option("--align-corners/--no-align-corners", default=None, help="Of the warp (default: as the checkpoint says).")
@click.option("--upsample", type=click.Choice(UPSAMPLES), default="auto", show_default=True, help="See docs/export.md.")
@click.option("--three-heads", is_flag=True, help="Three output tensors in place of one with six channels.")
@click.option("--keep-norms", is_flag=True, help="Leave the blocks' first norms as nodes.")
@click.option("--opset", type=int, default=8, show_default=True, help="Of the ONNX; 8 is what SNPE 1.32 reads.")
@click.option("--no-verify", is_flag=True, help="Skip the comparison with the trained model; the bundle says so.")
@click.option("--timings", is_flag=True, help="Print how long each stage took.")
@click.option("--check", type=click.Path(path_type=Path), help="Only check any ONNX file against the target's rules.")
@click.option("--inspect", type=click.Path(path_type=Path), help="Only print what a .dlc holds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(**given: Any) -> None:
    """Make PHOTO's face an avatar for a phone: avatar.dlc, and beside it its ONNX, texture, contract and preview.

    Without an SDK, the .dlc is made by Qualcomm's onnxruntime-qnn package (extra [qairt]) and is for SNPE and QAIRT
    2.x. With $SNPE_ROOT set, that SDK's snpe-onnx-to-dlc is used; with $QAIRT_SDK_ROOT, its qairt-converter.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s: %(message)s")
    modes = [name for name in ("photo", "check", "inspect") if given[name] is not None]
    if len(modes) != 1:
        raise click.UsageError("give one of PHOTO, --check FILE and --inspect FILE")
    if given["check"]:
        check_file(given["check"], given["target"], given["as_json"])
    elif given["inspect"]:
        inspect_file(given["inspect"], given["as_json"])
    else:
        export_photo(given)


def export_photo(given: dict[str, Any]) -> None:
    """PHOTO to a bundle."""
    from bilayer.export.allocator import keep_freed_memory

    keep_freed_memory()
    with importing():
        from bilayer.export.pipeline import STAGES, ExportOptions, Stopwatch, export_avatar
        from bilayer.model.checkpoint import DEMO_CHECKPOINT

    options = ExportOptions(
        photo=given["photo"],
        out=given["out"],
        target=_choose_target(given["target"]),
        checkpoint=given["checkpoint"] or DEMO_CHECKPOINT,
        keypoints=given["keypoints"],
        landmarker=given["landmarker"],
        face=given["face"],
        rotate=int(given["rotate"]),
        mask=not given["no_mask"],
        enhance=given["enhance"],
        align_corners=given["align_corners"],
        upsample=None if given["upsample"] == "auto" else given["upsample"],
        merged_head=not given["three_heads"],
        keep_norms=given["keep_norms"],
        opset=given["opset"],
        verify=not given["no_verify"],
    )
    with progress("starting", len(STAGES)) as advance:
        export = export_avatar(options, Stopwatch(lambda stage: advance(stage)))
    if given["checkpoint"] is None:
        click.echo(_DEMO_NOTE, err=True)
    for warning in export.warnings:
        click.echo(f"warning: {warning}", err=True)
    if given["as_json"]:
        contract = json.loads(export.bundle.contract.to_json())
        click.echo(json.dumps({"folder": str(export.bundle.folder), **contract, "seconds": export.seconds}, indent=2))
        return
    click.echo(_summary(export, options))
    if given["timings"]:
        rows = [(stage, f"{seconds:.2f}") for stage, seconds in export.seconds.items()]
        click.echo("\n" + table(["stage", "seconds"], [*rows, ("all", f"{sum(export.seconds.values()):.2f}")]))
    if export.bundle.contract.files.dlc:
        click.echo(f"\nnext: bilayer-export --inspect {options.out}", err=True)


def check_file(path: Path, target: str, as_json: bool) -> None:
    """--check: exit 3 if a rule is broken."""
    from bilayer.export.targets import RULES_FOR, check_target, read_model
    from bilayer.runtime.errors import InputError

    rules = RULES_FOR.get(_choose_target(target), "snpe-1.32")
    findings = check_target(read_model(path), rules)
    if as_json:
        click.echo(
            json.dumps({"file": str(path), "target": rules, "findings": [asdict(f) for f in findings]}, indent=2)
        )
    for finding in findings if not as_json else []:
        click.echo(f"{finding.severity}: {finding.describe()}\n    source: {finding.source}")
    errors = sum(finding.severity == "error" for finding in findings)
    if errors:
        raise InputError(f"{path}: {errors} rules of {rules} broken; correct the model and check it again")
    if not as_json:
        click.echo(f"{path}: fits {rules}" + (f", with {len(findings)} warnings" if findings else ""))


def inspect_file(path: Path, as_json: bool) -> None:
    """--inspect."""
    from bilayer.export.dlc.read import as_text, describe, read_dlc

    dlc = read_dlc(path)
    click.echo(json.dumps(describe(dlc), indent=2) if as_json else as_text(dlc))


def _choose_target(target: str) -> "ConversionTarget":
    from bilayer.export.convert.run import default_target

    return default_target() if target == "auto" else target  # type: ignore[return-value]  # click has checked it


def _summary(export: "Export", options: "ExportOptions") -> str:
    contract, files = export.bundle.contract, export.bundle.contract.files
    lines = []
    for file in (files.dlc, files.onnx, files.texture, files.preview):
        if file is not None:
            lines.append(f"{export.bundle.folder / file.name}  {file.bytes / 1e6:.1f} MB")
    lines.append(f"{options.out.with_suffix('.json')}  the contract of these files")
    if contract.dlc:
        lines.append(
            f".dlc: container v{contract.dlc.container} by {contract.dlc.tool}, for {contract.dlc.readable_by}"
        )
    kept = f"; {len(contract.graph.norms_kept)} norms kept" if contract.graph.norms_kept else ""
    lines.append(f"network: {contract.graph.gmacs} GMAC a frame, upsampling by {contract.graph.upsample}{kept}")
    if contract.verification.verified:
        worst = min(contract.verification.psnr_db.values())
        lines.append(f"ONNX Runtime equals the trained model: {worst:.0f} dB over {contract.verification.poses} poses")
        if contract.verification.hybrid_frame_db is not None:
            pixels = contract.verification.hybrid_uv_pixels
            lines.append(
                f"in FP16 storage (emulated): {contract.verification.hybrid_frame_db:.0f} dB of the frame, "
                f"warp {pixels:.2g} px off"
            )
    else:
        lines.append("NOT verified against the trained model")
    lines.append(f"weights: {contract.origin.checkpoint}, {contract.image_size} px")
    return "\n".join(lines)
