"""Progressive growing (as Karras et al., ICLR 2018) to twice the picture's size.

At first the larger model's results are the smaller one's, enlarged.

`networks.start_from` moves the layers that both have. Here the new ones are set to hand the results on: the new
block's first convolution computes what the old heads did; its norms shift that so far above zero that activations
leave nearly all of it as it is; the new heads undo norms and shifts. All of it is trained from there.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bilayer.model.avatar import Source, embed
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.model.networks.blocks import ResidualBlock
from bilayer.model.networks.generators import Decoder
from bilayer.model.networks.projector import Projector
from bilayer.training.data.dataset import TrainingBatch
from bilayer.training.prediction import source_of

_SHIFT = 1.5  # standard deviations of a result: few values are further below its mean; more would cost digits in FP16


@torch.no_grad()
def keep_results(model: BilayerModel, old: BilayerModel, batch: TrainingBatch) -> None:
    """Set the layers of `model` that are new since `old`, which it was started from and whose picture is half as large.

    Args:
        model: in place; without spectral norm yet.
        old: trained.
        batch: people at the size of `model`, by whom the results' means and deviations are measured.
    """
    old.eval()
    small = _halved(source_of(batch.source))
    embeddings = embed(old, small)
    poses = batch.target.poses
    parameters = old.inference_generator.predict_parameters(embeddings).repeat_frames(poses.shape[1])
    pose_embedding = old.keypoints_embedder(poses.flatten(0, 1))
    with _Raw(old.texture_generator.gen_tex) as textures:
        old.texture_generator(embeddings)
    with _Raw(old.inference_generator.gen_inf) as layers:
        old.inference_generator(pose_embedding, parameters)
    texture, inference = model.texture_generator, model.inference_generator
    _reproduce_heads(texture.gen_tex, texture.prj_tex, old.texture_generator.gen_tex, textures.results)
    _reproduce_heads(inference.gen_inf, inference.prj_inf, old.inference_generator.gen_inf, layers.results)
    pictures = torch.cat([small.images, small.stickmen], dim=1)
    _initialise_embedder(model, old, pictures[:, :3] if old.config.emb_no_stickman else pictures)


class _Raw:
    """While it is open, keeps what the heads of a decoder compute before their tanh: (B, results, S, S)."""

    results: Tensor

    def __init__(self, decoder: Decoder) -> None:
        self._heads = decoder.heads

    def __enter__(self) -> "_Raw":
        self._hook = self._heads.register_forward_pre_hook(self._keep)
        return self

    def __exit__(self, *error: object) -> None:
        self._hook.remove()

    def _keep(self, heads: nn.Module, inputs: tuple[Tensor]) -> None:
        self.results = torch.cat([conv(*inputs) for conv in self._heads.convolutions], dim=1)


def _halved(source: Source) -> Source:
    images, stickmen, masks = (F.avg_pool2d(x, 2) for x in (source.images, source.stickmen, source.masks))
    return Source(images, source.poses, stickmen, masks)


def _reproduce_heads(decoder: Decoder, projector: Projector, old: Decoder, results: Tensor) -> None:
    """Let the last block of `decoder` compute what `old`'s heads do, and its heads pass that on."""
    block = decoder.blocks[-2]
    first, second = (
        next(layer for layer in part.modules() if isinstance(layer, nn.Conv2d))
        for part in (block.get_submodule("block_feats"), block.get_submodule("block"))
    )
    count = results.shape[1]
    if count > first.out_channels:
        return  # too narrow to hold them: it learns them anew
    for name in ("weight", "bias"):
        joined = torch.cat([getattr(conv, name) for conv in old.heads.convolutions])
        getattr(first, name)[:count] = joined
    _pass_through(second)
    for layer in block.get_submodule("skip").modules():
        if isinstance(layer, nn.Conv2d):
            _set_zero(layer)
    norms = 2 if projector.spade else 1  # predicted layers of a norm; the last one has its shift
    stacks = [[layer for layer in stack.modules() if isinstance(layer, nn.Linear)][-1] for stack in _last(projector)]
    for stack in stacks:
        _set_zero(stack)
    for stack in (stacks[norms - 1], stacks[-1]):  # of the second norm, and of the last one
        stack.bias[-1] = _SHIFT
    mean, deviation = results.mean(dim=(0, 2, 3)), results.std(dim=(0, 2, 3))
    channel = 0
    for head in decoder.heads.convolutions:
        _set_zero(head)
        assert head.bias is not None
        for out in range(head.out_channels):
            head.weight[out, channel, 1, 1] = deviation[channel]
            head.bias[out] = mean[channel] - _SHIFT * deviation[channel]
            channel += 1


def _last(projector: Projector) -> list[nn.Module]:
    """The linear stacks of the last block, one for each predicted layer."""
    return list(list(projector.fc_blocks.children())[-1].children())


def _initialise_embedder(model: BilayerModel, old: BilayerModel, pictures: Tensor) -> None:
    """Let the embedder's first block compute what `old`'s first convolution does of the halved picture, nearly."""
    first, block = list(model.identity_embedder.net["enc"].children())[:2]
    (was,) = list(old.identity_embedder.net["enc"].children())[:1]
    assert isinstance(first, nn.Conv2d)
    assert isinstance(was, nn.Conv2d)
    assert isinstance(block, ResidualBlock)
    if first.out_channels < first.in_channels or was.bias is None or first.bias is None:
        return
    _pass_through(first)
    first.bias.fill_(1.0)  # pictures begin at -1
    conv1, conv2, skip = (
        next(layer for layer in part.modules() if isinstance(layer, nn.Conv2d))
        for part in (block.block_feats, block.block, block.skip)
    )
    assert conv1.bias is not None
    assert conv2.bias is not None
    least = was(pictures).amin()
    conv1.weight.zero_()
    conv1.weight[:, : first.in_channels] = was.weight
    conv1.bias.copy_(was.bias - was.weight.sum(dim=(1, 2, 3)) - least)
    _pass_through(conv2)
    conv2.bias.fill_(float(least))
    _set_zero(skip)


def _pass_through(conv: nn.Conv2d) -> None:
    nn.init.dirac_(conv.weight)
    if conv.bias is not None:
        conv.bias.zero_()


def _set_zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        parameter.zero_()
