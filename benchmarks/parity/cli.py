"""`bilayer-parity`: is what runs what was trained?"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import click

from bilayer.benchmarks.report.document import require
from bilayer.model.config import DEMO_CHECKPOINT
from bilayer.runtime.bundle import Bundle, read_bundle
from bilayer.runtime.console import Command, as_json_option, progress, show
from bilayer.runtime.errors import CheckpointError, LandmarkError
from bilayer.runtime.files.kinds import check_photo_file
from bilayer.runtime.files.reading import check_input
from bilayer.runtime.files.writing import check_output, write_file
from bilayer.runtime.options import Option, fills
from bilayer.runtime.vocabulary import DevicePrecision, LandmarkerName, TensorLayout

if TYPE_CHECKING:
    from bilayer.benchmarks.parity.ladder import Ladder
    from bilayer.benchmarks.parity.rungs import NotRun, Rung
    from bilayer.benchmarks.parity.subject import Subject


@dataclass(frozen=True)
class ParityOptions:
    """What is compared, on how many poses, and how deep."""

    bundle: Annotated[Path, Option(argument=True)]
    photo: Annotated[
        Path | None, Option("The photo of the export: adds the trained model, and makes it the truth.")
    ] = None
    checkpoint: Annotated[Path | None, Option("The checkpoint of the export, if it was given one (with --photo).")] = (
        None
    )
    keypoints: Annotated[Path | None, Option("The landmarks of the export, if it was given any (with --photo).")] = None
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
    html: Annotated[Path | None, Option("Write a report with pictures, one file.")] = None
    rotate: Annotated[Literal[0, 90, 180, 270], Option("As the export had it (with --photo).")] = 0
    face: Annotated[int | None, Option("As the export had it (with --photo).", at_least=1, default="1")] = None
    landmarker: Annotated[LandmarkerName, Option("As the export had it (with --photo).")] = "mediapipe"

    def check(self) -> Bundle:
        """The bundle; and see what else can be seen without a library.

        Raises:
            UsageError: options that do not go together.
            InputError: the bundle or another file cannot be used, or the place of the report.
        """
        chosen = (self.checkpoint, self.keypoints, not self.mask, self.others, self.rotate, self.face)
        if self.photo is None and (any(chosen) or self.landmarker != "mediapipe"):
            options = "--checkpoint, --keypoints, --no-mask, --other, --rotate, --face and --landmarker"
            raise click.UsageError(f"{options} say what --photo was exported with: give it")
        if self.between and not self.layers:
            raise click.UsageError("--between is for --layers")
        if self.photo is not None:
            check_photo_file(self.photo)
        check_input(self.checkpoint, CheckpointError)
        check_input(self.keypoints, LandmarkError)
        check_input(self.drive, LandmarkError)
        check_input(self.device_outputs)
        if self.html is not None:
            check_output(self.html)
            require("jinja2", "matplotlib")
        return read_bundle(self.bundle)


@click.command(cls=Command)
@fills(ParityOptions)
@as_json_option
def main(options: ParityOptions, as_json: bool) -> None:
    """Compare every way to run an avatar with float64, from the trained model to the phone.

    BUNDLE is an exported avatar: its folder or its avatar.json. Exit code 4 where a rung is broken.
    """
    avatar = options.check()
    from bilayer.benchmarks.parity import report
    from bilayer.benchmarks.parity.subject import open_subject
    from bilayer.runtime.motion.poses import choose_poses

    subject = open_subject(avatar, choose_poses(avatar.contract.source.pose, options.poses, options.drive))
    if options.write_inputs:
        from bilayer.benchmarks.parity.device import write_inputs

        path = write_inputs(subject, options.write_inputs, options.layers)
        following = "snpe-net-run on it, pull Result_*, then --device-outputs FOLDER"
        show({"out": str(path), "poses": options.poses}, lambda: str(path), as_json, following)
        return
    ladder = _climb(subject, options)
    if options.html:
        from bilayer.benchmarks.parity.pictures import page

        write_file(options.html, page(ladder))
    show(report.as_json(ladder), lambda: report.make_report(ladder).markdown().rstrip("\n"), as_json)
    ladder.require()
    if not as_json:
        step = "--layers says where the error comes from" if ladder.layers is None else "--html FILE shows the frames"
        step = f"open {options.html}" if options.html else step
        click.echo(f"\n{ladder.verdict}; next: {step}", err=True)


def _climb(subject: "Subject", options: ParityOptions) -> "Ladder":
    from bilayer.benchmarks.parity.ladder import FOLDED, OF_ONNX, climb
    from bilayer.benchmarks.parity.rungs import Float64

    with progress("starting", 16) as advance:
        rungs: list[Rung | NotRun] = []
        truth: Rung = Float64(subject, OF_ONNX)
        if options.photo is not None:
            from bilayer.benchmarks.parity.trained import ExactTrained, TrainedFrom, make_trained

            checkpoint = options.checkpoint or DEMO_CHECKPOINT
            source = TrainedFrom(
                photo=options.photo,
                checkpoint=checkpoint,
                keypoints=options.keypoints,
                mask=options.mask,
                others=options.others,
                rotate=options.rotate,
                face=options.face,
                landmarker=options.landmarker,
            )
            trained = make_trained(subject, source)
            subject, truth = trained.subject, ExactTrained.of(trained)
            rungs += [trained, Float64(subject, FOLDED, "folded")]
        rungs += _rungs(subject, options)
        ladder = climb(
            subject,
            rungs,
            truth=truth,
            slow_poses=options.slow_poses,
            advance=lambda name: advance(f"{name} done"),
        )
        return _with_layers(ladder, subject, [truth, *rungs], options) if options.layers else ladder


def _rungs(subject: "Subject", options: ParityOptions) -> "list[Rung | NotRun]":
    from bilayer.benchmarks.parity.dlc import open_dlc
    from bilayer.benchmarks.parity.engines import bfloat16, vulkan
    from bilayer.benchmarks.parity.htp import FP16, FP16_LABEL, simulator
    from bilayer.benchmarks.parity.integers import integer_rungs
    from bilayer.benchmarks.parity.litert import litert
    from bilayer.benchmarks.parity.rungs import EmulatedBfloat16, EmulatedRung, NotRun, OnnxRung

    top: list[Rung | NotRun] = []
    if options.photo is None:
        why = "no --photo (and --checkpoint): the ladder begins at the ONNX, whose weights are the truth"
        top.append(NotRun("trained", "trained model in torch, unfolded, float32; folded anew, float64", why))
    top += [OnnxRung(subject), open_dlc(subject), EmulatedRung(subject, "hybrid")]
    if not options.quick:
        top[-1:-1] = [litert(subject, "float32")]
        top += [litert(subject, "float16")]
        top += [EmulatedRung(subject, "half4"), EmulatedRung(subject, "sequential")]
        skipped = NotRun(FP16, FP16_LABEL, "--slow-poses 0")
        top.append(simulator(subject) if options.slow_poses else skipped)
        top += [vulkan(subject, arithmetic=False), vulkan(subject, arithmetic=True)]
        top += [EmulatedBfloat16(subject), bfloat16(subject)]
    top += integer_rungs(subject, simulated=bool(options.slow_poses) and not options.quick)
    return [*top, _device(subject, options)]


def _device(subject: "Subject", options: ParityOptions) -> "Rung | NotRun":
    from bilayer.benchmarks.parity.device import open_device
    from bilayer.benchmarks.parity.rungs import Float64, NotRun

    if options.device_outputs is None:
        why = "no --device-outputs; --write-inputs FOLDER makes the inputs for a phone"
        return NotRun("device", "outputs of a phone", why)
    layers = Float64(subject, "").layers(0)
    truth = {name: layers[name] for name in subject.generator.output_tensors}
    return open_device(subject, options.device_outputs, options.device_layout, options.device_precision, truth)


def _with_layers(
    ladder: "Ladder", subject: "Subject", rungs: "list[Rung | NotRun]", options: ParityOptions
) -> "Ladder":
    from bilayer.benchmarks.parity.layer_errors import compare_layers
    from bilayer.benchmarks.parity.rungs import NotRun
    from bilayer.runtime.errors import InputError

    shown: dict[str, Rung] = {rung.name: rung for rung in rungs if not isinstance(rung, NotRun)}
    broken = [step.name for step in ladder.steps if step.ruling.verdict == "broken"]
    names = options.between or ("float64", next(iter(broken), "fp16-hybrid"))
    for name in names:
        if name not in shown:
            raise InputError(f"--between: {name}: not in this ladder, which has {', '.join(shown)}")
    first, second = (shown[name] for name in names)
    report = compare_layers(subject.generator, first, second, threshold=options.layer_threshold)
    return replace(ladder, layers=report)


if __name__ == "__main__":
    main()
