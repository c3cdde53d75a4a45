"""FP16 storage keeps every variant of the network within the gate."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from bilayer.benchmarks.speed.export_variants import variants_of
from bilayer.export.network.emulate import emulate
from bilayer.export.network.equalize import equalize
from bilayer.export.network.evaluate import evaluate
from bilayer.export.network.fold import fold
from bilayer.export.network.lower import GraphOptions, lower
from bilayer.export.network.onnx_read import read_generator
from bilayer.export.network.onnx_write import build_onnx
from bilayer.export.network.rewrite import fold_norms
from bilayer.export.verify import hybrid_network, make_probes, verify_half
from bilayer.model.avatar import create_avatar, embed, make_source
from bilayer.model.checkpoint import load_model
from bilayer.model.config import DEMO_CHECKPOINT, PRESETS
from bilayer.model.networks.bilayer import random_model
from bilayer.model.networks.embedders import harmonic_encoding
from bilayer.runtime.agreement import Thresholds, judge, uv_pixels
from bilayer.runtime.bundle import PoseInput
from bilayer.runtime.face.crop import crop_face
from bilayer.runtime.sampler.compositor import FrameCompositor
from tests import golden


@pytest.mark.parametrize("upsample", ["nearest", "deconv", "phase"])
@pytest.mark.parametrize("merged_head", [True, False])
@pytest.mark.parametrize("keep_norms", [True, False])
def test_fp16_storage_keeps_every_variant(case_a_avatar, made, upsample, merged_head, keep_norms):
    model, avatar, crop = case_a_avatar
    plain, _ = fold_norms(fold(model, avatar.parameters), 0 if keep_norms else 16)
    generator = lower(plain, GraphOptions(upsample, merged_head=merged_head))
    hold_to_the_hybrid_gate(generator, crop.pose)
    contract = replace(made[1].contract, outputs=generator.outputs, input=PoseInput("pose", 136, 0))
    again = read_generator(build_onnx(generator), contract, "avatar.onnx")
    assert again.shapes() == generator.shapes()
    for (name, found), (_, expected) in zip(again.weights(), generator.weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7, err_msg=name)


def test_fp16_storage_keeps_every_variant_of_the_demo_weights():
    """Trained weights at a face's landmarks: noise for either amplifies rounding beyond any gate."""
    model = load_model(DEMO_CHECKPOINT)
    case = golden.load("case_a/preproc.npz")
    crop = crop_face(case["source_image"], case["source_landmarks"], model.config.image_size)
    source = make_source(crop, model.config)
    with torch.inference_mode():
        parameters = model.inference_generator.predict_parameters(embed(model, source))
        pose = harmonic_encoding(source.poses, model.config.pse_num_harmonics)[0].numpy()
    for generator in variants_of(fold(model, parameters)).values():
        hold_to_the_hybrid_gate(generator, pose)


@pytest.mark.parametrize("preset", PRESETS)
def test_fp16_storage_keeps_every_variant_of_every_preset(preset):
    """Channels, pose encoding and heads of the preset, at 32 px: three of its blocks."""
    sizes = {"image_size": 32, "enh_bottleneck_tensor_size": 16, "dis_output_tensor_size": 4}
    config = replace(PRESETS[preset], **sizes)
    model = random_model(config, 0, ("keypoints_embedder", "inference_generator"))
    size, random = config.emb_output_tensor_size, torch.Generator().manual_seed(1)
    embeddings = [torch.randn(1, c, size, size, generator=random) for c in config.texture_channels[1:]]
    pose = torch.rand(1, config.pse_in_channels, generator=random) * 2 - 1
    if config.pse_use_harmonic_enc:
        pose = harmonic_encoding(pose, config.pse_num_harmonics)
    with torch.inference_mode():
        parameters = model.inference_generator.predict_parameters(embeddings)
    for generator in variants_of(fold(model, parameters)).values():
        hold_to_the_hybrid_gate(generator, pose[0].numpy())


@pytest.mark.parametrize("align_corners", [True, False])
def test_fp16_storage_keeps_the_frames_of_the_demo_weights(align_corners):
    model = load_model(DEMO_CHECKPOINT, overrides={"align_corners": align_corners})
    case = golden.load("case_a/preproc.npz")
    crop = crop_face(case["source_image"], case["source_landmarks"], model.config.image_size)
    avatar = create_avatar(model, make_source(crop, model.config), "none")
    generator = equalize(lower(fold_norms(fold(model, avatar.parameters))[0], GraphOptions()))
    probes = make_probes(model, avatar, crop.pose, count=2)
    given = PoseInput("pose", generator.input_width, model.config.pse_num_harmonics)
    texture, network = avatar.texture[0].numpy(), hybrid_network(generator, given)
    found = verify_half(probes, network, FrameCompositor(texture, model.config.align_corners, engine="numpy"))
    assert found.psnr_db["frame"] >= 50
    assert 0 < found.uv_pixels <= Thresholds().fp16_hybrid_uv_pixels
    assert judge(found, "fp16-hybrid").verdict == "passed"
    for sharp in sharp_textures(model.config.image_size):
        found = verify_half(probes, network, FrameCompositor(sharp, model.config.align_corners, engine="numpy"))
        assert found.psnr_db["frame"] < 60  # what the texture makes of the same network's rounding
        assert judge(found, "fp16-hybrid").verdict == "passed"


def sharp_textures(side):
    """A photograph, noise and a checkerboard of single texels (3, S, S): as sharp as textures can be."""
    photograph = cv2.resize(skimage.data.astronaut(), (side, side), interpolation=cv2.INTER_AREA)
    yield np.ascontiguousarray(photograph.transpose(2, 0, 1) / 127.5 - 1, np.float32)
    yield np.random.default_rng(0).uniform(-1, 1, (3, side, side)).astype(np.float32)
    checkers = np.indices((side, side)).sum(axis=0) % 2 * 2 - 1
    yield np.ascontiguousarray(np.broadcast_to(checkers, (3, side, side)), np.float32)


def hold_to_the_hybrid_gate(generator, pose):
    exact = evaluate(generator, torch.from_numpy(pose).double()[None])
    found = emulate(generator, pose, "hybrid")
    uv = generator.outputs.delta_uv
    pixels = uv_pixels(found[uv.tensor][0, uv.start : uv.stop], exact[uv.tensor][0, uv.start : uv.stop].numpy())
    assert 0 < pixels <= Thresholds().fp16_hybrid_uv_pixels
    for name in generator.output_tensors:
        assert np.abs(found[name] - exact[name].numpy()).max() < 0.02
