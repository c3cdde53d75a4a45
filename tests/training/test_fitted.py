"""Training with fitted textures in the loop, and the heads that are drawn for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bilayer.runtime.errors import InputError
from bilayer.training.build import make_base_stage, make_data
from bilayer.training.data.dataset import collate, in_one_row
from bilayer.training.heads.load import load_head_model
from bilayer.training.heads.pose import sample_pair, sample_pose
from bilayer.training.losses import coordinate_loss, difference_loss
from bilayer.training.prediction import fitted_prediction
from bilayer.training.prepare.heads import HeadJob, HeadSettings, model_fingerprint, render_identity
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


def test_pictures_teach_the_warp_only_if_they_are_to(tiny_heads, batch):
    for teaches in (True, False):
        losses = {"fitted": 1.0, "low_frequency": 0, "segmentation": 0, "pictures_teach_warp": teaches}
        stage = stage_with(tiny_heads, **losses)
        together = replace(batch, target=in_one_row(batch.source, batch.target))
        prediction, target = stage.predict(together), together.target.map(lambda tensor: tensor.flatten(0, 1))
        prediction.delta_uv.retain_grad()
        fitted = fitted_prediction(stage.model, prediction, target, teaches)
        (prediction.hf_rgb.sum() + fitted.hf_rgb.square().sum() + fitted.lf_rgb.sum()).backward()
        assert (prediction.delta_uv.grad is not None) == teaches
        assert any(p.grad is not None for p in stage.model.texture_generator.parameters())


def test_a_picture_of_the_networks_own_texture_comes_as_often_as_asked(tiny_heads, batch):
    settings = tiny.settings(tiny_heads, replace(PLAIN, fitted=1.0))
    settings = replace(settings, schedule=replace(settings.schedule, soft_every=3))
    stage = make_base_stage(settings, None, lambda line: None)
    names = [set(stage(batch, iteration)[0]) for iteration in range(4)]
    assert [("G_REC" in of) for of in names] == [True, False, False, True]
    assert all("G_FIT_REC" in of and "G_L1" in of for of in names)


def test_statistics_are_kept_if_asked_for(tiny_heads, batch):
    for keeps in (True, False):
        settings = tiny.settings(tiny_heads, PLAIN)
        settings = replace(settings, optimisation=replace(settings.optimisation, keep_statistics=keeps))
        stage = make_base_stage(settings, None, lambda line: None)
        before = {name: buffer.clone() for name, buffer in stage.model.named_buffers() if "running" in name}
        stage(batch, 0)[0]["G_L1"].backward()
        after = dict(stage.model.named_buffers())
        assert before
        assert all(torch.equal(buffer, after[name]) for name, buffer in before.items()) == keeps
        assert any(p.grad is not None for p in stage.model.inference_generator.parameters())


def test_large_errors_of_the_warp_weigh_more():
    coords = torch.zeros(1, 2, 2, 2)
    coords[0, 0, 0] = torch.nan
    weight = torch.ones(1, 1, 2, 2)
    for error, extra in ((0.02, 0.5 * 0.02**2), (0.05, 0.5 * 0.05**2), (0.4, 0.05 * (0.4 - 0.025))):
        uv = torch.full((1, 2, 2, 2), error)
        plain, more = (coordinate_loss(uv, coords, weight, large).item() for large in (0.0, 3.0))
        assert plain == pytest.approx(0.75 * error)
        assert more == pytest.approx(0.75 * (error + 3 * extra), rel=1e-5)


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


@pytest.fixture(scope="session")
def heads_in_twos(tmp_path_factory):
    root = tmp_path_factory.mktemp("twos")
    settings = HeadSettings(model_fingerprint(None), frames=4, size=64, supersampling=1, expressions="pairs")
    for identity in range(3):
        render_identity(HeadJob(identity, None, root, "train", settings))
    return root


def test_pairs_differ_in_lids_and_mouth_alone():
    model = load_head_model(None)
    rows = [model.expression_index(name) for name in ("eyeBlink_L", "eyeBlink_R", "jawOpen")]
    changes = []
    for seed in range(60):
        first, second = sample_pair(model, seed)
        held = [{**vars(pose), "weights": None} for pose in (first, second)]
        assert held[0] == held[1]
        change = second.weights - first.weights
        changes.append(change[rows])
        assert not np.delete(change, rows).any()
    lids, jaws = np.array(changes)[:, 0] > 0.5, np.array(changes)[:, 2] > 0.12
    assert (lids | jaws).mean() > 0.95
    assert lids.mean() > 0.5
    assert jaws.mean() > 0.5


def test_frames_in_twos_stay_together_and_teach_their_difference(heads_in_twos, tiny_heads):
    losses = replace(PLAIN, fitted=1.0, twos=5.0, twos_picture=3.0, coordinates=1.0)
    settings = tiny.settings(heads_in_twos, losses)
    settings = replace(settings, data=replace(settings.data, target_frames=3))
    data, _ = make_data(settings, 0)
    batch = collate([data[0], data[1]])
    assert batch.in_twos.tolist() == [True, True]
    together = in_one_row(batch.source, batch.target)
    stage = make_base_stage(settings, None, lambda line: None)
    found, _ = stage(batch, 0)
    coords, masks = (tensor.flatten(0, 1) for tensor in (together.coords, together.masks))
    change = coords[1::2] - coords[::2]
    moved = torch.isfinite(change) & (change.abs() > 0)
    assert 0 < moved.float().mean() < 0.2  # a lid or a mouth, not the head
    assert (masks[1::2] - masks[::2]).abs().mean() < 0.01
    uv = coords.movedim(-1, 1).nan_to_num()
    weight = torch.ones_like(masks)
    assert difference_loss(uv, coords.movedim(-1, 1), weight).item() == pytest.approx(0, abs=1e-6)
    shifted = uv + torch.tensor([0.0, 0.1]).repeat(len(uv) // 2)[:, None, None, None]
    known = torch.isfinite(change).float().mean().item()
    assert difference_loss(shifted, coords.movedim(-1, 1), weight).item() == pytest.approx(0.1 * known, rel=1e-3)
    assert found["G_TWOS"].item() > 0
    assert found["G_TWOS_PIC"].item() > 0
    with pytest.raises(InputError, match=r"expected an odd .* found 2 and 1.0"):
        make_data(tiny.settings(heads_in_twos, losses), 0)


def test_other_people_have_no_such_loss(tiny_heads):
    losses = replace(PLAIN, fitted=1.0, twos=5.0)
    settings = tiny.settings(tiny_heads, losses)
    settings = replace(settings, data=replace(settings.data, target_frames=3))
    data, _ = make_data(settings, 0)
    stage = make_base_stage(settings, None, lambda line: None)
    assert "G_TWOS" not in stage(collate([data[0], data[1]]), 0)[0]
