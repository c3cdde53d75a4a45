"""From settings to what the loop takes: model, objective, data."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from bilayer.model.checkpoint import read_checkpoint
from bilayer.model.config import AVATAR_NETWORKS, ENHANCER, ModelConfig, NetworkName
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.model.reparameterize import for_training
from bilayer.model.seeds import seeded
from bilayer.runtime.errors import InputError
from bilayer.training.data.dataset import FramePairs, TrainingBatch, collate
from bilayer.training.data.given import check_data
from bilayer.training.data.layout import IMAGES, has_kind
from bilayer.training.efficientnet import load_feature_distance
from bilayer.training.feature_stacks import PerceptualLoss, vgg19_imagenet, vgg_face
from bilayer.training.networks import prepare_network, start_from
from bilayer.training.objective import Objective
from bilayer.training.progressive_growing import keep_results
from bilayer.training.settings import TrainingSettings
from bilayer.training.stages import BaseStage, EnhancerStage, Stage

Say = Callable[[str], None]

_DISCRIMINATOR: tuple[NetworkName, ...] = ("discriminator",)
_MEASURED_PEOPLE = 16  # whose results are looked at when a model grows
_PICTURED_PEOPLE = 6  # rows of the picture grids


def choose_precision(settings: TrainingSettings, device: torch.device, say: Say) -> TrainingSettings:
    """Return the settings, "auto" as bf16 where `device` multiplies in it, else as fp32; `say` is told which, and why.

    bf16 that was asked for stays, with a warning where the device has to emulate it, which takes longer than fp32.
    """
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    ability = f"this {device.type} {'computes' if able else 'does not compute'} in bf16"
    if settings.precision == "auto":
        settings = replace(settings, precision="bf16" if able else "fp32")
        say(f"precision {settings.precision}: {ability}")
    elif settings.precision == "bf16" and not able:
        say(f'warning: {ability}, and takes longer than in fp32; precision = "auto" avoids it')
    return settings


def make_base_stage(
    settings: TrainingSettings, init: Path | None, say: Say, training: FramePairs | None = None
) -> Stage:
    """Return a new base model, or one that starts from the weights in `init` (see `start_from`).

    If those are for half the picture's size, `training` shows how large their results are (see `keep_results`).

    Raises:
        CheckpointError: `init` is damaged or nothing of it fits.
    """
    with seeded(settings.seed):
        networks = (*AVATAR_NETWORKS, *(_DISCRIMINATOR if settings.losses.needs_discriminator else ()))
        model = BilayerModel(settings.model, networks)
        if init is not None:
            config, states = read_checkpoint(init, networks=(), optional=networks)
            copied = start_from(model, config, states)
            if training is not None and 2 * config.image_size == settings.model.image_size:
                old = BilayerModel(config, AVATAR_NETWORKS)
                start_from(old, config, states)
                keep_results(model, old, collate([training[i] for i in range(min(_MEASURED_PEOPLE, len(training)))]))
            for name in model.networks:
                total = len(model.get_submodule(name).state_dict())
                say(f"{name}: {copied.get(name, 0)} of {total} tensors from {init}")
        for name in networks:
            prepare_network(model.get_submodule(name), name, settings.optimisation, settings.model.eps)
        _speed_up(model, settings)
        return BaseStage(model, settings, make_objective(settings, say))


def make_enhancer_stage(settings: TrainingSettings, base: Path, init: Path | None, say: Say) -> Stage:
    """Return a texture enhancer for the model in `base`, which stays as it is; its discriminator is trained on.

    The enhancer is a new one, or starts from that in `init`, whose picture may be smaller.

    Raises:
        CheckpointError: a file is damaged, or nothing of it fits.
        InputError: `base` is of another architecture than `[model]` says.
    """
    with seeded(settings.seed):
        trained = (*ENHANCER, *(_DISCRIMINATOR if settings.losses.needs_discriminator else ()))
        config, states = read_checkpoint(base, AVATAR_NETWORKS, optional=trained)
        _check_same_base(config, settings.model, base)
        model = BilayerModel(settings.model, (*AVATAR_NETWORKS, *trained))
        model.requires_grad_(False).eval()
        start_from(model, config, states)
        starts = dict.fromkeys(states, base)
        if init is not None:
            config, states = read_checkpoint(init, networks=ENHANCER, optional=trained)
            starts |= dict.fromkeys(start_from(model, config, states), init)
        for name in trained:
            say(f"{name}: from {starts[name]}" if name in starts else f"{name}: new")
            prepare_network(model.get_submodule(name), name, settings.optimisation, settings.model.eps)
        _speed_up(model, settings)
        return EnhancerStage(model, settings, make_objective(settings, say))


def make_objective(settings: TrainingSettings, say: Say) -> Objective:
    """Return the losses; a perceptual one without its file is left out, and said to be.

    Raises:
        CheckpointError: a file of weights is damaged, or another one.
        ToolMissingError: `perception` is asked for, and its extra not installed.
    """
    weights, files = settings.losses, settings.perceptual
    perceptual: dict[str, tuple[float, nn.Module]] = {}
    for name, weight, file, make in (
        ("G_VGG19", weights.perceptual, files.vgg19, vgg19_imagenet),
        ("G_VGGFace", weights.face_perceptual, files.vgg_face, vgg_face),
    ):
        if weight and file:
            perceptual[name] = (weight, PerceptualLoss(make(file)))
        elif weight:
            setting = "vgg19" if name == "G_VGG19" else "vgg_face"
            say(f"warning: training without the loss {name}: [perceptual] {setting} names no weight file")
    if weights.perception:
        perceptual["G_EffNet"] = (weights.perception, load_feature_distance())
    return Objective(weights, perceptual)


def make_data(settings: TrainingSettings, rank: int) -> tuple[FramePairs, TrainingBatch | None]:
    """Return the training data, and a batch of held-out people for pictures, where there are some.

    Raises:
        InputError: no data there, a damaged file of those people, or a loss needs what the data lacks.
    """
    data, model = settings.data, settings.model
    check_data(settings)
    root = Path(data.root)

    def pairs(split: str, in_memory: bool, target_frames: int) -> FramePairs:
        return FramePairs(
            root,
            "train" if split == "train" else "test",
            model.image_size,
            model.stickmen_thickness,
            target_frames=target_frames,
            in_memory=in_memory,
            seed=settings.seed,
            mirror=data.mirror and split == "train",
        )

    training = pairs("train", data.in_memory, data.target_frames)
    if not has_kind(root, "test", IMAGES):
        return training, None
    held_out = pairs("test", in_memory=False, target_frames=1)
    people = range(min(_PICTURED_PEOPLE, len(held_out))) if rank == 0 else range(0)
    return training, collate([held_out[i] for i in people]) if people else None


def _speed_up(model: BilayerModel, settings: TrainingSettings) -> None:
    """Join convolutions with the resizing beside them: exact, and of weights that spectral norm does not replace."""
    if not settings.optimisation.spectral_norm:
        for_training(model)


def _check_same_base(found: ModelConfig, wanted: ModelConfig, base: Path) -> None:
    """The base's architecture is the checkpoint's; the enhancer's and the discriminator's are the settings'."""
    for name, value in found.to_dict().items():
        if not name.startswith(("enh_", "dis_")) and wanted.to_dict()[name] != value:
            raise InputError(f"{base}: {name} is {value}, [model] has {wanted.to_dict()[name]}: they must agree")
