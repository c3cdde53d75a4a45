"""A plain generator -> the list of layers that is exported."""

from dataclasses import dataclass

from bilayer.export.network import layers as plain
from bilayer.export.network.fold import Block, PlainGenerator, Weights
from bilayer.export.network.layers import INPUT, Array, FoldedGenerator, Layer
from bilayer.export.network.rewrite import merge_heads, upsampled_as_phases, upsampled_as_transposed
from bilayer.export.options import UpsampleKind
from bilayer.model.networks.blocks import LEAKY_SLOPE
from bilayer.runtime.bundle import Channels, Outputs


@dataclass(frozen=True)
class GraphOptions:
    """Which of the equal graphs to make; docs/export.md has the table of their costs."""

    upsample: UpsampleKind = "deconv"  # how the block's second convolution gets its doubled size
    skip_first: bool = True  # the skip's 1x1 convolution before its upsampling, not after: four times cheaper
    merged_head: bool = True  # one 6-channel output for three


class _Builder:
    """Collects layers; each method adds one and returns its name."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []

    def add(self, layer: Layer) -> str:
        self.layers.append(layer)
        return layer.name

    def conv(self, name: str, source: str, weights: Weights) -> str:
        pad = weights.weight.shape[2] // 2
        return self.add(plain.Conv(name, (source,), weights.weight, weights.bias, (pad, pad, pad, pad)))

    def leaky(self, name: str, source: str) -> str:
        return self.add(plain.LeakyRelu(name, (source,), LEAKY_SLOPE))

    def scale_shift(self, name: str, source: str, scale: Array, shift: Array) -> str:
        return self.add(plain.ScaleShift(name, (source,), scale, shift))


def lower(generator: PlainGenerator, options: GraphOptions | None = None) -> FoldedGenerator:
    """Return the layers of `generator`, in the order that they run in, and what its outputs mean."""
    options = options or GraphOptions()
    build = _Builder()
    x = INPUT
    for i, linear in enumerate(generator.linears):
        x = build.add(plain.Gemm(f"pose_fc{i}", (x,), linear.weight, linear.bias))
        if i < len(generator.linears) - 1:
            x = build.leaky(f"pose_fc{i}_act", x)
    x = build.add(plain.Reshape("pose_grid", (x,), generator.input_shape))
    for k, block in enumerate(generator.blocks):
        x = _lower_block(build, f"block{k}", x, block, options)
    if generator.final_norm is not None:
        x = build.scale_shift("final_norm", x, generator.final_norm.scale, generator.final_norm.shift)
    x = build.leaky("final_act", x)
    outputs = _merged_head(build, x, generator) if options.merged_head else _three_heads(build, x, generator)
    return FoldedGenerator(generator.linears[0].weight.shape[1], tuple(build.layers), outputs)


def _lower_block(build: _Builder, name: str, x: str, block: Block, options: GraphOptions) -> str:
    y = x
    if block.norm1 is not None:
        y = build.scale_shift(f"{name}_norm1", y, block.norm1.scale, block.norm1.shift)
    y = build.conv(f"{name}_conv1", build.leaky(f"{name}_act1", y), block.conv1)
    if block.norm2 is not None:
        y = build.scale_shift(f"{name}_norm2", y, block.norm2.scale, block.norm2.shift)
    y = _upsample_and_convolve(build, name, build.leaky(f"{name}_act2", y), block.conv2, options.upsample)
    if options.skip_first:
        skip = build.add(plain.Upsample(f"{name}_skip_up", (build.conv(f"{name}_skip", x, block.skip),)))
    else:
        skip = build.conv(f"{name}_skip", build.add(plain.Upsample(f"{name}_skip_up", (x,))), block.skip)
    return build.add(plain.Add(f"{name}_out", (y, skip)))


def _upsample_and_convolve(build: _Builder, name: str, y: str, conv: Weights, kind: UpsampleKind) -> str:
    if kind == "nearest":
        return build.conv(f"{name}_conv2", build.add(plain.Upsample(f"{name}_up", (y,))), conv)
    if kind == "deconv":
        return build.add(plain.ConvTranspose(f"{name}_conv2", (y,), upsampled_as_transposed(conv.weight), conv.bias))
    phases = upsampled_as_phases(conv.weight)
    parts = [
        build.add(plain.Conv(f"{name}_conv2_phase{p}{q}", (y,), phases[p, q], conv.bias, (1 - p, 1 - q, p, q)))
        for p in (0, 1)
        for q in (0, 1)
    ]
    phased = build.add(plain.Concat(f"{name}_conv2_phases", tuple(parts)))
    return build.add(plain.DepthToSpace(f"{name}_conv2", (phased,)))


def _merged_head(build: _Builder, x: str, generator: PlainGenerator) -> Outputs:
    x = build.conv("head", x, merge_heads(generator.heads))
    build.add(plain.Activation("layers", (x,), "tanh"))
    seg = Channels("layers", 5, 6, scale=0.5, offset=0.5) if len(generator.heads) == 3 else None
    return Outputs(Channels("layers", 0, 2), Channels("layers", 2, 5), seg)


def _three_heads(build: _Builder, x: str, generator: PlainGenerator) -> Outputs:
    names = ("delta_uv", "lf_rgb", "seg")
    for name, head in zip(names, generator.heads, strict=False):
        convolved = build.conv(f"head_{name}", x, head)
        build.add(plain.Activation(name, (convolved,), "sigmoid" if name == "seg" else "tanh"))
    seg = Channels("seg", 0, 1) if len(generator.heads) == 3 else None
    return Outputs(Channels("delta_uv", 0, 2), Channels("lf_rgb", 0, 3), seg)
