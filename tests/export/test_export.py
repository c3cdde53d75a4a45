"""`bilayer-export` from photo to bundle, as a user runs it, with right and with wrong input."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from bilayer.export.network.onnx_write import build_onnx
from bilayer.export.options import ExportOptions
from bilayer.export.pipeline import STAGES, check_rules, export_avatar, fold_avatar
from bilayer.export.verify import onnx_network
from bilayer.model import create_avatar, load_model, make_source
from bilayer.runtime import crop_face, erode_mask, read_bundle
from bilayer.runtime.errors import InputError, ParityError
from bilayer.runtime.sampler.grid_sample import pack_texture
from tests import forked, golden
from tests.benchmarks.avatars import write_rough_checkpoint

CASE = golden.load("case_a/preproc.npz")
RUNS = golden.CASE_A / "runs"


@pytest.fixture
def photo(tmp_path):
    """The golden photo and its landmarks: no detector, and a tiny published model, so that an export takes a second."""
    Image.fromarray(CASE["source_image"]).save(tmp_path / "face.png")
    np.save(tmp_path / "face.npy", CASE["source_landmarks"])
    return tmp_path / "face.png"


@pytest.fixture(scope="module")
def exported_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("earlier")
    Image.fromarray(CASE["source_image"]).save(folder / "face.png")
    np.save(folder / "face.npy", CASE["source_landmarks"])
    options = ExportOptions(folder / "face.png", folder / "out", "none", RUNS, folder / "face.npy", mask=False)
    return export_avatar(options).bundle.folder


@pytest.fixture
def earlier(exported_once, tmp_path):
    """Where an avatar lies that a failed export must leave alone."""
    shutil.copytree(exported_once, tmp_path, dirs_exist_ok=True)
    return tmp_path / "avatar.dlc"


run_cli = partial(forked.run, "export")


def run_alone(*arguments, **options):
    """In a process of its own."""
    command = [sys.executable, "-m", "bilayer.export", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def tiny(photo, *more):
    landmarks = photo.with_suffix(".npy")
    return [photo, "--landmarks", landmarks, "--checkpoint", RUNS, "--no-mask", "--target", "none", *more]


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


# Wrong input


PHOTO, LANDMARKS = "the photo", "its landmarks"


def write(path, content):
    path.write_bytes(content)
    return path


def animated(path):
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


PHOTOS = {
    "missing": (lambda folder: folder / "no.jpg", "no such file"),
    "empty": (lambda folder: write(folder / "x.jpg", b""), "an empty file"),
    "text": (lambda folder: write(folder / "x.jpg", b"hello there\n" * 9), "found text"),
    "truncated": (lambda folder: write(folder / "x.png", (folder / "face.png").read_bytes()[:3000]), "damaged or cut"),
    "animated": (lambda folder: animated(folder / "x.gif"), "expected one picture, found an animation"),
}


@pytest.mark.parametrize("kind", PHOTOS)
def test_photos_that_are_none(photo, tmp_path, kind):
    make, words = PHOTOS[kind]
    result = run_cli(make(tmp_path), *tiny(photo)[1:], "--out", tmp_path / "avatar.dlc")
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.startswith("error: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.glob("avatar*"))


def test_no_face(face_networks, tmp_path):
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "wall.png")
    result = run_cli(tmp_path / "wall.png", "--checkpoint", RUNS, "--out", tmp_path / "avatar.dlc")
    assert result.returncode == 3
    assert "expected a face, found none" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (np.zeros((5, 2)), "expected shape (68, 2), found (5, 2)"),
        (np.full((68, 2), np.nan), "point 0 is [nan, nan]"),
        (np.zeros((68, 2)), "span 0 pixels"),
    ],
    ids=["shape", "NaN", "no extent"],
)
def test_landmarks_that_are_none(photo, tmp_path, points, words):
    np.save(photo.with_suffix(".npy"), points)
    result = run_cli(*tiny(photo, "--out", tmp_path / "avatar.dlc"))
    assert (result.returncode, result.stdout) == (3, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "give one of PHOTO, --check FILE and --inspect FILE"),
        (["a.jpg", "--inspect", "b.dlc"], 2, "give one of"),
        (["--inspect", "b.dlc", "--report", "a.png"], 2, "give one"),
        (["--inspect", "b.dlc", "--web", "site"], 2, "give one"),
        ([PHOTO, "--out", "x/a.dlc", "--web", "x"], 3, "the avatar goes there; give --web a folder of its own"),
        ([PHOTO, "--out", "x/y/a.dlc", "--web", "x"], 3, "the avatar goes there; give --web a folder of its own"),
        ([PHOTO, "--report", "sheet.jpg"], 2, "sheet.jpg: expected a name that ends in .png"),
        ([PHOTO, "--report", PHOTO], 3, "is read here, and would be written over"),
        ([PHOTO, "--out", "x/a.dlc", "--report", "x/a.preview.png"], 3, "the avatar or its page goes there"),
        (
            ["a.jpg", "--out", "avatar.png", "--checkpoint", "x"],
            2,
            "a folder or a name that ends in .dlc, .onnx",
        ),
        (["a.jpg", "--out", f"{__file__}/avatar.dlc", "--checkpoint", "x"], 3, "is a file and not a folder"),
        ([PHOTO, "--checkpoint", "no/runs"], 3, "no/runs: no such file or folder"),
        ([PHOTO, "--landmarks", "no.npy"], 3, "no.npy: no such file or folder"),
        ([PHOTO, "--keypoints", "me.npy"], 2, "--keypoints is called --landmarks here"),
        ([PHOTO, "-o", "x.dlc", "--target", "none", "--check", "a.onnx"], 2, "give one of"),
        (["--check", PHOTO, "--target", "none"], 2, "there is nothing to check; name a target"),
        (["--inspect", "no.dlc"], 3, "no.dlc"),
        ([PHOTO, "--landmarker", "face-alignment"], 5, "face-alignment"),
        ([PHOTO, "--out", "/proc/avatar.dlc", "--landmarks", LANDMARKS, "--target", "none"], 3, "/proc/avatar.dlc"),
        (["--check", "no.onnx"], 3, "no.onnx: no such file"),
        (["a.jpg", "--target", "tflite"], 2, "is not one of"),
    ],
)
def test_wrong_arguments(photo, arguments, code, words):
    if "face-alignment" in arguments and importlib.util.find_spec("face_alignment"):
        pytest.skip("the extra [face-alignment] is installed")
    names = {PHOTO: photo, LANDMARKS: photo.with_suffix(".npy")}
    result = run_cli(*(names.get(argument, argument) for argument in arguments), "--json")
    assert (result.returncode, result.stdout) == (code, "")
    assert words in result.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["--out", "a.png"], ["--checkpoint", "no.safetensors"], ["--landmarks", "no"]]
)
def test_what_is_wrong_is_said_before_libraries_are_loaded(photo, arguments):
    given = [str(photo) if arguments else "no.jpg", *arguments]
    code = """
import sys
from bilayer.export.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print(end.code)
print([name for name in ('torch', 'onnx', 'numpy', 'PIL') if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].lower().startswith("error: ")
    assert done.stdout == ("2\n[]\n" if "--out" in arguments else "3\n[]\n")


@pytest.mark.parametrize("name", ["new/er/me.onnx", "new/er/me.json", "new/er/me.safetensors", "new/er/"])
def test_out_names_any_file_of_the_bundle_or_its_folder(photo, tmp_path, name):
    done = run_cli(*tiny(photo, "-o", f"{tmp_path}/{name}", "--no-verify"))
    assert done.returncode == 0, done.stderr
    stem = Path(name).stem if Path(name).suffix else "avatar"
    assert sorted(path.name for path in (tmp_path / "new/er").iterdir()) == [
        f"{stem}{suffix}" for suffix in (".json", ".onnx", ".preview.png", ".safetensors")
    ]
    assert f"{tmp_path}/new/er/{stem}.json  the contract of these files" in done.stdout


def rough(photo, *more):
    """An export that FP16 spoils."""
    checkpoint = photo.with_name("rough.safetensors")
    return tiny(photo, "--checkpoint", checkpoint if checkpoint.exists() else write_rough_checkpoint(checkpoint), *more)


def test_a_failed_export_leaves_no_folder(photo, tmp_path):
    done = run_cli(*rough(photo, "--out", tmp_path / "new/er/a.dlc"), "--target", "snpe-1.32")
    assert done.returncode == 4, done.stderr
    assert not (tmp_path / "new").exists()


def test_a_bad_checkpoint_leaves_the_old_avatar(photo, tmp_path, earlier):
    before = {path.name: path.read_bytes() for path in tmp_path.glob("avatar*")}
    result = run_cli(*tiny(photo, "--out", earlier), "--checkpoint", tmp_path / "no.safetensors")
    assert result.returncode == 3
    assert {path.name: path.read_bytes() for path in tmp_path.glob("avatar*")} == before
    assert len(before) == 4


def test_an_avatar_that_fails_parity_is_not_shipped(photo, tmp_path):
    """Its warp is so steep that FP16's rounding moves it by over a quarter of a pixel."""
    out = tmp_path / "avatar.dlc"
    done = run_cli(*rough(photo, "--out", out))
    assert done.returncode == 0
    assert "warning: FP16 storage (emulated) against the trained model: " in done.stderr  # no phone, no refusal
    assert "delta_uv is" in done.stderr
    verification = read_bundle(tmp_path / "avatar.json").contract.verification
    assert 0.25 < verification.hybrid_uv_pixels < 5
    before = {path.name: path.read_bytes() for path in tmp_path.glob("avatar*")}
    arguments = rough(photo, "--out", out, "--target", "snpe-1.32")
    environment = {**os.environ, "SNPE_ROOT": "", "PATH": "/usr/bin:/bin"}
    refused = run_cli(*arguments, env=environment)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert refused.stderr.count("\n") == 1
    assert "expected at most 0.25" in refused.stderr
    assert "--no-verify writes it all the same" in refused.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.glob("avatar*")} == before
    again = run_cli(*arguments, "--keep-norms", env=environment)
    assert again.returncode == 4
    assert "the norms are kept already" in again.stderr
    assert "try --keep-norms" in refused.stderr
    assert "try --keep-norms" not in again.stderr
    forced = run_cli(*arguments, "--no-verify", env=environment)
    assert forced.returncode == 5  # it came as far as the converter, which is not installed
    assert not read_bundle(tmp_path / "avatar.json").contract.verification.verified


def test_a_network_that_is_not_the_trained_one_is_not_shipped(photo, tmp_path, monkeypatch):
    """A fault in the writing of the ONNX: the ladder's float32 rung."""
    from bilayer.export import pipeline

    settings = {"checkpoint": RUNS, "landmarks": photo.with_suffix(".npy"), "mask": False, "refine": "none"}
    options = ExportOptions(photo, tmp_path / "avatar.dlc", target="none", **settings)
    export_avatar(options)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("avatar*")}

    def faulty(generator, *arguments):
        generator.layers[-2].weight[0, 0, 1, 1] += 1e-2
        return build_onnx(generator, *arguments)

    monkeypatch.setattr(pipeline, "build_onnx", faulty)
    with pytest.raises(ParityError, match="expected at least 100 dB") as raised:
        export_avatar(options)
    assert raised.value.exit_code == 4
    assert {path.name: path.read_bytes() for path in tmp_path.glob("avatar*")} == before


@pytest.fixture
def endless_converter(tmp_path):
    """The environment of a converter that notes its process and then never ends, and the note."""
    tool, note = tmp_path / "bin" / "snpe-onnx-to-dlc", tmp_path / "converter"
    tool.parent.mkdir()
    tool.write_text(
        f"#!{sys.executable}\nimport os, pathlib, time\npathlib.Path(r'{note}.part').write_text(str(os.getpid()))\n"
        f"os.replace(r'{note}.part', r'{note}')\ntime.sleep(999)\n"
    )
    tool.chmod(0o755)
    return {**os.environ, "PATH": f"{tool.parent}:{os.environ['PATH']}", "SNPE_ROOT": ""}, note


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("waited a minute in vain")


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_end_in_the_middle_leaves_the_old_avatar(photo, tmp_path, earlier, endless_converter, how):
    """Killed or interrupted while it converts."""
    environment, note = endless_converter
    before = {path.name: path.read_bytes() for path in tmp_path.glob("avatar*")}
    assert len(before) == 4
    arguments = [*tiny(photo, "--out", earlier), "--target", "snpe-1.32", "--refine", "none", "--no-verify"]
    command = [sys.executable, "-m", "bilayer.export", *map(str, arguments)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for(note.exists)
    converter = int(note.read_text())
    process.send_signal(how)
    _, errors = process.communicate()
    assert "Traceback" not in errors
    assert {path.name: path.read_bytes() for path in tmp_path.glob("avatar*")} == before
    assert process.returncode == (-how if how == signal.SIGKILL else 128 + how)
    if how != signal.SIGKILL:
        assert not is_running(converter)
        assert not list(tmp_path.glob(".avatar*"))
    elif is_running(converter):
        os.kill(converter, signal.SIGKILL)


def test_a_failed_parity_stops_the_converter(photo, tmp_path, endless_converter):
    """It runs beside the comparison, which refuses the avatar for a phone."""
    environment, note = endless_converter
    result = run_cli(*rough(photo, "--out", tmp_path / "avatar.dlc"), "--target", "snpe-1.32", env=environment)
    assert result.returncode == 4, result.stderr
    assert "expected at most 0.25" in result.stderr
    assert not (note.exists() and is_running(int(note.read_text())))
    assert not list(tmp_path.glob("*avatar*"))


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
