"""`bilayer-export` from photo to bundle, as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from bilayer.export.options import ExportOptions
from bilayer.export.pipeline import STAGES, check_rules, export_avatar, fold_avatar
from bilayer.export.verify import onnx_network
from bilayer.model import create_avatar, load_model, make_source
from bilayer.runtime import crop_face, erode_mask, read_bundle
from bilayer.runtime.errors import InputError
from bilayer.runtime.sampler.grid_sample import pack_texture
from tests.export.exporting import CASE, RUNS, run_alone, run_cli, tiny


def test_a_bundle_is_what_was_trained(photo, tmp_path):
    """Read back as a player would: the ONNX, the texture and the contract give the reference's picture."""
    out = tmp_path / "a" / "avatar.dlc"
    out.parent.mkdir()
    result = run_alone(*tiny(photo, "--out", out, "--size", 64))
    assert result.returncode == 0, result.stderr
    bundle = read_bundle(out.parent)
    contract = bundle.contract
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "avatar.json", "avatar.onnx", "avatar.preview.png", "avatar.safetensors",
    ]  # fmt: skip
    assert (contract.image_size, contract.align_corners, contract.dlc) == (64, False, None)
    assert contract.origin.trained
    assert contract.origin.refine == contract.origin.refined_by == "fit"
    assert contract.verification.verified
    assert min(contract.verification.psnr_db.values()) > 100

    model = load_model(RUNS)
    source = make_source(crop_face(CASE["source_image"], CASE["source_landmarks"], 64), model.config)
    avatar = create_avatar(model, source)
    pose = CASE["target_poses"][0, 0]
    expected = avatar.render(model, torch.from_numpy(pose)[None])
    network = onnx_network(onnx.load(bundle.path(contract.files.onnx)), contract.input, contract.outputs)
    frame = network.run(pose)
    np.testing.assert_allclose(frame.delta_uv, expected.delta_uv[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(frame.lf_rgb, expected.lf_rgb[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(frame.seg, torch.sigmoid(expected.seg_logits)[0].numpy(), atol=1e-5)
    stored = load_file(bundle.path(contract.files.texture))["texture"]
    np.testing.assert_allclose(stored, pack_texture(avatar.texture[0].numpy()), atol=2e-5)
    np.testing.assert_allclose(contract.source.pose, CASE["source_poses"][0, 0], atol=1e-7)


@pytest.mark.parametrize("flag", [True, False])
def test_align_corners_goes_into_texture_and_contract(photo, tmp_path, flag):
    options = ExportOptions(
        photo, tmp_path / "avatar.dlc", target="none", checkpoint=RUNS, landmarks=photo.with_suffix(".npy"), mask=False,
        refine="updater", size=64, align_corners=flag,
    )  # fmt: skip
    export = export_avatar(options)
    assert export.bundle.contract.align_corners is flag
    model = load_model(RUNS, overrides={"align_corners": flag})
    source = make_source(crop_face(CASE["source_image"], CASE["source_landmarks"], 64), model.config)
    texture = create_avatar(model, source, "updater").texture[0].numpy()
    stored = load_file(tmp_path / "avatar.safetensors")["texture"]
    np.testing.assert_allclose(stored, pack_texture(texture), atol=2e-5)


def test_options_reach_the_graph(photo, tmp_path):
    arguments = tiny(photo, "--out", tmp_path / "avatar.dlc", "--opset", 13, "--upsample", "phase", "--three-heads")
    result = run_cli(*arguments, "--keep-norms", "--no-verify", "--refine", "none", "--json", "--rotate", "0")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["graph"]["upsample"] == "phase"
    assert report["graph"]["opset"] == 13
    assert len(report["graph"]["norms_kept"]) == 4
    not_compared = {"poses": 0, "psnr_db": {}, "hybrid_frame_db": None, "hybrid_uv_pixels": None}
    assert report["verification"] == {"verified": False, **not_compared}
    assert report["origin"]["enhanced"] is False
    assert report["outputs"]["seg"]["tensor"] == "seg"
    assert tuple(report["seconds"]) == STAGES
    model = onnx.load(tmp_path / "avatar.onnx")
    assert model.opset_import[0].version == 13
    assert "DepthToSpace" in {node.op_type for node in model.graph.node}
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["checkpoint_sha256"] == report["origin"]["checkpoint_sha256"]
    assert metadata["warp"].endswith("align_corners False")
    assert metadata["output.seg"] == "seg[:, 0:1] * 1 + 0, NCHW"
    assert f"torch {torch.__version__.split('+')[0]}" in metadata["versions"]


def test_the_large_model_falls_back_to_what_the_gpu_can_hold(photo):
    from bilayer.model import PRESETS, random_model

    for preset, upsample in (("medium", "deconv"), ("large", "nearest")):
        model = random_model(PRESETS[preset], 0, ("keypoints_embedder", "inference_generator"))
        embeddings = [torch.randn(1, c, 8, 8) for c in model.config.texture_channels[1:]]
        with torch.inference_mode():
            avatar = type("A", (), {"parameters": model.inference_generator.predict_parameters(embeddings)})
        _, graph = fold_avatar(model, avatar, ExportOptions(photo, photo))
        assert graph.upsample == upsample


def test_a_graph_that_the_target_refuses_is_not_converted(photo, tmp_path):
    arguments = tiny(photo, "--out", tmp_path / "avatar.dlc", "--opset", 13)
    result = run_cli(*arguments, "--target", "snpe-1.32")
    assert result.returncode == 3
    assert result.stderr.startswith("error: snpe-1.32 refuses the network: ")
    assert "export with --opset 8" in result.stderr
    assert not list(tmp_path.glob("avatar*"))


def test_phase_convolutions_are_warned_of(case_a_avatar):
    model, avatar, _ = case_a_avatar
    from bilayer.export import GraphOptions, build_onnx, fold, fold_norms, lower

    proto = build_onnx(lower(fold_norms(fold(model, avatar.parameters))[0], GraphOptions("phase")))
    assert any("uneven padding" in warning for warning in check_rules(proto, "qairt"))
    assert check_rules(proto, "none") == []
    with pytest.raises(InputError, match=r"snpe-1\.32 refuses"):
        check_rules(build_onnx(lower(fold(model, avatar.parameters)), opset=9), "snpe-1.32")


def test_the_same_input_gives_the_same_bytes_whatever_the_environment(photo, tmp_path):
    names = ("avatar.onnx", "avatar.safetensors", "avatar.json", "avatar.preview.png")
    contents = []
    for seed, threads in (("0", "1"), ("1", "2")):
        folder = tmp_path / seed
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads}
        result = run_alone(*tiny(photo, "--out", folder / "avatar.dlc"), env=environment)
        assert result.returncode == 0, result.stderr
        contents.append({name: (folder / name).read_bytes() for name in names})
    assert contents[0] == contents[1]


def test_the_demo_weights_are_the_default_and_said_to_be(photo, tmp_path):
    arguments = [photo, "--landmarks", photo.with_suffix(".npy"), "--no-mask", "--target", "none"]
    result = run_cli(*arguments, "--out", tmp_path / "avatar.dlc", "--refine", "none")
    assert result.returncode == 0, result.stderr
    assert "these are the demo weights" in result.stderr
    assert "weights: demo.safetensors" in result.stdout
    origin = read_bundle(tmp_path / "avatar.json").contract.origin
    assert (origin.trained, origin.checkpoint) == (True, "demo.safetensors")


@pytest.mark.slow
def test_the_astronaut_becomes_a_dlc(astronaut_path, face_networks, tmp_path):
    """The product's main job, end to end: detector, mask, avatar, ONNX, Qualcomm's own converter, read back."""
    pytest.importorskip("onnxruntime_qnn", reason="the extra [qairt] is not installed")
    result = run_alone(astronaut_path, "--out", tmp_path / "avatar.dlc", "--target", "qairt", "--timings")
    assert result.returncode == 0, result.stderr
    assert "| convert and write |" in result.stdout
    assert "container v4" in result.stdout
    assert f"next: bilayer-render {tmp_path}/avatar.json --demo-motion --out demo." in result.stderr
    contract = read_bundle(tmp_path).contract
    assert contract.dlc.container == 4
    assert contract.dlc.layout == "NCHW"
    with Image.open(tmp_path / "avatar.preview.png") as preview:
        size = contract.image_size
        assert preview.size == (6 * size + 5 * 4, size + 20)
        source = np.asarray(preview)[20:, :size]
    with Image.open(astronaut_path) as original:
        assert abs(source.mean() - np.asarray(original)[:256, 64:320].mean()) < 40  # the face's part of the photo
    shown = run_cli("--inspect", tmp_path / "avatar.dlc")
    assert "pose" in shown.stdout
    assert "DLC v4" in shown.stdout


def test_without_the_converter_the_onnx_stays_and_the_command_is_said(photo, tmp_path):
    environment = {**os.environ, "SNPE_ROOT": "", "PATH": "/usr/bin:/bin"}
    arguments = [*tiny(photo), "--out", tmp_path / "avatar.dlc", "--target", "snpe-1.32", "--no-verify"]
    result = run_cli(*arguments, env=environment)
    assert result.returncode == 5
    assert f"snpe-onnx-to-dlc -i {tmp_path}/avatar.onnx -o {tmp_path}/avatar.dlc" in result.stderr.splitlines()[-1]
    assert f"{tmp_path}/avatar.onnx  " in result.stdout  # what there is, before what there is not
    assert read_bundle(tmp_path / "avatar.json").contract.dlc is None
    assert not (tmp_path / "avatar.dlc").exists()


@pytest.mark.parametrize("name", ["new/er/me.onnx", "new/er/me.json", "new/er/me.safetensors", "new/er/"])
def test_out_names_any_file_of_the_bundle_or_its_folder(photo, tmp_path, name):
    done = run_cli(*tiny(photo, "-o", f"{tmp_path}/{name}", "--no-verify"))
    assert done.returncode == 0, done.stderr
    stem = Path(name).stem if Path(name).suffix else "avatar"
    assert sorted(path.name for path in (tmp_path / "new/er").iterdir()) == [
        f"{stem}{suffix}" for suffix in (".json", ".onnx", ".preview.png", ".safetensors")
    ]
    assert f"{tmp_path}/new/er/{stem}.json  the contract of these files" in done.stdout


def test_help_imports_nothing_slow():
    code = "import sys; from bilayer.export.cli import main; main(['--help'], standalone_mode=False); "
    code += "assert not {'torch', 'numpy', 'onnx', 'onnxruntime', 'cv2'} & set(sys.modules), 'slow imports'"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--checkpoint" in shown.stdout


def test_the_mask_cuts_the_person_out(astronaut_path, face_networks):
    from bilayer.runtime import PersonMasker, find_face, read_photo

    photo = read_photo(astronaut_path)
    crop = crop_face(photo, find_face(photo).landmarks, 256)
    mask = erode_mask(PersonMasker().mask(crop.image))
    assert mask[100:200, 100:160].min() > 0.9  # the face
    assert mask[:60, :20].max() < 0.1  # the corner beside the hair
