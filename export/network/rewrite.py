"""Rewrites of a plain generator that change its cost and not its result, in float64."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from bilayer.export.network.fold import BatchNorm, Block, PlainGenerator, Weights
from bilayer.export.network.layers import Array
from bilayer.model.networks.resized_conv import upsampled_kernel

MAX_KAPPA = 16.0  # measured: beyond, folding a first norm costs more of FP16 than it saves


@dataclass(frozen=True)
class NormFolding:
    """What became of the generator's norms."""

    folded: int
    kept: tuple[str, ...]  # names of those that stay, and why: `block2_norm1 (kappa 118)`


def fold_norms(generator: PlainGenerator, max_kappa: float = MAX_KAPPA) -> tuple[PlainGenerator, NormFolding]:
    """Fold every norm into the convolutions beside it.

    A second norm goes into the convolution before it; the final norm into the last block's second convolution and skip.
    For a first norm the block's input is stored already normalised: its two producers are scaled, and the skip, which
    needs the raw input, takes the inverse. Where |gamma| << |beta| that inverse loses precision in FP16: a first norm
    whose kappa is over `max_kappa` stays.
    """
    linears, blocks, final = generator.linears, list(generator.blocks), generator.final_norm
    kept = []
    for k, block in enumerate(blocks):
        if block.norm2 is not None:
            blocks[k] = block = replace(block, conv1=_then(block.conv1, block.norm2), norm2=None)
        if block.norm1 is None:
            continue
        if not block.norm1.kappa <= max_kappa:
            kept.append(f"block{k}_norm1 (kappa {block.norm1.kappa:.3g})")
            continue
        norm, blocks[k] = block.norm1, _normalised_input(block)
        if k:
            blocks[k - 1] = _normalised_output(blocks[k - 1], norm)
        else:
            per_channel = len(linears[-1].bias) // len(norm.scale)  # the reshape keeps a channel's numbers together
            scale, shift = norm.scale.repeat(per_channel), norm.shift.repeat(per_channel)
            linears = (*linears[:-1], linears[-1].scaled_rows(scale, shift))
    if final is not None:
        blocks[-1] = _normalised_output(blocks[-1], final)
    total = 2 * len(blocks) + 1
    folded = replace(generator, linears=linears, blocks=tuple(blocks), final_norm=None)
    return folded, NormFolding(total - len(kept), tuple(kept))


def _then(weights: Weights, norm: BatchNorm) -> Weights:
    return weights.scaled_rows(norm.scale, norm.shift)


def _normalised_output(block: Block, norm: BatchNorm) -> Block:
    """Return the block followed by the norm; the shift goes to one of the two summands."""
    return replace(block, conv2=_then(block.conv2, norm), skip=block.skip.scaled_rows(norm.scale))


def _normalised_input(block: Block) -> Block:
    """Return the block for an input that is normalised already."""
    assert block.norm1 is not None
    return replace(block, norm1=None, skip=block.skip.of_unscaled_input(block.norm1.scale, block.norm1.shift))


def merge_heads(heads: tuple[Weights, ...]) -> Weights:
    """Return one convolution for all heads, to be followed by one tanh.

    sigmoid(z) = tanh(z / 2) / 2 + 1/2: the segmentation's weights are halved, the rest is left to the reader.
    """
    halved = [*heads[:2], *(Weights(head.weight / 2, head.bias / 2) for head in heads[2:])]
    return Weights(np.concatenate([h.weight for h in halved]), np.concatenate([h.bias for h in halved]))


def upsampled_as_transposed(weight: Array) -> Array:
    """Return a nearest upsampling and a convolution (out, in, 3, 3) as one transposed convolution (in, out, 4, 4).

    Stride 2, padding 1. Equal at the borders, too: 2.25 times fewer multiplications.
    """
    kernel: Array = upsampled_kernel(torch.from_numpy(weight)).numpy()
    return kernel


# For row (or column) offset p of the output: the two taps of the small kernel, as sums of the three of the large one
_PHASES = np.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], dtype=np.float64)


def upsampled_as_phases(weight: Array) -> Array:
    """Return the same as 2x2 convolutions (2, 2, out, in, 2, 2), for each row and column offset of the output."""
    kernels: Array = np.einsum("oiyx,pay,qbx->pqoiab", weight, _PHASES, _PHASES, optimize=True)
    return kernels
