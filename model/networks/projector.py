"""Embeddings -> the predicted parameters of one generator (paper, appendix A.2)."""

from collections.abc import Callable, Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from bilayer.model.networks.adaptive import AdaptiveParameters, Affine, BlockParameters, Conv1x1, Norm, Spade
from bilayer.runtime.errors import CheckpointError

_FULL_WIDTH_SIZE = 32  # px, side that an embedding is resized to when a generator is as wide as the embedder


class Projector(nn.Module):
    """Three linear layers without activations per predicted layer.

    Embedding k makes the second norm and the skip of block k and the first norm of block k + 1 (after the last
    block: the final norm). It is resized and viewed as a matrix with a row per output channel; the linear
    layers turn each row into that channel's weights and bias.
    """

    def __init__(
        self,
        embedding_channels: Sequence[int],  # of embedding k
        generator_channels: Sequence[int],  # of the generator's input, then after block k
        hidden_channels: Sequence[int],  # of the linear layers for block k
        spade: bool,
        adaptive_skip: bool,
    ) -> None:
        super().__init__()
        self.spade, self.adaptive_skip = spade, adaptive_skip
        self.rows = list(generator_channels[1:])
        self.sizes: list[int] = []
        self.fc_blocks = nn.ModuleList()
        for k, hidden in enumerate(hidden_channels):
            channels_in, rows = generator_channels[k : k + 2]
            ratio = channels_in / hidden
            size = int(_FULL_WIDTH_SIZE * ratio)
            if int(embedding_channels[k] * ratio) != rows or size < 1:
                raise CheckpointError(
                    f"block {k}: {embedding_channels[k]} channels of the embedding (tex_*) times {channels_in} / "
                    f"{hidden} (inf_* or tex_* over emb_*) must be the generator's {rows}: check the channel settings"
                )
            columns = embedding_channels[k] * size**2 // rows
            norm = [rows, rows] if spade else [1]
            skip = [channels_in] if adaptive_skip else []
            self.sizes.append(size)
            self.fc_blocks.append(
                nn.ModuleList(_linear_stack(columns, hidden, weights + 1) for weights in [*norm, *skip, *norm])
            )

    def predict_raw(self, embeddings: Sequence[Tensor]) -> list[list[Tensor]]:
        """Return, per block and predicted layer, (B, rows, weights + 1): the last column is the bias."""
        raw = []
        for embedding, size, rows, stacks in zip(embeddings, self.sizes, self.rows, self.fc_blocks, strict=True):
            assert isinstance(stacks, nn.ModuleList)
            resized = _resize(embedding, size)
            matrix = resized.reshape(len(embedding), rows, -1)  # (B, rows, columns)
            raw.append([stack(matrix) for stack in stacks])
        return raw

    def forward(self, embeddings: Sequence[Tensor]) -> AdaptiveParameters:
        read_norm: Callable[[Iterator[Tensor]], Norm] = _read_spade if self.spade else _read_affine
        blocks: list[BlockParameters] = []
        norm1: Norm | None = None  # block 0's is an ordinary batch norm
        for predicted in map(iter, self.predict_raw(embeddings)):
            norm2 = read_norm(predicted)
            skip = _read_conv(predicted) if self.adaptive_skip else None
            blocks.append(BlockParameters(norm1, norm2, skip))
            norm1 = read_norm(predicted)
        assert norm1 is not None
        return AdaptiveParameters(tuple(blocks), final_norm=norm1)


def _resize(x: Tensor, size: int) -> Tensor:
    """Resize (B, C, s, s) to (B, C, size, size) as adaptive average pooling does; to larger sizes it only repeats."""
    times, rest = divmod(size, x.shape[2])
    if rest or times == 1:
        return F.adaptive_avg_pool2d(x, size)
    # Its backward is several times quicker than that of the pooling
    batch, channels, side, _ = x.shape
    repeated = x[:, :, :, None, :, None].expand(batch, channels, side, times, side, times)
    return repeated.reshape(batch, channels, size, size)


def _linear_stack(columns: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(columns, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, out))


def _read_conv(predicted: Iterator[Tensor]) -> Conv1x1:
    raw = next(predicted)
    return Conv1x1(raw[..., :-1], raw[..., -1])


def _read_affine(predicted: Iterator[Tensor]) -> Affine:
    raw = next(predicted)
    return Affine(raw[..., 0], raw[..., 1])


def _read_spade(predicted: Iterator[Tensor]) -> Spade:
    return Spade(_read_conv(predicted), _read_conv(predicted))
