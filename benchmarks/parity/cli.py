"""`bilayer-parity`: is what runs what was trained?"""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bilayer.runtime.console import Command, progress

if TYPE_CHECKING:
    from bilayer.benchmarks.parity.ladder import Ladder
    from bilayer.benchmarks.parity.rungs import NotRun, Rung
    from bilayer.benchmarks.parity.subject import Subject

EMULATED = ("hybrid", "half4", "sequential")
PATH = click.Path(path_type=Path)


@click.command(cls=Command)
@click.argument("bundle", type=PATH)
@click.option("--photo", type=PATH, help="The photo of the export: adds the trained model, and makes it the truth.")
@click.option("--checkpoint", type=PATH, help="The checkpoint of the export, if it was given one (with --photo).")
@click.option("--keypoints", type=PATH, help="The landmarks of the export, if it was given any (with --photo).")
@click.option("--no-mask", is_flag=True, help="The export had --no-mask (with --photo).")
@click.option("--frames", type=click.IntRange(min=1), default=8, show_default=True, help="Poses along the track.")
@click.option("--drive", type=PATH, help="A landmark track (.npy .npz .json) in place of the built-in motion.")
@click.option(
    "--slow-frames",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Poses on the HTP simulator, which takes seconds for each; 0 leaves it out.",
)
@click.option("--quick", is_flag=True, help="Only the rungs that cost a second: ONNX, .dlc, FP16 hybrid.")
@click.option("--layers", is_flag=True, help="Compare layer by layer, and name the first over the threshold.")
@click.option(
    "--between",
    nargs=2,
    metavar="RUNG RUNG",
    help="Which two for --layers (default: float64, and the first broken rung that shows layers, or fp16-hybrid).",
)
@click.option("--layer-threshold", type=float, help="For --layers, dB (default: 100 float32, 60 hybrid, 45 FP16).")
@click.option("--device-outputs", type=PATH, help="Result_N folders pulled from a phone, for the same poses.")
@click.option(
    "--device-layout",
    type=click.Choice(["auto", "nchw", "nhwc"]),
    default="auto",
    show_default=True,
    help="Of those files.",
)
@click.option(
    "--device-mode",
    type=click.Choice(["float32", "hybrid", "float16"]),
    default="hybrid",
    show_default=True,
    help="What the phone computed in.",
)
@click.option(
    "--write-inputs",
    type=PATH,
    help="Write the poses and input_list.txt for a phone there, and end; with --layers it asks for every layer.",
)
@click.option("--html", "html_path", type=PATH, help="Write a report with pictures, one file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(bundle: Path, **given: Any) -> None:
    """Compare every way to run an avatar with float64, from the trained model to the phone.

    BUNDLE is an exported avatar: its folder or its avatar.json. Exit code 4 where a rung is broken.
    """
    if given["photo"] is None and (given["checkpoint"] or given["keypoints"] or given["no_mask"]):
        raise click.UsageError("--checkpoint, --keypoints and --no-mask say what --photo was exported with: give it")
    if given["between"] and not given["layers"]:
        raise click.UsageError("--between is for --layers")
    from bilayer.benchmarks.parity.ladder import bundle_path
    from bilayer.benchmarks.parity.subject import choose_poses, open_subject
    from bilayer.runtime.bundle import read_bundle

    avatar = read_bundle(bundle_path(bundle))
    subject = open_subject(avatar, choose_poses(avatar, given["frames"], given["drive"]))
    if given["write_inputs"]:
        from bilayer.benchmarks.parity.device import write_inputs

        path = write_inputs(subject, given["write_inputs"], given["layers"])
        click.echo(path)
        click.echo("\nnext: snpe-net-run on it, pull Result_*, then --device-outputs FOLDER", err=True)
        return
    ladder = _climb(subject, given)
    _report(ladder, given)


def _climb(subject: "Subject", given: dict[str, Any]) -> "Ladder":
    from bilayer.benchmarks.parity.ladder import FOLDED, OF_ONNX, climb
    from bilayer.benchmarks.parity.rungs import Float64

    with progress("starting", 14) as advance:
        rungs: list[Rung | NotRun] = []
        truth: Rung = Float64(subject, OF_ONNX)
        if given["photo"] is not None:
            from bilayer.benchmarks.parity.trained import ExactTrained, TrainedFrom, make_trained
            from bilayer.model.config import DEMO_CHECKPOINT

            checkpoint = given["checkpoint"] or DEMO_CHECKPOINT
            source = TrainedFrom(given["photo"], checkpoint, given["keypoints"], not given["no_mask"])
            trained = make_trained(subject, source)
            subject, truth = trained.subject, ExactTrained.of(trained)
            rungs += [trained, Float64(subject, FOLDED, "folded")]
        rungs += _rungs(subject, given)
        ladder = climb(
            subject,
            rungs,
            truth=truth,
            slow_frames=given["slow_frames"],
            advance=lambda name: advance(f"{name} done"),
        )
        return _with_layers(ladder, subject, [truth, *rungs], given) if given["layers"] else ladder


def _rungs(subject: "Subject", given: dict[str, Any]) -> "list[Rung | NotRun]":
    from bilayer.benchmarks.parity.engines import bfloat16, vulkan
    from bilayer.benchmarks.parity.htp import HtpRung, simulator
    from bilayer.benchmarks.parity.rungs import EmulatedBfloat16, EmulatedRung, NotRun, OnnxRung

    top: list[Rung | NotRun] = []
    if given["photo"] is None:
        why = "no --photo (and --checkpoint): the ladder begins at the ONNX, whose weights are the truth"
        top.append(NotRun("trained", "trained model in torch, unfolded, float32; folded anew, float64", why))
    top += [OnnxRung(subject), EmulatedRung(subject, "hybrid")]
    if not given["quick"]:
        top += [EmulatedRung(subject, "half4"), EmulatedRung(subject, "sequential")]
        skipped = NotRun(HtpRung.name, HtpRung.label, "--slow-frames 0")
        top.append(simulator(subject) if given["slow_frames"] else skipped)
        top += [vulkan(subject, arithmetic=False), vulkan(subject, arithmetic=True)]
        top += [EmulatedBfloat16(subject), bfloat16(subject)]
    return [*top, _device(subject, given)]


def _device(subject: "Subject", given: dict[str, Any]) -> "Rung | NotRun":
    from bilayer.benchmarks.parity.device import open_device
    from bilayer.benchmarks.parity.rungs import Float64, NotRun

    if given["device_outputs"] is None:
        why = "no --device-outputs; --write-inputs FOLDER makes the inputs for a phone"
        return NotRun("device", "outputs of a phone", why)
    layers = Float64(subject, "").layers(0)
    truth = {name: layers[name] for name in subject.generator.output_tensors}
    return open_device(subject, given["device_outputs"], given["device_layout"], given["device_mode"], truth)


def _with_layers(ladder: "Ladder", subject: "Subject", rungs: "list[Rung | NotRun]", given: dict[str, Any]) -> "Ladder":
    from bilayer.benchmarks.parity.layer_errors import compare_layers
    from bilayer.benchmarks.parity.rungs import NotRun
    from bilayer.runtime.errors import InputError

    shown: dict[str, Rung] = {rung.name: rung for rung in rungs if not isinstance(rung, NotRun)}
    broken = [step.name for step in ladder.steps if step.ruling.verdict == "broken"]
    names = given["between"] or ("float64", next(iter(broken), "fp16-hybrid"))
    for name in names:
        if name not in shown:
            raise InputError(f"--between: {name}: not in this ladder, which has {', '.join(shown)}")
    first, second = (shown[name] for name in names)
    report = compare_layers(subject.generator, first, second, threshold=given["layer_threshold"])
    return replace(ladder, layers=report)


def _report(ladder: "Ladder", given: dict[str, Any]) -> None:
    from bilayer.benchmarks.parity import report

    if given["html_path"]:
        from bilayer.benchmarks.parity.report_html import write_html

        write_html(ladder, given["html_path"])
    click.echo(json.dumps(report.as_json(ladder), indent=2) if given["as_json"] else report.as_markdown(ladder))
    ladder.require()
    if not given["as_json"]:
        step = "--layers says where the error comes from" if ladder.layers is None else "--html FILE shows the frames"
        click.echo(f"\nnext: {step}", err=True)


if __name__ == "__main__":
    main()
