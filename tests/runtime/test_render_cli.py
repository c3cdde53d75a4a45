"""`bilayer-render` as a user runs it: what drives the avatar, what is written, what is refused."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bilayer.runtime import Retargeter, closest_frame
from bilayer.runtime.face.found import face_from_landmarks
from bilayer.runtime.media.video import VideoFrames
from bilayer.runtime.motion.drivers import TrackedDriver
from bilayer.runtime.motion.track_files import read_track
from bilayer.runtime.player import AvatarPlayer
from bilayer.runtime.rendering.cli import main
from bilayer.runtime.rendering.render import layer_pictures
from tests.runtime.conftest import CASE
from tests.runtime.rendering_command import av, frames_of, render, render_alone


@pytest.fixture
def track(tmp_path):
    """Four frames of the golden driver, in pixels."""
    points = CASE["target_landmarks"]
    np.save(tmp_path / "track.npy", np.concatenate([points, points + 3]))
    return tmp_path / "track.npy"


def test_the_demo_motion_becomes_a_video(bundle_folder, tmp_path):
    out = tmp_path / "a.mp4"
    words = ["--demo-motion", "--out", out, "--frames", 30, "--json", "--engine", "onnxruntime"]
    done = render_alone(bundle_folder, *words)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    shown = [report[name] for name in ("frames", "frame_rate", "image_size", "engine")]
    assert shown == [30, 25.0, 64, "onnxruntime"]
    assert set(report["median_ms"]) == set(report["share"]) == {"track", "network", "sample", "encode"}
    assert report["frames_skipped"] == 0
    assert sum(report["share"].values()) == pytest.approx(1, abs=1e-3)
    frames = frames_of(out)
    assert len(frames) == 30
    assert frames[0].shape == (64, 64, 3)
    source = AvatarPlayer.load(bundle_folder, background=(255, 255, 255), engine="onnxruntime")
    assert np.abs(source.render(source.source_pose)[..., :3].astype(int) - frames[0]).mean() < 12  # 4:2:0 of noise
    assert np.abs(frames[10].astype(int) - frames[0]).mean() > 0.5  # it moves


def test_frames_of_the_size_that_is_asked_for(bundle_folder, track, tmp_path):
    out, picture = tmp_path / "frames", tmp_path / "behind.png"
    Image.new("RGB", (200, 100), "red").save(picture)
    words = ["--size", "96", "--background", picture, "--parts", "--frames", "2", "--json", "--engine", "onnxruntime"]
    done = render(bundle_folder, "--drive", track, "--out", out, *words)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["image_size"], report["frame_size"]) == (64, 96)
    assert [np.asarray(Image.open(path)).shape for path in sorted(out.iterdir())] == [(96, 5 * 96, 4)] * 2
    done = render(bundle_folder, "--drive", track, "--out", tmp_path / "other", "--size", "9")
    assert done.returncode == 2
    assert "9 is not in the range 16<=x<=4096" in done.stderr


def test_a_track_as_published_gives_the_players_frames(bundle_folder, track, tmp_path):
    from bilayer.runtime import crop_box, pose_vector

    out = tmp_path / "frames"
    done = render(bundle_folder, "--drive", track, "--retarget", "absolute", "--out", out, "--engine", "onnxruntime")
    assert done.returncode == 0, done.stderr
    assert "onnxruntime, fp32" in done.stdout
    avatar = AvatarPlayer.load(bundle_folder, engine="onnxruntime")
    for i, points in enumerate(np.load(track)):
        frame = np.asarray(Image.open(out / f"{i:05d}.png"))
        np.testing.assert_array_equal(frame, avatar.render(pose_vector(points, crop_box(points))))
    assert len(list(out.iterdir())) == 4


def test_layers_and_driver_beside_the_frame(bundle_folder, track, tmp_path):
    out = tmp_path / "frames"
    arguments = ("--side-by-side", "--parts", "--background", "#102030", "--frames", 2)
    done = render(bundle_folder, "--drive", track, "--out", out, *arguments)
    assert done.returncode == 0, done.stderr
    assert "| compose |" in done.stdout
    sheet = np.asarray(Image.open(out / "00000.png"))
    assert sheet.shape == (64, 6 * 64, 4)
    assert (sheet[..., 3] == 255).all()
    driver, _, lf, hf, uv, mask = np.split(sheet, 6, axis=1)
    assert {(1, 1, 1), (255, 255, 255)} <= {tuple(pixel) for pixel in driver[..., :3].reshape(-1, 3)}  # a stickman
    assert (mask[..., 0] == mask[..., 1]).all()
    assert uv[0, 0, 0] < uv[0, -1, 0]
    assert uv[0, 0, 1] < uv[-1, 0, 1]
    avatar = AvatarPlayer.load(bundle_folder)
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


def test_a_videos_reference_is_its_frame_nearest_to_the_source(bundle_folder, astronaut_path, landmarker, tmp_path):
    """Not the first one, in which the head is held aslant."""
    photo = Image.open(astronaut_path).convert("RGB")
    source = AvatarPlayer.load(bundle_folder, engine="onnxruntime", threads=1)
    roll = face_from_landmarks(source.source_pose.reshape(68, 2)).roll
    turned = [photo.rotate(angle, Image.Resampling.BICUBIC, center=(225, 120)) for angle in (25, 18, -roll, -20)]
    with av.open(str(tmp_path / "drive.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 320, 256, "yuv420p"
        for picture in turned:
            file.mux(stream.encode(av.VideoFrame.from_image(picture.crop((60, 0, 380, 256)))))
        file.mux(stream.encode())
    choice = ("--engine", "onnxruntime", "--threads", 1)
    done = render(bundle_folder, "--drive", tmp_path / "drive.mp4", "--out", tmp_path / "frames", *choice)
    assert done.returncode == 0, done.stderr
    driver = TrackedDriver(lambda: VideoFrames(tmp_path / "drive.mp4"), with_pictures=False)
    driver.track(landmarker)
    landmarks = [moment.landmarks for moment in driver]
    nearest = closest_frame(source.source_pose, landmarks)
    assert nearest == 2
    np.testing.assert_array_equal(driver.reference(source.source_pose), landmarks[nearest])
    to_pose = Retargeter(source.source_pose, "relative", landmarks[nearest]).pose
    for i, points in enumerate(landmarks):
        frame = np.asarray(Image.open(tmp_path / f"frames/{i:05d}.png"))
        np.testing.assert_array_equal(frame, source.render(to_pose(points)))
    still = np.asarray(Image.open(tmp_path / f"frames/{nearest:05d}.png"))
    np.testing.assert_array_equal(still, source.render(source.source_pose))


def test_a_driver_without_a_face_writes_nothing(bundle_folder, face_networks, tmp_path):
    Image.new("RGB", (200, 200), "navy").save(tmp_path / "blue.png")
    done = render(bundle_folder, "--drive", tmp_path / "blue.png", "--out", tmp_path / "a.mp4")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"error: {tmp_path / 'blue.png'}: expected a face, found none")
    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--out", "a.mp4"], 2, "give either --drive DRIVE or --demo-motion"),
        (["--out", "a.mp4", "--drive", "a.npy", "--demo-motion"], 2, "give either"),
        (["--demo-motion"], 2, "Missing option '-o' / '--out'"),
        (["--demo-motion", "--out", "a.mp4", "--precision", "f16"], 2, "'f16' is called 'fp16' here"),
        (["--demo-motion", "--out", "a.mp4", "--retarget", "magic"], 2, "retarget"),
        (["--demo-motion", "--out", "a.avi"], 2, "expected a folder or a name that ends in .mp4, .gif, found .avi"),
        (["--demo-motion", "--out", f"{__file__}/a.mp4"], 3, "is a file and not a folder"),
        (["--demo-motion", "--out", "a.mp4", "--background", "plaid"], 3, "background: expected a colour"),
        (["--demo-motion", "--out", "a.mp4", "--background", "no.png"], 3, "no.png: no such file"),
        (["--drive", "no.npy", "--out", "a.mp4"], 3, "no.npy"),
        (["--drive", "no.mp4", "--out", "a.mp4"], 3, "no.mp4: no such file"),
        (["--drive", "97", "--out", "a.mp4"], 3, "webcam 97: cannot be opened"),
        (["--drive", "/dev/video97", "--out", "a.mp4"], 3, "webcam 97: cannot be opened"),
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


def in_process(*arguments):
    """`render` without a process of its own."""
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_tracks_that_hold_no_face_are_refused(bundle_folder, track, tmp_path):
    frames = read_track(track).landmarks
    unusable = {
        "parts": (frames / 512, r"parts.npy: landmarks: span 0\.\d+, expected pixels .* multiply x by its width"),
        "nobody": (np.zeros_like(frames), "error: .*nobody.npy: driver: expected a face, found none"),
    }
    for name, (points, words) in unusable.items():
        np.save(tmp_path / f"{name}.npy", points)
        done = in_process(bundle_folder, "--drive", tmp_path / f"{name}.npy", "--out", tmp_path / "a.gif")
        assert done.exit_code == 3
        assert re.search(words, done.stderr)
        assert not (tmp_path / "a.gif").exists()


def test_frames_without_a_face_hold_the_pose_before(bundle_folder, track, tmp_path):
    frames = read_track(track).landmarks.copy()
    frames[2] = 0
    np.save(tmp_path / "gap.npy", frames)
    done = in_process(bundle_folder, "--drive", tmp_path / "gap.npy", "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["frames"], report["frames_without_face"]) == (4, 1)
    assert (tmp_path / "out/00002.png").read_bytes() == (tmp_path / "out/00001.png").read_bytes()
    assert (tmp_path / "out/00003.png").read_bytes() != (tmp_path / "out/00002.png").read_bytes()


def test_a_driver_of_one_frame_shows_its_face_as_a_photo_does(bundle_folder, track, tmp_path):
    one = read_track(track).landmarks[1:2]
    for name, frames in (("one", one), ("still", np.repeat(one, 3, axis=0))):
        np.save(tmp_path / f"{name}.npy", frames)
    shown = {}
    for name, mode in (("one", "relative"), ("still", "procrustes"), ("one", "absolute")):
        out = tmp_path / f"{name}-{mode}"
        done = in_process(bundle_folder, "--drive", tmp_path / f"{name}.npy", "--retarget", mode, "--out", out)
        assert done.exit_code == 0, done.stderr
        shown[out.name] = [path.read_bytes() for path in sorted(out.iterdir())]
    assert shown["one-relative"] == shown["one-absolute"]
    assert shown["still-procrustes"] == shown["one-absolute"] * 3


def test_a_background_is_a_picture_by_content_and_a_colour_by_name(bundle_folder, track, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64), (10, 200, 90)).save(tmp_path / "meadow", "PNG")
    (tmp_path / "red").write_text("a file of that name")
    for name, colour in (("meadow", "#0ac85a"), ("red", "#ff0000")):
        for background in (name, colour):
            out = tmp_path / f"{background.strip('#')}.gif"
            done = in_process(bundle_folder, "--drive", track, "--out", out, "--background", background)
            assert done.exit_code == 0, done.stderr
        assert (tmp_path / f"{name}.gif").read_bytes() == (tmp_path / f"{colour.strip('#')}.gif").read_bytes()


def test_no_bundle_is_one_line():
    done = render("no-such-avatar", "--demo-motion", "--out", "a.mp4")
    assert done.returncode == 3
    assert done.stderr == "error: no-such-avatar: no such file or folder; name one that is there\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("me.jpg", b"\xff\xd8\xff\xe0....JFIF", "is a photo (JPEG) and not an avatar; make one of it: bilayer-export "),
        (
            "avatar.onnx",
            b"\x08\x03\x12\x07bilayer:\xfe",
            "is an ONNX network and not an avatar; give what lies beside",
        ),
        ("b.onnx", b"\x08\x03\x12\x07bilayer:\xfe", "give the folder that bilayer-export wrote"),
        ("avatar.dlc", b"PK\x03\x04....", "is a .dlc or another zip archive and not an avatar; give what lies beside"),
        ("film.mp4", b"\0\0\0\x18ftypisom", "is a video and not an avatar; give the folder"),
    ],
)
def test_what_is_no_bundle_is_told_what_it_is_before_a_library_is_loaded(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "avatar.json").touch()
    code = "import sys; from bilayer.runtime.rendering.cli import main; main(sys.argv[1:], standalone_mode=False); "
    code += "print([name for name in ('numpy', 'PIL', 'onnxruntime') if name in sys.modules])"
    arguments = [str(tmp_path / name), "--demo-motion", "--out", str(tmp_path / "a.mp4")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == "[]\n"


def test_a_former_option_is_told_the_present_one():
    done = render("--layers")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--layers is called --parts here" in done.stderr


def test_help_names_every_driver():
    done = render("--help")
    assert done.returncode == 0
    for word in ("track", "video", "photo", "webcam", "--demo-motion", "--retarget", "--parts"):
        assert word in done.stdout
