"""Models and baselines on a dataset, by the paper's protocol: `evaluate_model`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from bilayer.model.avatar import create_avatar
from bilayer.model.macs import count_costs, macs_per_frame
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.runtime.arrays import Bytes
from bilayer.runtime.errors import InputError
from bilayer.runtime.files import stores
from bilayer.runtime.files.reading import StrPath
from bilayer.runtime.vocabulary import Refine
from bilayer.training.data.dataset import frame_batch
from bilayer.training.data.layout import MASKS
from bilayer.training.evaluate.baselines import affine_warps, mean_head, source_copies
from bilayer.training.evaluate.cases import EvaluationCase, read_case, scaled_landmarks
from bilayer.training.evaluate.drawn_lids import frames_with_lids
from bilayer.training.evaluate.protocol import PAPER_PROTOCOL, EvaluationProtocol, choose_sequences
from bilayer.training.evaluate.result import AFFINE_WARP, MEAN_HEAD, SOURCE_COPY, Costs, EvaluationResult, MethodResult
from bilayer.training.metrics.meter import Meter, Scores, remove_background, to_bytes
from bilayer.training.prediction import source_of

LF_ONLY = "lf only"  # behind the model's name
DRAWN_LIDS = "+ fit + lids"  # likewise
REFINED: Mapping[Refine, str] = {"none": "", "updater": "+ updater", "fit": "+ fit"}  # likewise
MEANS_NOTE = "Means are over frames; landmark metrics over those with a face found in truth and result."
FRAMES_AT_ONCE = 8  # that a model renders: bounds memory

Pictures = dict[str, list[Bytes]]  # by method: a picture per target


@dataclass(frozen=True, eq=False)
class MeasuredCase:
    """What was found of one identity."""

    scores: Mapping[str, Scores]  # by method
    frames: int
    faces: int  # frames in whose truth the detector finds one


def evaluate_model(
    model: BilayerModel,
    data: Path,
    protocol: EvaluationProtocol = PAPER_PROTOCOL,
    meter: Meter | None = None,
    baselines: bool = True,
) -> EvaluationResult:
    """Evaluate one model, called "ours": lf only, the result, and that with each refinement of the texture that it has.

    Runs where the model is, in evaluation mode, and leaves the model as it was. For validation while training give
    few identities and no networks: see `EvaluationProtocol` and `Meter`. Arguments and errors: see `evaluate_models`.
    """
    return evaluate_models({"ours": model}, data, protocol, meter, baselines)


def evaluate_models(
    models: Mapping[str, BilayerModel],
    data: Path,
    protocol: EvaluationProtocol = PAPER_PROTOCOL,
    meter: Meter | None = None,
    baselines: bool = True,
    lids: bool = False,
) -> EvaluationResult:
    """Evaluate several models and the baselines on the same frames.

    The background is painted black in every picture and in the truth alike, by the truth's mask, before anything is
    measured; data without masks is measured whole.

    Args:
        models: by the name they are to have in the tables; all of one image size.
        data: a dataset folder (data/layout.py).
        protocol: which of its frames.
        meter: by which metrics; without one, by those that need no network.
        baselines: also measure copying the source, the mean head, and the source affinely warped by its landmarks.
        lids: also measure the fitted avatars with drawn lids.

    Raises:
        InputError: no data, a damaged file, or models of different sizes.
        CheckpointError: a model lacks a network that an avatar needs.
    """
    size = common_size(models)
    meter = meter or Meter()
    sequences = choose_sequences(data, protocol)
    mean = mean_head(data, size) if baselines else None
    cases = (read_case(sequence, protocol.every, size) for sequence in sequences)
    measured = [measure_case(case, models, mean, meter, lids)[0] for case in cases]
    return summarise(measured, models, data, protocol, meter)


def measure_case(
    case: EvaluationCase, models: Mapping[str, BilayerModel], mean: Bytes | None, meter: Meter, lids: bool = False
) -> tuple[MeasuredCase, Sequence[Bytes], Pictures]:
    """Measure one identity: return what is found, its T masked truths (S, S, 3), and the pictures that were measured.

    Args:
        case: its frames.
        models: by name.
        mean: the mean head (S, S, 3); without it no baseline is measured.
        meter: by which metrics.
        lids: also measure the fitted avatar with drawn lids.
    """
    truths = [remove_background(target.image, target.mask) for target in case.targets]
    landmarks = [scaled_landmarks(target) for target in case.targets]
    truth = meter.prepare_truth(truths, landmarks, [target.mask for target in case.targets])
    pictures = _all_pictures(case, models, mean, lids)
    scores = {name: meter.score(made, truth) for name, made in pictures.items()}
    faces = sum(found is not None for found in truth.landmarks)
    return MeasuredCase(scores, len(truths), faces), truths, pictures


def summarise(
    measured: Sequence[MeasuredCase],
    models: Mapping[str, BilayerModel],
    data: StrPath,
    protocol: EvaluationProtocol,
    meter: Meter,
) -> EvaluationResult:
    """Return what was found of all identities, in the protocol's order, with what the models cost."""
    costs = _costs(models)
    whole = {*models, *(f"{name} {REFINED['updater']}" for name in models)}
    return EvaluationResult(
        methods=tuple(
            MethodResult(
                name, join_scores([case.scores[name] for case in measured]), costs.get(name, Costs()), name in whole
            )
            for name in measured[0].scores
        ),
        frames=sum(case.frames for case in measured),
        identities=len(measured),
        faces_in_truth=None if "nme" in meter.unavailable else sum(case.faces for case in measured),
        unavailable=meter.unavailable,
        notes=_notes(data, protocol, common_size(models)),
    )


def render_case(model: BilayerModel, case: EvaluationCase, lids: bool = False) -> dict[str, list[Bytes]]:
    """Render all targets of `case`: RGB pictures by part, "lf only", those of `REFINED` that the model has, `lids`."""
    device = next(model.parameters()).device
    thickness = model.config.stickmen_thickness
    source = source_of(frame_batch([case.source], thickness).to(device))
    targets = frame_batch(case.targets, thickness).to(device)
    made: dict[str, list[Bytes]] = {LF_ONLY: [], "": []}
    with evaluating(model):
        for refine in refinements(model):
            avatar = create_avatar(model, source, refine)
            for start in range(0, len(case.targets), FRAMES_AT_ONCE):
                rendering = avatar.render(model, targets.poses[0, start : start + FRAMES_AT_ONCE])
                made.setdefault(REFINED[refine], []).extend(to_bytes(rendering.image))
                if refine == "none":
                    made[LF_ONLY].extend(to_bytes(rendering.lf_rgb))
            if refine == "fit" and lids:
                made[DRAWN_LIDS] = list(to_bytes(frames_with_lids(model, avatar, source.poses, targets.poses[0])))
    return made


def refinements(model: BilayerModel) -> list[Refine]:
    """Return the ways in which the model's textures can be refined: by the updater where it has one."""
    return [refine for refine in REFINED if refine != "updater" or "texture_enhancer" in model.networks]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode, and afterwards every module into the mode it had."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def join_scores(parts: Sequence[Scores]) -> Scores:
    """Return scores of several groups of frames as those of all, in order."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def common_size(models: Mapping[str, BilayerModel]) -> int:
    """Return the models' pictures' size in pixels, or an InputError where they differ."""
    sizes = {name: model.config.image_size for name, model in models.items()}
    if len(set(sizes.values())) != 1:
        found = ", ".join(f"{name}: {size}" for name, size in sizes.items())
        raise InputError(f"image_size: expected the same in all models, found {found}; evaluate them one by one")
    return next(iter(sizes.values()))


def _all_pictures(case: EvaluationCase, models: Mapping[str, BilayerModel], mean: Bytes | None, lids: bool) -> Pictures:
    """Make the pictures of every method for one case, with a black background, by the methods' names."""
    made: Pictures = {}
    if mean is not None:
        made[SOURCE_COPY] = source_copies(case)
        made[MEAN_HEAD] = [mean] * len(case.targets)
        made[AFFINE_WARP] = affine_warps(case)
    for name, model in models.items():
        made |= {f"{name} {part}".strip(): pictures for part, pictures in render_case(model, case, lids).items()}
    return {
        name: [remove_background(p, target.mask) for p, target in zip(pictures, case.targets, strict=True)]
        for name, pictures in made.items()
    }


def _costs(models: Mapping[str, BilayerModel]) -> dict[str, Costs]:
    """Count what each model's rows cost; "lf only" runs the same networks and saves the sampler alone."""
    costs: dict[str, Costs] = {}
    for name, model in models.items():
        gmacs = macs_per_frame(count_costs(model.config, model.networks)) / 1e9
        costs |= {f"{name} {part}".strip(): Costs(gmacs) for part in (LF_ONLY, *REFINED.values(), DRAWN_LIDS)}
    return costs


def _notes(data: StrPath, protocol: EvaluationProtocol, size: int) -> tuple[str, ...]:
    masked = stores.holds(stores.join(str(data), MASKS, protocol.split))
    background = "painted black in truth and result by the true mask" if masked else "left in: the data has no masks"
    targets = "all frames" if protocol.every == 1 else f"one in {protocol.every} frames"
    return (
        f"Protocol: {protocol.split} split, one sequence per identity, its first frame as source, {targets} after it "
        f"as targets, {size} px.",
        f"Background {background}. Pictures are compared in 8 bits; L1 and PSNR with a range of 1.",
        MEANS_NOTE,
    )
