"""LPIPS against its formula written out with numpy, on a stack of random weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bilayer.runtime.errors import CheckpointError
from bilayer.training.feature_stacks import VGG16_LPIPS, FeatureStack
from bilayer.training.metrics.lpips import Lpips, load_lpips

TINY = (3, 4, 5, 6, 7)


def tiny_lpips():
    torch.manual_seed(0)
    return Lpips(FeatureStack(replace(VGG16_LPIPS, widths=TINY)), [torch.rand(1, width, 1, 1) for width in TINY])


def pictures(seed, count=2, size=32):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def by_hand(lpips, a, b):
    total = 0.0
    for index, (x, y) in enumerate(zip(lpips.stack(a[None]), lpips.stack(b[None]), strict=True)):
        x, y = (v[0].numpy().astype(np.float64) for v in (x, y))
        head = lpips.get_buffer(f"head_{index}").numpy().ravel()
        per_pixel = np.zeros(x.shape[1:])
        for channel in range(len(head)):
            difference = x[channel] / (np.linalg.norm(x, axis=0) + 1e-10) - y[channel] / (
                np.linalg.norm(y, axis=0) + 1e-10
            )
            per_pixel += head[channel] * difference**2
        total += per_pixel.mean()
    return total


def test_equals_the_formula():
    lpips = tiny_lpips()
    a, b = pictures(1), pictures(2)
    expected = [by_hand(lpips, x, y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(lpips(a, b).numpy(), expected, rtol=1e-4)


def test_equal_pictures_are_at_no_distance_and_order_does_not_matter():
    lpips = tiny_lpips()
    a, b = pictures(1), pictures(2)
    assert lpips(a, a).tolist() == [0, 0]
    torch.testing.assert_close(lpips(a, b), lpips(b, a))
    assert (lpips(a, b) > 0).all()


@pytest.fixture(scope="module")
def vgg16_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vgg16.safetensors"
    save_file(FeatureStack(VGG16_LPIPS).state_dict(), path)
    return path


def test_loads_the_published_layout(vgg16_file, tmp_path):
    heads = tmp_path / "vgg.pth"
    torch.save(
        {f"lin{i}.model.1.weight": torch.rand(1, w, 1, 1) for i, w in enumerate((64, 128, 256, 512, 512))}, heads
    )
    lpips = load_lpips(vgg16_file, heads)
    assert lpips(pictures(1), pictures(1)).tolist() == [0, 0]


def test_heads_of_another_network_are_refused(vgg16_file, tmp_path):
    heads = tmp_path / "alex.pth"
    torch.save(
        {f"lin{i}.model.1.weight": torch.rand(1, w, 1, 1) for i, w in enumerate((64, 192, 384, 256, 256))}, heads
    )
    expected = r"lin1\.model\.1\.weight: expected a tensor \(1, 128, 1, 1\), found \(1, 192, 1, 1\)"
    with pytest.raises(CheckpointError, match=expected):
        load_lpips(vgg16_file, heads)
    with pytest.raises(CheckpointError, match="no such file; expected LPIPS' heads"):
        load_lpips(vgg16_file, tmp_path / "none.pth")
