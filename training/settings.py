"""All settings of a training run; `bilayer-train --config FILE.toml` sets them, one table per class below."""

import tomllib
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from bilayer.model.config import PRESETS, ModelConfig, NetworkName
from bilayer.runtime.errors import CheckpointError, InputError
from bilayer.training.losses import WarpingSchedule

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class LossWeights:
    """Factors of the losses. Those of the paper (section 3.5) by default; zero leaves a loss out."""

    adversarial: float = 0.5
    feature_matching: float = 10.0
    low_frequency: float = 10.0  # L1 of the low-frequency layer
    perceptual: float = 10.0  # VGG19; needs [perceptual] vgg19
    face_perceptual: float = 0.01  # VGGFace; needs [perceptual] vgg_face
    segmentation: float = 10.0
    warping: WarpingSchedule = field(default_factory=WarpingSchedule)

    # Beyond the paper, zero by default
    reconstruction: float = 0.0  # L1 of the picture, no gradient into the low-frequency layer
    gradient: float = 0.0  # L1 of the picture's edges, likewise
    coordinates: float = 0.0  # the warp against the renderer's canonical coordinates: synthetic heads only
    features: float = 1.0  # how much more eyes and mouth weigh in the pixel losses; 1: as much as the rest
    low_frequency_blur: float = 0.0  # px, sigma of the blur of the low-frequency layer's target, eyes and mouth spared

    @property
    def needs_discriminator(self) -> bool:
        """Whether any of the losses uses the discriminator."""
        return bool(self.adversarial or self.feature_matching)


@dataclass(frozen=True)
class PerceptualFiles:
    """Weights of the perceptual losses. Without its file a perceptual loss is left out, with a warning."""

    vgg19: str = ""  # torchvision's VGG19, trained on ImageNet
    vgg_face: str = ""  # VGGFace's VGG16


@dataclass(frozen=True)
class DataSettings:
    """The data to train on, a folder in the layout of docs/data.md, and how batches are made of it."""

    root: str = ""
    batch_size: int = 48  # sequences a step, over all processes; the paper's, for the base model
    target_frames: int = 1  # of each sequence in the batch
    mirror: bool = False  # half of the sequences, left for right
    in_memory: bool = False  # keep the decoded frames; else they are read from disk each time
    workers: int = 2  # processes (in_memory: threads) that read ahead; 0: frames are read when they are asked for


@dataclass(frozen=True)
class Optimisation:
    """Adam, as published, and how the networks are held in check."""

    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    spectral_norm: tuple[NetworkName, ...] = (  # networks whose layers are normalised
        "identity_embedder",
        "keypoints_embedder",
        "texture_generator",
        "inference_generator",
        "texture_enhancer",
        "discriminator",
    )
    batch_norm_momentum: float = 1.0  # as published; inference uses the standing statistics
    final_learning_rate: float = (
        1.0  # share of the learning rate that is left at the end, by a half cosine; 1: constant
    )
    warm_up: int = 0  # iterations in which the learning rate rises: Adam's first steps would undo what was grown
    average: float = 0.0  # decay of the moving average of the weights that is saved; 0: the weights themselves


@dataclass(frozen=True)
class Schedule:
    """The length of a run and how often checkpoints, pictures and metrics are made, all in iterations."""

    iterations: int = 100_000
    standing_batches: int = 500  # batches whose statistics the saved batch norms have; 0: those of the last batch
    checkpoint_every: int = 1000
    validate_every: int = 5000  # a checkpoint for the other programs is written then, and measured
    validated_people: int = 8  # of the test split
    validated_every: int = 4  # frames from one target to the next
    pictures_every: int = 1000
    log_every: int = 20


@dataclass(frozen=True)
class TrainingSettings:
    """All settings of one stage of training, a table each in the configuration's file."""

    model: ModelConfig
    data: DataSettings = DataSettings()
    losses: LossWeights = LossWeights()
    perceptual: PerceptualFiles = PerceptualFiles()
    optimisation: Optimisation = Optimisation()
    schedule: Schedule = Schedule()
    precision: Precision = "fp32"  # bf16: networks under autocast, warp and losses in float32
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return asdict(self)


_TABLES: dict[str, type[Any]] = {
    "data": DataSettings,
    "losses": LossWeights,
    "perceptual": PerceptualFiles,
    "optimisation": Optimisation,
    "schedule": Schedule,
}


def read_settings(path: Path) -> TrainingSettings:
    """Settings from a TOML file; what it leaves out keeps its default. `[model] preset = "demo"` starts from a preset.

    Raises:
        InputError: unreadable, not TOML, an unknown name, or a value of another type; names the table and the name.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}") from error
    model = _read_model(document.pop("model", {}), path)
    settings = TrainingSettings(model)
    for name, value in document.items():
        if name in _TABLES:
            settings = replace(settings, **{name: _read_table(_TABLES[name], value, f"{path}: [{name}]")})
        elif name in ("precision", "seed"):
            settings = replace(settings, **{name: _checked(value, getattr(settings, name), name, str(path))})
        else:
            raise InputError(
                f"{path}: unknown name {name}; expected {', '.join(['model', *_TABLES, 'precision', 'seed'])}"
            )
    if settings.precision not in get_args(Precision):
        raise InputError(f"{path}: precision: expected {' or '.join(get_args(Precision))}, found {settings.precision}")
    return settings


def _read_model(table: object, path: Path) -> ModelConfig:
    if not isinstance(table, dict):
        raise InputError(f"{path}: model: expected a table")
    preset = table.pop("preset", "medium")
    if preset not in PRESETS:
        raise InputError(f"{path}: [model] preset: expected {' or '.join(PRESETS)}, found {preset}")
    try:
        return ModelConfig.from_dict({**PRESETS[preset].to_dict(), **table}, f"{path}: [model]")
    except CheckpointError as error:
        raise InputError(str(error)) from error


def _read_table(kind: type[Any], table: object, where: str) -> Any:
    if not isinstance(table, dict):
        raise InputError(f"{where}: expected a table")
    values, known = kind(), {setting.name for setting in fields(kind)}
    for name, value in table.items():
        if name not in known:
            raise InputError(f"{where}: unknown name {name}; expected {', '.join(sorted(known))}")
        default = getattr(values, name)
        if is_dataclass(default):
            checked = _read_table(type(default), value, f"{where} {name}")
        else:
            checked = _checked(value, default, name, where)
        values = replace(values, **{name: checked})
    return values


def _checked(value: object, default: object, name: str, where: str) -> Any:
    """`value`, if it is of the default's type; whole numbers are numbers, and lists tuples."""
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if isinstance(default, tuple) and isinstance(value, list):
        value = tuple(value)
    if type(value) is not type(default):
        raise InputError(f"{where} {name}: expected {type(default).__name__}, found {value!r}")
    return value
