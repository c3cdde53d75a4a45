"""Texture fitting against a dense float64 solution of the same least squares."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bilayer.model.avatar import Shot, create_avatar, mirror_shot
from bilayer.model.texture_fit import FitSettings, Stencil, View, fit_texture
from bilayer.model.warp import bilinear_taps, warp, warp_transpose
from bilayer.runtime.face.found import mirror_landmarks

SIZES = st.integers(2, 9)


def random_view(rng, people, size, channels=3, spread=1.3, dtype=torch.float64):
    """What a photo of random colours tells, through a warp that leaves the texture here and there."""

    def numbers(*shape):
        return torch.from_numpy(rng.uniform(-1, 1, shape)).to(dtype)

    weights = (numbers(people, 1, size, size) + 1) / 2
    return View(numbers(people, size, size, 2) * spread, numbers(people, channels, size, size), weights)


def warp_matrix(uv, texels, align_corners):
    """W (h * w, T * T) of one person's warp (1, h, w, 2), a column for each texel."""
    units = torch.eye(texels * texels, dtype=uv.dtype).view(1, -1, texels, texels)
    return warp(units, uv, align_corners).flatten(2)[0].T


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES, st.booleans(), st.integers(0, 2**32 - 1))
def test_the_stencil_is_the_normal_matrix(texels, size, align_corners, seed):
    rng = np.random.default_rng(seed)
    view, x = random_view(rng, 2, size), torch.from_numpy(rng.normal(size=(2, 3, texels, texels)))
    matrix = Stencil.zeros(x)
    matrix.add(view.uv, view.weights, align_corners)
    expected = warp_transpose(view.weights * warp(x, view.uv, align_corners), view.uv, (texels, texels), align_corners)
    torch.testing.assert_close(matrix.multiply(x), expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES, st.booleans(), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_the_fit_is_the_least_squares_solution(texels, size, align_corners, photos, seed):
    rng = np.random.default_rng(seed)
    views = [random_view(rng, 1, size + photo) for photo in range(photos)]
    start = torch.from_numpy(rng.uniform(-1, 1, (1, 3, texels, texels)))
    plain = FitSettings(smoothness=0.3, seen=0.07, unseen=0.07, steps=2000, residual=1e-13)  # one prior for all texels

    count = texels * texels
    rows = [np.sqrt(0.07) * np.eye(count)]
    number = np.arange(count).reshape(texels, texels)
    for first, second in ((number[:, :-1], number[:, 1:]), (number[:-1], number[1:])):
        difference = np.zeros((first.size, count))
        difference[np.arange(first.size), first.ravel()] = -np.sqrt(0.3)
        difference[np.arange(first.size), second.ravel()] = np.sqrt(0.3)
        rows.append(difference)
    change = np.zeros((3, count))
    for channel in range(3):
        wanted = [np.zeros(sum(len(part) for part in rows))]
        matrices = list(rows)
        for view in views:
            weight = view.weights[0, 0].flatten().sqrt().numpy()
            seen = warp_matrix(view.uv, texels, align_corners).numpy()
            missing = view.detail[0, channel].flatten().numpy() - seen @ start[0, channel].flatten().numpy()
            matrices.append(weight[:, None] * seen)
            wanted.append(weight * missing)
        change[channel] = np.linalg.lstsq(np.concatenate(matrices), np.concatenate(wanted), rcond=None)[0]
    expected = start + torch.from_numpy(change).view(1, 3, texels, texels)
    torch.testing.assert_close(fit_texture(start, views, align_corners, plain), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("align_corners", [False, True])
def test_taps_are_the_warp(align_corners):
    rng = np.random.default_rng(1)
    view, texture = random_view(rng, 2, 7), torch.from_numpy(rng.normal(size=(2, 3, 5, 5)))
    read = sum(
        texture.flatten(2).gather(2, place[:, None].expand(-1, 3, -1)) * weight[:, None]
        for place, weight in bilinear_taps(view.uv, (5, 5), align_corners)
    )
    torch.testing.assert_close(read.view(2, 3, 7, 7), warp(texture, view.uv, align_corners))


def test_what_no_photo_shows_stays_the_networks():
    rng = np.random.default_rng(2)
    texture = torch.from_numpy(rng.uniform(-1, 1, (1, 3, 32, 32)))
    view = random_view(rng, 1, 32, spread=1)
    view.uv[..., 0] = -view.uv[..., 0].abs()  # the left half alone is seen
    fitted = fit_texture(texture, [view], align_corners=False)
    change = (fitted - texture).abs().amax(dim=(0, 1, 2))
    assert change[:12].min() > 0.1
    assert change[24:].max() < 2e-2
    nothing = View(view.uv, view.detail, torch.zeros_like(view.weights))
    assert torch.equal(fit_texture(texture, [nothing], align_corners=False), texture)


def test_a_view_of_small_share_fills_in_what_the_first_does_not_show():
    rng = np.random.default_rng(5)
    texture = torch.zeros(1, 3, 32, 32, dtype=torch.float64)
    left = random_view(rng, 1, 64, spread=1)
    ones = torch.ones_like(left.detail)
    halved = left.uv.clone()
    halved[..., 0] = -halved[..., 0].abs()
    first = View(halved, 0.5 * ones, torch.ones_like(left.weights))
    second = View(left.uv, -0.5 * ones, torch.ones_like(left.weights), share=0.05)
    fitted = fit_texture(texture, [first, second], align_corners=False)
    assert (fitted[..., :14] > 0.35).all()
    assert (fitted[..., 18:] < -0.4).all()


def half_seen(rng, *, left):
    """A view whose weights are one and whose pixels all lie in one half of the texture."""
    view = random_view(rng, 1, 64, spread=1)
    uv = view.uv.clone()
    uv[..., 0] = -uv[..., 0].abs() if left else uv[..., 0].abs()
    return View(uv, view.detail, torch.ones_like(view.weights))


def test_the_mirror_image_fills_in_details_where_the_photo_shows_nothing():
    rng = np.random.default_rng(6)
    texture = torch.zeros(1, 3, 32, 32, dtype=torch.float64)
    photo, whole = half_seen(rng, left=True), random_view(rng, 1, 64, spread=1)
    stripes = 0.5 * torch.sign(torch.sin(whole.uv[..., 0] * 25))[:, None].expand(-1, 3, -1, -1)
    mirrored = View(whole.uv, 0.4 + stripes, torch.ones_like(whole.weights))
    alone = fit_texture(texture, [photo], align_corners=False)
    filled = fit_texture(texture, [photo], align_corners=False, mirrored=mirrored)
    torch.testing.assert_close(filled[..., :10], alone[..., :10], rtol=0, atol=0.1)
    right = filled[..., 20:]
    assert right.std() > 0.2 > 4 * alone[..., 20:].std()
    assert right.mean().abs() < 0.1  # and not the 0.4 by which the mirror image is brighter


def test_a_further_view_counts_whole_where_the_first_shows_nothing():
    rng = np.random.default_rng(7)
    texture = torch.zeros(1, 3, 32, 32, dtype=torch.float64)
    first, whole = half_seen(rng, left=True), random_view(rng, 1, 64, spread=1)
    weights = torch.ones_like(whole.weights)
    fitted = [fit_texture(texture, [first, replace(whole, weights=weights, share=share)], False) for share in (0.05, 1)]
    difference = (fitted[0] - fitted[1]).abs().amax(dim=(0, 1, 2))
    assert difference[:10].max() > 0.3
    assert difference[24:].max() < 0.02


def test_a_photo_is_mirrored_as_a_picture_of_its_landmarks_is():
    rng = np.random.default_rng(8)
    size = 64
    landmarks = rng.uniform(8, 56, (68, 2)).astype(np.float32)
    pose = torch.from_numpy((landmarks / size * 2 - 1).ravel())[None]
    shot = Shot(torch.from_numpy(rng.normal(size=(1, 3, 128, 128))), torch.ones(1, 1, 128, 128), pose)
    mirrored = mirror_shot(shot, size)
    expected = mirror_landmarks(landmarks, size) / size * 2 - 1
    np.testing.assert_allclose(mirrored.poses.reshape(68, 2), expected, atol=1e-6)
    assert torch.equal(mirrored.images[..., 0], shot.images[..., -1])
    twice = mirror_shot(mirrored, size)
    torch.testing.assert_close(twice.poses, shot.poses)
    assert torch.equal(twice.images, shot.images)


def test_people_of_a_batch_are_fitted_each_alone():
    rng = np.random.default_rng(3)
    textures = torch.from_numpy(rng.uniform(-1, 1, (3, 3, 16, 16)))
    view = random_view(rng, 3, 16)
    together = fit_texture(textures, [view], align_corners=False)
    for person in range(3):
        one = slice(person, person + 1)
        alone = fit_texture(textures[one], [View(view.uv[one], view.detail[one], view.weights[one])], False)
        torch.testing.assert_close(together[one], alone, rtol=0, atol=1e-5)


def test_an_avatar_of_another_size_is_fitted_to_a_photo_of_that_size(case_a, case_a_source):
    tiny_model, tiny_source = case_a[False], case_a_source
    small = create_avatar(tiny_model, tiny_source)
    shot = tiny_source.shot
    size = 2 * shot.images.shape[-1]
    images, masks = (
        torch.nn.functional.interpolate(picture, (size, size), mode="bicubic").clamp(-1, 1)
        for picture in (shot.images, shot.masks)
    )
    large = create_avatar(tiny_model, tiny_source, shots=[Shot(images, masks.clamp(0, 1), shot.poses)], size=size)
    assert large.texture.shape[-1] == size
    assert small.texture.shape == small.base_texture.shape == large.base_texture.shape
    plain, fitted = create_avatar(tiny_model, tiny_source, "none"), small
    error = [
        ((avatar.render(tiny_model, shot.poses).image - shot.images) ** 2 * shot.masks).mean()
        for avatar in (plain, fitted)
    ]
    assert error[1] < 0.5 * error[0]
