"""Do these tensors fit these settings? If not: which setting is it?"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch

from bilayer.model.config import ModelConfig, NetworkName
from bilayer.model.networks.bilayer import BUILDERS
from bilayer.runtime.errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]
Found = Iterator[tuple[str, object]]  # setting, value that the shapes tell

# Buffers that follow from the settings: a published file may hold them, ours does not
DERIVED = ("identity_grid", "frequencies")
OPTIONAL = ".num_batches_tracked"  # old torch did not save it


def expected_shapes(config: ModelConfig, network: NetworkName) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor, by name, of the network without spectral norm. Allocates nothing."""
    with torch.device("meta"):
        return {key: tuple(tensor.shape) for key, tensor in BUILDERS[network](config).state_dict().items()}


def check_shapes(config: ModelConfig, network: NetworkName, shapes: Shapes, source: str, remedy: str) -> None:
    """Raise a CheckpointError unless the tensors are this network's with these settings.

    The message names the settings that the shapes contradict, where they tell; `remedy` is a format string for
    the way out, with `{setting}` and `{found}`.
    """
    contradicted = _contradictions(config, network, shapes)
    try:
        expected = expected_shapes(config, network)
    except CheckpointError as error:  # settings that contradict each other
        if not contradicted:
            raise CheckpointError(f"{source}: {error}") from error
        expected = {}
    found = {key: shape for key, shape in shapes.items() if key.rsplit(".", 1)[-1] not in DERIVED}
    grid = shapes.get("identity_grid")
    wrong = [
        key
        for key in expected.keys() | found.keys()
        if expected.get(key) != found.get(key) and not (key.endswith(OPTIONAL) and key not in found)
    ]
    if grid is not None and grid[1:3] != (config.image_size,) * 2:
        wrong.append("identity_grid")
    if not wrong:
        return
    if expected and not expected.keys() & found.keys():
        example = next(iter(found), "nothing")
        raise CheckpointError(f"{source}: not a {network} of the bi-layer model: it holds {example} and the like")
    if contradicted:
        facts = "; ".join(f"{name} is {getattr(config, name)}, but the weights have {v}" for name, v in contradicted)
        name, value = contradicted[0]
        raise CheckpointError(f"{source}: {facts}. {remedy.format(setting=name, found=value)}")
    first = min(wrong)
    raise CheckpointError(
        f"{source}: {len(wrong)} of {len(expected)} tensors do not fit the settings, first {first}: expected "
        f"{_describe(expected.get(first))}, found {_describe(found.get(first))}"
    )


def _describe(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else str(shape)


def _contradictions(config: ModelConfig, network: NetworkName, shapes: Shapes) -> list[tuple[str, object]]:
    try:
        return [(name, value) for name, value in _READERS[network](config, shapes) if getattr(config, name) != value]
    except (KeyError, IndexError, ValueError):
        return []  # too far from the network to tell


def _count(shapes: Shapes, prefix: str) -> int:
    """Return one more than the largest number that follows `prefix` in a name; 0 where none does."""
    numbers = [int(key.removeprefix(prefix).split(".")[0]) for key in shapes if key.startswith(prefix)]
    return max(numbers) + 1 if numbers else 0


def _widest(num: int, blocks: int, widest: int, configured: int) -> int:
    """Return the `max_channels` that shows as `widest`: any value does that is not reached."""
    return configured if widest == num << blocks and configured >= widest else widest


def _identity_embedder(config: ModelConfig, shapes: Shapes) -> Found:
    num, channels_in = shapes["net.enc.0.weight"][:2]
    halvings = _count(shapes, "net.enc.") - 1
    widest = shapes[f"net.enc.{halvings}.block.0.weight"][0]
    blocks = _count(shapes, "net.dec_blocks.")
    decoder = [shapes[f"net.dec_blocks.{k}.block.0.weight"][0] for k in range(blocks)]
    yield "emb_no_stickman", channels_in == 3
    yield "emb_num_channels", num
    yield "emb_max_channels", _widest(num, halvings, widest, config.emb_max_channels)
    yield "emb_output_tensor_size", config.image_size >> halvings
    yield "tex_input_tensor_size", config.image_size >> blocks
    yield "tex_num_channels", decoder[-1]
    yield "tex_max_channels", _widest(decoder[-1], blocks - 1, decoder[0], config.tex_max_channels)


def _keypoints_embedder(config: ModelConfig, shapes: Shapes) -> Found:
    hidden, width = shapes["net.mlp.0.weight"]
    layers = [key for key in shapes if key.startswith("net.mlp.") and key.endswith(".weight")]
    out = shapes[f"net.mlp.{2 * len(layers) - 2}.weight"][0]
    plain, harmonic = config.pse_in_channels, 2 * config.pse_num_harmonics * config.pse_in_channels
    if width in (plain, harmonic):
        yield "pse_use_harmonic_enc", width == harmonic
    elif config.pse_use_harmonic_enc:
        yield "pse_num_harmonics", width // (2 * plain)
    else:
        yield "pse_in_channels", width
    yield "pse_num_channels", hidden
    yield "pse_num_blocks", len(layers)
    if out != config.inference_channels[0] * config.inf_input_tensor_size**2:
        yield "inf_max_channels", out // config.inf_input_tensor_size**2


def _generator(config: ModelConfig, shapes: Shapes, room: str, prefix: str, first: tuple[int, ...]) -> Found:
    blocks = _count(shapes, f"{room}.blocks.") - 1
    num = shapes[f"{room}.heads.0.0.weight"][1]
    size = getattr(config, f"{prefix}_input_tensor_size")
    yield "image_size", size << blocks
    yield f"{prefix}_num_channels", num
    yield f"{prefix}_max_channels", _widest(num, blocks, first[0], getattr(config, f"{prefix}_max_channels"))
    skip = any(".skip." in key for key in shapes)
    yield f"{prefix}_skip_layer_type", "conv" if skip else "ada_conv"


def _texture_generator(config: ModelConfig, shapes: Shapes) -> Found:
    _, channels, size, _ = shapes["gen_tex_input"]
    yield "tex_input_tensor_size", size
    spade = any(key.endswith(".pixel_feats") for key in shapes)
    yield "tex_norm_layer_type", "ada_spade_bn" if spade else "ada_bn"
    yield "tex_pixelwise_bias_type", "bias" if any(key.endswith(".pixel_bias") for key in shapes) else "none"
    at_size = replace(config, tex_input_tensor_size=size, inf_input_tensor_size=size)
    yield from _generator(at_size, shapes, "gen_tex", "tex", (channels,))
    yield from _projector(config, shapes, "prj_tex")


def _inference_generator(config: ModelConfig, shapes: Shapes) -> Found:
    yield "inf_pred_segmentation", "gen_inf.heads.2.0.weight" in shapes
    if "identity_grid" in shapes:
        yield "image_size", shapes["identity_grid"][1]
    yield from _generator(config, shapes, "gen_inf", "inf", shapes["gen_inf.blocks.0.block_feats.0.weight"])
    yield from _projector(config, shapes, "prj_inf")


def _projector(config: ModelConfig, shapes: Shapes, room: str) -> Found:
    blocks = _count(shapes, f"{room}.fc_blocks.")
    last = shapes[f"{room}.fc_blocks.{blocks - 1}.0.0.weight"][0]
    first = shapes[f"{room}.fc_blocks.0.0.0.weight"][0]
    yield "emb_num_channels", last // 2
    yield "emb_max_channels", _widest(last // 2, blocks, first, config.emb_max_channels)


def _texture_enhancer(config: ModelConfig, shapes: Shapes) -> Found:
    num = shapes["net.blocks.0.weight"][0]
    halvings = sum(1 for key in shapes if key.endswith(".skip.0.weight"))
    bottleneck = shapes[f"net.blocks.{halvings}.block.0.weight"][0]
    yield "enh_num_channels", num
    yield "enh_max_channels", _widest(num, halvings, bottleneck, config.enh_max_channels)
    yield "enh_bottleneck_tensor_size", config.image_size >> halvings
    yield "enh_num_blocks", _count(shapes, "net.blocks.") - 4 - 2 * halvings


def _discriminator(config: ModelConfig, shapes: Shapes) -> Found:
    num, channels_in = shapes["net.first_conv.weight"][:2]
    blocks = _count(shapes, "net.blocks.")
    yield "dis_no_stickman", channels_in == 3
    yield "dis_num_channels", num
    yield "dis_num_blocks", blocks
    yield "dis_max_channels", _widest(num, blocks, shapes["net.linear.weight"][1], config.dis_max_channels)


_READERS: dict[NetworkName, Callable[[ModelConfig, Shapes], Found]] = {
    "identity_embedder": _identity_embedder,
    "keypoints_embedder": _keypoints_embedder,
    "texture_generator": _texture_generator,
    "inference_generator": _inference_generator,
    "texture_enhancer": _texture_enhancer,
    "discriminator": _discriminator,
}
