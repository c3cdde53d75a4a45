"""All settings of a training run; `bilayer-train --config FILE.toml` sets them, one table per class below.

Every number has a range, which is seen before torch is loaded: this module does not load it.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from bilayer.model.config import NETWORKS, PRESETS, ModelConfig, NetworkName
from bilayer.runtime.errors import InputError
from bilayer.runtime.face.ibug import POSE_WIDTH
from bilayer.runtime.typed_json import read_content, typed

TrainingPrecision = Literal["auto", "fp32", "bf16"]
# Upper ends are far beyond any real run: they are where a slip of the keyboard ends, and not the machine's memory
Count = Annotated[int, Meta(ge=1, le=10**9)]
Few = Annotated[int, Meta(ge=1, le=4096)]
Whole = Annotated[int, Meta(ge=0, le=10**9)]
Weight = Annotated[float, Meta(ge=0, le=1e6)]
Share = Annotated[float, Meta(ge=0, le=1)]
Decay = Annotated[float, Meta(ge=0, lt=1)]
Blur = Annotated[float, Meta(ge=0, le=256)]


@dataclass(frozen=True)
class WarpingSchedule:
    """Weight of the warping regulariser, which is to shape the first iterations only (section 3.5).

    The published code's counter starts anew at 1, so that its second and later steps come 49 iterations apart.
    """

    initial: Weight = 10.0
    factor: Share = 0.9
    interval: Count = 50  # iterations from one multiplication by `factor` to the next
    least: Weight = 1e-7  # below it the loss is switched off

    def weight(self, iteration: int) -> float:
        """Return the weight at the `iteration`-th step, counted from 0; 0 once it has fallen below `least`."""
        weight = self.initial * self.factor ** (iteration // self.interval)
        return weight if weight >= self.least else 0.0


@dataclass(frozen=True)
class LossWeights:
    """Factors of the losses. Those of the paper (section 3.5) by default; zero leaves a loss out."""

    adversarial: Weight = 0.5
    feature_matching: Weight = 10.0
    low_frequency: Weight = 10.0  # L1 of the low-frequency layer
    perceptual: Weight = 10.0  # VGG19; needs [perceptual] vgg19
    face_perceptual: Weight = 0.01  # VGGFace; needs [perceptual] vgg_face
    segmentation: Weight = 10.0
    warping: WarpingSchedule = field(default_factory=WarpingSchedule)

    # Beyond the paper, zero by default
    reconstruction: Weight = 0.0  # L1 of the picture, no gradient into the low-frequency layer
    gradient: Weight = 0.0  # L1 of the picture's edges, likewise
    coordinates: Weight = 0.0  # the warp against the renderer's canonical coordinates: synthetic heads only
    coordinates_large: Weight = 0.0  # how much more those of its errors weigh that are large, as of lids that stay open
    pictures_teach_warp: bool = True  # else only coordinates do: through a sharp texture pixels pull it astray
    perception: Weight = 0.0  # distance of EfficientNet-Lite0's features; needs the extra [perception]
    features: Weight = 1.0  # how much more eyes and mouth weigh in the pixel losses; 1: as much as the rest
    fitted: Weight = 0.0  # factor of the two above for the picture whose texture is fitted to the source; base alone
    twos: Weight = 0.0  # of the warp's difference between two frames that differ in an expression alone
    twos_picture: Weight = 0.0  # the same of the picture with the fitted texture
    low_frequency_blur: Blur = 0.0  # px, sigma of the blur of the low-frequency layer's target, eyes and mouth spared

    @property
    def needs_discriminator(self) -> bool:
        """Whether any of the losses uses the discriminator."""
        return bool(self.adversarial or self.feature_matching)


@dataclass(frozen=True)
class PerceptualFiles:
    """Weights of the perceptual losses. Without its file a perceptual loss is left out, with a warning."""

    vgg19: str = ""  # torchvision's VGG19, trained on ImageNet
    vgg_face: str = ""  # VGGFace's VGG16


StageName = Literal["base", "enhancer"]
PAPER_BATCH: dict[StageName, int] = {"base": 48, "enhancer": 32}  # section 4: for the base model, for the updater


@dataclass(frozen=True)
class DataSettings:
    """The data to train on, a folder in the layout of docs/data.md, and how batches are made of it."""

    root: str = ""
    batch_size: Few = PAPER_BATCH["base"]  # sequences a step, over all processes; of a file: its stage's
    target_frames: Few = 1  # of each sequence in the batch
    mirror: bool = False  # half of the sequences, left for right
    in_memory: bool = False  # keep the decoded frames; else they are read from disk each time
    workers: Annotated[int, Meta(ge=0, le=256)] = (
        2  # processes (in_memory: threads) that read ahead; 0: frames are read when they are asked for
    )


@dataclass(frozen=True)
class Optimisation:
    """Adam, as published, and how the networks are held in check."""

    learning_rate: Annotated[float, Meta(gt=0, le=100)] = 2e-4
    betas: tuple[Decay, Decay] = (0.5, 0.999)
    spectral_norm: tuple[NetworkName, ...] = NETWORKS  # whose layers are normalised
    batch_norm_momentum: Share = 1.0  # as published; inference uses the standing statistics
    keep_statistics: bool = False  # normalise by those that a run starts with, as inference does: for fine-tuning
    final_learning_rate: Share = 1.0  # share of it that is left at the end, by a half cosine; 1: constant
    warm_up: Whole = 0  # iterations in which the learning rate rises: Adam's first steps would undo what was grown
    average: Share = 0.0  # decay of the moving average of the weights that is saved; 0: the weights themselves


@dataclass(frozen=True)
class Schedule:
    """The length of a run and how often checkpoints, pictures and metrics are made, all in iterations."""

    iterations: Count = 100_000
    standing_batches: Whole = 500  # batches whose statistics the saved batch norms have; 0: those of the last batch
    soft_every: Count = 1  # iterations from one picture of the network's own texture to the next; see [losses] fitted
    checkpoint_every: Count = 1000
    validate_every: Count = 5000  # a checkpoint for the other programs is written then, and measured
    validated_people: Count = 8  # of the test split
    validated_every: Count = 4  # frames from one target to the next
    pictures_every: Count = 1000
    log_every: Count = 20


@dataclass(frozen=True)
class TrainingSettings:
    """All settings of one stage of training, a table each in the configuration's file."""

    model: ModelConfig
    data: DataSettings = DataSettings()
    losses: LossWeights = LossWeights()
    perceptual: PerceptualFiles = PerceptualFiles()
    optimisation: Optimisation = Optimisation()
    schedule: Schedule = Schedule()
    # bf16: networks under autocast, warp and losses in fp32; auto: bf16 where the processor computes in it
    precision: TrainingPrecision = "fp32"
    seed: Annotated[int, Meta(ge=0, lt=1 << 62)] = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return asdict(self)


def read_settings(path: Path, stage: StageName = "base") -> TrainingSettings:
    """Return settings from a TOML file; what it leaves out keeps its default, which for the batch is the paper's of the
    stage. `[model] preset = "demo"` starts from a preset.

    Raises:
        InputError: unreadable, not TOML, an unknown name, or a value of another type or out of range; names it.
    """
    document: dict[str, Any] = read_content(path)
    if isinstance(data := document.setdefault("data", {}), dict):
        data.setdefault("batch_size", PAPER_BATCH[stage])
    model = document.get("model", {})
    if isinstance(model, dict):
        preset = model.pop("preset", "medium")
        if preset not in PRESETS:
            raise InputError(f"{path}: model.preset: expected {' or '.join(PRESETS)}, found {preset!r}")
        model = {**PRESETS[preset].to_dict(), **model}
    settings = typed(TrainingSettings, document | {"model": model}, str(path))
    if (found := settings.model.pse_in_channels) != POSE_WIDTH:
        raise InputError(f"{path}: model.pse_in_channels: expected {POSE_WIDTH}, as the data have, found {found}")
    return settings
