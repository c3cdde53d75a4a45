import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bilayer.model.avatar import Source
from bilayer.model.files.authors_checkpoint import find_run
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.model.networks.spectral import add_spectral_norm
from bilayer.training.data.dataset import FrameBatch
from bilayer.training.losses import (
    coordinate_loss,
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
    gradient_loss,
    reconstruction_loss,
    warping_loss,
)
from bilayer.training.objective import Objective
from bilayer.training.prediction import predict_avatars, predict_frames
from bilayer.training.settings import LossWeights, WarpingSchedule
from tests import golden

GOLDEN = golden.load("losses/losses.npz")


def tensor(name, requires_grad=False):
    return torch.from_numpy(GOLDEN[name].copy()).requires_grad_(requires_grad)


def check(value, name, tolerance=1e-6):
    np.testing.assert_allclose(value.detach().numpy(), GOLDEN[name], rtol=tolerance, atol=tolerance)


def test_discriminator_loss_and_gradients_equal_the_authors():
    real, fake = tensor("adv/real_scores", True), tensor("adv/fake_scores_dis", True)
    loss = 0.5 * discriminator_loss(real, fake)
    loss.backward()
    check(loss, "adv/ragan/D_ADV")
    check(real.grad, "adv/ragan/dD_dreal")
    check(fake.grad, "adv/ragan/dD_dfake")


def test_generator_loss_and_gradient_equal_the_authors():
    real, fake = tensor("adv/real_scores", True), tensor("adv/fake_scores_gen", True)
    loss = 0.5 * generator_loss(real, fake)
    loss.backward()
    check(loss, "adv/ragan/G_ADV")
    check(fake.grad, "adv/ragan/dG_dfake")
    assert real.grad is None


def test_feature_matching_equals_the_authors():
    real = [tensor(f"fm/real_{k}") for k in range(6)]
    fake = [tensor(f"fm/fake_{k}", True) for k in range(6)]
    loss = 10 * feature_matching_loss(real, fake)
    loss.backward()
    check(loss, "fm/G_FM")
    check(fake[1].grad, "fm/dG_dfake_1")


def test_low_frequency_and_segmentation_losses_equal_the_authors():
    lf, logits = tensor("pix/lf", True), tensor("seg/logits", True)
    l1 = 10 * F.l1_loss(lf, tensor("pix/target"))
    bce = 10 * F.binary_cross_entropy_with_logits(logits, tensor("seg/target"))
    (l1 + bce).backward()
    check(l1, "pix/G_L1")
    check(lf.grad, "pix/dG_dlf")
    check(bce, "seg/bce")
    check(logits.grad, "seg/bce_dlogits")


def test_warping_loss_equals_the_authors():
    delta_uv = tensor("wpr/delta_uvs", True)
    loss = warping_loss(delta_uv)
    check(loss, "wpr/mean_abs")
    (WarpingSchedule().weight(0) * loss).backward()
    check(delta_uv.grad, "wpr/default_dG_duv_iter0")


def test_warping_weight_decays_every_50_iterations_and_the_published_code_every_49_after_the_first():
    published = GOLDEN["wpr/default_sequence_320_iters"] / GOLDEN["wpr/mean_abs"]
    schedule = WarpingSchedule(interval=49)
    ours = [schedule.weight(max(iteration - 1, 0)) for iteration in range(320)]
    np.testing.assert_allclose(ours, published, rtol=1e-6)
    paper = [WarpingSchedule().weight(iteration) for iteration in (0, 49, 50, 99, 100, 150)]
    np.testing.assert_allclose(paper, [10, 10, 9, 9, 8.1, 7.29])


def test_warping_weight_is_switched_off_in_the_end():
    schedule = WarpingSchedule()
    assert schedule.weight(50 * 174) > 1e-7
    assert schedule.weight(50 * 175) == 0


@pytest.fixture(scope="module")
def step():
    return golden.load("case_a/train_step.npz")


@pytest.fixture
def tiny_training_model():
    """The published tiny model with spectral norm in place, in training mode."""
    run = find_run(golden.CASE_A / "runs" / "tiny_main", None, None, None)
    networks = [
        "identity_embedder", "keypoints_embedder", "texture_generator", "inference_generator", "discriminator",
    ]  # fmt: skip
    model = BilayerModel(run.config, networks)
    for name in networks:
        network = model.get_submodule(name)
        add_spectral_norm(network, run.config.eps)
        state = torch.load(run.files[name], map_location="cpu", weights_only=True)
        missing, unexpected = network.load_state_dict(state, strict=False)
        assert not [key for key in missing if not key.endswith("num_batches_tracked")]
        assert set(unexpected) <= {"identity_grid"}
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    return model.train()


def test_a_training_step_equals_the_authors(step, tiny_training_model):
    """One forward and backward of the base model in training mode: every loss, the gradients, the buffers after."""
    model = tiny_training_model
    given = {k: torch.from_numpy(v[:, 0]) for k, v in step.items() if k.startswith("train/in/")}
    source = Source(*(given[f"train/in/source_{name}"] for name in ("imgs", "poses", "stickmen", "segs")))
    target = FrameBatch(
        *(given[f"train/in/target_{name}"] for name in ("imgs", "stickmen", "poses", "segs")), coords=None
    )
    prediction = predict_frames(model, *predict_avatars(model, source), target.poses)
    weights = LossWeights(perceptual=0, face_perceptual=0)
    losses = Objective(weights, {}).base(prediction, target, model.discriminator, iteration=0)
    for name in ("D_ADV", "G_ADV", "G_FM", "G_L1", "G_BCE", "G_WPR"):
        np.testing.assert_allclose(losses[name].item(), step[f"train/loss/{name}"], rtol=2e-5, err_msg=name)
    total = sum(losses.values())
    np.testing.assert_allclose(total.item(), step["train/loss_total"][0], rtol=1e-5)

    total.backward()
    for network in model.networks:
        squares = [p.grad.square().sum() for p in model.get_submodule(network).parameters() if p.grad is not None]
        norm = torch.stack(squares).sum().sqrt()
        np.testing.assert_allclose(norm.item(), step[f"train/grad_norm/{network}"], rtol=1e-3, err_msg=network)
    parameters = dict(model.named_parameters())
    for key in (key for key in step if key.startswith("train/grad/")):
        network, name = key.removeprefix("train/grad/").split("/")
        found = parameters[f"{network}.{name}"].grad
        expected = step[key]
        np.testing.assert_allclose(found.numpy(), expected, atol=2e-4 * np.abs(expected).max(), err_msg=key)

    first_conv = model.discriminator.net["first_conv"]
    np.testing.assert_allclose(first_conv.weight_u, step["train/after/dis_first_conv_weight_u"], atol=1e-5)
    np.testing.assert_allclose(first_conv.weight_v, step["train/after/dis_first_conv_weight_v"], atol=1e-5)
    norm = model.inference_generator.gen_inf.blocks[1].block_feats["0"].norm_layer
    np.testing.assert_allclose(norm.running_mean, step["train/after/bn_mean"], atol=1e-5)
    np.testing.assert_allclose(norm.running_var, step["train/after/bn_var"], rtol=1e-4)


@pytest.mark.parametrize("loss", [reconstruction_loss, gradient_loss])
def test_pixel_losses_are_zero_for_the_truth_alone_and_weigh_regions(loss):
    target = torch.rand(2, 3, 16, 16)
    ones = torch.ones(2, 1, 16, 16)
    assert loss(target, target, ones) == 0
    wrong = target.clone()
    wrong[:, :, 4, 4] += 1
    assert loss(wrong, target, ones) > 0
    heavy = ones.clone()
    heavy[:, :, 2:8, 2:8] = 5
    assert loss(wrong, target, heavy) > 2 * loss(wrong, target, ones)


def test_coordinate_loss_ignores_pixels_without_coordinates():
    coords = torch.rand(1, 4, 4, 2)
    coords[0, 0] = float("nan")
    uv = coords.nan_to_num(nan=9.0).requires_grad_()
    ones = torch.ones(1, 1, 4, 4)
    loss = coordinate_loss(uv, coords, ones)
    assert loss == 0
    (coordinate_loss(uv + 0.5, coords, ones)).backward()
    assert (uv.grad[0, 0] == 0).all()
    assert (uv.grad[0, 1:] > 0).all()
