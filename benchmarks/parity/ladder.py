"""The parity ladder: from the trained model to the phone, each rung against the truth and against the one above.

Above is what a rung is made of, where that is not the next one: a network in integers is compared with the ONNX.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bilayer.benchmarks.parity.compare import Comparison, compare_poses
from bilayer.benchmarks.parity.layer_errors import LayerReport
from bilayer.benchmarks.parity.rungs.dlc import open_dlc
from bilayer.benchmarks.parity.rungs.integers import integer_rungs
from bilayer.benchmarks.parity.rungs.rung import EmulatedRung, Float64, NotRun, OnnxRung, Rung
from bilayer.benchmarks.parity.static_checks import (
    Check,
    check_contract,
    check_dlc,
    check_integers,
    check_metadata,
    check_tflites,
    check_verification,
)
from bilayer.benchmarks.parity.subject import Subject, open_subject
from bilayer.runtime.agreement import DEFAULT, Kind, Ruling, Thresholds, Verdict, judge
from bilayer.runtime.arrays import Bytes
from bilayer.runtime.bundle import Bundle
from bilayer.runtime.errors import ParityError, ToolMissingError
from bilayer.runtime.frame import NetworkOutputs
from bilayer.runtime.motion.poses import choose_poses, spread

OF_ONNX = "the ONNX's own weights in float64"
FOLDED = "folded anew from the checkpoint, in float64"


@dataclass(frozen=True)
class Step:
    """What came of one rung."""

    name: str
    label: str
    kind: Kind
    emulated: bool
    poses: int  # compared
    truth: Comparison  # with float64
    above: tuple[str, Comparison] | None  # the rung above, or what it is made of; none of the first
    ruling: Ruling


@dataclass(frozen=True, eq=False)
class Pictures:
    """Frames (S, S, 4) of a rung and of the truth, by the number of the pose."""

    found: dict[int, Bytes]
    expected: dict[int, Bytes]


@dataclass(frozen=True, eq=False)
class Ladder:
    """What a run of the ladder found: of each rung how far it is from the truth, and of each check whether it holds."""

    bundle: Bundle
    truth: str  # what it is
    poses: int
    thresholds: Thresholds
    checks: tuple[Check, ...]
    steps: tuple[Step, ...]
    not_run: tuple[NotRun, ...]
    pictures: dict[str, Pictures] = field(default_factory=dict)  # by rung
    layers: LayerReport | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all rungs and checks."""
        found = {step.ruling.verdict for step in self.steps} | {check.verdict for check in self.checks}
        return "broken" if self.failures else "warned" if "warned" in found else "passed"

    @property
    def failures(self) -> list[str]:
        """What is broken: a line for each check and rung, and for a fault in the layers."""
        broken = [f"{check.name}: {check.text}" for check in self.checks if check.verdict == "broken"]
        broken += [f"{s.name}: {'; '.join(s.ruling.reasons)}" for s in self.steps if s.ruling.verdict == "broken"]
        fault = None if self.layers is None else self.layers.fault
        if self.layers is not None and fault is not None:
            broken.append(f"layers of {self.layers.second}: {fault.layer}: {fault.suggestion}")
        return broken

    def require(self) -> None:
        """Raise a ParityError that names the first failure, if there is one."""
        if self.failures:
            more = f" (and {len(self.failures) - 1} more)" if len(self.failures) > 1 else ""
            over = None if self.layers is None else self.layers.fault or self.layers.over
            where = f"; at {over.layer}: {over.suggestion}" if over else ""
            if self.layers is None:
                where = "; bilayer-parity --layers tells in which layer numbers part"
            raise ParityError(f"{self.bundle.folder}: {self.failures[0]}{more}{where}")


def check_bundle(bundle: Bundle, poses: int = 2, thresholds: Thresholds = DEFAULT) -> Ladder:
    """Return what the cheap rungs of a bundle give: ONNX Runtime, the .dlc by numpy, emulated FP16 hybrid."""
    subject = open_subject(bundle, choose_poses(bundle.contract.source.pose, poses))
    integers = integer_rungs(subject, False)
    rungs = [OnnxRung(subject), EmulatedRung(subject, "hybrid"), *(integers or [open_dlc(subject)])]
    return climb(subject, rungs, thresholds=thresholds)


def climb(
    subject: Subject,
    rungs: Sequence[Rung | NotRun],
    *,
    truth: Rung | None = None,
    slow_poses: int = 1,
    thresholds: Thresholds = DEFAULT,
    advance: Callable[[str], None] = lambda name: None,
) -> Ladder:
    """Run every rung on the subject's poses, and return them with their rulings.

    Args:
        subject: the avatar.
        rungs: from the top down.
        truth: what all are compared with; None is the subject's own generator in float64.
        slow_poses: poses of those rungs that take seconds a frame.
        thresholds: of the gate.
        advance: told each rung's name when it is done.
    """
    exact = truth or Float64(subject, OF_ONNX)
    expected = exact.results(list(range(len(subject.poses))))
    expected_frames = [subject.frame(results, exact.align_corners) for results in expected]
    advance(exact.name)
    steps: list[Step] = []
    missing: list[NotRun] = []
    pictures: dict[str, Pictures] = {}
    done: dict[str, tuple[dict[int, NetworkOutputs], dict[int, Bytes]]] = {}
    for rung in rungs:
        if isinstance(rung, NotRun):
            missing.append(rung)
            continue
        indices = spread(len(subject.poses), slow_poses if rung.slow else len(subject.poses))
        try:
            found = dict(zip(indices, rung.results(indices), strict=True))
        except ToolMissingError as error:
            missing.append(NotRun(rung.name, rung.label, str(error)))
            continue
        frames = {i: subject.frame(results, rung.align_corners) for i, results in found.items()}
        comparison = _compare(found, dict(enumerate(expected)), frames, dict(enumerate(expected_frames)))
        with_above = None
        above = rung.made_of if rung.made_of in done else next(reversed(done), "")
        if above and (common := found.keys() & done[above][0].keys()):
            kept = {i: found[i] for i in sorted(common)}
            with_above = above, _compare(kept, done[above][0], frames, done[above][1])
        ruling = judge(comparison.agreement, rung.kind, thresholds, _worse_end(rung, steps))
        steps.append(
            Step(rung.name, rung.label, rung.kind, rung.emulated, len(indices), comparison, with_above, ruling)
        )
        pictures[rung.name] = Pictures(frames, {i: expected_frames[i] for i in indices})
        done[rung.name] = found, frames
        advance(rung.name)
    checks = [check_contract(subject), check_metadata(subject), *check_integers(subject)]
    claimed = subject.bundle.contract
    found_anew = {step.name: step.truth.agreement for step in steps}
    checks.append(check_verification(claimed.verification, found_anew, claimed.quantization))
    dlc = check_dlc(subject)
    checks += [dlc] if isinstance(dlc, Check) else []
    missing += [dlc] if isinstance(dlc, NotRun) else []
    checks += check_tflites(subject)
    return Ladder(
        subject.bundle,
        exact.label,
        len(subject.poses),
        thresholds,
        tuple(checks),
        tuple(steps),
        tuple(missing),
        pictures,
    )


def _compare(
    found: dict[int, NetworkOutputs],
    expected: dict[int, NetworkOutputs],
    frames: dict[int, Bytes],
    expected_frames: dict[int, Bytes],
) -> Comparison:
    return compare_poses(
        list(found.values()),
        [expected[i] for i in found],
        [frames[i] for i in found],
        [expected_frames[i] for i in found],
    )


def _worse_end(rung: Rung, steps: list[Step]) -> dict[str, float] | None:
    """PSNR of each result by the emulation, its worse end in FP16, of an arithmetic that is measured."""
    emulation = {"fp16": "fp16-sequential", "bf16": "bf16-storage"}.get(rung.kind)
    if rung.emulated or emulation is None:
        return None
    worse = next((step for step in steps if step.name == emulation), None)
    return None if worse is None else {name: worse.truth.agreement.psnr_db[name] for name in worse.truth.errors}
