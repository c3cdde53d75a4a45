"""What an evaluation found, as tables in the form of the paper's and as JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.command.console import table
from bilayer.runtime.face.expression import follow_ratio
from bilayer.runtime.face.recognition import RECOGNISER, SAME_PERSON
from bilayer.training.metrics.catalogue import EXPRESSION_METRICS, IDENTITY_METRICS, METRICS

SOURCE_COPY, MEAN_HEAD, AFFINE_WARP = "source copy", "mean head", "affine warp"

_TABLE_1 = ("lpips", "csim", "nme_x10")
_TABLE_2 = ("lpips", "ssim", "csim", "nme_x10")
_PIXELS = ("l1", "psnr", "ssim", "perception", "sharpness")
_LANDMARKS = ("nme", "pose_error", "mouth_error", "eye_error")


@dataclass(frozen=True)
class Costs:
    """The computation and time that a method takes; None where it was not counted or measured."""

    gmacs: float | None = None  # per frame, as the paper counts: without what is done once per avatar
    init_ms: float | None = None  # median, once per avatar
    inference_ms: float | None = None  # median, per frame


@dataclass(frozen=True, eq=False)
class MethodResult:
    """The metrics and costs of one method, a row of the tables."""

    name: str
    scores: Mapping[str, NDArray[np.float64]]  # by metric (N,), a value per frame; NaN where no face was found
    costs: Costs = Costs()
    in_ablation: bool = False  # a row of Table 1: a whole model, no baseline and no part of one

    def mean(self, metric: str) -> float | None:
        """Return the mean over the frames that could be measured; None if none could, or the metric is unavailable."""
        values = self.scores.get(metric)
        if values is None or not np.isfinite(values).any():
            return None
        return float(values[np.isfinite(values)].mean())

    def follows(self, part: str) -> float | None:
        """Return how far "mouth" or "eye" open for each step that the truth's do; None where that is not known."""
        found, driven = self.scores.get(f"{part}_opening"), self.scores.get(f"{part}_driven")
        if found is None or driven is None:
            return None
        ratio = follow_ratio(found, driven)
        return ratio if np.isfinite(ratio) else None

    def same_person(self) -> tuple[int, int] | None:
        """Return frames that the recogniser takes for the truth's person, of those in which it found both faces."""
        distances = self.scores.get("identity_distance")
        if distances is None:
            return None
        return int((distances < SAME_PERSON).sum()), int(np.isfinite(distances).sum())

    def ratio_to(self, other: "MethodResult", metric: str) -> float | None:
        """Return the mean over the other's, on the frames that were measured for both."""
        own, theirs = self.scores.get(metric), other.scores.get(metric)
        if own is None or theirs is None:
            return None
        both = np.isfinite(own) & np.isfinite(theirs)
        below = float(theirs[both].sum())
        return float(own[both].sum()) / below if below > 0 else None


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """The metrics of all methods on the same frames, as means over the frames."""

    methods: tuple[MethodResult, ...]
    frames: int
    identities: int | None  # None for frames out of folders
    faces_in_truth: int | None  # frames in whose truth the detector finds a face; None without a detector
    unavailable: Mapping[str, str] = field(default_factory=dict)  # metric -> what it needs
    notes: tuple[str, ...] = ()  # how it was measured, a sentence each

    def method(self, name: str) -> MethodResult:
        """Return the row of the method of that name, or raise a KeyError where there is none."""
        for method in self.methods:
            if method.name == name:
                return method
        raise KeyError(name)

    def faces_missed(self, method: MethodResult) -> int | None:
        """Return frames of `method` in which the detector finds no face although the truth shows it one."""
        if self.faces_in_truth is None:
            return None
        return self.faces_in_truth - int(np.isfinite(method.scores["nme"]).sum())

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: means (of expression also over the affine warp's), costs, and what is not available."""
        return {
            "frames": self.frames,
            "identities": self.identities,
            "faces_in_truth": self.faces_in_truth,
            "methods": [self._row(method) for method in self.methods],
            "unavailable": dict(self.unavailable),
            "notes": list(self.notes),
        }

    def to_markdown(self) -> str:
        """Return the paper's Table 1 (ablation) and Table 2, pixels, landmarks, identity, and what is missing."""
        parts = []
        ablation = [method for method in self.methods if method.in_ablation]
        if ablation:
            parts += ["### Table 1: ablation", _table(ablation, _TABLE_1, {})]
        parts += ["### Table 2: comparison", _table(self.methods, _TABLE_2, _COSTS)]
        parts += ["### Pixels", _table(self.methods, _PIXELS, {f"L1 to {SOURCE_COPY}": self._to_copy})]
        if self.faces_in_truth is not None:
            parts += ["### Landmarks and expression", _table(self.methods, _LANDMARKS, self._expression())]
        if not set(IDENTITY_METRICS) & set(self.unavailable):
            same = {f"same person (distance below {SAME_PERSON})": _same_person}
            parts += [f"### Identity, by the {RECOGNISER}", _table(self.methods, IDENTITY_METRICS, same)]
        people = "" if self.identities is None else f" of {self.identities} identities"
        lines = [f"{self.frames} frames{people}.", *self.notes]
        parts.append("\n".join(f"- {line}" for line in (*lines, *_lacking(self.unavailable))))
        return "\n\n".join(parts)

    def _row(self, method: MethodResult) -> dict[str, Any]:
        costs = method.costs
        row: dict[str, Any] = {"method": method.name}
        row |= {name: method.mean(name) for name in METRICS}
        row |= {f"{name}_to_affine": self._to_affine(method, name) for name in EXPRESSION_METRICS}
        row |= {f"{part}_follows": method.follows(part) for part in ("mouth", "eye")}
        row |= dict(zip(("same_person", "faces_recognised"), method.same_person() or (None, None), strict=True))
        row |= {"faces_missed": self.faces_missed(method), "gmacs": costs.gmacs}
        return row | {"init_ms": costs.init_ms, "inference_ms": costs.inference_ms}

    def _to_copy(self, method: MethodResult) -> str:
        own, copied = method.mean("l1"), self._mean_of(SOURCE_COPY, "l1")
        return "-" if own is None or not copied else f"{100 * (own / copied - 1):+.0f}%"

    def _expression(self) -> "_Columns":
        return {
            "mouth to affine↓": lambda method: _cell(self._to_affine(method, "mouth_error"), 2),
            "eyes to affine↓": lambda method: _cell(self._to_affine(method, "eye_error"), 2),
            "mouth follows→1": lambda method: _cell(method.follows("mouth"), 2),
            "eyes follow→1": lambda method: _cell(method.follows("eye"), 2),
            f"no face (of {self.faces_in_truth})": lambda method: f"{self.faces_missed(method)}",
        }

    def _mean_of(self, name: str, metric: str) -> float | None:
        return next((method.mean(metric) for method in self.methods if method.name == name), None)

    def _to_affine(self, method: MethodResult, metric: str) -> float | None:
        affine = next((other for other in self.methods if other.name == AFFINE_WARP), None)
        return None if affine is None else method.ratio_to(affine, metric)


_Columns = Mapping[str, Callable[[MethodResult], str]]  # cells by the heading that they stand under
_COSTS: _Columns = {
    "GMACs↓": lambda method: _cell(method.costs.gmacs, 3),
    "Init. (ms)↓": lambda method: _cell(method.costs.init_ms, 0),
    "Inf. (ms)↓": lambda method: _cell(method.costs.inference_ms, 1),
}


def _same_person(method: MethodResult) -> str:
    return "{} of {}".format(*(method.same_person() or (0, 0)))


def _table(methods: Sequence[MethodResult], metrics: Sequence[str], more: _Columns) -> str:
    """A row for each method: the means of the metrics, then `more`."""
    means = [[_cell(method.mean(name), METRICS[name].digits) for name in metrics] for method in methods]
    rows = [(m.name, *cells, *(cell(m) for cell in more.values())) for m, cells in zip(methods, means, strict=True)]
    return table(["Method", *(METRICS[name].heading for name in metrics), *more], rows)


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _lacking(unavailable: Mapping[str, str]) -> list[str]:
    """A line for each need, not for each metric."""
    by_need: dict[str, list[str]] = {}
    for name, need in unavailable.items():
        by_need.setdefault(need, []).append(METRICS[name].heading.rstrip("↓↑"))
    return [f"Not available: {', '.join(names)}: {need}" for need, names in by_need.items()]
