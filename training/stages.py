"""The two stages of training: what is trained in each, and the losses of a batch."""

from dataclasses import replace

import torch
from torch import nn

from bilayer.model.avatar import enhancer_steps
from bilayer.model.config import AVATAR_NETWORKS, NetworkName
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.model.networks.discriminator import Discriminator
from bilayer.training.data.dataset import TrainingBatch, in_one_row
from bilayer.training.objective import Losses, Objective
from bilayer.training.prediction import (
    Prediction,
    fitted_prediction,
    predict_avatars,
    predict_frames,
    source_of,
    targets_of,
)
from bilayer.training.settings import TrainingSettings


class Stage(nn.Module):
    """A stage as one module, as torch's DistributedDataParallel wants it: a batch -> losses and prediction."""

    generators: tuple[NetworkName, ...]  # what it trains beside the discriminator

    def __init__(self, model: BilayerModel, settings: TrainingSettings, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self._objective = objective
        self._bfloat16 = settings.precision == "bf16"

    def forward(self, batch: TrainingBatch, iteration: int) -> tuple[Losses, Prediction]:
        """Return the losses of a batch by their names, and what they were computed of."""
        raise NotImplementedError

    def predict(self, batch: TrainingBatch) -> Prediction:
        """Return the stage's results for the target frames of a batch."""
        raise NotImplementedError

    @property
    def _discriminator(self) -> Discriminator | None:
        return self.model.discriminator if "discriminator" in self.model.networks else None


class BaseStage(Stage):
    """Stage 1: embedder, pose MLP, both generators and the discriminator, at once (paper, section 3.2)."""

    generators = AVATAR_NETWORKS

    def __init__(self, model: BilayerModel, settings: TrainingSettings, objective: Objective) -> None:
        super().__init__(model, settings, objective)
        self._fits = settings.losses.fitted > 0
        self._soft_every = settings.schedule.soft_every
        self._pictures_teach_warp = settings.losses.pictures_teach_warp

    def forward(self, batch: TrainingBatch, iteration: int) -> tuple[Losses, Prediction]:
        if self._fits:  # the source is predicted too: its texture is fitted by that
            batch = replace(batch, target=in_one_row(batch.source, batch.target))
        prediction, target = self.predict(batch), targets_of(batch.target)
        soft = iteration % self._soft_every == 0
        losses = self._objective.base(prediction, target, self._discriminator, iteration, soft)
        if self._fits:
            fitted = fitted_prediction(self.model, prediction, target, self._pictures_teach_warp)
            losses |= self._objective.fitted(fitted, target)
            if batch.in_twos.any():
                frames = batch.target.map(lambda tensor: tensor[batch.in_twos.to(tensor.device)])
                of_twos = (prediction.of(batch.in_twos), fitted.of(batch.in_twos))
                losses |= self._objective.twos(*of_twos, targets_of(frames))
        return losses, prediction

    def predict(self, batch: TrainingBatch) -> Prediction:
        """Return the results for the target frames, with gradients of all networks."""
        parameters, texture = predict_avatars(self.model, source_of(batch.source), self._bfloat16)
        poses = batch.target.poses.flatten(0, 1)
        return predict_frames(self.model, parameters, texture, poses, self._bfloat16, self._pictures_teach_warp)


class EnhancerStage(Stage):
    """Stage 2: the texture enhancer, by back-propagation through its M steps, with the base model frozen; the
    discriminator is trained on (paper, section 3.3). The steps themselves run in float32."""

    generators = ("texture_enhancer",)

    def forward(self, batch: TrainingBatch, iteration: int) -> tuple[Losses, Prediction]:
        prediction = self.predict(batch)
        return self._objective.picture(prediction, targets_of(batch.target), self._discriminator), prediction

    def predict(self, batch: TrainingBatch) -> Prediction:
        """Return the results for the target frames, with gradients of the enhancer alone."""
        source = source_of(batch.source)
        with torch.no_grad():
            parameters, texture = predict_avatars(self.model, source, self._bfloat16)
            parameters = parameters.map(lambda tensor: tensor.float())  # autocast leaves some in bfloat16
        for step in enhancer_steps(self.model, source, parameters, texture.float()):
            texture = step.texture
        return predict_frames(self.model, parameters, texture, batch.target.poses.flatten(0, 1), self._bfloat16)
