"""`bilayer-checkpoint`: what is in a checkpoint, and ours from the authors'."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
from click.core import ParameterSource

from bilayer.model.config import Preset, StoredPrecision
from bilayer.model.files.given import check_checkpoint_file
from bilayer.runtime.command.console import Group, as_json_option, show, suggest, table
from bilayer.runtime.command.options import Option, fills, refuse_typed
from bilayer.runtime.errors import CheckpointError
from bilayer.runtime.files.reading import is_folder, size_of
from bilayer.runtime.files.shell import pasted
from bilayer.runtime.files.writing import check_apart, check_output

if TYPE_CHECKING:
    from bilayer.model.config import ModelConfig, NetworkName
    from bilayer.model.files.overrides import Value


CHECKPOINT_SUFFIXES = (".safetensors",)


@dataclass(frozen=True, kw_only=True)
class RunsOptions:
    """Which of the authors' runs, and settings in place of theirs."""

    experiment: Annotated[
        str | None, Option("Which experiment of a runs folder.", metavar="NAME", default="the enhancer's")
    ] = None
    epoch: Annotated[int | None, Option("Which epoch of it.", at_least=0, default="the last")] = None
    settings: Annotated[
        tuple[str, ...],
        Option(
            "A setting in place of the checkpoint's, such as align_corners=True. Repeatable.",
            ("--set",),
            metavar="NAME=VALUE",
        ),
    ] = ()

    def check_runs(self, path: Path | None) -> None:
        """Raise a UsageError where one of several runs is asked for, and `path` is no folder of them."""
        if path is None or not is_folder(path):
            found = "a --preset" if path is None else str(path)
            refuse_typed(f"{found} has no runs to choose among", ["experiment", "epoch"])

    def overrides(self) -> "dict[str, Value]":
        """Return the settings by their names.

        Raises:
            UsageError: one is no NAME=VALUE.
            CheckpointError: there is no such setting, or its value is none that it may have.
        """
        named = [(setting, *setting.partition("=")) for setting in self.settings]
        for setting, _, equals, _ in named:
            if not equals:
                raise click.UsageError(f"--set {setting}: expected NAME=VALUE")
        from bilayer.model.files.overrides import check_overrides, parse_value

        overrides = {name: parse_value(name, text) for _, name, _, text in named}
        check_overrides(overrides)
        return overrides


@dataclass(frozen=True, kw_only=True)
class CheckpointChoice(RunsOptions):
    """What is looked into: a checkpoint, or an architecture by its name."""

    path: Annotated[Path | None, Option(argument=True)] = None
    preset: Annotated[Preset | None, Option("A named architecture instead of a file.")] = None

    def check(self) -> None:
        """Raise a UsageError where not one of them is given, or a CheckpointError where no file is there."""
        if (self.path is None) == (self.preset is None):
            raise click.UsageError("give either PATH or --preset")
        check_checkpoint_file(self.path)
        self.check_runs(self.path)


@dataclass(frozen=True, kw_only=True)
class CheckpointConversion(RunsOptions):
    """What is converted, and what of it is kept."""

    runs_dir: Annotated[Path, Option(argument=True)]
    place: Annotated[Path | None, Option(argument=True, metavar="[OUT]", suffixes=CHECKPOINT_SUFFIXES)] = None
    out: Annotated[Path, Option("The .safetensors to write.", ("-o",), suffixes=CHECKPOINT_SUFFIXES)] = Path(
        "checkpoint.safetensors"
    )
    precision: Annotated[
        StoredPrecision, Option("Of the matrices: fp16 halves the size; int8 also quarters the texture generator's.")
    ] = "fp32"
    discriminator: Annotated[bool, Option("Keep what only training needs.")] = True


@click.group(cls=Group)
def main() -> None:
    """Look into checkpoints of the bi-layer model, and convert the authors' to one .safetensors file."""


@main.command()
@fills(CheckpointChoice)
@as_json_option
def inspect(options: CheckpointChoice, as_json: bool) -> None:
    """Networks, parameters, multiply-accumulates and settings of a checkpoint.

    PATH is a .safetensors file of ours, or the authors' project, runs or experiment folder.
    """
    options.check()
    path, preset = options.path, options.preset
    from bilayer.model.config import NETWORKS, PRESETS, ModelConfig

    overrides = options.overrides()
    missing: dict[str, str] = {}
    if path is None:
        assert preset is not None
        from bilayer.model.files.overrides import with_overrides

        config = ModelConfig.from_dict(
            {**PRESETS[preset].to_dict(), **overrides}, with_overrides(f"--preset {preset}", overrides)
        )
        networks = NETWORKS
        source = f"preset {preset}"
    else:
        config, networks, missing = _look_into(path, options.experiment, options.epoch, overrides)
        source = str(path)
    report = _report(source, config, networks, missing)
    show(report, lambda: _as_text(report), as_json)
    _fail_if_no_avatar(missing)
    if path is not None and is_folder(path):
        suggest(f"bilayer-checkpoint convert {pasted(path)}", as_json)


@main.command()
@fills(CheckpointConversion)
@as_json_option
def convert(options: CheckpointConversion, as_json: bool) -> None:
    """Write the authors' checkpoint in RUNS_DIR as one .safetensors file, spectral norm resolved.

    OUT stands for --out, as with cp. RUNS_DIR is the project, its runs folder or one experiment. Networks of a base
    run and of an enhancer run on top of it come together. Pickles are read as tensors only; one that wants more is
    refused.
    """
    out, place = options.out, options.place
    if place is not None:
        if click.get_current_context().get_parameter_source("out") is not ParameterSource.DEFAULT:
            raise click.UsageError(f"give either {place} or --out {out}: one file is written")
        out = place
    check_checkpoint_file(options.runs_dir)
    options.check_runs(options.runs_dir)
    check_output(out)
    check_apart([out], [options.runs_dir])
    overrides = options.overrides()
    from bilayer.model.checkpoint import read_checkpoint, save_checkpoint

    config, tensors = read_checkpoint(
        options.runs_dir, experiment=options.experiment, epoch=options.epoch, overrides=overrides
    )
    if not options.discriminator:
        tensors.pop("discriminator", None)
    save_checkpoint(out, config, tensors, options.precision)
    size = size_of(out)
    report = {"out": str(out), "bytes": size, "networks": list(tensors), "precision": options.precision}
    following = f"bilayer-export PHOTO --checkpoint {pasted(out)}"
    show(report, lambda: f"{out}: {', '.join(tensors)}; {size / 1e6:.1f} MB", as_json, following)


def _look_into(
    path: Path, experiment: str | None, epoch: int | None, overrides: "dict[str, Value]"
) -> "tuple[ModelConfig, tuple[NetworkName, ...], dict[str, str]]":
    from bilayer.model.checkpoint import read_checkpoint
    from bilayer.model.config import NETWORKS
    from bilayer.model.files.authors_checkpoint import find_run

    if is_folder(path):
        run = find_run(path, experiment, epoch, overrides)
        for network in run.files:
            run.load(network)  # a damaged file is an error here, not a row
        present = tuple(network for network in NETWORKS if network in run.files)
        return run.config, present, {network: str(file) for network, file in run.absent.items()}
    config, tensors = read_checkpoint(path, networks=(), overrides=overrides)
    return config, tuple(tensors), {name: f"{name}.* in {path}" for name in NETWORKS if name not in tensors}


def _report(
    source: str, config: "ModelConfig", networks: "tuple[NetworkName, ...]", missing: dict[str, str]
) -> dict[str, Any]:
    from dataclasses import asdict

    from bilayer.model.config import PRESETS
    from bilayer.model.macs import PAPER_GMACS, count_costs, macs_per_frame

    costs = count_costs(config, networks)
    generator = {"image_size", "inf_num_channels", "inf_max_channels", "inf_input_tensor_size"}
    paper = {
        name: gmacs
        for name, gmacs in PAPER_GMACS.items()
        if all(getattr(PRESETS[name], field) == getattr(config, field) for field in generator)
    }
    return {
        "source": source,
        "networks": [asdict(cost) for cost in costs],
        "parameters": sum(cost.parameters for cost in costs),
        "macs_per_frame": macs_per_frame(costs),
        "paper_gmacs_per_frame": next(iter(paper.values()), None),
        "missing": missing,
        "settings": config.to_dict(),
    }


_WHEN = {
    "once": "once per avatar",
    "step": "once per avatar and enhancer step",
    "frame": "every frame",
    "training": "training",
}


def _as_text(report: dict[str, Any]) -> str:
    rows = [
        (
            row["network"],
            row["part"],
            f"{row['parameters']:,}",
            f"{row['macs'] / 1e9:.4f}",
            _WHEN[row["when"]],
        )
        for row in report["networks"]
    ]
    costs = table(["network", "part", "parameters", "GMAC", "runs"], rows)
    settings = table(["setting", "value"], report["settings"].items())
    frame = f"{report['parameters']:,} parameters; {report['macs_per_frame'] / 1e9:.3f} GMAC a frame"
    if report["paper_gmacs_per_frame"]:
        frame += f" (the paper's Table 2: {report['paper_gmacs_per_frame']})"
    missing = [f"missing: {network}: {where}" for network, where in report["missing"].items()] or ["missing: nothing"]
    return "\n".join([report["source"], "", costs, "", frame, *missing, "", settings])


def _fail_if_no_avatar(missing: dict[str, str]) -> None:
    from bilayer.model.config import AVATAR_NETWORKS

    needed = [missing[network] for network in AVATAR_NETWORKS if network in missing]
    if needed:
        raise CheckpointError(f"missing network files: {', '.join(needed)}; no avatar can be made without them")
