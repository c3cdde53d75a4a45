"""`bilayer-eval`: how good a checkpoint is, or frames of any method."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bilayer.runtime.console import Group, progress

if TYPE_CHECKING:
    from bilayer.model.bilayer import BilayerModel
    from bilayer.training.evaluate.cases import EvaluationCase
    from bilayer.training.evaluate.models import Pictures
    from bilayer.training.evaluate.result import EvaluationResult
    from bilayer.training.metrics.meter import Bytes, Meter

_FILE = click.Path(path_type=Path)

_meter_options = [
    click.option("--lpips-vgg16", type=_FILE, metavar="FILE", help="For LPIPS: torchvision's vgg16-397923af.pth."),
    click.option("--lpips-heads", type=_FILE, metavar="FILE", help="For LPIPS: its heads, weights/v0.1/vgg.pth."),
    click.option("--arcface", type=_FILE, metavar="FILE", help="For CSIM: an ArcFace network as .onnx."),
    click.option("--no-landmarks", is_flag=True, help="Leave out NME, pose and expression errors: quicker."),
    click.option("--device", default="cpu", show_default=True, help="Where networks run: cpu, cuda or cuda:N."),
    click.option("--threads", type=click.IntRange(1), help="CPU threads. [default: torch's choice]"),
    click.option(
        "--json", "json_file", type=_FILE, metavar="FILE", help="Write JSON, too; - prints it in place of the tables."
    ),
]


def _with_meter_options(command: Any) -> Any:
    for option in reversed(_meter_options):
        command = option(command)
    return command


@click.group(cls=Group)
@click.version_option(package_name="bilayer")
def main() -> None:
    """Measure image quality, identity, pose, expression and cost, in the form of the paper's Tables 1 and 2.

    Metrics whose weights are not given are named as not available; the others run without. docs/metrics.md defines
    them all and says where weights are to be had.
    """


@main.command()
@click.argument("methods", nargs=-1, required=True, metavar="METHOD=FOLDER...")
@click.option("--truth", type=_FILE, required=True, help="Folder of the true frames.")
@click.option("--masks", type=_FILE, help="Folder of masks, white in the foreground: the rest is painted black.")
@click.option("--keypoints", type=_FILE, help="Folder of the landmarks that drove the methods (.npy): the pose error.")
@_with_meter_options
def frames(
    methods: tuple[str, ...],
    truth: Path,
    masks: Path | None,
    keypoints: Path | None,
    json_file: Path | None,
    **meter_options: Any,
) -> None:
    """Compare folders of frames of any methods with the true ones, in one table.

    Files belong together by their name, the suffix aside; folders within folders are searched.
    """
    folders = _named(methods, "METHOD=FOLDER")
    _check_place(json_file)
    meter = _make_meter(**meter_options)
    from bilayer.training.evaluate.frames import evaluate_frames

    _report(evaluate_frames(folders, truth, meter, masks, keypoints), json_file)


@main.command()
@click.argument("checkpoints", nargs=-1, required=True, metavar="[NAME=]CHECKPOINT...")
@click.option("--data", type=_FILE, required=True, help="Dataset folder, with imgs/, keypoints/ and segs/ in it.")
@click.option("--split", type=click.Choice(["train", "test"]), default="test", show_default=True)
@click.option("--identities", type=click.IntRange(1), default=50, show_default=True, help="People, a sequence each.")
@click.option(
    "--every",
    type=click.IntRange(1),
    default=25,
    show_default=True,
    help="Frames from one target to the next: 25 is the paper's 1 FPS of a 25 FPS video.",
)
@click.option("--times", is_flag=True, help="Also measure initialisation and inference, in torch.")
@click.option("--sheet", type=_FILE, metavar="FILE", help="Write a picture sheet (.png) of the first checkpoint.")
@click.option("--sheet-rows", type=click.IntRange(1), default=8, show_default=True, help="Identities on it.")
@click.option("--save-frames", type=_FILE, metavar="FOLDER", help="Write all frames, to use with `frames`.")
@_with_meter_options
def checkpoint(
    checkpoints: tuple[str, ...],
    data: Path,
    split: Any,
    identities: int,
    every: int,
    times: bool,
    sheet: Path | None,
    sheet_rows: int,
    save_frames: Path | None,
    json_file: Path | None,
    **meter_options: Any,
) -> None:
    """Measure checkpoints and baselines on a dataset by the paper's protocol.

    CHECKPOINT is a .safetensors file, or a folder of the authors' runs. One without a name is called "ours"; several
    need names, such as baseline=a.safetensors ours=b.safetensors.
    """
    paths = _named([item if "=" in item else f"ours={item}" for item in checkpoints], "NAME=CHECKPOINT")
    meter = _make_meter(**meter_options)
    from bilayer.training.evaluate.cases import EvaluationProtocol, choose_sequences
    from bilayer.training.evaluate.frames import new_folder, save_case
    from bilayer.training.evaluate.models import evaluate_models
    from bilayer.training.evaluate.sheet import draw_sheet, save_sheet
    from bilayer.training.evaluate.times import add_times

    for place in (sheet, json_file):
        _check_place(place)
    if save_frames is not None:
        new_folder(save_frames)
    models = _load(paths, meter_options["device"])
    protocol = EvaluationProtocol(split, identities, every)
    shown: list[EvaluationCase] = []
    total = len(choose_sequences(data, protocol))
    with progress("identities", total) as advance:

        def on_case(case: "EvaluationCase", truths: "Sequence[Bytes]", pictures: "Pictures") -> None:
            if len(shown) < sheet_rows:
                shown.append(case)
            if save_frames is not None:
                save_case(save_frames, case, truths, pictures)
            advance()

        result = evaluate_models(models, data, protocol, meter, on_case=on_case)
    if times:
        result = add_times(result, models, shown[0])
    _report(result, json_file)
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


def _make_meter(
    lpips_vgg16: Path | None,
    lpips_heads: Path | None,
    arcface: Path | None,
    no_landmarks: bool,
    device: str,
    threads: int | None,
) -> "Meter":
    if (lpips_vgg16 is None) != (lpips_heads is None):
        raise click.UsageError("LPIPS needs two files: give both --lpips-vgg16 and --lpips-heads")
    import torch

    from bilayer.runtime.errors import ToolMissingError
    from bilayer.training.metrics.identity import FaceRecogniser
    from bilayer.training.metrics.landmarks import default_landmarker
    from bilayer.training.metrics.lpips import load_lpips
    from bilayer.training.metrics.meter import Meter

    if threads is not None:
        torch.set_num_threads(threads)
    _check_device(device)
    lpips = load_lpips(lpips_vgg16, lpips_heads) if lpips_vgg16 is not None and lpips_heads is not None else None
    recogniser = None if arcface is None else FaceRecogniser(arcface)
    landmarker = None
    if not no_landmarks:
        try:
            landmarker = default_landmarker()
        except ToolMissingError as error:
            click.echo(f"warning: no landmark metrics: {error}", err=True)
    return Meter(landmarker, lpips, recogniser, device)


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


def _check_place(file: Path | None) -> None:
    """A result that has no place to go is an error before the work, not after it."""
    from bilayer.runtime.errors import OutputError

    if file is not None and not file.parent.is_dir():
        raise OutputError(f"{file}: the folder {file.parent} does not exist; create it first")


def _report(result: "EvaluationResult", json_file: Path | None) -> None:
    document = json.dumps(result.to_dict(), indent=2) + "\n"
    if json_file is not None and str(json_file) != "-":
        from bilayer.runtime.files import replacing

        with replacing(json_file) as part:
            part.write_text(document, encoding="utf-8")
    click.echo(document.rstrip() if str(json_file) == "-" else result.to_markdown())


if __name__ == "__main__":
    main(prog_name="bilayer-eval")
