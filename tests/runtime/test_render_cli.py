"""`bilayer-render` as a user runs it, and what its processes import."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bilayer.runtime.player import Avatar
from bilayer.runtime.rendering import layer_pictures
from tests.runtime.conftest import CASE

av = pytest.importorskip("av")
ROOT = Path(__file__).parents[2]


def render(*arguments):
    command = [sys.executable, "-W", "error", "-m", "bilayer.runtime.render_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def frames_of(path):
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


@pytest.fixture
def track(tmp_path):
    """Four frames of the golden driver, in pixels."""
    points = CASE["target_landmarks"]
    np.save(tmp_path / "track.npy", np.concatenate([points, points + 3]))
    return tmp_path / "track.npy"


def test_the_demo_motion_becomes_a_video(bundle_folder, tmp_path):
    out = tmp_path / "a.mp4"
    done = render(bundle_folder, "--demo-motion", "--out", out, "--frames", 30, "--json", "--engine", "onnxruntime")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["frames"], report["frame_rate"], report["size"], report["engine"]) == (30, 25.0, 64, "onnxruntime")
    assert set(report["median_ms"]) == set(report["share"]) == {"track", "network", "sample", "encode"}
    assert sum(report["share"].values()) == pytest.approx(1, abs=1e-3)
    frames = frames_of(out)
    assert len(frames) == 30
    assert frames[0].shape == (64, 64, 3)
    source = Avatar.load(bundle_folder, background=(255, 255, 255), engine="onnxruntime")
    assert np.abs(source.render(source.source_pose)[..., :3].astype(int) - frames[0]).mean() < 12  # 4:2:0 of noise
    assert np.abs(frames[10].astype(int) - frames[0]).mean() > 0.5  # it moves


def test_a_track_as_published_gives_the_players_frames(bundle_folder, track, tmp_path):
    from bilayer.runtime import crop_box, pose_vector

    out = tmp_path / "frames"
    done = render(bundle_folder, "--drive", track, "--retarget", "absolute", "--out", out, "--engine", "onnxruntime")
    assert done.returncode == 0, done.stderr
    assert "onnxruntime, f32" in done.stdout
    avatar = Avatar.load(bundle_folder, engine="onnxruntime")
    for i, points in enumerate(np.load(track)):
        frame = np.asarray(Image.open(out / f"{i:05d}.png"))
        np.testing.assert_array_equal(frame, avatar.render(pose_vector(points, crop_box(points))))
    assert len(list(out.iterdir())) == 4


def test_layers_and_driver_beside_the_frame(bundle_folder, track, tmp_path):
    out = tmp_path / "frames"
    arguments = ("--side-by-side", "--layers", "--background", "#102030", "--frames", 2)
    done = render(bundle_folder, "--drive", track, "--out", out, *arguments)
    assert done.returncode == 0, done.stderr
    sheet = np.asarray(Image.open(out / "00000.png"))
    assert sheet.shape == (64, 6 * 64, 4)
    assert (sheet[..., 3] == 255).all()
    driver, _, lf, hf, uv, mask = np.split(sheet, 6, axis=1)
    assert {(1, 1, 1), (255, 255, 255)} <= {tuple(pixel) for pixel in driver[..., :3].reshape(-1, 3)}  # a stickman
    assert (mask[..., 0] == mask[..., 1]).all()
    assert uv[0, 0, 0] < uv[0, -1, 0]
    assert uv[0, 0, 1] < uv[-1, 0, 1]
    avatar = Avatar.load(bundle_folder)
    relative = render(bundle_folder, "--drive", track, "--out", tmp_path / "plain", "--background", "#102030")
    assert relative.returncode == 0
    np.testing.assert_array_equal(np.split(sheet, 6, axis=1)[1], np.asarray(Image.open(tmp_path / "plain/00000.png")))
    assert not np.array_equal(lf, hf)
    assert np.abs(layer_pictures(avatar.layers(avatar.source_pose))[0].astype(int) - lf).mean() < 40


def test_a_background_picture_and_a_gif(bundle_folder, track, tmp_path):
    Image.new("RGB", (90, 70), (0, 90, 0)).save(tmp_path / "green.png")
    for name, background in (("a", tmp_path / "green.png"), ("b", "#005a00")):
        done = render(bundle_folder, "--drive", track, "--out", tmp_path / f"{name}.gif", "--background", background)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 4


def test_a_video_and_a_photo_drive(bundle_folder, astronaut_path, face_networks, tmp_path):
    """Three frames of a face, two black ones, one more with the face."""
    photo = Image.open(astronaut_path).convert("RGB").crop((60, 0, 380, 256))
    with av.open(str(tmp_path / "drive.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 256, "yuv420p"
        for seen in (1, 1, 1, 0, 0, 1):
            picture = photo if seen else Image.new("RGB", photo.size)
            file.mux(stream.encode(av.VideoFrame.from_image(picture)))
        file.mux(stream.encode())
    out = tmp_path / "a.mp4"
    done = render(bundle_folder, "--drive", tmp_path / "drive.mp4", "--out", out, "--json", "--side-by-side")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["frames"], report["frames_without_face"], report["frame_rate"]) == (6, 2, 10.0)
    frames = frames_of(out)
    assert frames[0].shape == (64, 128, 3)
    assert frames[0][:, :64].mean() > 60
    assert frames[3][:, :64].mean() < 10
    assert np.abs(frames[3][:, 64:].astype(int) - frames[2][:, 64:]).mean() < 5  # the pose is held
    done = render(bundle_folder, "--drive", astronaut_path, "--out", tmp_path / "one")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["00000.png"]


def test_a_driver_without_a_face_writes_nothing(bundle_folder, face_networks, tmp_path):
    Image.new("RGB", (200, 200), "navy").save(tmp_path / "blue.png")
    done = render(bundle_folder, "--drive", tmp_path / "blue.png", "--out", tmp_path / "a.mp4")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: driver: expected a face, found none")
    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--out", "a.mp4"], 2, "give either --drive DRIVE or --demo-motion"),
        (["--out", "a.mp4", "--drive", "a.npy", "--demo-motion"], 2, "give either"),
        (["--demo-motion"], 2, "Missing option '--out'"),
        (["--demo-motion", "--out", "a.mp4", "--retarget", "magic"], 2, "retarget"),
        (["--demo-motion", "--out", "a.avi"], 3, "expected .mp4, .gif, or a folder's name"),
        (["--demo-motion", "--out", "no/a.mp4"], 3, "does not exist"),
        (["--demo-motion", "--out", "a.mp4", "--background", "plaid"], 3, "background: expected a colour"),
        (["--demo-motion", "--out", "a.mp4", "--background", "no.png"], 3, "no.png: no such file"),
        (["--drive", "no.npy", "--out", "a.mp4"], 3, "no.npy"),
        (["--drive", "no.mp4", "--out", "a.mp4"], 3, "no.mp4: no such file"),
        (["--drive", "97", "--out", "a.mp4"], 3, "webcam 97: cannot be opened"),
        (["--demo-motion", "--out", "a.mp4", "--engine", "onnxruntime", "--precision", "bf16"], 3, "bf16"),
    ],
)
def test_wrong_arguments(bundle_folder, arguments, code, words, tmp_path, face_networks):
    arguments = [str(tmp_path / word) if word in ("a.mp4", "a.avi") else word for word in arguments]
    done = render(bundle_folder, *arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_no_bundle_is_one_line():
    done = render("no-such-avatar", "--demo-motion", "--out", "a.mp4")
    assert done.returncode == 3
    assert done.stderr == "error: no-such-avatar: no such file or folder\n"


def run(program, *arguments):
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


MODULES = ["engines", "player", "pose_encoding", "stages", "video", "writers", "render_cli"]


@pytest.mark.parametrize("module", MODULES)
def test_importing_loads_no_heavy_package(module):
    heavy = "('torch', 'onnx', 'onnxruntime', 'openvino', 'numba', 'av', 'cv2', 'ai_edge_litert')"
    program = f"import sys, bilayer.runtime.{module}; print([name for name in {heavy} if name in sys.modules])"
    assert run(program) == "[]"


def test_no_module_of_the_runtime_imports_torch_or_onnx():
    modules = sorted(path.stem for path in (ROOT / "runtime").glob("*.py") if path.stem != "__init__")
    assert {"player", "sampler", "retarget", "mediapipe"} <= set(modules)
    program = f"""
import importlib, sys
for name in {modules}:
    importlib.import_module(f"bilayer.runtime.{{name}}")
    found = [package for package in ("torch", "onnx") if package in sys.modules]
    assert not found, (name, found)
import bilayer.runtime
for name in bilayer.runtime.__all__:
    getattr(bilayer.runtime, name)
print([package for package in ("torch", "onnx") if package in sys.modules])
"""
    assert run(program) == "[]"


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_rendering_needs_neither_torch_nor_onnx(bundle_folder, tmp_path, engine):
    """From the bundle to the .mp4, in a Python where importing either fails."""
    pytest.importorskip(engine)
    program = """
import sys
sys.modules["torch"] = sys.modules["onnx"] = None
from bilayer.runtime.render_cli import main
arguments = sys.argv[1:]
main(["--demo-motion", "--frames", "2", "--layers", "--engine", *arguments], standalone_mode=False)
print([name for name in ("torch", "onnx") if sys.modules.get(name)])
"""
    assert run(program, engine, bundle_folder, "--out", tmp_path / "a.mp4") == "[]"
    assert (tmp_path / "a.mp4").stat().st_size > 500


def test_help_names_every_driver():
    done = render("--help")
    assert done.returncode == 0
    for word in ("track", "video", "photo", "webcam", "--demo-motion", "--retarget", "--layers"):
        assert word in done.stdout
