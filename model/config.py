"""Every setting of the bi-layer model. A field that the published args.txt also has carries the name it has there."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from bilayer.runtime.errors import CheckpointError
from bilayer.runtime.typed_json import typed

TextureNorm = Literal["ada_spade_bn", "ada_bn"]
PixelwiseBias = Literal["none", "bias"]
SkipLayer = Literal["ada_conv", "conv"]
Preset = Literal["small", "medium", "large", "baseline", "demo"]
StoredPrecision = Literal["fp32", "fp16", "int8"]  # of a checkpoint's file; see checkpoint.py
NetworkName = Literal[
    "identity_embedder",
    "keypoints_embedder",
    "texture_generator",
    "inference_generator",
    "texture_enhancer",
    "discriminator",
]

DEMO_CHECKPOINT = Path(__file__).parent / "demo_weights" / "demo.safetensors"  # with its model card beside it
NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)
AVATAR_NETWORKS = NETWORKS[:4]  # what an avatar cannot be made without
ENHANCER: tuple[NetworkName, ...] = ("texture_enhancer",)  # what makes it more like the photo


@dataclass(frozen=True)
class ModelConfig:
    """The paper's medium model by default. Channel counts double from `num` per halved size, up to `max`.

    Raises:
        CheckpointError: a setting out of range, or two that contradict each other.
    """

    image_size: int = 256  # px, side of every image; a power of two times each tensor size below
    eps: float = 1e-7  # in the batch norms, and in spectral norm's u and v
    align_corners: bool = False  # of the texture warp: what grid_sample did in training (torch <= 1.3: True)
    stickmen_thickness: int = 2  # px, lines of the landmark image

    emb_num_channels: int = 64
    emb_max_channels: int = 512
    emb_output_tensor_size: int = 8  # px, side of the embeddings
    emb_no_stickman: bool = False  # embed the picture alone, without its landmark image
    emb_apply_masks: bool = True  # paint the background of the embedded picture black

    pse_in_channels: int = 136  # 68 (x, y) pairs
    pse_num_channels: int = 256
    pse_num_blocks: int = 4  # linear layers
    pse_use_harmonic_enc: bool = False  # sines and cosines of the keypoints in place of the keypoints
    pse_num_harmonics: int = 4  # frequencies pi * 2**i

    tex_num_channels: int = 64  # of the embedder's decoder, too: embedding k feeds block k
    tex_max_channels: int = 512
    tex_input_tensor_size: int = 4  # px, side of the learned input
    tex_norm_layer_type: TextureNorm = "ada_spade_bn"  # ada_bn: Table 1's baseline
    tex_pixelwise_bias_type: PixelwiseBias = "none"  # a learned bias per pixel after ada_bn: Table 1's baseline
    tex_skip_layer_type: SkipLayer = "ada_conv"

    inf_num_channels: int = 32
    inf_max_channels: int = 256
    inf_input_tensor_size: int = 4  # px, side of the pose embedding
    inf_skip_layer_type: SkipLayer = "ada_conv"
    inf_pred_segmentation: bool = True
    inf_apply_masks: bool = False  # paint the background of the rendering black, by its predicted mask

    enh_num_channels: int = 64
    enh_max_channels: int = 128
    enh_num_blocks: int = 8  # residual blocks at the bottleneck
    enh_bottleneck_tensor_size: int = 128  # px
    enh_unrolling_depth: int = 4  # update steps, the paper's M
    enh_apply_masks: bool = False  # as inf_apply_masks, for the enhanced rendering

    dis_num_channels: int = 64
    dis_max_channels: int = 512
    dis_num_blocks: int = 6  # those beyond the downsampling ones keep the size
    dis_output_tensor_size: int = 8  # px, side of the grid of scores
    dis_no_stickman: bool = False

    def __post_init__(self) -> None:
        for setting in fields(self):
            check_range(setting.name, getattr(self, setting.name))
        for name in _TENSOR_SIZES:
            doublings(getattr(self, name), self.image_size, name)
        if self.tex_input_tensor_size != self.inf_input_tensor_size:
            raise CheckpointError(
                f"inf_input_tensor_size: expected {self.tex_input_tensor_size}, as tex_input_tensor_size is "
                f"(embedding k feeds block k of both generators), found {self.inf_input_tensor_size}"
            )

    @property
    def num_blocks(self) -> int:
        """The number of upsampling blocks of either generator, and of embeddings."""
        return doublings(self.tex_input_tensor_size, self.image_size, "tex_input_tensor_size")

    @property
    def texture_channels(self) -> tuple[int, ...]:
        """The channels of the texture generator's input, then after each block; embedding k has those after block k."""
        return self._decoder_channels(self.tex_num_channels, self.tex_max_channels)

    @property
    def inference_channels(self) -> tuple[int, ...]:
        """The channels of the pose embedding, then after each block of the inference generator."""
        return self._decoder_channels(self.inf_num_channels, self.inf_max_channels)

    @property
    def projector_channels(self) -> tuple[int, ...]:
        """The width of the hidden linear layers that predict block k's parameters."""
        return self._decoder_channels(self.emb_num_channels, self.emb_max_channels)[:-1]

    def _decoder_channels(self, num: int, most: int) -> tuple[int, ...]:
        return tuple(min(num << i, most) for i in range(self.num_blocks, -1, -1))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings by name, as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: dict[str, Any], source: str) -> "ModelConfig":
        """Return the given settings, with defaults for the others, or raise a CheckpointError that names `source`."""
        return typed(cls, settings, source, "update bilayer, or correct the setting", CheckpointError)


_TENSOR_SIZES = (
    "emb_output_tensor_size",
    "tex_input_tensor_size",
    "inf_input_tensor_size",
    "enh_bottleneck_tensor_size",
    "dis_output_tensor_size",
)
_MOST = {"_num_blocks": 32, "_depth": 64, "_harmonics": 16, "_thickness": 64}  # else MOST_OTHERWISE
_MOST_OTHERWISE = 8192  # far beyond any real model; a hostile file must not ask for a million layers


def doublings(small: int, large: int, setting: str) -> int:
    """Return how often `small` doubles to become `large`, or raise a CheckpointError that names `setting`."""
    count = (large // small).bit_length() - 1
    if small << max(count, 0) != large:
        raise CheckpointError(f"{setting}: expected image_size = {large} over a power of two, found {small}")
    return count


def check_range(name: str, value: object) -> None:
    """Raise a CheckpointError of a setting that is out of its range."""
    if isinstance(value, int) and not isinstance(value, bool):
        most = next((most for ending, most in _MOST.items() if name.endswith(ending)), _MOST_OTHERWISE)
        if not 1 <= value <= most:
            raise CheckpointError(f"{name}: expected 1 to {most}, found {value}")
    elif isinstance(value, float) and not 0 < value < 1:
        raise CheckpointError(f"{name}: expected a number between 0 and 1, found {value}")


PRESETS: dict[str, ModelConfig] = {
    # The paper's family (section 3.5 and Table 2): a quarter, half and all of the texture generator's channels
    "small": ModelConfig(inf_num_channels=16, inf_max_channels=128),
    "medium": ModelConfig(),
    "large": ModelConfig(inf_num_channels=64, inf_max_channels=512),
    # Table 1's baseline: no AdaSPADE, no predicted skips
    "baseline": ModelConfig(
        tex_norm_layer_type="ada_bn",
        tex_pixelwise_bias_type="bias",
        tex_skip_layer_type="conv",
        inf_skip_layer_type="conv",
    ),
    # Small enough to train on a CPU and to ship
    "demo": ModelConfig(
        emb_num_channels=8,
        emb_max_channels=128,
        pse_use_harmonic_enc=True,
        tex_num_channels=8,
        tex_max_channels=128,
        inf_num_channels=8,
        inf_max_channels=128,
        enh_num_channels=16,
        enh_max_channels=32,
        enh_num_blocks=4,
        dis_num_channels=16,
        dis_max_channels=128,
    ),
}
