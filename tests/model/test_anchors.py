"""Landmark anchors in torch: a batch's people and poses each by their own mover, and what is found for a person."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from bilayer.model.anchors import find_anchors, move_warps
from bilayer.model.avatar import Source, create_avatar, mirror_shot
from bilayer.model.texture_fit import View, fit_texture
from bilayer.model.warp import resize_picture, warping_field
from bilayer.runtime.anchors.mover import WarpMover
from bilayer.runtime.bundle import WarpAnchors
from bilayer.runtime.frame import NetworkOutputs
from tests import golden

S = 64
CASE = golden.load("case_a/preproc.npz")
OWN = torch.from_numpy(CASE["source_poses"][0])  # (1, 136), the photo's
OTHERS = torch.from_numpy(CASE["target_poses"][0])  # (2, 136)
# By the 68 points' own drawing: lids without the eyes' corners, the lower lip without the mouth's
LIDS = {37, 38, 40, 41, 43, 44, 46, 47}
LOWER_LIP = {55, 56, 57, 58, 59, 65, 66, 67}


def warps(count, seed=0, scale=0.05):
    """Smooth random ones (count, 2, S, S), as networks predict them."""
    coarse = torch.from_numpy(np.random.default_rng(seed).normal(0, scale, (count, 2, 5, 5)).astype(np.float32))
    return torch.nn.functional.interpolate(coarse, (S, S), mode="bicubic")


def scaled(pose, factor):
    return (pose.view(-1, 68, 2) * torch.tensor(factor)).flatten(1)


def move_one(warp, pose, anchors):
    """A warp (2, S, S) by a mover of its own."""
    network = NetworkOutputs(warp.numpy(), warp.numpy(), None)
    return torch.from_numpy(WarpMover(anchors, warp.shape[-1]).move(network, pose.numpy()).delta_uv)


# ---- a batch ----


def test_anchors_of_a_batch_are_those_of_each_alone():
    delta_uv, poses = warps(2), torch.cat([OWN, scaled(OTHERS[:1], [0.7, 0.9])])
    found = find_anchors(delta_uv, poses)
    assert found == tuple(find_anchors(delta_uv[k : k + 1], poses[k : k + 1])[0] for k in range(2))
    assert found[0] != found[1]


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_pose_of_every_person_is_moved_by_its_own_anchors(frames, dtype):
    anchors = find_anchors(warps(2), torch.cat([OWN, scaled(OTHERS[:1], [0.7, 0.9])]))
    poses = torch.cat([OWN, OTHERS, OTHERS.flip(0), OWN])[: 2 * frames]
    delta_uv = warps(2 * frames, seed=1)
    moved = move_warps(delta_uv.to(dtype), poses, anchors)
    assert moved.dtype == dtype
    expected = [move_one(delta_uv[k], poses[k], anchors[k // frames]) for k in range(2 * frames)]
    torch.testing.assert_close(moved, torch.stack(expected).to(dtype), rtol=0, atol=1e-7)
    torch.testing.assert_close(delta_uv, warps(2 * frames, seed=1), rtol=0, atol=0)


# ---- what is found ----


def test_the_photos_own_pose_moves_nothing():
    delta_uv, poses = warps(3, scale=0.2), torch.cat([OWN, OTHERS])
    moved = move_warps(delta_uv, poses, find_anchors(delta_uv, poses))
    torch.testing.assert_close(moved, delta_uv, rtol=0, atol=2e-6)


def test_the_outline_moves_nothing_and_every_other_landmark_does():
    delta_uv = warps(1)
    anchors = find_anchors(delta_uv, OWN)
    for landmark in range(68):
        pose = OWN.clone()
        pose[0, 2 * landmark] += 0.05
        apart = (move_warps(delta_uv, pose, anchors) - move_warps(delta_uv, OWN, anchors)).abs().max()
        assert apart == 0 if landmark < 17 else apart > 1e-4, landmark
    assert [point.landmark for point in anchors[0].points] == list(range(17, 68))


def moved_alone(off):
    """What part of a warp that is `off` each landmark mends by itself, where no other is known."""
    points = OWN.view(68, 2) - (OWN.view(68, 2)[17:].amax(0) + OWN.view(68, 2)[17:].amin(0)) / 2
    still, pose = torch.zeros(1, 2, S, S), 2 * points.view(1, 136)  # a large face: its reach is some tiles of the grid
    (found,) = find_anchors(still, pose)
    parts = {}
    for point in found.points:
        aside = still[0] - off * torch.tensor([1.0, 0.0])[:, None, None]
        moved = move_one(aside, pose[0], replace(found, points=[point]))
        parts[point.landmark] = float((moved - aside)[0].max()) / off
    return parts


def test_lids_and_lower_lip_move_a_tenth_of_what_the_others_do():
    """Which is nearly all that a landmark alone is off."""
    parts = moved_alone(0.04)
    free = {landmark for landmark, part in parts.items() if part < 0.5}
    assert free == LIDS | LOWER_LIP
    held = np.mean([parts[landmark] for landmark in parts if landmark not in free])
    assert 0.85 < held < 0.95
    assert np.mean([parts[landmark] for landmark in free]) == pytest.approx(held / 10, rel=0.03)


def test_a_landmark_further_off_than_a_tenth_is_taken_for_hidden():
    """It moves no more than one that is a tenth of -1..1 off, which is taken whole."""
    near, edge, far = (moved_alone(off) for off in (0.05, 0.1, 0.3))
    for landmark, part in near.items():
        assert edge[landmark] == pytest.approx(part, rel=0.1)
        assert 0.3 * far[landmark] == pytest.approx(0.1 * part, rel=0.1)


def test_the_reach_grows_with_the_face():
    pose = scaled(OWN, 0.5)
    usual, twice = (find_anchors(warps(1), one)[0].reach for one in (pose, scaled(pose, 2.0)))
    assert twice == pytest.approx(2 * usual, abs=2e-6)
    turned, moved = pose.view(1, 68, 2).flip(-1).flatten(1), pose + 0.2
    outlined = torch.cat([3 * pose[:, :34], pose[:, 34:]], dim=1)
    for same in (turned, moved, outlined):
        assert find_anchors(warps(1), same)[0].reach == pytest.approx(usual, abs=2e-6)


@pytest.mark.parametrize("pose", [OWN, *OTHERS[:, None]])
def test_what_a_landmark_moves_is_as_wide_as_an_eye(pose):
    points = pose.view(68, 2).numpy()
    eye = np.mean([np.linalg.norm(points[a] - points[b]) for a, b in ((36, 39), (42, 45))])
    assert 0.9 < 2 * find_anchors(warps(1), pose)[0].reach / eye < 1.4


@pytest.mark.parametrize("factor", [0.0, 1e-3, 900.0])
def test_no_face_has_anchors_that_a_bundle_cannot_have(factor):
    (found,) = find_anchors(warps(1, scale=3), scaled(OWN, factor))
    assert 0.01 <= found.reach <= 2
    assert all(-4 < value < 4 for point in found.points for value in (point.x, point.y))


# ---- avatars ----


@pytest.fixture(scope="module")
def pair(case_a_source):
    """Two people: one, and the mirror image with another pose."""
    mirrored = mirror_shot(case_a_source.shot, S)
    other = Source(mirrored.images, scaled(mirrored.poses, [0.8, 0.9]), case_a_source.stickmen.flip(-1), mirrored.masks)
    return case_a_source, other


def together(people):
    return Source(*(torch.cat([getattr(one, field.name) for one in people]) for field in fields(Source)))


@pytest.mark.parametrize("refine", ["none", "updater", "fit"])
def test_people_of_a_batch_have_the_anchors_and_frames_of_each_alone(case_a, pair, refine):
    model, poses = case_a[False], torch.cat([OWN, OTHERS])
    both = create_avatar(model, together(pair), refine, warp_motion="anchored")
    assert both.anchors[0] != both.anchors[1]
    frames = both.render(model, poses.repeat(2, 1))
    for k, source in enumerate(pair):
        alone = create_avatar(model, source, refine, warp_motion="anchored")
        for found, expected in zip(both.anchors[k].points, alone.anchors[0].points, strict=True):
            assert found.landmark == expected.landmark
            assert (found.x, found.y) == pytest.approx((expected.x, expected.y), abs=1e-5)
        expected = alone.render(model, poses)
        own = slice(3 * k, 3 * k + 3)
        torch.testing.assert_close(frames.uv[own], expected.uv, rtol=0, atol=1e-5)
        torch.testing.assert_close(frames.image[own], expected.image, rtol=0, atol=2e-3)
        for number, (warp, pose) in enumerate(zip(expected.delta_uv, poses, strict=True)):
            moved = warping_field(move_one(warp, pose, alone.anchors[0])[None])[0]
            torch.testing.assert_close(expected.uv[number], moved, rtol=0, atol=1e-6)


@pytest.mark.parametrize("refine", ["none", "updater", "fit"])
def test_fitted_textures_are_anchored_and_the_papers_own_are_not(case_a, case_a_source, refine):
    model, poses = case_a[False], torch.cat([OWN, OTHERS])
    usual = create_avatar(model, case_a_source, refine)
    asked = {
        motion: create_avatar(model, case_a_source, refine, warp_motion=motion) for motion in ("anchored", "network")
    }
    same = asked["anchored" if refine == "fit" else "network"]
    assert usual.anchors == same.anchors
    torch.testing.assert_close(usual.texture, same.texture, rtol=0, atol=0)
    assert not asked["network"].anchors
    frames = asked["network"].render(model, poses)
    torch.testing.assert_close(frames.uv, warping_field(frames.delta_uv), rtol=0, atol=0)
    moved = asked["anchored"].render(model, poses)
    assert (moved.uv[1:] - frames.uv[1:]).abs().max() > 1e-3
    torch.testing.assert_close(moved.uv[0], frames.uv[0], rtol=0, atol=1e-5)  # in the photo's own pose


@pytest.mark.parametrize("refine", ["none", "updater"])
def test_anchors_leave_a_texture_that_is_not_fitted_as_it_is(case_a, case_a_source, refine):
    anchored, plain = (
        create_avatar(case_a[False], case_a_source, refine, warp_motion=motion) for motion in ("anchored", "network")
    )
    torch.testing.assert_close(anchored.texture, plain.texture, rtol=0, atol=0)


def view_of(model, parameters, shot, anchors: WarpAnchors):
    """What a photo of one person tells, by a mover of its own."""
    with torch.inference_mode():
        layers = model.inference_generator(model.keypoints_embedder(shot.poses), parameters)
    size = shot.images.shape[-1]
    uv = warping_field(resize_picture(move_one(layers.delta_uv[0], shot.poses[0], anchors)[None], size))
    weights = shot.masks * resize_picture(torch.sigmoid(layers.seg_logits), size)
    return View(uv, shot.images - resize_picture(layers.lf_rgb, size), weights**2, shot.share)


def test_every_photo_is_fitted_through_the_warp_that_the_first_ones_anchors_move(case_a, case_a_source):
    model, first = case_a[False], case_a_source.shot
    further = replace(first, images=first.images.flip(-1), poses=OTHERS[:1], share=0.5)
    avatar = create_avatar(model, case_a_source, "fit", [first, further])
    plain = create_avatar(model, case_a_source, "none")
    with torch.inference_mode():
        layers = model.inference_generator(model.keypoints_embedder(first.poses), plain.parameters)
    (own,) = find_anchors(layers.delta_uv, first.poses)
    assert avatar.anchors == (own,)
    views = [view_of(model, plain.parameters, shot, own) for shot in (first, further)]
    mirrored = view_of(model, plain.parameters, mirror_shot(first, S), own)
    with torch.inference_mode():
        expected = fit_texture(plain.texture, views, False, mirrored=mirrored)
    torch.testing.assert_close(avatar.texture, expected, rtol=0, atol=1e-4)
