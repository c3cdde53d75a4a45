"""`bilayer-eval`: how good a checkpoint is, or frames of any method."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from bilayer.runtime.console import Group, as_json_option, progress, show, tell
from bilayer.runtime.errors import CheckpointError
from bilayer.runtime.files.reading import check_folder, check_input
from bilayer.runtime.files.writing import check_new_folder, check_output, new_folder, write_file
from bilayer.runtime.options import Option, fills
from bilayer.runtime.vocabulary import Split

if TYPE_CHECKING:
    from bilayer.model.bilayer import BilayerModel
    from bilayer.training.evaluate.cases import EvaluationCase
    from bilayer.training.evaluate.models import Pictures
    from bilayer.training.evaluate.result import EvaluationResult
    from bilayer.training.metrics.meter import Bytes, Meter


@dataclass(frozen=True, kw_only=True)
class MeterOptions:
    """The options of both commands: metrics, their networks, and where the numbers go."""

    out: Annotated[Path | None, Option("Write the numbers as JSON, too.", ("-o",))] = None
    lpips_vgg16: Annotated[Path | None, Option("For LPIPS: torchvision's vgg16-397923af.pth.", metavar="FILE")] = None
    lpips_heads: Annotated[Path | None, Option("For LPIPS: its heads, weights/v0.1/vgg.pth.", metavar="FILE")] = None
    arcface: Annotated[Path | None, Option("For CSIM: an ArcFace network as .onnx.", metavar="FILE")] = None
    identity: Annotated[
        bool, Option("Measure identity by dlib's face descriptor (extra [identity]): 0.3 s a picture.")
    ] = False
    perception: Annotated[
        bool, Option("Measure the distance of EfficientNet-Lite0's features (extra [perception]).")
    ] = False
    landmarks: Annotated[bool, Option("Measure NME, pose and expression errors; quicker without.")] = True
    device: Annotated[str, Option("Where networks run: cpu, cuda or cuda:N.")] = "cpu"
    threads: Annotated[int | None, Option("CPU threads.", at_least=1, default="torch's choice")] = None

    def check(self) -> None:
        """Check what can be checked before torch is imported.

        Raises:
            UsageError: one of LPIPS' files without the other.
            InputError: a file is not there, or the result's place cannot be written to.
        """
        if (self.lpips_vgg16 is None) != (self.lpips_heads is None):
            raise click.UsageError("LPIPS needs two files: give both --lpips-vgg16 and --lpips-heads")
        for weights in (self.lpips_vgg16, self.lpips_heads, self.arcface):
            check_input(weights)
        if self.out is not None:
            check_output(self.out)


@dataclass(frozen=True, kw_only=True)
class FramesOptions(MeterOptions):
    """The options of `frames`: which pictures are compared with which."""

    methods: Annotated[tuple[str, ...], Option(argument=True, metavar="METHOD=FOLDER...")]
    truth: Annotated[Path, Option("Folder of the true frames.")]
    masks: Annotated[Path | None, Option("Folder of masks, white in the foreground: the rest is painted black.")] = None
    keypoints: Annotated[
        Path | None, Option("Folder of the landmarks that drove the methods (.npy): the pose error.")
    ] = None

    def check(self) -> None:
        """Check what can be checked before torch is imported."""
        for folder in (*self.folders.values(), self.truth, self.masks, self.keypoints):
            check_folder(folder)
        super().check()

    @property
    def folders(self) -> dict[str, Path]:
        """Each method's, by its name.

        Raises:
            UsageError: an argument that is no METHOD=FOLDER, or a name twice.
        """
        return _named(self.methods, "METHOD=FOLDER")


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions(MeterOptions):
    """The options of `checkpoint`: which models are measured, and on what data."""

    checkpoints: Annotated[tuple[str, ...], Option(argument=True, metavar="[NAME=]CHECKPOINT...")]
    data: Annotated[Path, Option("Dataset folder, with imgs/, keypoints/ and segs/ in it.")]
    split: Annotated[Split, Option("Of the data folder.")] = "test"
    identities: Annotated[int, Option("People, a sequence each.", at_least=1)] = 50
    every: Annotated[
        int, Option("Frames from one target to the next: 25 is the paper's 1 FPS of a 25 FPS video.", at_least=1)
    ] = 25
    timings: Annotated[bool, Option("Also measure initialisation and inference, in torch.", former="--times")] = False
    sheet: Annotated[Path | None, Option("Write a picture sheet (.png) of the first checkpoint.", metavar="FILE")] = (
        None
    )
    sheet_rows: Annotated[int, Option("Identities on it.", at_least=1)] = 8
    save_frames: Annotated[Path | None, Option("Write all frames, to use with `frames`.", metavar="FOLDER")] = None

    def check(self) -> None:
        """Check what can be checked before torch is imported."""
        super().check()
        check_input(self.data)
        if self.sheet is not None:
            check_output(self.sheet)
        if self.save_frames is not None:
            check_new_folder(self.save_frames)


@click.group(cls=Group)
def main() -> None:
    """Measure image quality, identity, pose, expression and cost, in the form of the paper's Tables 1 and 2.

    Metrics whose weights are not given are named as not available; the others run without. docs/metrics.md defines
    them all and says where weights are to be had.
    """


@main.command()
@fills(FramesOptions)
@as_json_option
def frames(options: FramesOptions, as_json: bool) -> None:
    """Compare folders of frames of any methods with the true ones, in one table.

    Files belong together by their name, the suffix aside; folders within folders are searched.
    """
    options.check()
    meter = _make_meter(options)
    from bilayer.training.evaluate.frames import evaluate_frames

    _report(evaluate_frames(options.folders, options.truth, meter, options.masks, options.keypoints), options, as_json)


@main.command()
@fills(CheckpointOptions)
@as_json_option
def checkpoint(options: CheckpointOptions, as_json: bool) -> None:
    """Measure checkpoints and baselines on a dataset by the paper's protocol.

    CHECKPOINT is a .safetensors file, or a folder of the authors' runs. One without a name is called "ours"; several
    need names, such as baseline=a.safetensors ours=b.safetensors.
    """
    paths = _named([item if "=" in item else f"ours={item}" for item in options.checkpoints], "NAME=CHECKPOINT")
    options.check()
    for path in paths.values():
        check_input(path, CheckpointError)
    meter = _make_meter(options)
    from bilayer.training.evaluate.cases import EvaluationProtocol, choose_sequences
    from bilayer.training.evaluate.frames import save_case
    from bilayer.training.evaluate.models import evaluate_models
    from bilayer.training.evaluate.sheet import draw_sheet, save_sheet
    from bilayer.training.evaluate.times import add_times

    sheet, save_frames = options.sheet, options.save_frames
    models = _load(paths, options.device)
    protocol = EvaluationProtocol(options.split, options.identities, options.every)
    shown: list[EvaluationCase] = []
    total = len(choose_sequences(options.data, protocol))
    with ExitStack() as stack:
        advance = stack.enter_context(progress("identities", total))
        frames = None if save_frames is None else stack.enter_context(new_folder(save_frames))

        def on_case(case: "EvaluationCase", truths: "Sequence[Bytes]", pictures: "Pictures") -> None:
            if len(shown) < options.sheet_rows:
                shown.append(case)
            if frames is not None:
                save_case(frames, case, truths, pictures)
            advance()

        result = evaluate_models(models, options.data, protocol, meter, on_case=on_case)
    if options.timings:
        result = add_times(result, models, shown[0])
    _report(result, options, as_json)
    if sheet is not None:
        save_sheet(sheet, draw_sheet(next(iter(models.values())), shown))
        click.echo(f"\n{sheet}: {len(shown)} identities, a row each", err=True)
    if save_frames is not None:
        truth, keypoints = save_frames / "truth", save_frames / "keypoints"
        click.echo(f"\nnext: bilayer-eval frames yours=FOLDER --truth {truth} --keypoints {keypoints}", err=True)


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


def _make_meter(options: MeterOptions) -> "Meter":
    import torch

    from bilayer.runtime.errors import ToolMissingError
    from bilayer.runtime.face.recognition import IdentityRecogniser
    from bilayer.training.efficientnet import load_feature_distance
    from bilayer.training.metrics.identity import FaceRecogniser
    from bilayer.training.metrics.landmarks import default_landmarker
    from bilayer.training.metrics.lpips import load_lpips
    from bilayer.training.metrics.meter import Meter

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    _check_device(options.device)
    weights, heads = options.lpips_vgg16, options.lpips_heads
    lpips = load_lpips(weights, heads) if weights is not None and heads is not None else None
    recogniser = None if options.arcface is None else FaceRecogniser(options.arcface)
    identity = IdentityRecogniser() if options.identity else None
    perception = load_feature_distance() if options.perception else None
    landmarker = None
    if options.landmarks:
        try:
            landmarker = default_landmarker()
        except ToolMissingError as error:
            tell("warning", f"no landmark metrics: {error}")
    return Meter(landmarker, lpips, recogniser, options.device, identity, perception)


def _load(paths: dict[str, Path], device: str) -> "dict[str, BilayerModel]":
    from bilayer.model.checkpoint import load_model

    return {name: load_model(path).to(device) for name, path in paths.items()}


def _check_device(device: str) -> None:
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch's ways to say that it was built without CUDA
        raise click.BadParameter(
            f"{device}: torch cannot use it here; cpu always works", param_hint="--device"
        ) from error


def _report(result: "EvaluationResult", options: MeterOptions, as_json: bool) -> None:
    if options.out is not None:
        write_file(options.out, json.dumps(result.to_dict(), indent=2) + "\n")
    show(result.to_dict(), result.to_markdown, as_json)


if __name__ == "__main__":
    main(prog_name="bilayer-eval")
