"""How long an avatar takes to make and a frame to render, in torch, on the machine at hand."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch

from bilayer.model.avatar import create_avatar
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.training.data.dataset import frame_batch
from bilayer.training.evaluate.cases import EvaluationCase
from bilayer.training.evaluate.models import LF_ONLY, REFINED, evaluating, refinements
from bilayer.training.evaluate.result import Costs, EvaluationResult
from bilayer.training.prediction import source_of

WARM_UP = 2  # calls before the first that counts


def add_times(
    result: EvaluationResult, models: Mapping[str, BilayerModel], case: EvaluationCase, repeats: int = 20
) -> EvaluationResult:
    """Return `result` with initialisation and inference times in the rows of `models`: medians of `repeats` calls.

    Initialisation is all that is done once per avatar; inference is a frame: pose MLP, generator, warp and sum, a
    batch of one, the plain modules (export/ makes quicker ones). The landmarks are not in it.
    """
    times: dict[str, tuple[float, float]] = {}
    for name, model in models.items():
        for part, pair in time_model(model, case, repeats).items():
            times[f"{name} {part}".strip()] = pair
    methods = tuple(
        replace(method, costs=Costs(method.costs.gmacs, *times[method.name])) if method.name in times else method
        for method in result.methods
    )
    device = next(next(iter(models.values())).parameters()).device
    note = f"Times: medians of {repeats} calls, batch of one, float32, torch {torch.__version__} on {_label(device)}."
    return replace(result, methods=methods, notes=(*result.notes, note))


def time_model(model: BilayerModel, case: EvaluationCase, repeats: int) -> dict[str, tuple[float, float]]:
    """Return (initialisation, inference) in ms, for "lf only" and the parts of `REFINED`."""
    device = next(model.parameters()).device
    thickness = model.config.stickmen_thickness
    source = source_of(frame_batch([case.source], thickness).to(device))
    pose = frame_batch(case.targets[:1], thickness).to(device).poses[0]
    times: dict[str, tuple[float, float]] = {}
    with evaluating(model):
        for refine in refinements(model):
            avatar = create_avatar(model, source, refine)
            init = _median_ms(partial(create_avatar, model, source, refine), repeats, device)
            inference = _median_ms(partial(avatar.render, model, pose), repeats, device)
            times[REFINED[refine]] = (init, inference)
    times[LF_ONLY] = times[""]
    return times


def _median_ms(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    samples = []
    for _ in range(WARM_UP + repeats):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        samples.append(time.perf_counter() - start)
    return statistics.median(samples[WARM_UP:]) * 1e3


def _label(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"the {device.type.upper()}, threads: {torch.get_num_threads()}"
