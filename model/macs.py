"""Parameters and multiply-accumulates of every network, counted on shapes alone: nothing is computed.

Counted are convolutions (predicted ones too) and linear layers, batch of one: what the paper's Table 2 counts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bilayer.model.config import NETWORKS, ModelConfig, NetworkName
from bilayer.model.networks.bilayer import BilayerModel

# GMACs a frame in the paper's Table 2, by preset
PAPER_GMACS = {"small": 1.08, "medium": 4.32, "large": 17.3}

When = Literal["once", "step", "frame", "training"]


@dataclass(frozen=True)
class Cost:
    """What one part of the model costs."""

    network: NetworkName
    part: str  # of the network, empty if it is all of it
    when: When  # once per avatar, per enhancer step, per frame, or in training only
    parameters: int
    macs: int


def count_costs(config: ModelConfig, networks: tuple[NetworkName, ...] = NETWORKS) -> list[Cost]:
    """Return a row for each network, the generators split into projector and decoder, in the order of their use."""
    return [cost for cost in _costs(config) if cost.network in networks]


@cache  # a second for each of the paper's models
def _costs(config: ModelConfig) -> tuple[Cost, ...]:
    size = config.image_size
    with torch.device("meta"):
        model = BilayerModel(config).eval()
        picture, pose = torch.empty(1, 3, size, size), torch.empty(1, config.pse_in_channels)
        frames = torch.empty(1, 1, 3 if config.emb_no_stickman else 6, size, size)
    texture, inference = model.texture_generator, model.inference_generator

    embeddings, embedder_macs = _count(model.identity_embedder, frames)
    predicted_texture, prj_tex_macs = _count(texture.prj_tex, embeddings)
    texture_input = texture.gen_tex_input.detach()
    _, gen_tex_macs = _count(texture.gen_tex, texture_input, predicted_texture)
    predicted, prj_inf_macs = _count(inference.prj_inf, embeddings)
    _, enhancer_macs = _count(model.texture_enhancer, picture, picture)
    pose_embedding, pose_macs = _count(model.keypoints_embedder, pose)
    _, gen_inf_macs = _count(inference.gen_inf, pose_embedding, predicted)
    _, discriminator_macs = _count(model.discriminator, picture, picture)
    gen_tex_parameters = parameter_count(texture.gen_tex) + texture.gen_tex_input.numel()
    return (
        Cost("identity_embedder", "", "once", parameter_count(model.identity_embedder), embedder_macs),
        Cost("texture_generator", "prj_tex", "once", parameter_count(texture.prj_tex), prj_tex_macs),
        Cost("texture_generator", "gen_tex", "once", gen_tex_parameters, gen_tex_macs),
        Cost("inference_generator", "prj_inf", "once", parameter_count(inference.prj_inf), prj_inf_macs),
        Cost("texture_enhancer", "", "step", parameter_count(model.texture_enhancer), enhancer_macs),
        Cost("keypoints_embedder", "", "frame", parameter_count(model.keypoints_embedder), pose_macs),
        Cost("inference_generator", "gen_inf", "frame", parameter_count(inference.gen_inf), gen_inf_macs),
        Cost("discriminator", "", "training", parameter_count(model.discriminator), discriminator_macs),
    )


def macs_per_frame(costs: list[Cost]) -> int:
    """Return the multiply-accumulates of a frame on the phone: those of pose MLP and inference generator."""
    return sum(cost.macs for cost in costs if cost.when == "frame")


def parameter_count(module: nn.Module) -> int:
    """Return how many numbers of a module are trained; statistics are not counted."""
    return sum(parameter.numel() for parameter in module.parameters())


def _count(function: Callable[..., Any], *inputs: object) -> tuple[Any, int]:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        result = function(*inputs)
    return result, counter.get_total_flops() // 2
