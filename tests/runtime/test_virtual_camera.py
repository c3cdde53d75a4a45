"""Frames go to a virtual camera as pyvirtualcam's documentation wants them; without one there is a way out."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bilayer.runtime.errors import ToolMissingError
from bilayer.runtime.media.virtual_camera import open_virtual_camera
from bilayer.runtime.rendering.cli import main

MADE = []


class Camera:
    """pyvirtualcam.Camera, as its documentation has it: RGB by default, frames (height, width, 3), bytes."""

    def __init__(self, width, height, fps, *, device=None):
        if device == "/dev/video99":
            raise RuntimeError("'v4l2loopback' backend: Device /dev/video99 does not exist.")
        self.width, self.height, self.fps, self.device = width, height, fps, device or "/dev/video7"
        self.frames, self.closed, self.fails = [], False, False
        MADE.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True

    def send(self, frame):
        if self.fails:
            raise RuntimeError("the device is gone")
        assert (frame.dtype, frame.shape) == (np.uint8, (self.height, self.width, 3))
        assert frame.flags.c_contiguous
        self.frames.append(frame.copy())


@pytest.fixture
def cameras(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=Camera))
    MADE.clear()
    return MADE


def in_process(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_frames_are_laid_over_black_in_even_numbers_of_pixels(cameras):
    rng = np.random.default_rng(0)
    with open_virtual_camera(None, 5, 7, 30.0) as camera:
        assert camera.device == "/dev/video7"
        opaque = rng.integers(0, 256, (5, 7, 4), np.uint8) | np.uint8([0, 0, 0, 255])
        for frame in (opaque, opaque * np.uint8([1, 1, 1, 0])):
            camera.write(frame)
    (made,) = cameras
    assert (made.width, made.height, made.fps, made.closed) == (8, 6, 30.0, True)
    np.testing.assert_array_equal(made.frames[0][:5, :7], opaque[..., :3])
    assert not made.frames[0][5:].any()
    assert not made.frames[0][:, 7:].any()
    assert not made.frames[1].any()


def test_a_camera_that_goes_is_one_line(cameras):
    with open_virtual_camera("/dev/video3", 4, 4, 25.0) as camera:
        cameras[0].fails = True
        with pytest.raises(ToolMissingError, match=r"camera /dev/video3: it took no frame \(the device is gone\)"):
            camera.write(np.zeros((4, 4, 4), np.uint8))
    assert cameras[0].closed


def test_without_the_package_its_extra_is_named(bundle_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    done = in_process(bundle_folder, "--demo-motion", "--virtual-camera")
    assert done.exit_code == 5
    assert done.stderr.startswith("error: a virtual camera needs pyvirtualcam (")
    assert "pip install 'bilayer[camera]'" in done.stderr


def test_a_bundle_behind_the_option_is_not_taken_for_a_device(bundle_folder):
    done = in_process("--demo-motion", "--virtual-camera", bundle_folder)
    assert done.exit_code == 2
    assert "give it before the option" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the driver is Linux's")
@pytest.mark.parametrize("device", [None, "/dev/video98"])
def test_the_real_package_without_a_device(bundle_folder, device):
    pyvirtualcam = pytest.importorskip("pyvirtualcam")
    try:
        pyvirtualcam.Camera(64, 64, 25, device=device).close()
    except RuntimeError:
        words = ["--virtual-camera", *([device] if device else [])]
        done = in_process(bundle_folder, "--demo-motion", *words)
        assert done.exit_code == 5
        assert done.stderr.startswith("error: virtual camera: 'v4l2loopback' backend: ")
        assert "sudo modprobe v4l2loopback" in done.stderr
        assert done.stderr.count("\n") == 1
    else:
        pytest.skip("there is a virtual camera here")


@pytest.mark.parametrize(("words", "device"), [([], "/dev/video7"), (["/dev/video2"], "/dev/video2")])
def test_the_command_sends_what_it_would_write(bundle_folder, tmp_path, cameras, words, device):
    common = [bundle_folder, "--demo-motion", "--frames", "3", "--background", "white", "--engine", "onnxruntime"]
    assert in_process(*common, "--out", tmp_path / "frames").exit_code == 0
    done = in_process(*common, "--json", "--virtual-camera", *words)
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["out"] == "virtual camera"
    (camera,) = cameras
    assert (camera.device, camera.width, camera.fps, camera.closed) == (device, 64, 25.0, True)
    assert len(camera.frames) == report["frames"] == 3 - report["frames_skipped"]
    first = np.asarray(Image.open(tmp_path / "frames/00000.png"))
    np.testing.assert_array_equal(camera.frames[0], first[..., :3])


def test_a_window_and_a_camera_show_the_same(bundle_folder, cameras, monkeypatch):
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    words = ["--out", "window", "--virtual-camera", "--side-by-side", "--frames", 2, "--json"]
    done = in_process(bundle_folder, "--demo-motion", *words)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["out"] == "window and virtual camera"
    assert (cameras[0].width, cameras[0].height) == (128, 64)


def test_a_file_is_not_written_beside_a_camera(bundle_folder, tmp_path, cameras):
    done = in_process(bundle_folder, "--demo-motion", "--out", tmp_path / "a.mp4", "--virtual-camera")
    assert done.exit_code == 2
    assert "leave --out away, or give --out window" in done.stderr
    assert not cameras
