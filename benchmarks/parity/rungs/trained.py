"""The top of the ladder: the trained model in torch, made anew from checkpoint and photo, and folded in float64."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import torch

from bilayer.benchmarks.parity.rungs.rung import Rung
from bilayer.benchmarks.parity.rungs.trained_layers import trained_layers
from bilayer.benchmarks.parity.subject import Subject
from bilayer.export.network.layers import INPUT, FoldedGenerator
from bilayer.export.options import ExportOptions, UpsampleKind
from bilayer.export.pipeline import checkpoint_hash, fold_avatar, load_checkpoint
from bilayer.export.portraits import avatar_of, read_portraits
from bilayer.export.verify import TrainedNetwork
from bilayer.model.avatar import Avatar
from bilayer.model.networks.adaptive import AdaptiveParameters
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.model.threads import torch_threads
from bilayer.runtime.arrays import Bytes
from bilayer.runtime.bundle import Contract
from bilayer.runtime.errors import InputError
from bilayer.runtime.frame import NetworkOutputs, Values
from bilayer.runtime.sampler.grid_sample import pack_texture

POSE_TOLERANCE = 1e-4  # of the crop: the same landmarks, found again
TEXTURE_TOLERANCE = 2e-3  # of -1..1: torch's warps differ between machines by 1e-6, a fitted texture by 3e-4


@dataclass(frozen=True, eq=False)
class TrainedRung(Rung):
    """The model as it was trained, in torch."""

    subject: Subject
    model: BilayerModel
    parameters: AdaptiveParameters
    name = "trained"
    label = "trained model in torch, unfolded, float32"
    kind = "fp32"

    @property
    def align_corners(self) -> bool:
        """Which meaning of the warp's coordinates the checkpoint says."""
        return self.model.config.align_corners

    @torch_threads()
    def results(self, indices: list[int]) -> list[NetworkOutputs]:
        """Return the results for these poses, without hooks in the model."""
        network = TrainedNetwork(self.model, self.parameters)
        return [network.run(self.subject.poses[index]) for index in indices]

    @torch_threads()
    def layers(self, index: int) -> dict[str, Values]:
        """Return the output (1, ...) of those layers of the folded network that the trained model has, too."""
        dtype = next(self.model.inference_generator.parameters()).dtype
        pose = torch.from_numpy(self.subject.encoded()[index]).to(dtype)[None]
        found = trained_layers(self.model, self.parameters, pose, self.subject.generator)
        return {name: tensor.numpy() for name, tensor in {INPUT: pose, **found}.items()}


@dataclass(frozen=True, eq=False)
class ExactTrained(TrainedRung):
    """The truth: the model as it was trained, nothing folded, its weights and parameters in float64."""

    name = "float64"
    label = "the trained model, unfolded, in float64"
    by_generator = True
    results = Rung.results  # of layers, which run in float64: the parent runs the model without them

    @classmethod
    def of(cls, trained: TrainedRung) -> "ExactTrained":
        """Return a copy of the model in float64; that of `trained` stays as it is."""
        parameters = trained.parameters.map(lambda tensor: tensor.double())
        return cls(trained.subject, deepcopy(trained.model).double(), parameters)


@torch_threads()
def make_trained(subject: Subject, source: ExportOptions, photos: Sequence[Bytes] | None = None) -> TrainedRung:
    """Return the trained model of a bundle; its subject's generator is folded anew from the checkpoint.

    `source` has the export's photos and checkpoint, and how a face was found; what else was asked for the bundle tells.
    `photos` are their pixels, where they have been read already.

    Raises:
        InputError: another checkpoint, photo or settings than the bundle was exported with; says which.
    """
    contract = subject.bundle.contract
    options, model = _load(contract, source)
    portraits = read_portraits(options, model.config, photos)
    apart = float(np.abs(portraits[0].crop.pose - np.array(contract.source.pose, np.float32)).max())
    if not apart <= POSE_TOLERANCE:
        raise InputError(
            f"{source.photo}: not the face that the avatar was made from: landmarks are {apart:.3g} of the crop off, "
            f"expected at most {POSE_TOLERANCE:g}; give the photo, --landmarks, --rotate, --face and --landmarker of "
            "the export"
        )
    avatar = avatar_of(model, portraits, contract.origin.refined_by, contract.texture_size)
    apart = float(np.abs(pack_texture(avatar.texture[0].numpy()) - subject.texture).max())
    if not apart <= TEXTURE_TOLERANCE:
        raise InputError(
            f"{subject.bundle.path(contract.files.texture)}: {apart:.3g} off the texture that this photo gives, "
            f"expected at most {TEXTURE_TOLERANCE:g}; give the export's further photos (--other) and "
            "--no-mask, or export again"
        )
    generator = _folded(subject, model, avatar, options)
    truth = replace(subject, generator=generator, align_corners=model.config.align_corners)
    return TrainedRung(truth, model, avatar.parameters)


def _load(contract: Contract, source: ExportOptions) -> tuple[ExportOptions, BilayerModel]:
    """Load the model, known by its hash, which covers align_corners: what avatar.json says of it is tried first."""
    tensors = {contract.outputs.delta_uv.tensor, contract.outputs.lf_rgb.tensor}
    upsample = next((kind for kind in get_args(UpsampleKind) if kind == contract.graph.upsample), None)
    for align_corners in (contract.align_corners, not contract.align_corners):
        options = replace(source, align_corners=align_corners, upsample=upsample, merged_head=len(tensors) == 1)
        model = load_checkpoint(options)
        if checkpoint_hash(model) == contract.origin.checkpoint_sha256:
            return options, model
    raise InputError(
        f"{source.checkpoint}: not the checkpoint that the avatar was exported from, {contract.origin.checkpoint} "
        f"(sha256 {contract.origin.checkpoint_sha256[:12]} of its tensors); give that one as --checkpoint"
    )


def _folded(subject: Subject, model: BilayerModel, avatar: Avatar, options: ExportOptions) -> FoldedGenerator:
    """Fold the avatar as the export did it; which of the norms stay is seen from the ONNX."""
    for keep_norms in (False, True):
        generator, _ = fold_avatar(model, avatar, replace(options, keep_norms=keep_norms))
        if generator.shapes() == subject.own.shapes():
            told = subject.bundle.contract.outputs
            if (told.seg is None) != (generator.outputs.seg is None):
                has = "none" if told.seg is None else told.seg.tensor
                where = f"{subject.bundle.folder}: outputs.seg: found {has}, the checkpoint's network has"
                raise InputError(f"{where} {'none' if told.seg else 'one'}; export the avatar again")
            return generator
    raise InputError(
        f"{subject.onnx_path}: other layers than this version makes of the checkpoint; export the avatar again"
    )
