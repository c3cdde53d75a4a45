"""The networks as training has them: spectral norm, batch norms, and a start from weights that are there."""

import re

import torch
from torch import Tensor, nn
from torch.nn.utils.spectral_norm import SpectralNorm

from bilayer.model.checkpoint import NetworkTensors
from bilayer.model.config import ModelConfig, NetworkName, doublings
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.model.networks.spectral import add_spectral_norm, resolve_spectral_norm
from bilayer.runtime.errors import CheckpointError
from bilayer.training.processes import is_distributed, synchronize_batch_norms
from bilayer.training.settings import Optimisation

_SETTLING_STEPS = 20  # power iterations that find the largest singular value of weights that were loaded


def prepare_network(network: nn.Module, name: NetworkName, settings: Optimisation, eps: float) -> None:
    """Make `network` ready to be trained, in place."""
    network.train().requires_grad_(True)
    if name in settings.spectral_norm:
        add_spectral_norm(network, eps)
        settle_spectral_norm(network)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = settings.batch_norm_momentum
            layer.train(not settings.keep_statistics)
    if is_distributed() and not settings.keep_statistics:
        synchronize_batch_norms(network)


def settle_spectral_norm(network: nn.Module) -> None:
    """Iterate the power method: torch starts from random vectors, which would scale a loaded weight wrongly."""
    for layer in network.modules():
        for hook in layer._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                with torch.no_grad():
                    for _ in range(_SETTLING_STEPS):
                        hook(layer, None)


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Return the state dict as checkpoints hold it, spectral norm resolved, on the CPU."""
    return {key: tensor.detach().cpu() for key, tensor in resolve_spectral_norm(network.state_dict()).items()}


def start_from(model: BilayerModel, config: ModelConfig, states: NetworkTensors) -> dict[NetworkName, int]:
    """Copy into `model` (without spectral norm yet) what fits of the weights `states`, trained with `config`.

    The picture may be a power of two larger than it was: layers are then matched by the size they work at, so that
    the ends at full resolution alone start anew (progressive growing). For that, halve every *_num_channels as the
    size doubles, so that channels agree at each size.

    Returns:
        How many tensors of each network started from `states`.

    Raises:
        CheckpointError: the sizes have no power of two between them, or nothing of a network fits.
    """
    levels = doublings(config.image_size, model.config.image_size, "image_size")
    copied: dict[NetworkName, int] = {}
    for name in model.networks:
        if name not in states:
            continue
        own = model.get_submodule(name).state_dict()
        moved = {_grown_name(name, key, levels, config): tensor for key, tensor in states[name].items()}
        fitting = {key: tensor for key, tensor in moved.items() if key in own and own[key].shape == tensor.shape}
        if not fitting:
            raise CheckpointError(f"{name}: no tensor of the start fits; its channels belong to other settings")
        model.get_submodule(name).load_state_dict(fitting, strict=False)
        copied[name] = len(fitting)
    return copied


def _grown_name(network: NetworkName, key: str, levels: int, config: ModelConfig) -> str:
    """Return the name that a tensor of the smaller model has in one whose picture has 2 ** `levels` times the side."""
    if not levels:
        return key
    if network in ("identity_embedder", "discriminator"):  # they begin at the full size
        prefix = r"net\.enc\." if network == "identity_embedder" else r"net\.blocks\."
        first = 1 if network == "identity_embedder" else 0  # enc.0 is the convolution of the picture itself
        match = re.match(rf"({prefix})(\d+)\.", key)
        if match and int(match[2]) >= first:
            return f"{match[1]}{int(match[2]) + levels}.{key[match.end() :]}"
        return key
    # The generators end at it: the last norm becomes the first norm of the block that follows
    last_norm = re.match(rf"(gen_\w+\.blocks\.{config.num_blocks})\.", key)
    return f"{last_norm[1]}.block_feats.0.{key[last_norm.end() :]}" if last_norm else key
