"""A photo's crop -> an avatar: what is computed once per person."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bilayer.model.anchors import find_anchors, move_warps
from bilayer.model.config import AVATAR_NETWORKS, ENHANCER, ModelConfig
from bilayer.model.networks.adaptive import AdaptiveParameters
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.model.networks.generators import GeneratorOutputs
from bilayer.model.render import Rendering, masked, render
from bilayer.model.texture_fit import View, fit_texture
from bilayer.model.warp import resize_picture, resize_texture, warp, warp_transpose, warping_field
from bilayer.runtime.arrays import Floats
from bilayer.runtime.bundle import WarpAnchors
from bilayer.runtime.errors import PhotoError
from bilayer.runtime.face.crop import Crop, scale_image
from bilayer.runtime.face.found import MIRRORED
from bilayer.runtime.face.stickman import draw_stickman
from bilayer.runtime.vocabulary import Refine, WarpMotion


@dataclass(frozen=True, eq=False)
class Shot:
    """A photo of each of B people that their textures are fitted to, at any size F; pictures in -1..1."""

    images: Tensor  # (B, 3, F, F)
    masks: Tensor  # (B, 1, F, F) 1 in the foreground
    poses: Tensor  # (B, 136)
    share: float = 1.0  # of what it counts, where the photos before it show the same


def mirror_shot(shot: Shot, image_size: int) -> Shot:
    """Return the photo flipped left to right; `image_size` is the model's S, about whose pixels' centres poses flip."""
    points = shot.poses.view(-1, len(MIRRORED), 2)[:, MIRRORED.tolist()]  # (B, 68, 2)
    points = torch.stack([-points[..., 0] - 2 / image_size, points[..., 1]], dim=-1)
    return Shot(shot.images.flip(-1), shot.masks.flip(-1), points.flatten(1), shot.share)


@dataclass(frozen=True, eq=False)
class Source:
    """The pictures that B avatars are made from, as the networks take them; pictures in -1..1."""

    images: Tensor  # (B, 3, S, S)
    poses: Tensor  # (B, 136)
    stickmen: Tensor  # (B, 3, S, S)
    masks: Tensor  # (B, 1, S, S) 1 in the foreground

    @property
    def shot(self) -> Shot:
        """The same pictures as a texture is fitted to them."""
        return Shot(self.images, self.masks, self.poses)


@dataclass(frozen=True, eq=False)
class EnhancerStep:
    """One update of the texture."""

    gradient: Tensor  # (B, 3, S, S) of the source's squared error, for the texture before
    update: Tensor  # (B, 3, S, S) the network's output, before tanh
    texture: Tensor  # (B, 3, S, S) after


@dataclass(frozen=True, eq=False)
class Avatar:
    """All that a person's frames are rendered from."""

    embeddings: tuple[Tensor, ...]  # the k-th (B, C_k, s, s)
    parameters: AdaptiveParameters  # of the inference generator
    texture: Tensor  # (B, 3, T, T), refined; that is not clamped to -1..1
    base_texture: Tensor  # (B, 3, S, S) as generated, -1..1
    refine: Refine
    at_rest: GeneratorOutputs  # the network's, in the photo's own pose
    anchors: tuple[WarpAnchors, ...] = ()  # of each of the B; none: the warp is the network's

    def render(self, model: BilayerModel, poses: Tensor) -> Rendering:
        """Return the frames of `poses` (B * T, 136), by the model that the avatar was made with."""
        with torch.inference_mode():
            return render(model, self.parameters, self.texture, poses, self.refine == "updater", self.anchors)


def make_source(crop: Crop, config: ModelConfig, mask: Floats | None = None) -> Source:
    """Return one person's crop, and its soft mask (S, S) in 0..1, as tensors. Without a mask all is foreground.

    Raises:
        PhotoError: the crop or the mask is not S = image_size pixels square, or the mask leaves 0..1 or shows nobody.
    """
    size = config.image_size
    if crop.image.shape != (size, size, 3):
        raise PhotoError(f"crop: expected {size} x {size} x 3 as image_size is {size}, found {crop.image.shape}")
    if mask is None:
        mask = np.ones((size, size), np.float32)
    if mask.shape != (size, size) or not (mask.min() >= 0 and mask.max() <= 1):
        raise PhotoError(f"mask: expected {size} x {size} values in 0..1, found {mask.shape} of {mask.dtype}")
    if not mask.max() > 0.1:  # a dim photo's may be at 0.4; bytes of 0 and 1, taken for 0..255, are at 0.004
        way_out = "take a photo with more light on the person, or keep the background: --no-mask"
        raise PhotoError(f"mask: expected the person, found {mask.max():.2f} of 1 at most; {way_out}")
    stickman = draw_stickman(crop.pose, size, config.stickmen_thickness)
    return Source(
        images=torch.from_numpy(scale_image(crop.image))[None],
        poses=torch.from_numpy(crop.pose)[None],
        stickmen=torch.from_numpy(scale_image(stickman))[None],
        masks=torch.from_numpy(mask.astype(np.float32))[None, None],
    )


def embed(model: BilayerModel, source: Source) -> tuple[Tensor, ...]:
    """Return the identity embeddings of B people, the k-th (B, C_k, s, s)."""
    images = masked(source.images, source.masks) if model.config.emb_apply_masks else source.images
    frames = images if model.config.emb_no_stickman else torch.cat([images, source.stickmen], dim=1)
    return model.identity_embedder(frames[:, None])  # type: ignore[no-any-return]  # a Module's result is Any


def enhancer_steps(
    model: BilayerModel,
    source: Source,
    parameters: AdaptiveParameters,
    texture: Tensor,
    at_rest: GeneratorOutputs | None = None,
) -> Iterator[EnhancerStep]:
    """Yield M updates of the texture (B, 3, S, S) towards the source picture (paper, equation 7).

    The loss is half the sum of squared errors of the source's reconstruction, seen through its predicted mask. It
    is linear in the texture up to the square, so its gradient is the error scattered back through the warp:
    no autograd. Gradients that flow from a later loss pass through the updates alone, not through this gradient.
    `at_rest` is what the network gives for the source's poses, where that is known.
    """
    align_corners = model.config.align_corners
    with torch.no_grad():
        layers = at_rest or predict_layers(model, parameters, source.poses)
        uv = warping_field(layers.delta_uv)
        mask = torch.ones_like(source.masks) if layers.seg_logits is None else torch.sigmoid(layers.seg_logits)
        target = masked(source.images, mask)
    size = (texture.shape[2], texture.shape[3])
    for _ in range(model.config.enh_unrolling_depth):
        with torch.no_grad():
            current = masked(layers.lf_rgb + warp(texture, uv, align_corners), mask)
            gradient = warp_transpose((current - target) * mask, uv, size, align_corners)
        update = model.texture_enhancer(texture, gradient)
        texture = texture + torch.tanh(update)
        yield EnhancerStep(gradient, update, texture)


@torch.inference_mode()
def create_avatar(
    model: BilayerModel,
    source: Source,
    refine: Refine = "fit",
    shots: Sequence[Shot] = (),
    size: int | None = None,
    warp_motion: WarpMotion | None = None,
) -> Avatar:
    """Return the avatars of B people.

    Args:
        model: the trained model.
        source: gives identity, adaptive parameters and the network's own texture.
        refine: "fit" solves for the texture that shows the photo, "updater" takes the paper's M learned steps, "none"
            keeps the network's.
        shots: the photos that are fitted to, of any size; by default the source.
        size: T, the texture's side in texels; by default that of the network's own.
        warp_motion: "anchored" moves the warp so that landmarks lie where poses have them (runtime/anchors),
            "network" takes it as it is; None anchors fitted textures, whose details show where it is off.

    Raises:
        CheckpointError: a network that this needs is missing.
    """
    model.require(*AVATAR_NETWORKS, *(ENHANCER if refine == "updater" else ()))
    embeddings = embed(model, source)
    parameters = model.inference_generator.predict_parameters(embeddings)
    at_rest = predict_layers(model, parameters, source.poses)
    texture = base_texture = model.texture_generator(embeddings)
    if refine == "updater":
        for step in enhancer_steps(model, source, parameters, base_texture, at_rest):
            texture = step.texture
    texture = resize_texture(texture, size or texture.shape[-1], model.config.align_corners)
    anchored = (warp_motion or default_warp_motion(refine)) == "anchored"
    anchors = find_anchors(at_rest.delta_uv, source.poses) if anchored else ()
    if refine == "fit":
        shots = shots or [source.shot]
        mirrored = mirror_shot(shots[0], model.config.image_size)
        *views, mirror_view = [
            _view_of(
                at_rest if torch.equal(shot.poses, source.poses) else predict_layers(model, parameters, shot.poses),
                shot,
                anchors,
            )
            for shot in (*shots, mirrored)
        ]
        texture = fit_texture(texture, views, model.config.align_corners, mirrored=mirror_view)
    return Avatar(embeddings, parameters, texture, base_texture, refine, at_rest, anchors)


def predict_layers(model: BilayerModel, parameters: AdaptiveParameters, poses: Tensor) -> GeneratorOutputs:
    """Return the network's results for `poses` (B, 136), one of each of the B people whose `parameters` these are."""
    return model.inference_generator(model.keypoints_embedder(poses), parameters)  # type: ignore[no-any-return]


def default_warp_motion(refine: Refine) -> WarpMotion:
    """Return what moves the warp where nothing is asked for: the paper's own textures have the paper's own warp."""
    return "anchored" if refine == "fit" else "network"


def _view_of(layers: GeneratorOutputs, shot: Shot, anchors: Sequence[WarpAnchors]) -> View:
    """Return what a photo tells of the texture of an avatar whose network gives these `layers` for its pose."""
    size = shot.images.shape[-1]
    weights = shot.masks
    if layers.seg_logits is not None:
        weights = weights * resize_picture(torch.sigmoid(layers.seg_logits), size)
    delta_uv = move_warps(layers.delta_uv, shot.poses, anchors) if anchors else layers.delta_uv
    uv = warping_field(resize_picture(delta_uv, size))
    return View(uv, shot.images - resize_picture(layers.lf_rgb, size), weights**2, shot.share)
