"""The trained model's own numbers under the names of the folded network's layers: those that must be the same.

Hooks read the modules while the model runs. Where a norm was folded away, the layer before it holds the norm's output;
where channels were scaled for FP16, so are the trained numbers.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from bilayer.export.network.layers import FoldedGenerator
from bilayer.model.networks.adaptive import AdaptiveParameters, Affine
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.model.networks.blocks import activate, upsample

Named = dict[str, Tensor]


def trained_layers(
    model: BilayerModel, parameters: AdaptiveParameters, encoded: Tensor, generator: FoldedGenerator
) -> Named:
    """Return every layer's output (1, ...) that the trained model has, too.

    Args:
        model: in the precision of `encoded`.
        parameters: of one avatar, in the same.
        encoded: a pose as the network takes it, (1, width).
        generator: the folded network, whose names and folded norms they follow.
    """
    names = {layer.name for layer in generator.layers}
    seen, embedding = _run(model, parameters, encoded)
    decoder: Any = model.inference_generator.gen_inf
    *blocks, final = decoder.blocks
    norms: list[Any] = [block.block_feats["0"] for block in blocks]
    norms.append(final)
    predicted = [*(block.norm1 for block in parameters.blocks), parameters.final_norm]

    def stored(k: int, x: Tensor) -> Tensor:
        """Return the input of norm k as the folded network stores it: normalised, unless the norm stayed."""
        if f"block{k}_norm1" in names or (k == len(blocks) and "final_norm" in names):
            return x
        return _normalised(norms[k], x, predicted[k])

    found = _pose_layers(model, seen)
    x = embedding
    for k, block in enumerate(blocks):
        name, given = f"block{k}", stored(k, x)
        found["pose_grid" if k == 0 else f"block{k - 1}_out"] = given
        if k == 0:
            found[f"pose_fc{model.config.pse_num_blocks - 1}"] = given.flatten(1)
        norm1, norm2 = seen[norms[k]], seen[block.block_feats["3"]]
        found |= {f"{name}_norm1": norm1, f"{name}_act1": activate(norm1), f"{name}_norm2": norm2}
        found[f"{name}_conv1"] = seen[block.block_feats["2"]] if f"{name}_norm2" in names else norm2
        found |= {f"{name}_act2": activate(norm2), f"{name}_up": upsample(activate(norm2))}
        x = seen[block]
        found[f"{name}_conv2"] = convolved = stored(k + 1, seen[block.block["1"]])
        if x.dtype == torch.float64:  # a difference: in float32 it would have lost digits that the layer has
            found |= _skip_layers(generator, name, given, stored(k + 1, x) - convolved)
    found[f"block{len(blocks) - 1}_out"] = stored(len(blocks), x)
    found |= {"final_norm": seen[final], "final_act": activate(seen[final])} | _heads(model, seen, names)
    return {layer: _adjusted(generator, layer, found[layer]) for layer in found.keys() & names}


def _adjusted(generator: FoldedGenerator, layer: str, x: Tensor) -> Tensor:
    """The layer as the folded network computes it: export/network/equalize.py."""
    adjustment = generator.adjusted.get(layer)
    if adjustment is None:
        return x
    factor, shift = (
        torch.from_numpy(values).to(x.dtype).view(-1, *[1] * (x.dim() - 2))
        for values in (adjustment.factor, adjustment.shift)
    )
    return x * factor + shift


def _run(
    model: BilayerModel, parameters: AdaptiveParameters, encoded: Tensor
) -> tuple[dict[nn.Module, Tensor], Tensor]:
    """What every module gave, and the pose embedding."""
    seen: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, given: object, result: Tensor) -> None:
        seen[module] = result

    mlp = model.keypoints_embedder
    with ExitStack() as hooks, torch.inference_mode():
        for network in (mlp.net["mlp"], model.inference_generator.gen_inf):
            for module in network.modules():
                if module is not network:
                    hooks.callback(module.register_forward_hook(keep).remove)
        embedding = mlp.net["mlp"](encoded).view(-1, *mlp.out_shape)
        model.inference_generator(embedding, parameters)
    return seen, embedding


def _normalised(norm: Callable[..., Tensor], x: Tensor, predicted: Any) -> Tensor:
    with torch.inference_mode():
        return norm(x, predicted) if isinstance(predicted, Affine) else norm(x)


def _pose_layers(model: BilayerModel, seen: dict[nn.Module, Tensor]) -> Named:
    found: Named = {}
    i = -1
    for module in model.keypoints_embedder.net["mlp"].children():
        i += isinstance(module, nn.Linear)
        found[f"pose_fc{i}" if isinstance(module, nn.Linear) else f"pose_fc{i}_act"] = seen[module]
    return found


def _skip_layers(generator: FoldedGenerator, name: str, given: Tensor, skip: Tensor) -> Named:
    """`skip` is what the block adds to its second convolution, at the doubled size."""
    up = next(layer for layer in generator.layers if layer.name == f"{name}_skip_up")
    if up.inputs == (f"{name}_skip",):  # nearest: every second row and column is what was upsampled
        return {f"{name}_skip": skip[..., ::2, ::2], f"{name}_skip_up": skip}
    return {f"{name}_skip_up": upsample(given), f"{name}_skip": skip}


def _heads(model: BilayerModel, seen: dict[nn.Module, Tensor], names: set[str]) -> Named:
    convolved = [seen[conv] for conv in model.inference_generator.gen_inf.heads.convolutions]
    if "head" in names:  # one head for three: the mask's logits are halved, export/network/rewrite.py
        head = torch.cat([*convolved[:2], *(logits / 2 for logits in convolved[2:])], dim=1)
        return {"head": head, "layers": torch.tanh(head)}
    results = ("delta_uv", "lf_rgb", "seg")
    found = {f"head_{name}": head for name, head in zip(results, convolved, strict=False)}
    ends = {
        name: torch.sigmoid(h) if name == "seg" else torch.tanh(h) for name, h in zip(results, convolved, strict=False)
    }
    return found | ends
