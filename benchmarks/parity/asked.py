"""The ladder that `bilayer-parity` was asked for: which rungs it has."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from bilayer.benchmarks.parity.ladder import FOLDED, OF_ONNX, Ladder, climb
from bilayer.benchmarks.parity.layer_errors import compare_layers
from bilayer.benchmarks.parity.options import ParityOptions
from bilayer.benchmarks.parity.rungs.device import open_device
from bilayer.benchmarks.parity.rungs.dlc import open_dlc
from bilayer.benchmarks.parity.rungs.engines import bfloat16, vulkan
from bilayer.benchmarks.parity.rungs.htp import FP16, FP16_LABEL, simulator
from bilayer.benchmarks.parity.rungs.integers import integer_rungs
from bilayer.benchmarks.parity.rungs.litert import litert
from bilayer.benchmarks.parity.rungs.rung import EmulatedBfloat16, EmulatedRung, Float64, NotRun, OnnxRung, Rung
from bilayer.benchmarks.parity.subject import Subject
from bilayer.runtime.arrays import Bytes
from bilayer.runtime.errors import InputError


def climb_as_asked(
    subject: Subject,
    options: ParityOptions,
    photos: Sequence[Bytes],
    advance: Callable[[str], None] = lambda done: None,
) -> Ladder:
    """Return the ladder of an avatar with the rungs that `options` ask for; `advance` is told of each that is done.

    `photos` are what `options.check` gave.
    """
    rungs: list[Rung | NotRun] = []
    truth: Rung = Float64(subject, OF_ONNX)
    if (source := options.source) is not None:
        from bilayer.benchmarks.parity.rungs.trained import ExactTrained, make_trained

        trained = make_trained(subject, source, photos)
        subject, truth = trained.subject, ExactTrained.of(trained)
        rungs += [trained, Float64(subject, FOLDED, "folded")]
    rungs += _rungs(subject, options)
    shown: dict[str, Rung] = {rung.name: rung for rung in [truth, *rungs] if not isinstance(rung, NotRun)}
    for name in options.between or ():
        if name not in shown:
            raise InputError(f"--between: {name}: not in this ladder, which has {', '.join(shown)}")
    ladder = climb(subject, rungs, truth=truth, slow_poses=options.slow_poses, advance=advance)
    return _with_layers(ladder, subject, shown, options) if options.layers else ladder


def _rungs(subject: Subject, options: ParityOptions) -> list[Rung | NotRun]:
    top: list[Rung | NotRun] = []
    if options.photo is None:
        why = "no --photo (and --checkpoint): the ladder begins at the ONNX, whose weights are the truth"
        top.append(NotRun("trained", "trained model in torch, unfolded, float32; folded anew, float64", why))
    integers = integer_rungs(subject, simulated=bool(options.slow_poses) and not options.quick)
    of_floats = [] if integers else [open_dlc(subject)]
    top += [OnnxRung(subject), *of_floats, EmulatedRung(subject, "hybrid")]
    if not options.quick:
        top[-1:-1] = [litert(subject, "float32")]
        top += [litert(subject, "float16")]
        top += [EmulatedRung(subject, "half4"), EmulatedRung(subject, "sequential")]
        skipped = NotRun(FP16, FP16_LABEL, "--slow-poses 0")
        top.append(simulator(subject) if options.slow_poses else skipped)
        top += [vulkan(subject, arithmetic=False), vulkan(subject, arithmetic=True)]
        top += [EmulatedBfloat16(subject), bfloat16(subject)]
    return [*top, *integers, _device(subject, options)]


def _device(subject: Subject, options: ParityOptions) -> Rung | NotRun:
    if options.device_outputs is None:
        why = "no --device-outputs; --write-inputs FOLDER makes the inputs for a phone"
        return NotRun("device", "outputs of a phone", why)
    layers = Float64(subject, "").layers(0)
    truth = {name: layers[name] for name in subject.generator.output_tensors}
    return open_device(subject, options.device_outputs, options.device_layout, options.device_precision, truth)


def _with_layers(ladder: Ladder, subject: Subject, shown: dict[str, Rung], options: ParityOptions) -> Ladder:
    broken = [step.name for step in ladder.steps if step.ruling.verdict == "broken"]
    names = options.between or ("float64", next(iter(broken), "fp16-hybrid"))
    first, second = (shown[name] for name in names)
    report = compare_layers(subject.generator, first, second, threshold=options.layer_threshold)
    return replace(ladder, layers=report)
