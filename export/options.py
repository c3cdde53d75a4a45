"""What an export may be asked for, and what is seen of it before torch and onnx are loaded, which takes longer."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import click

from bilayer.export.given import check_portrait, read_portrait
from bilayer.model.config import DEMO_CHECKPOINT
from bilayer.model.files.given import check_checkpoint_file
from bilayer.runtime.bundle_names import BUNDLE_SUFFIXES, avatar_name, check_avatar_name
from bilayer.runtime.command.extras import check_installed
from bilayer.runtime.command.options import Option
from bilayer.runtime.errors import CheckpointError, InputError, OutputError
from bilayer.runtime.face import model_files
from bilayer.runtime.face.given import check_landmark_file
from bilayer.runtime.files.reading import FileKind, StrPath, is_file, is_folder, read_bytes, size_of
from bilayer.runtime.files.writing import check_apart, check_output
from bilayer.runtime.vocabulary import LandmarkerName, LidMotion, Refine, WarpMotion

if TYPE_CHECKING:
    from bilayer.runtime.arrays import Bytes

SNPE_OPSET, NEWEST_OPSET = 8, 21
ENLARGED = 1.5  # times that a photo's crop is enlarged at most; a larger frame shows no more of it

# What makes the .dlc, if anything; litert makes a .tflite in its place
ConversionTarget = Literal["qairt", "qairt-sdk", "snpe-1.32", "litert", "none"]
AlsoFile = Literal["tflite", "tflite-fp16", "pte-xnnpack", "pte-vulkan", "coreml"]
ExportPrecision = Literal["fp32", "w8a16", "w8a8"]  # of the .dlc; the .onnx beside it is always fp32
UpsampleKind = Literal["nearest", "deconv", "phase"]
# Whose converters take QDQ ONNX, as far as it was tried; None becomes qairt then. SNPE 1.32 has its own quantiser
INTEGER_TARGETS: tuple[ConversionTarget | None, ...] = (None, "qairt", "none")


@dataclass(frozen=True)
class ExportOptions:
    """What an export is of, where it goes, and how it is made; `bilayer-export`'s options come from it."""

    photo: StrPath
    out: Annotated[StrPath, Option("A folder, or any file of the bundle; the others go beside it.", ("-o",))] = Path(
        "avatar.dlc"
    )
    target: Annotated[ConversionTarget | None, Option("What converts; auto: what is set up.", none="auto")] = None
    checkpoint: Annotated[
        StrPath, Option("A .safetensors, or the authors' runs folder.", default="the demo weights")
    ] = DEMO_CHECKPOINT
    # In the photo's pixels, in place of a landmarker
    landmarks: Annotated[
        StrPath | None, Option("The first photo's 68 landmarks (.npy .json .csv .pts).", synonym="--keypoints")
    ] = None
    landmarker: Annotated[
        LandmarkerName, Option("Who finds the face; face-alignment is what the paper used (extra [face-alignment]).")
    ] = "mediapipe"
    face: Annotated[
        int | None, Option("Which of the first photo's faces, from the largest.", at_least=1, default="1")
    ] = None
    rotate: Annotated[Literal[0, 90, 180, 270], Option("Degrees to turn the first photo clockwise.")] = 0
    # Cut out before the embedder, as in training
    mask: Annotated[bool, Option("Cut the person out, or keep the photo's background.")] = True
    refine: Annotated[
        Refine,
        Option("Texture: fitted to the photo, by the paper's updater, or as it is.", former="--no-enhance"),
    ] = "fit"
    align_corners: Annotated[bool | None, Option("Of the warp.", default="as the checkpoint says")] = None
    size: Annotated[
        int | None, Option("Side of frame and texture, px.", at_least=16, at_most=4096, default="the network's")
    ] = None
    # None: deconv where the target's GPU can hold it, else nearest
    upsample: Annotated[UpsampleKind | None, Option("See docs/export.md.", none="auto")] = None
    merged_head: Annotated[
        bool, Option("One output tensor of six channels, or three.", ("--merged-head/--three-heads",))
    ] = True
    keep_norms: Annotated[bool, Option("Leave the blocks' first norms as nodes.")] = False
    opset: Annotated[
        int, Option("Of the ONNX; 8 is what SNPE 1.32 reads.", at_least=SNPE_OPSET, at_most=NEWEST_OPSET)
    ] = SNPE_OPSET
    verify: Annotated[bool, Option("Compare with the trained model; the bundle says if not.")] = True
    # Further photos of the person: the first gives identity and rest pose, these fill in what it does not show
    others: tuple[StrPath, ...] = ()
    also: Annotated[
        tuple[AlsoFile, ...],
        Option("A further file of the network, for LiteRT, ExecuTorch or Core ML; may be repeated."),
    ] = ()
    precision: Annotated[
        ExportPrecision, Option("Of the .dlc: in integers for an NPU, with a QDQ ONNX: docs/quantisation.md.")
    ] = "fp32"
    # None: drawn with the demo weights, whose network leaves the lids open
    lids: Annotated[LidMotion | None, Option("Who shuts the eyes: pieces drawn, or the network.", none="auto")] = None
    # None: anchored where the texture is fitted
    warp: Annotated[
        WarpMotion | None,
        Option("Whether landmarks are brought to where the pose has them, or as the network has it.", none="auto"),
    ] = None

    @property
    def lid_motion(self) -> LidMotion:
        """Who moves the lids: as asked, else drawn pieces for the demo weights, and the network for any other."""
        return self.lids or ("drawn" if is_demo(self.checkpoint) else "network")


@dataclass(frozen=True, kw_only=True)
class ExportTask:
    """What `bilayer-export` is to do: of what, and what else than an avatar."""

    photos: Annotated[tuple[Path | str, ...], Option(argument=True, metavar="PHOTO...")] = ()
    timings: Annotated[bool, Option("Print how long each stage took.")] = False
    report: Annotated[
        Path | None,
        Option(
            "Measure the likeness, write a sheet (.png): photo, 20 poses, identity (extra [identity]), sharpness.",
            suffixes=(".png",),
        ),
    ] = None
    web: Annotated[
        Path | None, Option("Write the avatar to this folder as a web page, too: to copy anywhere (docs/web.md).")
    ] = None
    checked: Annotated[
        Path | None, Option("Only check any ONNX or .tflite file against the target's rules.", ("--check",))
    ] = None
    inspected: Annotated[
        Path | None, Option("Only print what a .dlc, .onnx or .tflite holds, or a bundle.", ("--inspect",))
    ] = None

    def check(self) -> None:
        """Raise a UsageError unless it is one task, and what goes with it."""
        if [bool(self.photos), self.checked is not None, self.inspected is not None].count(True) != 1:
            raise click.UsageError("give one of PHOTO, --check FILE and --inspect FILE")
        if self.photos:
            return
        if self.report is not None:
            raise click.UsageError("--report measures the avatar of a PHOTO; give one")
        if self.web is not None:
            raise click.UsageError("--web writes the avatar of a PHOTO; give one, or see bilayer-web --out")
        if self.timings:
            raise click.UsageError("--timings are an export's; give a PHOTO")


# The packages of extras that write further files, and those that run them
_WRITTEN_BY: dict[AlsoFile, str] = {"coreml": "coremltools", "pte-xnnpack": "executorch", "pte-vulkan": "executorch"}
_RUN_BY: dict[AlsoFile, str] = {"tflite": "ai_edge_litert", "tflite-fp16": "ai_edge_litert"}


def is_demo(checkpoint: StrPath) -> bool:
    """Return whether a checkpoint is the demo weights' file or a copy, wherever it lies: it gives the same avatar."""
    if Path(checkpoint) == DEMO_CHECKPOINT:
        return True
    if not (is_file(checkpoint) and is_file(DEMO_CHECKPOINT)) or size_of(checkpoint) != size_of(DEMO_CHECKPOINT):
        return False
    one, other = (read_bytes(path, FileKind.CHECKPOINT, CheckpointError) for path in (checkpoint, DEMO_CHECKPOINT))
    return one == other


def bundle_dlc(out: StrPath) -> Path:
    """Return the .dlc of a bundle, beside which its other files lie, from the name of any of them, or of its folder.

    Raises:
        OutputError: another suffix, or a name whose files would be another avatar's.
    """
    out = Path(out)
    if is_folder(out) or not out.suffix:
        return out / "avatar.dlc"
    name = avatar_name(out)
    if name is None:
        raise OutputError(f"{out}: expected a folder or a name that ends in {', '.join(BUNDLE_SUFFIXES)}")
    check_avatar_name(out, name)
    return out.with_name(f"{name}.dlc")


def bundle_files(out: StrPath) -> list[Path]:
    """Return all files that an export to `out` may write; raises as `bundle_dlc`."""
    dlc = bundle_dlc(out)
    return [dlc.with_suffix(suffix) for suffix in BUNDLE_SUFFIXES]


def check_options(options: ExportOptions) -> "list[Bytes]":
    """Return the photos' pixels, having seen that all files can be used, and that the bundle has a place.

    Raises:
        InputError: one cannot, by its kind: a PhotoError, CheckpointError, LandmarkError or OutputError; or as
            `check_usual` does.
        ToolMissingError: as `check_finders` does.
    """
    check_output(bundle_dlc(options.out))
    for file in bundle_files(options.out):
        check_output(file)
    for photo in (options.photo, *options.others):
        check_portrait(photo)
    check_usual(options)
    check_apart(bundle_files(options.out), (options.photo, *options.others, options.checkpoint, options.landmarks))
    check_landmark_file(options.landmarks)
    check_finders(options)
    return [read_portrait(photo) for photo in (options.photo, *options.others)]


def idle_beside_landmarks(others: bool) -> list[Literal["face", "landmarker"]]:
    """Return which options do nothing beside landmarks that are given: those are the first photo's, and say where its
    face is; in `others`, if there are any, the landmarker looks for one.
    """
    return ["face"] if others else ["face", "landmarker"]


def check_finders(options: ExportOptions) -> None:
    """Raise a ToolMissingError where what finds the face, or cuts the person out, is not set up."""
    searches = options.landmarks is None or bool(options.others)  # else the landmarks are given
    if searches and options.landmarker == "face-alignment":
        check_installed(["face_alignment"])
    finding = model_files.FINDING if searches and options.landmarker == "mediapipe" else ()
    model_files.check_set_up(*finding, *([model_files.PERSON_MASK] if options.mask else []))


def check_usual(options: ExportOptions) -> None:
    """See that what is no matter of one photo can be.

    Raises:
        CheckpointError: no checkpoint is there.
        InputError: a precision that the target does not take.
        ToolMissingError: a package that writes or runs a file that is asked for is not installed.
    """
    if options.precision != "fp32" and options.target not in INTEGER_TARGETS:
        raise InputError(
            f"--precision {options.precision}: target {options.target} reads no integers that were chosen here; "
            f"take {' or '.join(filter(None, INTEGER_TARGETS))}, or --precision fp32"
        )
    check_checkpoint_file(options.checkpoint)
    further = {*options.also, *(("tflite",) if options.target == "litert" else ())}
    packages = [*_WRITTEN_BY.items(), *(_RUN_BY.items() if options.verify else ())]
    check_installed(module for kind, module in packages if kind in further)
