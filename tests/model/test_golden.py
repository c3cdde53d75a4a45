"""Every array of the authors' code on the tiny published model, reproduced from its photo, landmarks and files."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from bilayer.model import BilayerModel, Source, create_avatar, enhancer_steps
from bilayer.model.avatar import embed
from bilayer.model.files.authors_checkpoint import find_run
from bilayer.model.files.safe_load import read_pth
from bilayer.model.networks.adaptive import Affine, Conv1x1
from bilayer.model.networks.spectral import add_spectral_norm
from bilayer.model.render import masked
from bilayer.runtime import crop_face, scale_image
from tests import golden

CASE = golden.load("case_a/preproc.npz")
OUT = golden.load("case_a/outputs.npz")
BATCH = golden.load("case_a/batch.npz")
POSES = torch.from_numpy(CASE["target_poses"][0])

EXACT, HEADS, IMAGES = 1e-5, 1e-4, 1e-3  # embeddings and parameters; network outputs; what the sampler amplifies

both_semantics = pytest.mark.parametrize("align_corners", [False, True], ids=["ac0", "ac1"])


def assert_close(actual, expected, tolerance):
    actual = actual.detach().numpy()
    np.testing.assert_allclose(actual, expected.reshape(actual.shape), rtol=0, atol=tolerance)


def key(align_corners, name):
    return f"ac{int(align_corners)}/{name}"


@pytest.fixture(scope="module")
def avatars(case_a, case_a_source):
    return {
        (flag, refine): create_avatar(case_a[flag], case_a_source, refine)
        for flag in (False, True)
        for refine in ("none", "updater")
    }


def test_embeddings(avatars):
    embeddings = avatars[False, "none"].embeddings
    assert len(embeddings) == 4
    for k, embedding in enumerate(embeddings):
        assert_close(embedding, OUT[f"embed_{k}"], EXACT)


@pytest.mark.parametrize(
    ("generator", "projector"), [("inference_generator", "prj_inf"), ("texture_generator", "prj_tex")]
)
def test_predicted_parameters(case_a, avatars, generator, projector):
    """The flat list of the goldens: second norm, skip of block k, first norm of block k + 1."""
    predicted = getattr(getattr(case_a[False], generator), projector)(avatars[False, "none"].embeddings)
    flat = []
    for k, block in enumerate(predicted.blocks):
        next_norm = predicted.blocks[k + 1].norm1 if k + 1 < len(predicted.blocks) else predicted.final_norm
        for layer in (block.norm2, block.skip, next_norm):
            flat += [layer] if isinstance(layer, Affine | Conv1x1) else [layer.weight, layer.bias]
    assert len(flat) == sum(name.startswith(f"{projector}_weight_") for name in OUT)
    for i, layer in enumerate(flat):
        assert_close(layer.weight, OUT[f"{projector}_weight_{i}"], EXACT)
        assert_close(layer.bias, OUT[f"{projector}_bias_{i}"], EXACT)


def test_pose_embeddings(case_a):
    model = case_a[False]
    assert_close(model.keypoints_embedder(POSES), OUT["target_pose_embeds"], EXACT)
    source = torch.from_numpy(CASE["source_poses"][0])
    assert_close(model.keypoints_embedder(source), OUT["source_pose_embeds"], EXACT)


def test_inference_generator_block_by_block(case_a, avatars):
    model = case_a[False]
    seen = []
    decoder = model.inference_generator.gen_inf
    hooks = [block.register_forward_hook(lambda _, __, out: seen.append(out)) for block in decoder.blocks]
    hooks.append(decoder.heads[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])))
    avatar = avatars[False, "none"]
    layers = model.inference_generator(model.keypoints_embedder(POSES), avatar.parameters.repeat_frames(2))
    for hook in hooks:
        hook.remove()
    assert len(seen) == 6
    for k, features in enumerate(seen):
        assert_close(features, OUT[f"gen_inf_block_{k}"], HEADS)
    assert_close(layers.delta_uv, OUT["gen_inf_head_delta_uv"], HEADS)
    assert_close(layers.lf_rgb, OUT["gen_inf_head_lf"], HEADS)
    assert_close(layers.seg_logits, OUT["gen_inf_head_seg_logits"], HEADS)


def test_heads_for_the_source_pose(case_a, avatars, case_a_source):
    model = case_a[False]
    layers = model.inference_generator(model.keypoints_embedder(case_a_source.poses), avatars[False, "none"].parameters)
    assert_close(layers.delta_uv, OUT["gen_inf_source_head_delta_uv"], HEADS)
    assert_close(layers.lf_rgb, OUT["gen_inf_source_head_lf"], HEADS)
    assert_close(layers.seg_logits, OUT["gen_inf_source_head_seg_logits"], HEADS)


@both_semantics
def test_frames_without_and_with_enhancer(case_a, avatars, align_corners):
    model = case_a[align_corners]
    plain, enhanced = avatars[align_corners, "none"], avatars[align_corners, "updater"]
    assert_close(plain.texture, OUT["pred_tex_hf_rgbs"], IMAGES)
    assert_close(enhanced.base_texture, OUT["pred_tex_hf_rgbs"], IMAGES)
    assert_close(enhanced.texture, OUT[key(align_corners, "pred_enh_tex_hf_rgbs")], IMAGES)
    frame = plain.render(model, POSES)
    assert_close(frame.image, OUT[key(align_corners, "pred_target_imgs")], IMAGES)
    assert_close(frame.uv, OUT["pred_target_uvs"], HEADS)
    assert_close(frame.lf_rgb, OUT["pred_target_delta_lf_rgbs"], HEADS)
    assert_close(torch.sigmoid(frame.seg_logits), OUT["pred_target_segs"], HEADS)
    assert_close(enhanced.render(model, POSES).image, OUT[key(align_corners, "pred_enh_target_imgs")], IMAGES)


@both_semantics
def test_enhancer_steps(case_a, case_a_source, avatars, align_corners):
    avatar = avatars[align_corners, "none"]
    steps = list(enhancer_steps(case_a[align_corners], case_a_source, avatar.parameters, avatar.texture))
    assert len(steps) == 4
    compared = 0
    for number, step in enumerate(steps):
        prefix = key(align_corners, f"enh_step{number}_")
        if prefix + "gradient" in OUT:
            assert_close(step.gradient, OUT[prefix + "gradient"], IMAGES)
            assert_close(step.update, OUT[prefix + "net_out"], IMAGES)
            compared += 1
    assert compared == (1 if align_corners else 2)


def test_masked_frames(case_a, avatars):
    """With both masks on, the enhancer stage of the published code masks the base's frames a second time."""
    model = masking(case_a[False])
    base = avatars[False, "none"].render(model, POSES)
    mask = torch.sigmoid(base.seg_logits)
    assert_close(masked(base.image, mask), OUT["ac0/masked/pred_target_imgs"], IMAGES)
    assert_close(base.lf_rgb[:1], OUT["ac0/masked/pred_target_delta_lf_rgbs"], HEADS)
    enhanced = avatars[False, "updater"].render(model, POSES)
    assert_close(enhanced.image, OUT["ac0/masked/pred_enh_target_imgs"], IMAGES)
    target = crop_face(CASE["target_images"][0], CASE["target_landmarks"][0], 64)
    picture = torch.from_numpy(scale_image(target.image))[None]
    twice = masked(masked(picture, mask[:1]), mask[:1])
    assert_close(twice, OUT["ac0/masked/target_imgs"], IMAGES)


def masking(model):
    masked = copy(model)
    masked.config = replace(model.config, inf_apply_masks=True, enh_apply_masks=True)
    return masked


def test_batch_of_two_people_with_two_frames_each(case_a):
    model = case_a[False]

    def of(name):
        return torch.from_numpy(BATCH[f"in/{name}"]).flatten(0, 1)

    source = Source(of("source_imgs"), of("source_poses"), of("source_stickmen"), of("source_segs"))
    plain, enhanced = (create_avatar(model, source, refine) for refine in ("none", "updater"))
    assert_close(plain.texture, BATCH["out/pred_tex_hf_rgbs"], IMAGES)
    frames = plain.render(model, of("target_poses"))
    assert_close(frames.uv, BATCH["out/pred_target_uvs"], HEADS)
    assert_close(frames.image, BATCH["ac0/pred_target_imgs"], IMAGES)
    assert_close(enhanced.render(model, of("target_poses")).image, BATCH["ac0/pred_enh_target_imgs"], IMAGES)


def test_embeddings_of_several_frames_are_of_their_mean(case_a, case_a_source):
    embedder = case_a[False].identity_embedder
    frame = torch.cat([case_a_source.images, case_a_source.stickmen], dim=1)
    once, thrice = embedder(frame[:, None]), embedder(frame[:, None].expand(-1, 3, -1, -1, -1))
    for one, three in zip(once, thrice, strict=True):
        assert_close(three, one.detach().numpy(), 1e-6)


def test_evaluation_with_spectral_norm_left_in_place(case_a_source):
    run = find_run(golden.CASE_A / "runs")
    model = BilayerModel(run.config).eval()
    for name, path in run.files.items():
        network = model.get_submodule(name)
        add_spectral_norm(network, run.config.eps)
        state = read_pth(path)
        state.pop("identity_grid", None)
        network.load_state_dict(state)
    plain, enhanced = (create_avatar(model, case_a_source, refine) for refine in ("none", "updater"))
    assert_close(plain.render(model, POSES).image, OUT["sn_on/pred_target_imgs"], IMAGES)
    assert_close(enhanced.render(model, POSES).image, OUT["sn_on/pred_enh_target_imgs"], IMAGES)


def test_discriminator_scores_and_features():
    run = find_run(golden.CASE_A / "runs" / "tiny_main")
    model = BilayerModel(run.config, ["discriminator"]).eval()
    model.discriminator.load_state_dict(run.load("discriminator"))
    step = golden.load("case_a/train_step.npz")
    pictures, stickmen = torch.from_numpy(step["eval/in"]).split(3, dim=1)
    scores, features = model.discriminator(pictures, stickmen)
    assert_close(scores, step["eval/scores"], HEADS)
    assert len(features) == 4
    assert_close(features[0][:1, :4], step["eval/feat_0"], HEADS)
    for k in (1, 2, 3):
        assert_close(features[k][:1], step[f"eval/feat_{k}"], HEADS)


def test_the_callers_masks_reach_the_embedder(case_a, case_a_source):
    """A fault planted in the source must show: the goldens above are not met by accident."""
    faulty = replace(case_a_source, masks=1 - case_a_source.masks)
    right, wrong = embed(case_a[False], case_a_source), embed(case_a[False], faulty)
    assert (right[0] - wrong[0]).abs().max() > 1e-2
