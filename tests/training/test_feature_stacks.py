"""Feature stacks against the same layers written down one by one."""

import hashlib
import os
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from bilayer.runtime.errors import CheckpointError
from bilayer.training.feature_stacks import (
    LAYER_WEIGHTS,
    VGG16_LPIPS,
    VGG19_IMAGENET,
    VGG_FACE,
    FeatureStack,
    PerceptualLoss,
    vgg16_lpips,
    vgg19_imagenet,
    vgg_face,
)

TINY = (3, 4, 5, 6, 7)  # channels of the stages
ALL = {"vgg19": VGG19_IMAGENET, "vgg_face": VGG_FACE, "lpips": VGG16_LPIPS}

# As torchvision prints them: index of each convolution, index of each pooling, the layers whose ReLU is a feature
VGG16 = ((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), (4, 9, 16, 23, 30))
VGG19 = ((0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34), (4, 9, 18, 27, 36))


def tiny_stack(settings, seed=0):
    torch.manual_seed(seed)
    return FeatureStack(replace(settings, widths=TINY))


def by_hand(stack, pictures, convolutions, poolings, pool):
    """Every ReLU's output by its index."""
    state, outputs = stack.state_dict(), {}
    x = (pictures - torch.tensor(stack.settings.mean)[:, None, None]) / torch.tensor(stack.settings.deviation)[
        :, None, None
    ]
    for index in range(stack.settings.features[-1]):
        if index in convolutions:
            x = F.relu(F.conv2d(x, state[f"features.{index}.weight"], state[f"features.{index}.bias"], padding=1))
            outputs[index + 1] = x
        elif index in poolings:
            x = pool(x, 2)
    return outputs


@pytest.mark.parametrize(
    ("settings", "layers", "pool"),
    [(VGG19_IMAGENET, VGG19, F.avg_pool2d), (VGG_FACE, VGG16, F.avg_pool2d), (VGG16_LPIPS, VGG16, F.max_pool2d)],
    ids=ALL,
)
def test_features_are_those_of_the_named_layers(settings, layers, pool):
    stack = tiny_stack(settings)
    pictures = torch.rand(2, 3, 32, 32) * 2 - 1
    found, expected = stack(pictures), by_hand(stack, pictures, *layers, pool)
    assert [tuple(f.shape[1:]) for f in found] == [(w, 32 >> i, 32 >> i) for i, w in enumerate(TINY)]
    for index, feature in zip(settings.features, found, strict=True):
        torch.testing.assert_close(feature, expected[index])


def test_imagenet_normalisation_is_torchvisions_on_0_to_1():
    stack = tiny_stack(VGG19_IMAGENET)
    picture = torch.rand(1, 3, 8, 8)
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    torch.testing.assert_close((2 * picture - 1 - stack.mean) / stack.deviation, (picture - mean) / deviation)


def test_vgg_face_takes_bytes_less_their_mean():
    stack = tiny_stack(VGG_FACE)
    picture = torch.rand(1, 3, 8, 8) * 255
    expected = picture - torch.tensor((103.939, 116.779, 123.680))[:, None, None]
    torch.testing.assert_close((picture / 127.5 - 1 - stack.mean) / stack.deviation, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("load", "settings"),
    [(vgg19_imagenet, VGG19_IMAGENET), (vgg_face, VGG_FACE), (vgg16_lpips, VGG16_LPIPS)],
    ids=ALL,
)
def test_a_file_of_the_real_shapes_loads(load, settings, tmp_path):
    saved = FeatureStack(settings)
    path = tmp_path / "weights.safetensors"
    save_file(saved.state_dict(), path)
    before = torch.get_rng_state()
    stack = load(path)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(saved.state_dict().values(), stack.state_dict().values(), strict=True))
    assert not any(parameter.requires_grad for parameter in stack.parameters())


def test_pth_with_classifier_and_its_digest_in_the_name(tmp_path):
    saved, stack = tiny_stack(VGG16_LPIPS), tiny_stack(VGG16_LPIPS, seed=1)
    plain = tmp_path / "plain.pth"
    torch.save({**saved.state_dict(), "classifier.0.weight": torch.zeros(2, 2)}, plain)
    digest = hashlib.sha256(plain.read_bytes()).hexdigest()
    named = tmp_path / f"vgg16-{digest[:8]}.pth"
    os.link(plain, named)
    stack.load_weights(named)
    stack.load_weights(plain, sha256=digest)
    assert torch.equal(stack.state_dict()["features.0.weight"], saved.state_dict()["features.0.weight"])
    wrong = tmp_path / "vgg16-00000000.pth"
    os.link(plain, wrong)
    with pytest.raises(CheckpointError, match=r"sha256: expected 00000000, found [0-9a-f]{64}"):
        stack.load_weights(wrong)


def test_missing_file_says_which_one_is_needed(tmp_path):
    with pytest.raises(CheckpointError, match=r"nothing\.pth: no such file; .*vgg19-dcbb9e9d\.pth"):
        vgg19_imagenet(tmp_path / "nothing.pth")


def test_another_networks_file_is_named_by_its_first_wrong_field(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file(FeatureStack(replace(VGG16_LPIPS, widths=TINY)).state_dict(), path)
    with pytest.raises(CheckpointError, match=r"features\.0\.weight: expected \(64, 3, 3, 3\), found \(3, 3, 3, 3\)"):
        vgg_face(path)
    save_file({"conv.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"features\.0\.weight: missing \(the file has conv\.weight"):
        vgg_face(path)


def test_perceptual_loss_is_the_weighted_sum_of_layer_means():
    stack = tiny_stack(VGG19_IMAGENET)
    a, b = (torch.rand(2, 3, 32, 32) * 2 - 1 for _ in range(2))
    layers = by_hand(stack, torch.cat([a, b]), *VGG19, F.avg_pool2d)
    features = [layers[i] for i in (1, 6, 11, 20, 29)]
    distances = [float((f[:2] - f[2:]).abs().mean()) for f in features]
    expected = sum(w * d for w, d in zip((0.03125, 0.0625, 0.125, 0.25, 1), distances, strict=True))
    assert float(PerceptualLoss(stack)(a, b)) == pytest.approx(expected, rel=1e-5)
    assert float(PerceptualLoss(stack, [0.2] * 5)(a, b)) == pytest.approx(sum(distances) / 5, rel=1e-5)
    assert float(PerceptualLoss(stack)(a, a)) == 0
    assert len(LAYER_WEIGHTS) == 5


def test_gradient_reaches_the_pictures_only():
    stack = tiny_stack(VGG_FACE)
    a, b = (torch.rand(1, 3, 32, 32, requires_grad=True) for _ in range(2))
    PerceptualLoss(stack)(a, b).backward()
    assert float(a.grad.abs().sum()) > 0
    assert b.grad is None
