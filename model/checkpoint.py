"""Our checkpoint: one .safetensors file, its settings as JSON in the metadata. And one door to every kind there is.

The metadata has the single key `bilayer` (so that its bytes do not depend on a hash seed) with JSON of `format`,
`version`, `config` (model/config.py) and `networks`. Tensors are named `<network>.<name>`, spectral norm resolved.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from bilayer.model.config import AVATAR_NETWORKS, ENHANCER, NETWORKS, ModelConfig, NetworkName, StoredPrecision
from bilayer.model.files.authors_checkpoint import find_run
from bilayer.model.files.eight_bits import from_eight_bits, to_eight_bits
from bilayer.model.files.given import ONE_OF_SEVERAL
from bilayer.model.files.overrides import Value, check_overrides, with_overrides
from bilayer.model.files.safe_load import count_not_finite, is_torch_file, read_safetensors
from bilayer.model.files.shapes import DERIVED, OPTIONAL, check_shapes
from bilayer.model.networks.bilayer import BUILDERS, BilayerModel
from bilayer.model.reparameterize import reparameterize_model
from bilayer.runtime.errors import CheckpointError
from bilayer.runtime.files.reading import is_folder
from bilayer.runtime.files.writing import write_file
from bilayer.runtime.typed_json import FileFormat

_HEADS = "inference_generator.gen_inf.heads."  # nothing is folded into them
_EIGHT_BITS = "texture_generator."

NetworkTensors = Mapping[NetworkName, Mapping[str, Tensor]]


@dataclass(frozen=True)
class _Header:
    """What the metadata holds. Of ModelConfig's fields a file of an older version may have fewer."""

    config: dict[str, Any]
    networks: list[NetworkName]


_HEADER = FileFormat(
    _Header,
    "bilayer-checkpoint",
    1,
    "a bilayer checkpoint",
    "update bilayer, or make one with `bilayer-checkpoint convert`",
    CheckpointError,
)


def load_model(
    path: Path | str,
    networks: Collection[NetworkName] = AVATAR_NETWORKS,
    optional: Collection[NetworkName] = ENHANCER,
    *,
    experiment: str | None = None,
    epoch: int | None = None,
    overrides: Mapping[str, Value] | None = None,
) -> BilayerModel:
    """Return the model in `path`, for evaluation, in float32, rewritten to be quick at that (see reparameterize_model).

    Args:
        path: a .safetensors file, or a project, `runs` or experiment folder as the authors have it.
        networks: those that must be there.
        optional: those that are loaded where they are there; the rest is left on disk.
        experiment: which experiment of a runs folder.
        epoch: which epoch of it.
        overrides: settings in place of those in the checkpoint, align_corners among them.

    Raises:
        CheckpointError: the files are damaged, unsafe, incomplete, or do not fit their settings.
    """
    config, tensors = read_checkpoint(path, networks, optional, experiment=experiment, epoch=epoch, overrides=overrides)
    return build_model(config, tensors)


def read_checkpoint(
    path: str | Path,
    networks: Collection[NetworkName] = AVATAR_NETWORKS,
    optional: Collection[NetworkName] = NETWORKS,
    *,
    experiment: str | None = None,
    epoch: int | None = None,
    overrides: Mapping[str, Value] | None = None,
) -> tuple[ModelConfig, dict[NetworkName, dict[str, Tensor]]]:
    """Return settings, and checked tensors of the networks in `path`; arguments and errors are load_model's."""
    path, wanted = Path(path), {*networks, *optional}
    if is_folder(path):
        run = find_run(path, experiment, epoch, overrides)
        missing = [str(run.absent[name]) for name in NETWORKS if name in networks and name in run.absent]
        if missing:
            raise CheckpointError(f"missing network files: {', '.join(missing)}; copy them there")
        return run.config, {name: run.load(name) for name in run.files if name in wanted}
    if is_torch_file(path):
        raise CheckpointError(f"{path}: {ONE_OF_SEVERAL}")
    config, tensors = _read_ours(path, overrides or {}, wanted)
    absent = [name for name in NETWORKS if name in networks and name not in tensors]
    if absent:
        raise CheckpointError(f"{path}: has no {', '.join(absent)}; it has {', '.join(tensors) or 'no network'}")
    return config, tensors


def build_model(config: ModelConfig, tensors: NetworkTensors) -> BilayerModel:
    """Return the model of checked tensors, for evaluation, rewritten to be quick at that (see reparameterize_model)."""
    with torch.device("meta"):
        model = BilayerModel(config, list(tensors))
    for name, state in tensors.items():
        network = model.get_submodule(name)
        full = {key: torch.tensor(0) for key in network.state_dict() if key.endswith(OPTIONAL)}
        full.update({key: t.float() if t.is_floating_point() else t for key, t in state.items()})
        network.load_state_dict(full, assign=True)
    return reparameterize_model(model.eval().requires_grad_(False), inplace=True)


def save_checkpoint(
    path: str | Path, config: ModelConfig, tensors: NetworkTensors, precision: StoredPrecision = "fp32"
) -> None:
    """Write our format, whole or not at all. The same tensors give the same bytes.

    Args:
        path: the .safetensors file.
        config: the settings that the tensors have.
        tensors: state dicts by network; weights with spectral norm resolved.
        precision: with "fp16" matrices and feature maps are stored in half precision, and the inference generator's
            heads whole: exported as they are, they then lose nothing in a phone's FP16. Other vectors (biases,
            statistics of the batch norms, whose range half lacks) stay as they are: together they are under 1 % of
            the size. "int8" is the same but for the texture generator, whose matrices have eight bits: a texture
            that is fitted to the photo needs it for what the photo does not show, and it is half of the file.

    Raises:
        CheckpointError: a value that is not finite, or that half precision cannot hold.
        OutputError: the file cannot be written.
    """
    flat: dict[str, Tensor] = {}
    for name, state in tensors.items():
        for key, tensor in state.items():
            if key.rsplit(".", 1)[-1] in DERIVED or key.endswith(OPTIONAL):
                continue
            if bad := count_not_finite(tensor):
                raise CheckpointError(
                    f"{path}: not written: {name}.{key}: {bad} of {tensor.numel()} values are NaN or infinite"
                )
            flat |= _stored(f"{name}.{key}", tensor, precision)
    header = _HEADER.to_dict(_Header(config.to_dict(), sorted(tensors)))
    metadata = {"bilayer": json.dumps(header, sort_keys=True, allow_nan=False)}
    write_file(Path(path), lambda part: save_file(flat, part, metadata=metadata))


def _stored(key: str, tensor: Tensor, precision: StoredPrecision) -> dict[str, Tensor]:
    """Return what the file holds of one tensor, by name."""
    if precision == "fp32" or (tensor.dim() < 2 and not key.startswith(_HEADS)):
        return {key: tensor.contiguous()}
    if precision == "int8" and key.startswith(_EIGHT_BITS):
        return to_eight_bits(key, tensor)
    half = tensor.half().contiguous()
    if not torch.isfinite(half).all():
        raise CheckpointError(f"{key}: values up to {float(tensor.abs().max()):.3g} do not fit half precision (65504)")
    return {key: half}


def _read_ours(
    path: Path, overrides: Mapping[str, Value], wanted: Collection[NetworkName]
) -> tuple[ModelConfig, dict[NetworkName, dict[str, Tensor]]]:
    unwanted = tuple(f"{name}." for name in NETWORKS if name not in wanted)
    stored, metadata = read_safetensors(path, lambda name: not name.startswith(unwanted))
    flat = from_eight_bits(path, stored)
    check_overrides(overrides)
    source = with_overrides(str(path), overrides)
    config = ModelConfig.from_dict({**_header(path, metadata).config, **overrides}, source)
    tensors: dict[NetworkName, dict[str, Tensor]] = {}
    for key, tensor in flat.items():
        name, _, rest = key.partition(".")
        network = next((known for known in NETWORKS if known == name), None)
        if network is None:
            raise CheckpointError(f"{path}: {key}: belongs to no network; expected {', '.join(NETWORKS)}")
        tensors.setdefault(network, {})[rest] = tensor
    for network, state in tensors.items():
        shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
        check_shapes(config, network, shapes, f"{path}: {network}", "The file was changed: convert it again")
    return config, {name: tensors[name] for name in BUILDERS if name in tensors}


def _header(path: Path, metadata: Mapping[str, str]) -> _Header:
    try:
        return _HEADER.parse(json.loads(metadata.get("bilayer", "null")), str(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its metadata is damaged; download or convert it again") from error
