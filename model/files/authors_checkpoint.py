"""The authors' checkpoints as they lie on disk.

    <project>/runs/<experiment>/args.txt                                  settings, `name: value` a line
    <project>/runs/<experiment>/checkpoints/<epoch>_<network>.pth         a state dict, mostly with spectral norm

The enhancer is trained in an experiment of its own, on top of a base experiment that its args.txt names. Settings come
from the enhancer's args.txt where there is one, as the authors' own inference has it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from bilayer.model.config import AVATAR_NETWORKS, NETWORKS, ModelConfig, NetworkName
from bilayer.model.files.given import SETTINGS, experiment_folders
from bilayer.model.files.overrides import Value, check_overrides, parse_value, with_overrides
from bilayer.model.files.safe_load import count_not_finite, read_pth
from bilayer.model.files.shapes import DERIVED, check_shapes
from bilayer.model.networks.spectral import resolve_spectral_norm
from bilayer.runtime.errors import CheckpointError
from bilayer.runtime.files.reading import FileKind, is_file, is_there, list_folder, read_text

_CHECKPOINT = re.compile(r"(\d{1,9})_([a-z_]+)\.(?:pth|pt|ckpt)")  # the authors' is .pth; others save under others

# Settings with one published value: another one would be another network
_FIXED: Mapping[str, Value] = {
    "dis_activation_type": "leakyrelu",
    "dis_downsampling_type": "avgpool",
    "dis_norm_layer_type": "bn",
    "emb_activation_type": "leakyrelu",
    "emb_downsampling_type": "avgpool",
    "emb_norm_layer_type": "none",
    "enh_activation_type": "leakyrelu",
    "enh_downsampling_type": "avgpool",
    "enh_guiding_rgb_loss_type": "sse",
    "enh_norm_layer_type": "none",
    "enh_upsampling_type": "nearest",
    "inf_activation_type": "leakyrelu",
    "inf_norm_layer_type": "ada_bn",
    "inf_upsampling_type": "nearest",
    "pse_activation_type": "leakyrelu",
    "pse_norm_layer_type": "none",
    "tex_activation_type": "leakyrelu",
    "tex_pixelwise_bias_type": "none",
    "tex_pred_segmentation": False,
    "tex_upsampling_type": "nearest",
    "wgv_mode": "none",
}


@dataclass(frozen=True)
class Experiment:
    """One training run's folder."""

    folder: Path
    args: Mapping[str, Value]
    checkpoints: Mapping[NetworkName, Mapping[int, Path]]  # network -> epoch -> file

    @property
    def args_file(self) -> Path:
        """The file that the settings stand in."""
        return self.folder / SETTINGS

    def latest_epoch(self) -> int:
        """Return the last epoch that any network was saved at."""
        return max(epoch for files in self.checkpoints.values() for epoch in files)


@dataclass(frozen=True)
class PublishedRun:
    """The files of one model: settings, and a file for each network that was found."""

    config: ModelConfig
    args_file: Path
    files: Mapping[NetworkName, Path]
    absent: Mapping[NetworkName, Path]  # where the others were looked for

    def load(self, network: NetworkName) -> dict[str, Tensor]:
        """Return the state dict of one network, spectral norm resolved, checked against the settings.

        Raises:
            CheckpointError: an unsafe or damaged file, weights that the settings do not describe, or whose spectral
                norm is zero.
        """
        path = self.files[network]
        tensors = read_pth(path)
        _check_spectral_norm(tensors, path)
        vectors = {key.removesuffix("_orig") + end for key in tensors if key.endswith("_orig") for end in ("_u", "_v")}
        plain = {key.removesuffix("_orig"): tuple(t.shape) for key, t in tensors.items() if key not in vectors}
        remedy = f"Correct {self.args_file}, or override it with --set {{setting}}={{found}}"
        check_shapes(self.config, network, plain, str(path), remedy)
        resolved = resolve_spectral_norm({k: t for k, t in tensors.items() if k.rsplit(".", 1)[-1] not in DERIVED})
        for key, tensor in resolved.items():
            if count_not_finite(tensor):
                raise CheckpointError(
                    f"{path}: {key}: no finite spectral norm, as of a weight that is zero; the training collapsed or "
                    "the file is damaged: take an earlier epoch"
                )
        return resolved


def read_args(path: Path) -> dict[str, Value]:
    """Return the settings of an args.txt; names that nobody knows are kept.

    Raises:
        CheckpointError: missing, not text, or a line that is not `name: value`; names the line.
    """
    lines = read_text(path, FileKind.SETTINGS, CheckpointError).splitlines()
    args: dict[str, Value] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, colon, text = line.partition(":")
        if not colon or not name.isidentifier() or (text and not text.startswith(" ")):
            raise CheckpointError(f"{path}: line {number}: expected `name: value`, found {line[:60]!r}")
        value = parse_value(name, text.strip())
        if args.setdefault(name, value) != value:
            raise CheckpointError(f"{path}: line {number}: {name} is {value!r} here and {args[name]!r} before")
    return args


def make_config(args: Mapping[str, Value], source: str, overrides: Mapping[str, Value] | None = None) -> ModelConfig:
    """Return the model's settings among `args`, with `overrides`.

    The masks of the renderings stay off unless overridden: so do the authors at inference, whatever training did.

    Raises:
        CheckpointError: a value that no published network has, or of another type; names the setting.
    """
    overrides = overrides or {}
    check_overrides(overrides)
    for name, value in _FIXED.items():
        found = {**args, **overrides}.get(name, value)
        if found != value:
            raise CheckpointError(f"{source}: {name}: expected {value}, the only published choice, found {found}")
    known = {setting.name for setting in fields(ModelConfig)}
    settings: dict[str, Any] = {name: value for name, value in args.items() if name in known}
    settings.update(inf_apply_masks=False, enh_apply_masks=False)
    settings.update(overrides)
    if isinstance(image_size := settings.get("image_size"), int):  # a base run has no enhancer's settings
        settings.setdefault("enh_bottleneck_tensor_size", max(image_size // 2, 1))
    return ModelConfig.from_dict(settings, with_overrides(source, overrides))


def find_run(
    path: Path,
    experiment: str | None = None,
    epoch: int | None = None,
    overrides: Mapping[str, Value] | None = None,
) -> PublishedRun:
    """Return the files of a model below `path`: a project, its `runs`, or one experiment in it.

    `experiment` defaults to the one with the enhancer, or else the one there is; `epoch`, of that experiment, to the
    last. The other networks come from the base experiment that its args.txt names.

    Raises:
        CheckpointError: no such files, or more than one choice; names them.
    """
    experiments = _find_experiments(path)
    top = _choose(experiments, path, experiment)
    base = _base_of(top, experiments)
    top_epoch = top.latest_epoch() if epoch is None else epoch
    base_epoch = top_epoch if base is top else _base_epoch(top, base)
    files: dict[NetworkName, Path] = {}
    absent: dict[NetworkName, Path] = {}
    for network in NETWORKS:
        places = [(top, top_epoch), (base, base_epoch)]
        found = [run.checkpoints[network][e] for run, e in places if e in run.checkpoints.get(network, {})]
        if found:
            files[network] = found[0]
        else:
            run, e = places[0] if network == "texture_enhancer" else places[1]
            absent[network] = run.folder / "checkpoints" / f"{e}_{network}.pth"
    if epoch is not None and not any(epoch in files for files in top.checkpoints.values()):
        raise CheckpointError(f"{top.folder}: nothing saved at epoch {epoch}; the last is {top.latest_epoch()}")
    config = make_config(top.args, str(top.args_file), overrides)
    return PublishedRun(config, top.args_file, files, absent)


def _find_experiments(path: Path) -> dict[str, Experiment]:
    return {folder.name: _read_experiment(folder) for folder in experiment_folders(path)}


def _read_experiment(folder: Path) -> Experiment:
    checkpoints: dict[NetworkName, dict[int, Path]] = {}
    saved = folder / "checkpoints"
    for file in list_folder(saved, "*_*", CheckpointError) if is_there(saved) else []:
        match = _CHECKPOINT.fullmatch(file.name)
        for network in NETWORKS:
            if not match or match[2] != network:
                continue
            before = checkpoints.setdefault(network, {}).setdefault(int(match[1]), file)
            if before != file:
                raise CheckpointError(f"{file}: {before.name} is the same network of the same epoch; remove one")
    return Experiment(folder, read_args(folder / "args.txt"), checkpoints)


def _choose(experiments: Mapping[str, Experiment], path: Path, name: str | None) -> Experiment:
    if name is None and is_file(path / "args.txt"):
        name = path.resolve().name
    if name is not None:
        if name not in experiments:
            raise CheckpointError(f"{path}: no experiment {name}; there are {', '.join(experiments)}")
        candidates = [experiments[name]]
    else:
        with_weights = [run for run in experiments.values() if run.checkpoints]
        enhancers = [run for run in with_weights if "texture_enhancer" in run.checkpoints]
        candidates = enhancers or with_weights
    if not candidates or not candidates[0].checkpoints:
        raise _no_checkpoints(candidates[0].folder if candidates else path)
    if len(candidates) > 1:
        names = ", ".join(run.folder.name for run in candidates)
        raise CheckpointError(f"{path}: several experiments ({names}); choose one with --experiment NAME")
    return candidates[0]


def _base_of(top: Experiment, experiments: Mapping[str, Experiment]) -> Experiment:
    if any(network in top.checkpoints for network in AVATAR_NETWORKS):
        return top
    name = Path(str(top.args.get("init_experiment_dir", ""))).name
    if name in experiments:
        return experiments[name]
    bases = [run for run in experiments.values() if set(AVATAR_NETWORKS) & run.checkpoints.keys()]
    if len(bases) == 1:
        return bases[0]
    found = ", ".join(run.folder.name for run in bases) or "none"
    raise CheckpointError(
        f"{top.args_file}: init_experiment_dir names {name!r} as the base experiment; beside it there is {found}"
    )


def _base_epoch(top: Experiment, base: Experiment) -> int:
    named = top.args.get("init_which_epoch")
    saved = {epoch for files in base.checkpoints.values() for epoch in files}
    if isinstance(named, int) and named in saved:
        return named
    if not saved:
        raise _no_checkpoints(base.folder)
    return max(saved)


def _no_checkpoints(folder: Path) -> CheckpointError:
    return CheckpointError(f"{folder}: no checkpoints/<epoch>_<network>.pth in it; copy the network files there")


def _check_spectral_norm(tensors: Mapping[str, Tensor], path: Path) -> None:
    for key, weight in tensors.items():
        if key.endswith("_avg"):
            raise CheckpointError(f"{path}: {key}: averaged weights (wgv_mode) are not supported; use a run without")
        if not key.endswith("_orig"):
            continue
        name = key.removesuffix("_orig")
        rows, columns = len(weight), weight[0].numel() if weight.dim() and len(weight) else 0
        u, v = tensors.get(name + "_u"), tensors.get(name + "_v")
        if u is None or u.shape != (rows,) or (v is not None and v.shape != (columns,)):
            found = None if u is None else tuple(u.shape), None if v is None else tuple(v.shape)
            raise CheckpointError(
                f"{path}: {name}: expected spectral-norm vectors u ({rows},) and v ({columns},), found {found}"
            )
