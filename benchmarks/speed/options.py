"""What the commands of `bilayer-bench` may be asked for; loads no library, so that --help need not."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from bilayer.export.given import read_portrait
from bilayer.export.options import ConversionTarget, ExportOptions, check_finders
from bilayer.model.config import Preset
from bilayer.model.files.given import check_checkpoint_file
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.command.options import Option, refuse_typed
from bilayer.runtime.files.reading import check_input

if TYPE_CHECKING:
    from bilayer.runtime.arrays import Bytes

Repeats = Annotated[int, Option("Timed turns.", at_least=1)]
WarmUp = Annotated[int, Option("Turns before them.", at_least=0)]
BenchEngine = Literal["onnxruntime", "openvino", "ncnn"]


@dataclass(frozen=True, kw_only=True)
class PresetOptions:
    """Which architecture is counted or timed, with random weights."""

    preset: Annotated[Preset, Option("Architecture.")] = "medium"


@dataclass(frozen=True, kw_only=True)
class NetworkBench(PresetOptions):
    """The sides of `network`, and how often each is timed."""

    threads: Annotated[tuple[int, ...], Option("Of the network; may be repeated.", at_least=1, at_most=256)] = (1, 2)
    engines: Annotated[tuple[BenchEngine, ...], Option("May be repeated.", ("--engine",), default="all installed")] = (
        "onnxruntime",
        "openvino",
        "ncnn",
    )
    repeats: Repeats = 15
    warm_up: WarmUp = 2


@dataclass(frozen=True, kw_only=True)
class FrameBench(PresetOptions):
    """What `frame` plays: an avatar, or random weights of a preset."""

    bundle: Annotated[Path | None, Option("An avatar.", default="random, of the preset")] = None
    upsample: Annotated[Literal["nearest", "deconv", "phase"], Option("Of the random one: docs/export.md.")] = "deconv"
    size: Annotated[
        int | None, Option("Side of the random one's frames, px.", at_least=16, at_most=4096, default="the network's")
    ] = None
    repeats: Annotated[int, Option("Timed frames of each engine.", former="--frames", at_least=1)] = 40
    warm_up: Annotated[int, Option("Frames before each turn.", at_least=0)] = 1
    threads: Annotated[int, Option("Of the network.", at_least=1, at_most=256)] = 2
    vulkan: Annotated[bool, Option("ncnn on its Vulkan device as well.")] = False

    def check(self) -> None:
        """Raise a BundleError where the avatar cannot be used, before torch is loaded, or a UsageError."""
        if self.bundle is not None:
            refuse_typed("--bundle is played as it is", ["preset", "upsample", "size"])
            read_bundle(self.bundle)


@dataclass(frozen=True, kw_only=True)
class SamplerOptions:
    """The pictures that `sampler` makes."""

    sizes: Annotated[
        tuple[int, ...], Option("Output side; may be repeated.", ("--size",), at_least=8, at_most=4096)
    ] = (256, 512)
    repeats: Repeats = 60
    warm_up: WarmUp = 2


@dataclass(frozen=True, kw_only=True)
class InitBench(PresetOptions):
    """The avatars that `init` makes."""

    threads: Annotated[int, Option("CPU threads.", at_least=1, at_most=256)] = 2
    repeats: Repeats = 7
    warm_up: WarmUp = 1


@dataclass(frozen=True, kw_only=True)
class RooflineOptions(PresetOptions):
    """The options of `roofline`: which preset's network it counts, in which precision."""

    precision: Annotated[Literal["fp16", "fp32"], Option("Of the network.")] = "fp16"


@dataclass(frozen=True, kw_only=True)
class ExportBench:
    """What `export` exports, again and again."""

    photo: Annotated[Path, Option(argument=True)]
    checkpoint: Annotated[Path | None, Option("As bilayer-export takes it.", default="the demo weights")] = None
    repeats: Repeats = 3
    warm_up: WarmUp = 1

    def check(self) -> "Bytes":
        """Return the photo's pixels; or raise an InputError where a file cannot be used, or a ToolMissingError where
        nothing finds a face.
        """
        check_checkpoint_file(self.checkpoint)
        check_finders(ExportOptions(self.photo))
        return read_portrait(self.photo)


@dataclass(frozen=True, kw_only=True)
class BulkBench:
    """What `bulk` exports, in each way."""

    photos: Annotated[Path, Option(argument=True)]
    checkpoint: Annotated[Path | None, Option("As bilayer-export takes it.", default="the demo weights")] = None
    target: Annotated[ConversionTarget | None, Option("As bilayer-export takes it.", none="auto")] = None
    most: Annotated[int, Option("Photos at most.", at_least=1)] = 200
    commands: Annotated[int, Option("Of them by a command each, which takes longest.", at_least=1)] = 20
    with_ray: Annotated[bool, Option("Ray's two nodes, too (extra [ray]).")] = False

    def check(self) -> None:
        """Raise an InputError where a file cannot be used, before torch is loaded."""
        check_input(self.photos)
        check_checkpoint_file(self.checkpoint)


@dataclass(frozen=True, kw_only=True)
class VariantsBench(PresetOptions):
    """The graphs that `variants` times."""

    repeats: Repeats = 12
