"""A training batch through the networks, differentiably."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bilayer.model.avatar import Source, embed
from bilayer.model.networks.adaptive import AdaptiveParameters
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.model.texture_fit import View, fit_texture
from bilayer.model.warp import warp, warping_field
from bilayer.training.data.dataset import FrameBatch


@dataclass(frozen=True, eq=False)
class Prediction:
    """The base model's results for a batch of B people with T target frames each, in float32."""

    texture: Tensor  # (B, 3, S, S)
    delta_uv: Tensor  # (B * T, 2, S, S)
    lf_rgb: Tensor  # (B * T, 3, S, S)
    hf_rgb: Tensor  # (B * T, 3, S, S) the warped texture
    seg_logits: Tensor | None  # (B * T, 1, S, S)

    def of(self, people: Tensor) -> "Prediction":
        """Return the same of those of the B `people` (B,) for whom it is true."""
        frames = people.repeat_interleave(len(self.lf_rgb) // len(self.texture)).to(self.lf_rgb.device)
        tensors = (self.delta_uv, self.lf_rgb, self.hf_rgb, self.seg_logits)
        chosen = [None if tensor is None else tensor[frames] for tensor in tensors]
        return Prediction(self.texture[people.to(self.texture.device)], *chosen)  # type: ignore[arg-type]  # None: one

    @property
    def image(self) -> Tensor:
        """Equation 1: (B * T, 3, S, S)."""
        return self.lf_rgb + self.hf_rgb

    @property
    def mask(self) -> Tensor:
        """Predicted foreground (B * T, 1, S, S), a constant: it must not learn from the pictures (section 3.4)."""
        if self.seg_logits is None:
            return torch.ones_like(self.lf_rgb[:, :1])
        return torch.sigmoid(self.seg_logits).detach()


def targets_of(frames: FrameBatch) -> FrameBatch:
    """Return the frames of all people in one row: (B * T, ...)."""
    return frames.map(lambda tensor: tensor.flatten(0, 1))


def source_of(frames: FrameBatch) -> Source:
    """Return the first source frame of each person, as the model's source."""
    return Source(frames.images[:, 0], frames.poses[:, 0], frames.stickmen[:, 0], frames.masks[:, 0])


@torch.no_grad()
def fitted_prediction(
    model: BilayerModel, prediction: Prediction, target: FrameBatch, teaches_warp: bool = True
) -> Prediction:
    """Return a prediction of B people with T frames each whose texture is fitted to the first frame of each person.

    Warp and low-frequency layer are the same tensors, gradients and all; the fitted texture is a constant, so that
    the other frames teach them (the warp, if it `teaches_warp`) what a texture as sharp as a photo needs.
    """
    people = len(prediction.texture)
    frames = len(prediction.delta_uv) // people
    first = slice(None, None, frames)
    uv = warping_field(prediction.delta_uv)
    detail = target.images[first] - prediction.lf_rgb[first]
    view = View(uv[first], detail, (target.masks[first] * prediction.mask[first]) ** 2)
    texture = fit_texture(prediction.texture, [view], model.config.align_corners)
    with torch.enable_grad():
        uv = warping_field(prediction.delta_uv if teaches_warp else prediction.delta_uv.detach())
        hf = warp(texture.repeat_interleave(frames, dim=0), uv, model.config.align_corners)
    return replace(prediction, texture=texture, hf_rgb=hf)


def predict_avatars(model: BilayerModel, source: Source, bfloat16: bool = False) -> tuple[AdaptiveParameters, Tensor]:
    """Compute what each of B people has once: the inference generator's parameters, and textures (B, 3, S, S)."""
    with torch.autocast(source.images.device.type, torch.bfloat16, enabled=bfloat16):
        embeddings = embed(model, source)
        return model.inference_generator.predict_parameters(embeddings), model.texture_generator(embeddings)


def predict_frames(
    model: BilayerModel,
    parameters: AdaptiveParameters,
    texture: Tensor,
    poses: Tensor,
    bfloat16: bool = False,
    teaches_warp: bool = True,
) -> Prediction:
    """Return frames of `poses` (B * T, 136), T for each of the B people of `texture` (B, 3, S, S).

    `bfloat16` runs the network under autocast; the warp stays in float32, whose grid needs it. Unless the picture
    `teaches_warp`, its gradient goes to the texture alone.
    """
    frames = parameters.repeat_frames(len(poses) // len(texture))
    with torch.autocast(poses.device.type, torch.bfloat16, enabled=bfloat16):
        layers = model.inference_generator(model.keypoints_embedder(poses), frames)
    texture, delta_uv = texture.float(), layers.delta_uv.float()
    repeated = texture.repeat_interleave(len(poses) // len(texture), dim=0)
    uv = warping_field(delta_uv if teaches_warp else delta_uv.detach())
    return Prediction(
        texture,
        delta_uv,
        layers.lf_rgb.float(),
        warp(repeated, uv, model.config.align_corners),
        None if layers.seg_logits is None else layers.seg_logits.float(),
    )
