"""The options of `bilayer-eval`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from bilayer.model.files.given import check_checkpoint_file
from bilayer.runtime.command.options import Option, refuse_typed
from bilayer.runtime.files.given import check_kind_of
from bilayer.runtime.files.kinds import DATA, ONNX
from bilayer.runtime.files.reading import check_folder
from bilayer.runtime.files.stores import is_url
from bilayer.runtime.files.writing import check_apart, check_new_folder, check_output
from bilayer.runtime.jobs.options import JobOptions
from bilayer.runtime.vocabulary import Split
from bilayer.training.weight_files import LPIPS_HEADS, VGG16

if TYPE_CHECKING:
    from bilayer.training.evaluate.protocol import EvaluationProtocol


@dataclass(frozen=True, kw_only=True)
class MeterOptions:
    """The options of both commands: metrics, their networks, and where the numbers go."""

    out: Annotated[Path | None, Option("Write the numbers as JSON, too.", ("-o",), suffixes=(".json",))] = None
    lpips_vgg16: Annotated[Path | None, Option("For LPIPS: torchvision's vgg16-397923af.pth.", metavar="FILE")] = None
    lpips_heads: Annotated[Path | None, Option("For LPIPS: its heads, weights/v0.1/vgg.pth.", metavar="FILE")] = None
    arcface: Annotated[Path | None, Option("For CSIM: an ArcFace network as .onnx.", metavar="FILE")] = None
    identity: Annotated[
        bool, Option("Measure identity by dlib's face descriptor (extra [identity]): 0.3 s a picture.")
    ] = False
    perception: Annotated[
        bool, Option("Measure the distance of EfficientNet-Lite0's features (extra [perception]).")
    ] = False
    landmark_errors: Annotated[
        bool, Option("Measure NME, pose and expression errors; quicker without.", former="--no-landmarks")
    ] = True
    device: Annotated[str, Option("Where networks run: cpu, cuda or cuda:N.", forms=("cpu", "cuda", "cuda:N"))] = "cpu"
    threads: Annotated[int | None, Option("CPU threads.", at_least=1, at_most=256, default="torch's choice")] = None

    def check(self) -> None:
        """Check what can be checked before torch is imported.

        Raises:
            UsageError: one of LPIPS' files without the other.
            InputError: a file is not there, or the result's place cannot be written to.
        """
        if (self.lpips_vgg16 is None) != (self.lpips_heads is None):
            raise click.UsageError("LPIPS needs two files: give both --lpips-vgg16 and --lpips-heads")
        if self.lpips_vgg16 is not None and self.lpips_heads is not None:
            VGG16.check(self.lpips_vgg16)
            LPIPS_HEADS.check(self.lpips_heads)
        if self.arcface is not None:
            check_kind_of(self.arcface, "an ArcFace network (.onnx)", (ONNX, DATA), "docs/metrics.md says which")
        if self.out is not None:
            check_output(self.out)
            check_apart([self.out], (self.lpips_vgg16, self.lpips_heads, self.arcface))


@dataclass(frozen=True, kw_only=True)
class FramesOptions(MeterOptions):
    """The options of `frames`: which pictures are compared with which."""

    methods: Annotated[tuple[str, ...], Option(argument=True, metavar="METHOD=FOLDER...")]
    truth: Annotated[Path, Option("Folder of the true frames.")]
    masks: Annotated[Path | None, Option("Folder of masks, white in the foreground: the rest is painted black.")] = None
    drive: Annotated[
        Path | None,
        Option("Folder of the landmarks that drove the methods (.npy): the pose error.", former="--keypoints"),
    ] = None

    def check(self) -> None:
        """Check what can be checked before torch is imported."""
        for folder in (*self.folders.values(), self.truth, self.masks, self.drive):
            check_folder(folder)
        super().check()

    @property
    def folders(self) -> dict[str, Path]:
        """Each method's, by its name, or a UsageError where an argument is no METHOD=FOLDER or a name comes twice."""
        return _named(self.methods, "METHOD=FOLDER")


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions(MeterOptions, JobOptions):
    """The options of `checkpoint`: which models are measured, on what data, and by how many processes."""

    checkpoints: Annotated[tuple[str, ...], Option(argument=True, metavar="[NAME=]CHECKPOINT...")]
    data: Annotated[Path | str, Option("Dataset folder, with imgs/, keypoints/ and segs/ in it, or its URL.")]
    split: Annotated[Split, Option("Of the data folder.")] = "test"
    identities: Annotated[int, Option("People, a sequence each.", at_least=1)] = 50
    every: Annotated[
        int, Option("Frames from one target to the next: 25 is the paper's 1 FPS of a 25 FPS video.", at_least=1)
    ] = 25
    drawn_lids: Annotated[
        bool, Option("Also measure fitted avatars with drawn lids, as exports have them with the demo weights.")
    ] = False
    timings: Annotated[bool, Option("Also measure initialisation and inference, in torch.", former="--times")] = False
    sheet: Annotated[
        Path | None, Option("Write a picture sheet (.png) of the first checkpoint.", metavar="FILE", suffixes=(".png",))
    ] = None
    sheet_rows: Annotated[int, Option("Identities on it.", at_least=1)] = 8
    save_frames: Annotated[Path | None, Option("Write all frames, to use with `frames`.", metavar="FOLDER")] = None
    threads: Annotated[
        int,
        Option("CPU threads of a process; with another number sums are rounded otherwise.", at_least=1, at_most=256),
    ] = 2

    @property
    def models(self) -> dict[str, Path]:
        """Each checkpoint by its name in the tables, or a UsageError where one comes twice or has no checkpoint."""
        named = [item if "=" in item else f"ours={item}" for item in self.checkpoints]
        return _named(named, "NAME=CHECKPOINT")

    @property
    def protocol(self) -> "EvaluationProtocol":
        """Which frames of the data."""
        from bilayer.training.evaluate.protocol import EvaluationProtocol

        return EvaluationProtocol(self.split, self.identities, self.every)

    def check(self) -> None:
        """Check what can be checked before torch is imported."""
        models = self.models
        if self.sheet is None:
            refuse_typed("there are rows of a --sheet alone", ["sheet_rows"])
        super().check()
        for path in models.values():
            check_checkpoint_file(path)
        if not is_url(str(self.data)):
            check_folder(Path(self.data))
        if self.sheet is not None:
            check_output(self.sheet)
        if self.save_frames is not None:
            check_new_folder(self.save_frames)
        written = [path for path in (self.out, self.sheet, self.save_frames) if path is not None]
        check_apart(written, models.values())
        if len({path.absolute() for path in written}) < len(written):
            raise click.UsageError(
                "--out, --sheet and --save-frames are written by themselves: give each its own place"
            )


def _named(items: Sequence[str], form: str) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for item in items:
        name, equals, path = item.partition("=")
        if not equals or not name or not path:
            raise click.UsageError(f"{item}: expected {form}")
        if name in named:
            raise click.UsageError(f"{item}: the name {name} comes twice; give every {form} another")
        named[name] = Path(path)
    return named
