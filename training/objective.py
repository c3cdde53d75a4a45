"""The whole objective: every loss with its weight, by published names: G_ of generators, D_ of the discriminator."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bilayer.model.networks.discriminator import Discriminator
from bilayer.model.render import masked
from bilayer.model.warp import warping_field
from bilayer.runtime.face.ibug import EYES
from bilayer.training.data.dataset import FrameBatch
from bilayer.training.losses import (
    coordinate_loss,
    difference_loss,
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
    gradient_loss,
    reconstruction_loss,
    warping_loss,
)
from bilayer.training.prediction import Prediction
from bilayer.training.regions import blur, feature_mask
from bilayer.training.settings import LossWeights

EXTRA_OF_EYES = 4.0  # that they weigh more than mouths, which are larger, where frames that come in twos are compared

Losses = dict[str, Tensor]


class Objective:
    """The objective of training: computes the weighted losses of a prediction.

    Real pictures are masked by the predicted mask, as the fakes are (section 3.4).
    """

    def __init__(self, weights: LossWeights, perceptual: Mapping[str, tuple[float, nn.Module]]) -> None:
        """`perceptual`: the factor of each perceptual loss, and the loss itself of pictures and targets."""
        self.weights = weights
        self.perceptual = perceptual

    def base(
        self,
        prediction: Prediction,
        target: FrameBatch,
        discriminator: Discriminator | None,
        iteration: int,
        soft: bool = True,
    ) -> Losses:
        """Return the weighted losses of the base model (stage 1) by name: those of `picture` if `soft`, and its own."""
        weights, mask = self.weights, prediction.mask
        losses = self.picture(prediction, target, discriminator) if soft else {}
        if weights.low_frequency:
            lf, smooth = masked(prediction.lf_rgb, mask), masked(self._smooth_target(target), mask)
            losses["G_L1"] = weights.low_frequency * reconstruction_loss(lf, smooth, self._region_weight(target))
        if weights.segmentation and prediction.seg_logits is not None:
            cross_entropy = F.binary_cross_entropy_with_logits(prediction.seg_logits, target.masks)
            losses["G_BCE"] = weights.segmentation * cross_entropy
        if factor := weights.warping.weight(iteration):
            losses["G_WPR"] = factor * warping_loss(prediction.delta_uv)
        if weights.coordinates and target.coords is not None:
            uv, regions = warping_field(prediction.delta_uv), self._region_weight(target)
            loss = coordinate_loss(uv, target.coords, regions, weights.coordinates_large)
            losses["G_COORDS"] = weights.coordinates * loss
        return losses

    def picture(self, prediction: Prediction, target: FrameBatch, discriminator: Discriminator | None) -> Losses:
        """Return the weighted losses of the picture by name: the enhancer's (stage 2), and most of the base's."""
        weights, mask = self.weights, prediction.mask
        real = masked(target.images, mask)
        losses: Losses = {}
        if discriminator is not None:
            losses |= self._adversarial(discriminator, real, masked(prediction.image, mask), target.stickmen)
        # Perception teaches the texture alone: no gradient into the low-frequency layer (equation 3)
        picture = masked(prediction.lf_rgb.detach() + prediction.hf_rgb, mask)
        for name, (factor, loss) in self.perceptual.items():
            losses[name] = factor * loss(picture, real).mean()  # of a scalar, or a value for each picture
        if weights.reconstruction or weights.gradient:
            regions = self._region_weight(target)
            losses["G_REC"] = weights.reconstruction * reconstruction_loss(picture, real, regions)
            losses["G_GRAD"] = weights.gradient * gradient_loss(picture, real, regions)
        return losses

    def fitted(self, prediction: Prediction, target: FrameBatch) -> Losses:
        """Return the weighted losses of a picture whose texture was fitted to one of the person's frames.

        Here the low-frequency layer learns too: in another frame it has to hide what the fitted texture shows.
        """
        mask, regions = prediction.mask, self._region_weight(target)
        picture, real = masked(prediction.image, mask), masked(target.images, mask)
        weights = self.weights
        return {
            "G_FIT_REC": weights.fitted * weights.reconstruction * reconstruction_loss(picture, real, regions),
            "G_FIT_GRAD": weights.fitted * weights.gradient * gradient_loss(picture, real, regions),
        }

    def twos(self, prediction: Prediction, fitted: Prediction, target: FrameBatch) -> Losses:
        """Return the weighted losses of frames 2k and 2k + 1 that differ in nothing but an expression.

        What else is wrong with the frames is wrong in both, and cancels: what is left is what the expression lacks.
        """
        weights, mask, size = self.weights, prediction.mask, target.masks.shape[-1]
        regions = feature_mask(target.poses, size) + EXTRA_OF_EYES * feature_mask(target.poses, size, EYES)
        losses: Losses = {}
        if weights.twos and target.coords is not None:
            uv, coords = (field.movedim(-1, 1) for field in (warping_field(prediction.delta_uv), target.coords))
            losses["G_TWOS"] = weights.twos * difference_loss(uv, coords, regions)
        if weights.twos_picture:
            picture, real = masked(fitted.image, mask), masked(target.images, mask)
            features = feature_mask(target.poses, size)
            losses["G_TWOS_PIC"] = weights.twos_picture * difference_loss(picture, real, features)
        return losses

    def _adversarial(self, discriminator: Discriminator, real: Tensor, fake: Tensor, stickmen: Tensor) -> Losses:
        """Two passes: the discriminator's on constants, the generators' through a discriminator that is one."""
        both = torch.cat([stickmen, stickmen])
        scores, _ = discriminator(torch.cat([real, fake.detach()]), both)
        real_scores, fake_scores = scores.chunk(2)
        with frozen(discriminator):
            scores, features = discriminator(torch.cat([real, fake]), both)
        halves = [feature.chunk(2) for feature in features]
        weights = self.weights
        matching = feature_matching_loss([real for real, _ in halves], [fake for _, fake in halves])
        return {
            "D_ADV": weights.adversarial * discriminator_loss(real_scores, fake_scores),
            "G_ADV": weights.adversarial * generator_loss(real_scores, scores.chunk(2)[1]),
            "G_FM": weights.feature_matching * matching,
        }

    def _region_weight(self, target: FrameBatch) -> Tensor:
        extra = self.weights.features - 1
        if not extra:
            return torch.ones_like(target.masks)
        return 1 + extra * feature_mask(target.poses, target.masks.shape[-1])

    def _smooth_target(self, target: FrameBatch) -> Tensor:
        if not self.weights.low_frequency_blur:
            return target.images
        spared = feature_mask(target.poses, target.masks.shape[-1])
        return torch.lerp(blur(target.images, self.weights.low_frequency_blur), target.images, spared)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Keep parameters as constants while the graph is built; gradients still flow through."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
