"""The parity ladder passes what is right, and catches and names what is planted."""

from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest
import skimage.data
import torch
from PIL import Image

from bilayer.benchmarks.parity.compare import compare
from bilayer.benchmarks.parity.ladder import Pictures, check_bundle, climb
from bilayer.benchmarks.parity.layer_errors import compare_layers
from bilayer.benchmarks.parity.pictures import strip
from bilayer.benchmarks.parity.report import make_report
from bilayer.benchmarks.parity.rungs.device import open_device, write_inputs
from bilayer.benchmarks.parity.rungs.engines import bfloat16, vulkan
from bilayer.benchmarks.parity.rungs.htp import simulator
from bilayer.benchmarks.parity.rungs.rung import EmulatedRung, Float64, OnnxRung
from bilayer.benchmarks.parity.rungs.trained import ExactTrained, make_trained
from bilayer.benchmarks.speed.export_variants import variants_of
from bilayer.export.network.emulate import emulate
from bilayer.export.network.equalize import equalize
from bilayer.export.network.evaluate import evaluate
from bilayer.export.network.fold import fold
from bilayer.export.network.lower import GraphOptions, lower
from bilayer.export.network.onnx_read import read_generator
from bilayer.export.network.onnx_write import build_onnx
from bilayer.export.network.rewrite import fold_norms
from bilayer.export.options import ExportOptions
from bilayer.export.pipeline import export_avatar
from bilayer.export.portraits import read_portraits
from bilayer.export.verify import hybrid_network, make_probes, verify_half
from bilayer.model.avatar import create_avatar, embed, make_source
from bilayer.model.checkpoint import load_model, read_checkpoint, save_checkpoint
from bilayer.model.config import DEMO_CHECKPOINT, PRESETS
from bilayer.model.networks.bilayer import random_model
from bilayer.model.networks.embedders import harmonic_encoding
from bilayer.runtime.agreement import Thresholds, judge, uv_pixels
from bilayer.runtime.bundle import PoseInput
from bilayer.runtime.errors import BundleError, InputError, ParityError, ToolMissingError
from bilayer.runtime.face.crop import crop_face
from bilayer.runtime.frame import NetworkOutputs
from bilayer.runtime.sampler.compositor import FrameCompositor
from tests import golden
from tests.benchmarks.avatars import copied, export_tiny, rewritten, source_of, subject_of, with_constants

# The golden case has random weights: its texture is noise, in which a tenth of a pixel is many levels (49 dB found)
NOISY = Thresholds(fp16_hybrid_psnr=45)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder of the photo, and the bundle made of it."""
    folder = tmp_path_factory.mktemp("case_a")
    return folder, export_tiny(folder)


@pytest.fixture
def bundle(made, tmp_path):
    """A copy, to plant a fault in."""
    return copied(made[1], tmp_path / "avatar")


def trained_ladder(folder, bundle):
    """From the trained model to ONNX Runtime, and the layers of the latter."""
    trained = make_trained(subject_of(bundle), source_of(folder))
    rungs = [trained, OnnxRung(trained.subject)]
    ladder = climb(trained.subject, rungs, truth=ExactTrained.of(trained))
    report = compare_layers(trained.subject.generator, Float64(trained.subject, ""), rungs[1])
    return replace(ladder, layers=report)


def verdicts(ladder):
    return {step.name: step.ruling.verdict for step in ladder.steps}


# ---- what is right ----


def test_the_trained_model_and_the_onnx_are_one(made):
    ladder = trained_ladder(*made)
    assert verdicts(ladder) == {"trained": "passed", "onnx": "passed"}
    assert ladder.layers.over is None
    ladder.require()
    assert len(ladder.layers.layers) > 20
    errors = [error.sqnr_db for error in ladder.layers.layers]
    assert errors == sorted(errors)


def test_what_is_missing_is_said_with_how_to_get_it(made, monkeypatch):
    subject = subject_of(made[1], frames=1)

    def absent(*arguments, **settings):
        raise ToolMissingError("engine ncnn-vulkan: found no Vulkan device; install its driver, or --engine ncnn")

    monkeypatch.setattr("bilayer.runtime.engines.ncnn.Ncnn", absent)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    missing = [vulkan(subject, arithmetic=True), simulator(subject), bfloat16(subject)]
    ladder = climb(subject, [*missing, OnnxRung(subject)])
    assert [rung.name for rung in ladder.not_run] == ["vulkan-fp16", "htp-fp16", "openvino-bf16", "dlc"]
    words = ("apt install mesa-vulkan-drivers", "bilayer[qairt]", "bilayer[openvino]", "bilayer-export --target qairt")
    for rung, how in zip(ladder.not_run, words, strict=True):
        assert how in rung.reason
        assert rung.name in make_report(ladder).markdown()


def test_each_precision_costs_more_and_the_frames_say_so(made):
    subject = subject_of(made[1])
    rungs = [OnnxRung(subject), *(EmulatedRung(subject, a) for a in ("hybrid", "half4", "sequential"))]
    ladder = climb(subject, rungs, thresholds=NOISY)
    assert [step.emulated for step in ladder.steps] == [False, True, True, True]
    psnr = [step.truth.agreement.worst_db for step in ladder.steps]
    assert psnr[0] > 100 > psnr[1] > psnr[2] > psnr[3] > 25
    assert ladder.steps[1].ruling.verdict == "passed"
    for step in ladder.steps:
        assert sum(step.truth.level_shares.values()) == pytest.approx(1)
        assert step.above is None or step.above[0] in verdicts(ladder)


def test_the_cheap_rungs_alone(made):
    assert verdicts(check_bundle(made[1], thresholds=NOISY)) == {"onnx": "passed", "fp16-hybrid": "passed"}


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


@pytest.mark.slow
@pytest.mark.parametrize("align_corners", [True, False])
def test_both_align_corners_pass_and_neither_is_the_other(tmp_path, align_corners):
    bundle = export_tiny(tmp_path, align_corners=align_corners)
    assert trained_ladder(tmp_path, bundle).verdict == "passed"
    assert verdicts(check_bundle(bundle, thresholds=NOISY))["fp16-hybrid"] == "passed"
    flipped = rewritten(bundle, align_corners=not align_corners)
    ladder = trained_ladder(tmp_path, flipped)  # the checkpoint's hash tells
    assert verdicts(ladder) == {"trained": "passed", "onnx": "broken"}
    with pytest.raises(ParityError, match=f"made for {align_corners}"):
        check_bundle(flipped).require()  # so does the network's metadata
    assert ladder.layers.over is None


# ---- planted faults ----


def swap_channels(arrays):
    for name in ("block1_conv1.weight", "block1_conv1.bias"):
        arrays[name][[2, 5]] = arrays[name][[5, 2]]


def drop_bias(arrays):
    arrays["block0_skip.bias"][:] = 0


def one_weight(arrays):
    arrays["block1_conv1.weight"][3, 1, 0, 2] += 1e-2


@pytest.mark.parametrize(
    ("fault", "layer", "words"),
    [
        (swap_channels, "block1_conv1", "swapped channels: 2 holds 5, 5 holds 2"),
        (drop_bias, "block0_skip", "bias: that of"),
        (one_weight, "block1_conv1", "channel 3 of"),
    ],
)
def test_a_fault_in_the_network_is_caught_and_named(made, bundle, fault, layer, words):
    ladder = trained_ladder(made[0], with_constants(bundle, fault))
    assert verdicts(ladder) == {"trained": "passed", "onnx": "broken"}
    assert ladder.layers.over.layer == layer
    assert words in ladder.layers.over.suggestion
    with pytest.raises(ParityError, match=f"at {layer}: "):
        ladder.require()


def test_an_overflow_is_named(bundle):
    def enlarge(arrays):
        arrays["block1_conv1.weight"] *= 1e6

    subject = subject_of(with_constants(bundle, enlarge))
    ladder = climb(subject, [EmulatedRung(subject, "hybrid")])
    assert verdicts(ladder) == {"fp16-hybrid": "broken"}
    report = compare_layers(subject.generator, Float64(subject, ""), EmulatedRung(subject, "hybrid"))
    assert report.over.layer == "block1_conv1"
    assert "overflow" in report.over.suggestion


def test_rounding_names_the_length_of_the_sum(made):
    subject = subject_of(made[1])
    rung = EmulatedRung(subject, "sequential")
    report = compare_layers(subject.generator, Float64(subject, ""), rung, threshold=66)
    assert report.over is not None
    assert "products in one sum" in report.over.suggestion or "conditioning" in report.over.suggestion


# ---- a phone's outputs ----


def pulled(subject, folder, *, nhwc, change=lambda tensor: tensor):
    """What a phone would have written, from float32."""
    rung = OnnxRung(subject)
    for i in range(len(subject.poses)):
        (folder / f"Result_{i}").mkdir(parents=True)
        tensors = rung.layers(i)
        for name in subject.own.output_tensors:
            tensor = change(tensors[name])
            tensor = tensor.transpose(0, 2, 3, 1) if nhwc else tensor
            (folder / f"Result_{i}" / f"{name}.raw").write_bytes(np.ascontiguousarray(tensor).tobytes())
    return folder


def device_ladder(subject, folder, layout="auto", precision="fp16-hybrid"):
    exact = Float64(subject, "")
    layers = exact.layers(0)
    truth = {name: layers[name] for name in subject.own.output_tensors}
    rung = open_device(subject, folder, layout, precision, truth)
    ladder = climb(subject, [EmulatedRung(subject, "sequential"), rung])
    return replace(ladder, layers=compare_layers(subject.generator, exact, rung)), rung


@pytest.mark.parametrize("nhwc", [True, False])
def test_the_layout_of_a_phone_is_recognised(made, tmp_path, nhwc):
    subject = subject_of(made[1])
    ladder, rung = device_ladder(subject, pulled(subject, tmp_path / "out", nhwc=nhwc))
    assert verdicts(ladder)["device"] == "passed"
    assert f"read as {'NHWC' if nhwc else 'NCHW'} (recognised)" in rung.label


@pytest.mark.parametrize("precision", ["fp16-hybrid", "fp32", "fp16"])
def test_misread_outputs_are_caught_and_named(made, tmp_path, precision):
    subject = subject_of(made[1])
    ladder, _ = device_ladder(subject, pulled(subject, tmp_path / "out", nhwc=True), "nchw", precision)
    assert verdicts(ladder)["device"] == "broken"
    assert ladder.layers.over.layer == "layers"
    assert "those of NHWC, read as NCHW" in ladder.layers.over.suggestion


def test_swapped_colours_of_a_phone_are_caught_and_named(made, tmp_path):
    subject = subject_of(made[1])
    folder = pulled(subject, tmp_path / "out", nhwc=False, change=lambda tensor: tensor[:, [0, 1, 4, 3, 2, 5]])
    ladder, _ = device_ladder(subject, folder)
    assert verdicts(ladder)["device"] == "broken"
    assert "2 holds 4, 4 holds 2" in ladder.layers.over.suggestion


def test_the_inputs_of_a_phone_are_the_poses(made, tmp_path):
    subject = subject_of(made[1], 3)
    lines = write_inputs(subject, tmp_path / "in").read_text().splitlines()
    assert lines == ["#layers", *(f"pose:=pose_{i:04}.raw" for i in range(3))]
    for i in range(3):
        np.testing.assert_array_equal(np.fromfile(tmp_path / "in" / f"pose_{i:04}.raw", "<f4"), subject.encoded()[i])


def test_missing_and_cut_outputs_of_a_phone(made, tmp_path):
    subject = subject_of(made[1])
    folder = pulled(subject, tmp_path / "out", nhwc=False)
    path = folder / "Result_1" / "layers.raw"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match="bytes, expected"):
        device_ladder(subject, folder)
    path.unlink()
    with pytest.raises(InputError, match=r"Result_1/layers\.raw: missing"):
        device_ladder(subject, folder)


# ---- sources that are not the avatar's ----


def test_another_checkpoint_or_photo_is_refused(made, bundle):
    other = make_other_checkpoint(made[0] / "other.safetensors")
    with pytest.raises(InputError, match="not the checkpoint that the avatar was exported from"):
        make_trained(subject_of(bundle), replace(source_of(made[0]), checkpoint=other))
    moved = rewritten(bundle, source=replace(bundle.contract.source, pose=[0.1] * 136))
    with pytest.raises(InputError, match="not the face"):
        make_trained(replace(subject_of(bundle), bundle=moved), source_of(made[0]))


def test_a_turned_photo_is_compared_as_it_was_exported(tmp_path):
    case = golden.load("case_a/preproc.npz")
    Image.fromarray(np.ascontiguousarray(np.rot90(case["source_image"]))).save(tmp_path / "turned.png")
    np.save(tmp_path / "face.npy", case["source_landmarks"])
    source = replace(source_of(tmp_path), photo=tmp_path / "turned.png")
    options = ExportOptions(source.photo, tmp_path / "avatar.dlc", "none", source.checkpoint, source.landmarks)
    bundle = export_avatar(replace(options, rotate=90, mask=False, refine="none", size=64)).bundle
    make_trained(subject_of(bundle), replace(source, rotate=90))
    with pytest.raises(InputError, match=r"turned\.png|texture that this photo gives"):
        make_trained(subject_of(bundle), source)


def test_which_face_and_who_found_it_are_as_the_export_had_them(made, bundle, monkeypatch):
    seen = []

    def read(options, config):
        seen.append((options.face, options.landmarker, options.rotate))
        return read_portraits(options, config)

    monkeypatch.setattr("bilayer.benchmarks.parity.rungs.trained.read_portraits", read)
    make_trained(subject_of(bundle), replace(source_of(made[0]), face=2, landmarker="face-alignment"))
    assert seen == [(2, "face-alignment", 0)]


def make_other_checkpoint(path):
    config, tensors = read_checkpoint(source_of(path.parent).checkpoint)
    for tensor in tensors["inference_generator"].values():
        tensor += 1
    save_checkpoint(path, config, tensors)
    return path


def test_a_network_of_another_kind_is_refused(made):
    model = onnx.load(made[1].path(made[1].contract.files.onnx))
    model.graph.node[3].op_type = "Softmax"
    with pytest.raises(BundleError, match="a Softmax"):
        read_generator(model, made[1].contract, "avatar.onnx")


# ---- figures ----


def test_a_strip_shows_every_pose_that_there_is():
    frames = {i: np.full((8, 8, 4), 40 * i, np.uint8) for i in range(5)}
    for count, shown in ((1, 1), (2, 2), (3, 3), (5, 3)):
        few = {i: frames[i] for i in range(count)}
        assert strip(Pictures(few, few)).size == (3 * 8, 8 * shown)


def test_frames_that_are_equal_and_frames_that_are_not():
    frame = np.random.default_rng(0).integers(0, 255, (32, 32, 4)).astype(np.uint8)
    still = NetworkOutputs(np.zeros((2, 8, 8)), np.zeros((3, 8, 8)), None)
    same = compare([still], [still], [frame], [frame])
    assert (same.agreement.psnr_db["frame"], same.level_shares["0"]) == (200, 1)
    assert same.agreement.frame_ssim == pytest.approx(1)
    found = compare([still], [still], [frame + np.uint8(1)], [frame])
    assert found.agreement.psnr_db["frame"] == pytest.approx(10 * np.log10(255**2))
    assert found.level_shares["1"] == 1


def test_a_number_that_is_not_finite_breaks_every_kind_of_rung():
    frame = np.zeros((8, 8, 4), np.uint8)
    still = NetworkOutputs(np.zeros((2, 8, 8)), np.zeros((3, 8, 8)), None)
    broken = still.copy()
    broken.delta_uv[0, 1, 2] = np.nan
    assert judge(compare([still], [still], [frame], [frame]).agreement, "fp32").verdict == "passed"
    found = compare([still, broken], [still, still], [frame] * 2, [frame] * 2)
    assert (found.errors["delta_uv"].max_abs, found.errors["lf_rgb"].max_abs) == (np.inf, 0)
    worst = found.agreement
    assert (worst.worst_db, worst.uv_pixels, worst.not_finite) == (-200, 8, 1)
    assert [pose.uv_pixels for pose in found.poses] == [0, 8]
    told = found.to_dict()
    assert (told["results"]["delta_uv"]["uv_pixels"], told["results"]["lf_rgb"]["uv_pixels"]) == (8, None)
    assert (told["results"]["delta_uv"]["psnr_db"], told["frame"]["psnr_db"], told["not_finite"]) == (-200, 200, 1)
    for kind in ("fp32", "fp16-hybrid", "fp16", "bf16"):
        assert judge(found.agreement, kind).reasons[0] == "1 numbers are not finite"
