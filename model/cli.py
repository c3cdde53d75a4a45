"""`bilayer-checkpoint`: what is in a checkpoint, and ours from the authors'."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bilayer.runtime.console import Group, table

if TYPE_CHECKING:
    from bilayer.model.authors_checkpoint import Value
    from bilayer.model.config import ModelConfig, NetworkName

PRESET_NAMES = ("small", "medium", "large", "baseline", "demo")

_runs_options = [
    click.option("--experiment", metavar="NAME", help="Which experiment of a runs folder (default: the enhancer's)."),
    click.option("--epoch", type=click.IntRange(min=0), help="Which epoch of it (default: the last)."),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="NAME=VALUE",
        help="A setting in place of the checkpoint's, such as align_corners=True. Repeatable.",
    ),
]


def _with_runs_options(command: Any) -> Any:
    for option in reversed(_runs_options):
        command = option(command)
    return command


@click.group(cls=Group)
def main() -> None:
    """Look into checkpoints of the bi-layer model, and convert the authors' to one .safetensors file."""


@main.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--preset", type=click.Choice(PRESET_NAMES), help="A named architecture instead of a file.")
@_with_runs_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(
    path: Path | None,
    preset: str | None,
    experiment: str | None,
    epoch: int | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Networks, parameters, multiply-accumulates and settings of a checkpoint.

    PATH is a .safetensors file of ours, or the authors' project, runs or experiment folder.
    """
    if (path is None) == (preset is None):
        raise click.UsageError("give either PATH or --preset")
    from bilayer.model.config import NETWORKS, PRESETS, ModelConfig

    overrides = _parse_settings(settings)
    missing: dict[str, str] = {}
    if path is None:
        assert preset is not None
        config = ModelConfig.from_dict({**PRESETS[preset].to_dict(), **overrides}, f"--preset {preset}")
        networks = NETWORKS
        source = f"preset {preset}"
    else:
        config, networks, missing = _look_into(path, experiment, epoch, overrides)
        source = str(path)
    report = _report(source, config, networks, missing)
    click.echo(json.dumps(report, indent=2) if as_json else _as_text(report))
    _fail_if_no_avatar(missing)
    if path is not None and path.is_dir() and not as_json:
        click.echo(f"\nnext: bilayer-checkpoint convert {path} checkpoint.safetensors", err=True)


@main.command()
@click.argument("runs_dir", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@_with_runs_options
@click.option("--half", is_flag=True, help="Store matrices in half precision: half the size.")
@click.option("--without-discriminator", is_flag=True, help="Leave out what only training needs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def convert(
    runs_dir: Path,
    out: Path,
    experiment: str | None,
    epoch: int | None,
    settings: tuple[str, ...],
    half: bool,
    without_discriminator: bool,
    as_json: bool,
) -> None:
    """Write the authors' checkpoint in RUNS_DIR as one file OUT.safetensors, spectral norm resolved.

    RUNS_DIR is the project, its runs folder or one experiment. Networks of a base run and of an enhancer run on top
    of it come together. Pickles are read as tensors only; one that wants more is refused.
    """
    if out.suffix != ".safetensors":
        raise click.UsageError(f"{out}: expected a name that ends in .safetensors")
    from bilayer.model.checkpoint import read_checkpoint, save_checkpoint

    config, tensors = read_checkpoint(runs_dir, experiment=experiment, epoch=epoch, overrides=_parse_settings(settings))
    if without_discriminator:
        tensors.pop("discriminator", None)
    save_checkpoint(out, config, tensors, half=half)
    report = {"out": str(out), "bytes": out.stat().st_size, "networks": list(tensors), "half": half}
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        click.echo(f"{out}: {', '.join(tensors)}; {out.stat().st_size / 1e6:.1f} MB")
        click.echo(f"\nnext: bilayer-checkpoint inspect {out}", err=True)


def _parse_settings(settings: tuple[str, ...]) -> "dict[str, Value]":
    from bilayer.model.authors_checkpoint import parse_value

    parsed = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise click.UsageError(f"--set {setting}: expected NAME=VALUE")
        parsed[name] = parse_value(name, text)
    return parsed


def _look_into(
    path: Path, experiment: str | None, epoch: int | None, overrides: "dict[str, Value]"
) -> "tuple[ModelConfig, tuple[NetworkName, ...], dict[str, str]]":
    from bilayer.model.authors_checkpoint import find_run
    from bilayer.model.checkpoint import read_checkpoint
    from bilayer.model.config import NETWORKS

    if path.is_dir():
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
    from bilayer.runtime.errors import CheckpointError

    needed = [missing[network] for network in AVATAR_NETWORKS if network in missing]
    if needed:
        raise CheckpointError(f"missing network files: {', '.join(needed)}; no avatar can be made without them")
