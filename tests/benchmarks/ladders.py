"""Ladders of the golden avatar, and their verdicts."""

from dataclasses import replace

from bilayer.benchmarks.parity.ladder import climb
from bilayer.benchmarks.parity.layer_errors import compare_layers
from bilayer.benchmarks.parity.rungs.rung import Float64, OnnxRung
from bilayer.benchmarks.parity.rungs.trained import ExactTrained, make_trained
from bilayer.runtime.agreement import Thresholds
from tests.benchmarks.avatars import source_of, subject_of

# The golden case has random weights: its texture is noise, in which a tenth of a pixel is many levels (49 dB found)
NOISY = Thresholds(fp16_hybrid_psnr=45)


def trained_ladder(folder, bundle):
    """From the trained model to ONNX Runtime, and the layers of the latter."""
    trained = make_trained(subject_of(bundle), source_of(folder))
    rungs = [trained, OnnxRung(trained.subject)]
    ladder = climb(trained.subject, rungs, truth=ExactTrained.of(trained))
    report = compare_layers(trained.subject.generator, Float64(trained.subject, ""), rungs[1])
    return replace(ladder, layers=report)


def verdicts(ladder):
    return {step.name: step.ruling.verdict for step in ladder.steps}
