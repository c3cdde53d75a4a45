"""Pixel metrics against numpy, scikit-image and the original authors' code."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import gaussian
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from bilayer.runtime.agreement import MOST_DB, sharpness
from bilayer.training.metrics.pictures import l1, psnr, ssim
from tests import golden


def noise(seed, size=32, count=2):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_ssim_equals_the_authors():
    case = golden.load("losses/losses.npz")
    value = ssim(torch.from_numpy(case["ssim/a"]), torch.from_numpy(case["ssim/b"])).mean()
    assert float(value) == pytest.approx(float(case["ssim/value"]), abs=1e-5)


def test_ssim_equals_scikit_image_where_padding_does_not_matter():
    a, b = torch.zeros(2, 3, 48, 48), torch.zeros(2, 3, 48, 48)  # zeros to the border: all ways of padding agree
    a[..., 10:38, 10:38], b[..., 10:38, 10:38] = noise(1, 28), 0.5 * noise(1, 28) + 0.3 * noise(2, 28)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    for x, y, found in zip(a.double().numpy(), b.double().numpy(), ssim(a, b), strict=True):
        _, whole = structural_similarity(x, y, channel_axis=0, full=True, **options)
        assert float(found) == pytest.approx(float(whole.mean()), abs=1e-5)


def test_l1_and_psnr_equal_numpy_and_scikit_image():
    a, b = noise(4), noise(5)
    x, y = ((v.numpy().astype(np.float64) + 1) / 2 for v in (a, b))
    np.testing.assert_allclose(l1(a, b).numpy(), np.abs(x - y).mean(axis=(1, 2, 3)), rtol=1e-5)
    expected = [peak_signal_noise_ratio(p, q, data_range=1) for p, q in zip(x, y, strict=True)]
    np.testing.assert_allclose(psnr(a, b).numpy(), expected, rtol=1e-5)


def test_black_against_white():
    black, white = -torch.ones(1, 3, 16, 16), torch.ones(1, 3, 16, 16)
    assert float(l1(black, white)) == 1
    assert float(psnr(black, white)) == pytest.approx(0, abs=1e-6)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), size=st.integers(12, 40))
def test_a_picture_equals_itself_and_order_does_not_matter(seed, size):
    a, b = noise(seed, size), noise(seed + 1, size)
    assert l1(a, a).tolist() == [0, 0]
    assert psnr(a, a).tolist() == [MOST_DB] * 2
    np.testing.assert_allclose(ssim(a, a), 1, atol=1e-5)
    for metric in (l1, psnr, ssim):
        torch.testing.assert_close(metric(a, b), metric(b, a), rtol=1e-4, atol=1e-6)
    assert (ssim(a, b) <= 1 + 1e-6).all()


@settings(max_examples=20)
@given(noise_level=st.floats(0.02, 0.3))
def test_more_noise_scores_worse(noise_level):
    picture = torch.linspace(-1, 1, 32).expand(1, 3, 32, 32)
    little, much = (picture + level * noise(7, count=1) for level in (noise_level, 2 * noise_level))
    assert l1(little, picture) < l1(much, picture)
    assert psnr(little, picture) > psnr(much, picture)
    assert ssim(little, picture) > ssim(much, picture)


def test_each_picture_of_a_batch_is_measured_by_itself():
    a, b = noise(8, count=3), noise(9, count=3)
    for metric in (l1, psnr, ssim):
        alone = torch.cat([metric(a[i : i + 1], b[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(metric(a, b), alone)


def test_no_pictures_of_bytes_that_differ_reach_the_psnr_of_equal_ones():
    a = torch.zeros(1, 3, 512, 512)
    b = a.clone()
    b[0, 0, 0, 0] += 2 / 255
    assert 100 < float(psnr(a, b)) < MOST_DB


def test_a_blurred_picture_is_less_sharp_and_a_picture_as_sharp_as_itself():
    picture = noise(10, size=64, count=1)[0].numpy()
    softer, soft = (gaussian(picture, sigma=sigma, channel_axis=0) for sigma in (2, 1))
    assert sharpness(picture, picture) == 1
    assert sharpness(picture + 0.1, picture) == pytest.approx(1, rel=1e-6)
    assert sharpness(0.5 * picture, picture) == pytest.approx(0.5, rel=1e-6)
    assert 0 < sharpness(softer, picture) < sharpness(soft, picture) < 0.5


def test_sharpness_counts_inside_of_the_mask_alone():
    picture, other = noise(11, size=32, count=2).numpy()
    inside = np.zeros((32, 32), np.bool_)
    inside[8:24, 4:28] = True
    outside_changed = np.where(inside, picture, 0)
    assert sharpness(outside_changed, picture, inside) == pytest.approx(1)
    inner = sharpness(picture[:, 8:24, 4:28], other[:, 8:24, 4:28])
    assert sharpness(picture, other, inside) == pytest.approx(inner)
    shifted = np.roll(inside, 3, axis=1)
    assert sharpness(picture, np.roll(picture, 3, axis=2), inside, shifted) == pytest.approx(1)
    assert np.isnan(sharpness(picture, picture, np.zeros_like(inside), inside))
    assert np.isnan(sharpness(picture, np.zeros_like(picture)))
