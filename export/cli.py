"""`bilayer-export`: a photo in, a .dlc out."""

import json
import logging
import sys
from dataclasses import replace
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bilayer.export.bulk.photos import is_many
from bilayer.export.inspect.commands import check_file, inspect_file
from bilayer.export.options import (
    ENLARGED,
    AlsoFile,
    ExportOptions,
    ExportTask,
    bundle_dlc,
    bundle_files,
    check_options,
    idle_beside_landmarks,
    is_demo,
)
from bilayer.runtime.bundle_names import BUNDLE_SUFFIXES
from bilayer.runtime.command.console import Command, as_json_option, importing, progress, show, table, tell
from bilayer.runtime.command.heard import log_handler
from bilayer.runtime.command.options import check_suffix, fills, refuse_typed, with_options
from bilayer.runtime.errors import OutputError
from bilayer.runtime.files.places import check_outside
from bilayer.runtime.files.shell import pasted
from bilayer.runtime.files.stores import is_url
from bilayer.runtime.files.writing import check_apart, check_output
from bilayer.runtime.jobs.options import JobOptions
from bilayer.runtime.web.cli import describe_parts, serve_command, write_page

if TYPE_CHECKING:
    from bilayer.export.pipeline import Export
    from bilayer.runtime.likeness import Likeness

_STEP = 0.005  # of a stage, which one of the two hundred or so steps is by which integers are found
WEB_FILE: AlsoFile = "tflite-fp16"  # half the size, and what a browser computes quickest: runtime/web/network.py
_DEMO_NOTE = """\
these are the demo weights, small and trained on drawn heads alone: {place} says what they can and cannot do.
The authors' checkpoint, by bilayer-export --checkpoint, gives the paper's quality."""


@click.command(cls=Command)
@with_options(ExportOptions)
@fills(ExportTask)
@fills(JobOptions)
@as_json_option
def main(job_options: JobOptions, task: ExportTask, as_json: bool, **given: Any) -> None:
    """Make PHOTO's face an avatar for a phone: avatar.dlc, and beside it its ONNX, texture, contract and preview.

    Further photos of the same person fill in what the first, whose face and expression it is, does not show.

    A folder, a 'PATTERN*' in quotes, or a manifest (.csv, .jsonl) makes an avatar of each photo, a folder each below
    --out (avatars), on several processes or a Ray cluster: docs/bulk.md. Run it again to go on where it ended.

    Without an SDK, the .dlc is made by Qualcomm's onnxruntime-qnn package (extra [qairt]) and is for SNPE and QAIRT
    2.x. With $SNPE_ROOT set, that SDK's snpe-onnx-to-dlc is used; with $QAIRT_SDK_ROOT, its qairt-converter.
    """
    logging.basicConfig(level=logging.WARNING, handlers=[log_handler(sys.stderr)])
    task.check()
    photos = [str(photo) for photo in task.photos]
    many = is_many(photos) or (bool(photos) and is_url(str(given["out"])))
    if job_options != JobOptions() and not many:
        raise click.UsageError("--jobs and --ray are for many people: give a folder, a pattern or a manifest")
    if not photos:
        of_files = ("checked", "inspected", "as_json", *(["target"] if task.checked is not None else []))
        of_avatars = [name for name in click.get_current_context().params if name not in of_files]
        refuse_typed("--check and --inspect make no avatar", of_avatars)
    if task.checked is not None:
        check_file(task.checked, given["target"], as_json)
    elif task.inspected is not None:
        inspect_file(task.inspected, as_json)
    elif many:
        if len(photos) > 1:
            raise click.UsageError("several photos of one person and URLs: give them in a manifest (docs/bulk.md)")
        if task.report is not None or task.web is not None or task.timings:
            raise click.UsageError("--report, --web and --timings are of one person's avatar; leave them out")
        from bilayer.export.bulk.cli import export_photos

        export_photos(photos[0], ExportOptions("", **given), job_options, as_json)
    else:
        check_suffix(
            Path(given["out"]), (*BUNDLE_SUFFIXES, ""), named="'--out'"
        )  # of many photos it is a folder, whatever its name
        photo, *others = photos
        if given["landmarks"] is not None:
            refuse_typed("--landmarks says where the face is", idle_beside_landmarks(bool(others)))
        export_photo(ExportOptions(photo, others=tuple(others), **given), task, as_json)


def run_export(options: ExportOptions) -> "tuple[Export, Path]":
    """Export PHOTO to a bundle, and return its contract's file; progress and warnings go to stderr.

    Raises:
        BilayerError: as `export_avatar` does, and what is seen without its libraries before they are loaded.
    """
    photos = check_options(options)
    from bilayer.export.allocator import keep_freed_memory

    keep_freed_memory()
    with importing():
        from bilayer.export.pipeline import STAGES, Stopwatch, export_avatar

    with progress("starting", len(STAGES) + (options.precision != "fp32")) as advance:
        watch = Stopwatch(advance, on_step=lambda what: advance(f"integers: {what}", _STEP))
        export = export_avatar(options, watch, photos=photos)
    if is_demo(options.checkpoint):
        click.echo(_DEMO_NOTE.format(place=files("bilayer.model") / "demo_weights/README.md"), err=True)
    for warning in export.warnings:
        tell("warning", warning)
    return export, (export.bundle.folder / export.bundle.contract.files.onnx.name).with_suffix(".json")


def export_photo(options: ExportOptions, task: ExportTask, as_json: bool) -> None:
    """Export PHOTO to a bundle, and say what there is to say of it; its likeness and its page too where asked for.

    Raises:
        ToolMissingError: the converter is not installed; all but the .dlc has been written, and told. Or what a page
            needs is not set up; then nothing has been.
    """
    sheet, web = task.report, task.web
    if sheet is not None:
        _check_sheet(sheet, options, web)
    if web is not None:
        _check_web(web, options)
        options = replace(options, also=(*options.also, WEB_FILE))
    export, contract_file = run_export(options)
    bundle = export.bundle
    likeness = None if sheet is None else _measure(options, contract_file, sheet)
    report = {"out": str(contract_file), "bundle": str(bundle.folder), **json.loads(bundle.contract.to_json())}
    video = "demo.mp4" if find_spec("av") else "demo.gif"
    following = f"bilayer-render {pasted(contract_file)} --demo-motion --out {video}"
    report |= {"seconds": export.seconds} | ({} if likeness is None else {"likeness": likeness.to_dict()})
    told = [] if likeness is None else [f"{sheet}  the likeness, by pose", *_likeness_lines(likeness)]
    if web is not None:
        parts = write_page(bundle, web)
        report |= {"web": {"out": str(web), "bytes": parts}}
        told += [f"{web}  a page, to copy anywhere", describe_parts(parts)]
        following = serve_command(web)
    show(report, lambda: "\n".join([_summary(export, contract_file, task.timings), *told]), as_json, following)
    if export.not_converted is not None:
        raise export.not_converted


def _check_web(web: Path, options: ExportOptions) -> None:
    """See that the page has a place of its own, and that what it needs is set up.

    Raises:
        OutputError: other files are there, or the avatar's would be.
        ToolMissingError: what computes in a browser is not set up.
    """
    folder, page = bundle_dlc(options.out).parent.resolve(), web.resolve()
    if page == folder or page in folder.parents:
        raise OutputError(f"{web}: the avatar goes there; give --web a folder of its own")
    from bilayer.runtime.web.engines import check_engines
    from bilayer.runtime.web.site import check_site_folder

    check_outside(web, (options.photo, *options.others, options.checkpoint, options.landmarks))
    check_site_folder(web)
    check_engines()


def _check_sheet(sheet: Path, options: ExportOptions, web: Path | None) -> None:
    """Raise an OutputError unless the sheet is a file of its own that can be written, a ToolMissingError where nothing
    finds faces.
    """
    place, taken = sheet.resolve(), [path.resolve() for path in bundle_files(options.out)]
    if place in taken or (web is not None and web.resolve() in (place, *place.parents)):
        raise OutputError(f"{sheet}: the avatar or its page goes there; give --report another place")
    check_apart([sheet], (options.photo, *options.others, options.checkpoint, options.landmarks))
    check_output(sheet)
    from bilayer.runtime.face import model_files

    model_files.check_set_up(*model_files.FINDING)  # with given landmarks, too: in the frames they are looked for


def _measure(options: ExportOptions, contract_file: Path, sheet: Path) -> "Likeness":
    """The likeness of the avatar just written with its photo, and its sheet."""
    import numpy as np

    from bilayer.runtime.errors import ToolMissingError
    from bilayer.runtime.face.mediapipe import MediapipeLandmarker
    from bilayer.runtime.face.recognition import IdentityRecogniser
    from bilayer.runtime.likeness import measure_likeness, save_sheet
    from bilayer.runtime.media.photo import read_photo
    from bilayer.runtime.player import AvatarPlayer

    try:
        recogniser = IdentityRecogniser()
    except ToolMissingError as error:
        recogniser = None
        tell("warning", f"the report has no identity: {error}")
    photo = np.ascontiguousarray(np.rot90(read_photo(Path(options.photo)), k=-(options.rotate // 90)))
    likeness = measure_likeness(AvatarPlayer.load(contract_file), photo, MediapipeLandmarker(), recogniser)
    save_sheet(sheet, likeness)
    return likeness


def _likeness_lines(likeness: "Likeness") -> list[str]:
    found = likeness.to_dict()

    def number(name: str) -> str:
        return "-" if found[name] is None else f"{found[name]:.2f}"

    identity = (
        f"identity, by the {found['recogniser']}: distance {number('distance_at_rest')} at rest, at most "
        f"{number('distance_worst')} (one person below {found['same_person_below']}; no face in "
        f"{found['poses_without_a_face']} of {len(likeness.poses)} poses)"
        if likeness.recognised
        else "identity: not measured; pip install 'bilayer[identity]'"
    )
    follows = f"mouth follows {number('mouth_follows')}, eyes {number('eyes_follow')} of the driver's opening"
    return [identity, f"sharpness {number('sharpness')} of the photo's; {follows}"]


def _summary(export: "Export", contract_file: Path, timings: bool) -> str:
    contract, files = export.bundle.contract, export.bundle.contract.files
    lines = []
    for file in files.present:
        lines.append(f"{export.bundle.folder / file.name}  {file.bytes / 1e6:.1f} MB")
    lines.append(f"{contract_file}  the contract of these files")
    if contract.dlc:
        lines.append(
            f".dlc: container v{contract.dlc.container} by {contract.dlc.tool}, for {contract.dlc.readable_by}"
        )
    kept = f"; {len(contract.graph.norms_kept)} norms kept" if contract.graph.norms_kept else ""
    lines.append(f"network: {contract.graph.gmacs} GMAC a frame, upsampling by {contract.graph.upsample}{kept}")
    if contract.verification.verified:
        worst = min(contract.verification.psnr_db.values())
        lines.append(f"ONNX Runtime equals the trained model: {worst:.0f} dB over {contract.verification.poses} poses")
        for runtime, decibels in (
            ("LiteRT", contract.verification.litert_db),
            ("ExecuTorch (XNNPACK)", contract.verification.executorch_db),
        ):
            if decibels is not None:
                lines.append(f"{runtime} equals ONNX Runtime: {decibels:.0f} dB over the same poses")
        if contract.verification.litert_fp16_frame_db is not None:
            frame_db = contract.verification.litert_fp16_frame_db
            lines.append(f"LiteRT with weights in FP16: {frame_db:.0f} dB of the frame")
        if contract.verification.hybrid_frame_db is not None:
            pixels = contract.verification.hybrid_uv_pixels
            lines.append(
                f"in FP16 storage (emulated): {contract.verification.hybrid_frame_db:.0f} dB of the frame, "
                f"warp {pixels:.2g} px off"
            )
        rounded = contract.quantization
        if rounded is not None and rounded.frame_db is not None and rounded.uv_pixels is not None:
            wide = f"{len(rounded.wide)} layers' weights in 16 bits"
            pixels = rounded.uv_pixels
            lines.append(
                f"in {rounded.precision}: {rounded.frame_db:.0f} dB of the frame, warp {pixels:.2g} px off, {wide}"
            )
    else:
        lines.append("NOT verified against the trained model")
    drawn = f", drawn at {contract.frame_size}" if contract.frame_size != contract.image_size else ""
    lines.append(f"weights: {contract.origin.checkpoint}, {contract.image_size} px{drawn}")
    left, _, right, _ = contract.source.crop
    larger = 2 * max(contract.frame_size, contract.image_size)
    if contract.frame_size <= contract.image_size and ENLARGED * (right - left) >= larger:
        lines.append(f"the face's crop has {right - left} px: --size {larger} shows more of it")
    if timings:
        rows = [(stage, f"{seconds:.2f}") for stage, seconds in export.seconds.items()]
        lines.append("\n" + table(["stage", "seconds"], [*rows, ("all", f"{sum(export.seconds.values()):.2f}")]))
    return "\n".join(lines)
