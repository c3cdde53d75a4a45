"""What the options of `bilayer-eval` ask for, loaded: the networks that measure."""

from dataclasses import replace
from typing import TypeVar

import click
import torch

from bilayer.runtime.command.console import tell
from bilayer.runtime.errors import ToolMissingError
from bilayer.runtime.face.recognition import IdentityRecogniser
from bilayer.training.efficientnet import load_feature_distance
from bilayer.training.evaluate.options import MeterOptions
from bilayer.training.metrics.identity import FaceRecogniser
from bilayer.training.metrics.landmarks import default_landmarker
from bilayer.training.metrics.lpips import load_lpips
from bilayer.training.metrics.meter import Meter

Options = TypeVar("Options", bound=MeterOptions)


def without_missing(options: Options) -> Options:
    """Return the options without landmarks where their networks are not set up, which a warning tells."""
    if options.landmark_errors:
        try:
            default_landmarker()
        except ToolMissingError as error:
            tell("warning", f"no landmark metrics: {error}")
            return replace(options, landmark_errors=False)
    return options


def make_meter(options: MeterOptions) -> Meter:
    """Return the meter that is asked for; who measures gives torch the threads that are.

    Raises:
        BadParameter: torch cannot use the device.
        InputError: a file of weights cannot be used.
        ToolMissingError: an extra, or a face network, is not installed.
    """
    _check_device(options.device)
    weights, heads = options.lpips_vgg16, options.lpips_heads
    return Meter(
        landmarker=default_landmarker() if options.landmark_errors else None,
        lpips=load_lpips(weights, heads) if weights is not None and heads is not None else None,
        recogniser=None if options.arcface is None else FaceRecogniser(options.arcface),
        device=options.device,
        identity=IdentityRecogniser() if options.identity else None,
        perception=load_feature_distance() if options.perception else None,
    )


def _check_device(device: str) -> None:
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch's ways to say that it was built without CUDA
        raise click.BadParameter(
            f"{device}: torch cannot use it here; cpu always works", param_hint="--device"
        ) from error
