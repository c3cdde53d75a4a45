"""What `bilayer-parity` may be asked for; loads no library, so that --help need not."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import click

from bilayer.benchmarks.report.document import require_packages
from bilayer.export.given import check_portrait, read_portrait
from bilayer.export.options import ExportOptions, check_finders, idle_beside_landmarks
from bilayer.model.config import DEMO_CHECKPOINT
from bilayer.model.files.given import check_checkpoint_file
from bilayer.runtime.bundle import Bundle, read_bundle
from bilayer.runtime.bundle_names import check_holds_no_avatar
from bilayer.runtime.command.options import Option, refuse_typed
from bilayer.runtime.face.given import check_landmark_file
from bilayer.runtime.files.given import check_track_file
from bilayer.runtime.files.reading import check_folder
from bilayer.runtime.files.writing import check_apart, check_output
from bilayer.runtime.vocabulary import PAGE_SUFFIXES, DevicePrecision, LandmarkerName, TensorLayout

if TYPE_CHECKING:
    from bilayer.runtime.arrays import Bytes

INPUT_LIST = "input_list.txt"  # of --write-inputs, what snpe-net-run is given


@dataclass(frozen=True)
class ParityOptions:
    """What is compared, on how many poses, and how deep."""

    bundle: Annotated[Path | str, Option(argument=True)]  # a path or a URL
    photo: Annotated[
        Path | None, Option("The photo of the export: adds the trained model, and makes it the truth.")
    ] = None
    checkpoint: Annotated[Path | None, Option("The checkpoint of the export, if it was given one (with --photo).")] = (
        None
    )
    landmarks: Annotated[
        Path | None,
        Option("The landmarks of the export, if it was given any (with --photo).", synonym="--keypoints"),
    ] = None
    mask: Annotated[bool, Option("As the export had it (with --photo).")] = True
    others: Annotated[tuple[Path, ...], Option("A further photo of the export (with --photo).", ("--other",))] = ()
    poses: Annotated[int, Option("Poses along the track.", former="--frames", at_least=1)] = 8
    drive: Annotated[Path | None, Option("A landmark track (.npy .npz .json).", default="the built-in motion")] = None
    slow_poses: Annotated[
        int,
        Option(
            "Poses on the HTP simulator, which takes seconds for each; 0 leaves it out.",
            former="--slow-frames",
            at_least=0,
        ),
    ] = 1
    quick: Annotated[bool, Option("Only the rungs that cost a second: ONNX, .dlc, FP16 hybrid.")] = False
    layers: Annotated[bool, Option("Compare layer by layer, and name the first over the threshold.")] = False
    between: Annotated[
        tuple[str, str] | None,
        Option("Which two for --layers.", metavar="RUNG RUNG", default="float64, and the first broken or fp16-hybrid"),
    ] = None
    layer_threshold: Annotated[
        float | None, Option("For --layers, dB.", default="100 fp32, 60 fp16-hybrid, 45 fp16 and bf16")
    ] = None
    device_outputs: Annotated[Path | None, Option("Result_N folders pulled from a phone, for the same poses.")] = None
    device_layout: Annotated[TensorLayout, Option("Of the files of --device-outputs.")] = "auto"
    device_precision: Annotated[DevicePrecision, Option("What the phone computed in.", former="--device-mode")] = (
        "fp16-hybrid"
    )
    write_inputs: Annotated[
        Path | None,
        Option("Write the poses and input_list.txt for a phone there, and end; with --layers it asks for every layer."),
    ] = None
    html: Annotated[Path | None, Option("Write a report with pictures, one file.", suffixes=PAGE_SUFFIXES)] = None
    rotate: Annotated[Literal[0, 90, 180, 270], Option("As the export had it (with --photo).")] = 0
    face: Annotated[int | None, Option("As the export had it (with --photo).", at_least=1, default="1")] = None
    landmarker: Annotated[LandmarkerName, Option("As the export had it (with --photo).")] = "mediapipe"

    def check_usage(self) -> None:
        """Raise a UsageError of options that would do nothing beside the others."""
        if self.write_inputs is not None and (self.html is not None or self.device_outputs is not None):
            raise click.UsageError("--write-inputs compares nothing: leave --html and --device-outputs away")
        if self.write_inputs is not None:
            refuse_typed(
                "--write-inputs compares nothing",
                ["photo", "others", "quick", "slow_poses", "layer_threshold", "between"],
            )
        if self.landmarks is not None:
            refuse_typed("--landmarks says where the face is", idle_beside_landmarks(bool(self.others)))
        if not self.layers:
            refuse_typed("layers are compared with --layers alone", ["layer_threshold", "between"])
        if self.device_outputs is None:
            refuse_typed("there are files of --device-outputs alone", ["device_layout", "device_precision"])
        if self.quick:
            refuse_typed("--quick leaves the HTP simulator out", ["slow_poses"])

    def check(self) -> "tuple[Bundle, list[Bytes]]":
        """Return the bundle, and the pixels of the photos, if any; and see what else can be seen without a library.

        Raises:
            UsageError: options that do not go together.
            InputError: the bundle or another file cannot be used, or the place of the report.
            ToolMissingError: a package that --html needs is not installed.
        """
        chosen = (self.checkpoint, self.landmarks, not self.mask, self.others, self.rotate, self.face)
        if self.photo is None and (any(chosen) or self.landmarker != "mediapipe"):
            options = "--checkpoint, --landmarks, --no-mask, --other, --rotate, --face and --landmarker"
            raise click.UsageError(f"{options} say what --photo was exported with: give it")
        self.check_usage()
        for photo in (*filter(None, [self.photo]), *self.others):
            check_portrait(photo)
        check_checkpoint_file(self.checkpoint)
        check_landmark_file(self.landmarks)
        check_track_file(self.drive)
        check_folder(self.device_outputs)
        if self.write_inputs is not None:
            check_holds_no_avatar(self.write_inputs)
            check_output(self.write_inputs / INPUT_LIST)
        avatar = read_bundle(self.bundle)
        if self.html is not None:
            check_output(self.html)
            read = (self.photo, *self.others, self.checkpoint, self.landmarks, self.drive, self.bundle, *avatar.paths)
            check_apart([self.html], read)
            require_packages("jinja2", "matplotlib")
        source = self.source
        if source is None:
            return avatar, []
        photos = [read_portrait(one) for one in (source.photo, *source.others)]
        check_finders(source)
        return avatar, photos

    @property
    def source(self) -> ExportOptions | None:
        """What the avatar was exported from, and how; None where that is not said."""
        if self.photo is None:
            return None
        return ExportOptions(
            photo=self.photo,
            checkpoint=self.checkpoint or DEMO_CHECKPOINT,
            landmarks=self.landmarks,
            mask=self.mask,
            others=self.others,
            rotate=self.rotate,
            face=self.face,
            landmarker=self.landmarker,
        )
