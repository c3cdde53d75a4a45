"""Training with fitted textures in the loop, and the heads that are drawn for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bilayer.training.build import make_base_stage, make_data
from bilayer.training.data.dataset import collate, in_one_row
from bilayer.training.heads.load import load_head_model
from bilayer.training.heads.pose import sample_pose
from bilayer.training.prediction import fitted_prediction
from bilayer.training.settings import LossWeights
from tests.training import tiny

PLAIN = LossWeights(adversarial=0, feature_matching=0, perceptual=0, face_perceptual=0, reconstruction=10, gradient=10)


@pytest.fixture
def batch(tiny_heads):
    data, _ = make_data(tiny.settings(tiny_heads, PLAIN), 0)
    return collate([data[0], data[1]])


def stage_with(root, **losses):
    return make_base_stage(tiny.settings(root, replace(PLAIN, **losses)), None, lambda line: None)


def test_the_fitted_texture_shows_the_source_and_is_a_constant(tiny_heads, batch):
    stage = stage_with(tiny_heads, fitted=1.0)
    together = replace(batch, target=in_one_row(batch.source, batch.target))
    prediction, target = stage.predict(together), together.target.map(lambda tensor: tensor.flatten(0, 1))
    fitted = fitted_prediction(stage.model, prediction, target)
    people = slice(None, None, len(target.images) // len(batch.source.images))
    weights = (target.masks * prediction.mask)[people] ** 2
    before, after = (
        (((one.image - target.images)[people] ** 2) * weights).mean().item() for one in (prediction, fitted)
    )
    assert after < 0.5 * before
    assert torch.equal(fitted.delta_uv, prediction.delta_uv)
    assert not fitted.texture.requires_grad
    fitted.image.sum().backward()
    generator = stage.model.inference_generator
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in generator.parameters())
    assert all(p.grad is None for p in stage.model.texture_generator.parameters())


def test_its_losses_are_there_where_they_are_asked_for(tiny_heads, batch):
    names = {}
    for share in (0.0, 0.5, 1.0):
        torch.manual_seed(0)
        losses, _ = stage_with(tiny_heads, fitted=share)(batch, 0)
        names[share] = {name: loss.item() for name, loss in losses.items()}
    assert not any(name.startswith("G_FIT") for name in names[0.0])
    for name in ("G_FIT_REC", "G_FIT_GRAD"):
        assert names[1.0][name] == pytest.approx(2 * names[0.5][name], rel=1e-5)


def test_strong_expressions_shut_lids_and_open_mouths_more_often():
    model = load_head_model(None)
    rows = [model.expression_index(name) for name in ("eyeBlink_L", "jawOpen")]
    usual, strong = (
        np.array([sample_pose(model, seed, strong=strong).weights[rows] for seed in range(400)])
        for strong in (False, True)
    )
    shut, opened = ((strong - usual) != 0).mean(axis=0)
    assert 0.15 < shut < 0.35
    assert 0.15 < opened < 0.35
    assert (strong[strong[:, 0] != usual[:, 0], 0] > 0.8).all()
    assert (strong > 0.8).mean() > 1.5 * (usual > 0.8).mean()
