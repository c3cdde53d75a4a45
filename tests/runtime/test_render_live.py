"""`bilayer-render` while it runs: Ctrl-C, a webcam, the window."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from bilayer.runtime.command.console import look_at
from tests.runtime.conftest import CASE
from tests.runtime.rendering_command import ROOT, av, frames_of

# ---- Ctrl-C ----


def start(command, **environment):
    return subprocess.Popen(
        [sys.executable, "-W", "error", *map(str, command)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | environment,
    )  # fmt: skip


def interrupt(process, ready):
    """Ctrl-C once `ready()`; the end of the process."""
    end = time.monotonic() + 200
    while not ready() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    running = process.poll() is None
    process.send_signal(signal.SIGINT)
    try:
        stdout, stderr = process.communicate(timeout=200)
    finally:
        process.kill()
    assert running, (stdout, stderr)
    return process.returncode, stdout, stderr


posix = pytest.mark.skipif(os.name != "posix", reason="no SIGINT to send")


@posix
@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "frames"])
def test_ctrl_c_leaves_nothing_and_keeps_the_old(bundle_folder, tmp_path, name):
    near = 2 * CASE["target_landmarks"][:1]  # of a smaller face a warning would come first, if it is given the time
    np.save(tmp_path / "track.npy", np.repeat(near, 20_000, axis=0))  # minutes
    if name != "frames":
        (tmp_path / name).write_bytes(b"old")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    out = tmp_path / name
    arguments = (bundle_folder, "--drive", tmp_path / "track.npy", "--out", out, "--engine", "onnxruntime")
    process = start(["-m", "bilayer.runtime.rendering.cli", *arguments])
    ended = interrupt(process, lambda: list(tmp_path.glob(f".{name}.*.part")))
    assert ended == (130, "", "interrupted: nothing was written\n")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


SLOW_DISK = """
import sys, time
from pathlib import Path
import bilayer.runtime.player
def read_texture(bundle):
    Path(sys.argv[-1]).with_name("ready").touch()
    time.sleep(600)
bilayer.runtime.player.read_texture = read_texture
from bilayer.runtime.rendering.cli import main
main(prog_name="bilayer-render")
"""


@posix
def test_ctrl_c_while_it_loads_is_one_line_too(bundle_folder, tmp_path):
    process = start(["-c", SLOW_DISK, bundle_folder, "--demo-motion", "--out", tmp_path / "a.mp4"])
    assert interrupt(process, (tmp_path / "ready").exists) == (130, "", "interrupted: nothing was written\n")


# OpenCV's own class, but shown a video over and over, 50 frames a second; it says when it has shown ten
WEBCAM = """
import os, sys, time
from pathlib import Path
import cv2
video, ready = sys.argv[1:3]
real = cv2.VideoCapture

class Camera:
    def __init__(self, index):
        assert index == 3
        self.file, self.count = real(video), 0

    def __getattr__(self, name):
        return getattr(self.file, name)

    def read(self):
        time.sleep(0.02)
        there, frame = self.file.read()
        if not there:
            self.file = real(video)
            there, frame = self.file.read()
        self.count += 1
        if self.count == 10:
            Path(ready).touch()
        return there, frame

cv2.VideoCapture = Camera
from bilayer.runtime.rendering.cli import main
main(sys.argv[3:], prog_name="bilayer-render")
"""


@pytest.fixture
def face_video(astronaut_path, tmp_path):
    """Four frames, ten a second."""
    photo = Image.open(astronaut_path).convert("RGB").crop((60, 0, 380, 256))
    with av.open(str(tmp_path / "face.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 256, "yuv420p"
        for _ in range(4):
            file.mux(stream.encode(av.VideoFrame.from_image(photo)))
        file.mux(stream.encode())
    return tmp_path / "face.mp4"


@posix
@pytest.mark.parametrize("name", ["a.mp4", "frames"])
def test_ctrl_c_ends_a_webcam_and_keeps_what_was_recorded(bundle_folder, face_networks, face_video, tmp_path, name):
    ready, out = tmp_path / "ready", tmp_path / name
    command = ["-c", WEBCAM, face_video, ready, bundle_folder, "--drive", 3, "--out", out, "--json", "--side-by-side"]
    code, stdout, stderr = interrupt(start(command), ready.exists)
    assert (code, stderr) == (0, "")
    report = json.loads(stdout)
    assert report["frames"] >= 9
    assert (report["frames_without_face"], report["frame_rate"]) == (0, 10.0)
    if name == "frames":
        frames = [np.asarray(Image.open(path))[..., :3] for path in sorted(out.iterdir())]
    else:
        frames = frames_of(out)
    assert len(frames) == report["frames"]
    assert frames[0].shape == frames[-1].shape == (64, 128, 3)
    assert frames[0][:, :64].mean() > 60  # the driver
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["face.mp4", "ready", name])


@posix
def test_a_second_ctrl_c_does_not_wait(bundle_folder, face_networks, face_video, tmp_path):
    """A camera that hangs cannot keep the program from ending."""
    ready = tmp_path / "ready"
    hanging = WEBCAM.replace("Path(ready).touch()", "Path(ready).touch(); time.sleep(600)")
    process = start(["-c", hanging, face_video, ready, bundle_folder, "--drive", 3, "--out", tmp_path / "a.mp4"])

    def once():
        if ready.exists():
            process.send_signal(signal.SIGINT)
            time.sleep(1)
        return ready.exists()

    assert interrupt(process, once) == (130, "", "interrupted: nothing was written\n")
    assert not (tmp_path / "a.mp4").exists()


def test_a_webcam_stops_after_so_many_frames(bundle_folder, face_networks, face_video, tmp_path):
    out = tmp_path / "a.gif"
    command = ["-c", WEBCAM, face_video, tmp_path / "ready", bundle_folder, "--drive", 3, "--out", out, "--frames", 3]
    process = start(command)
    stdout, stderr = process.communicate(timeout=200)
    assert (process.returncode, stderr) == (0, f"\nnext: {look_at(out)}\n")
    assert "3 frames of 64 px, 10 a second" in stdout


# ---- the window ----

# Says when it has shown more frames than the video and the photo have
WATCHED = """
import sys
from pathlib import Path
from bilayer.runtime.media.window import Window
write, shown = Window.write, []
def watched(window, frame):
    write(window, frame)
    shown.append(1)
    if len(shown) == 6:
        Path(sys.argv[2]).with_name("shown").touch()
Window.write = watched
"""


@posix
@pytest.mark.parametrize("drive", ["demo", "video", "photo", "webcam"])
def test_a_window_plays_until_ctrl_c(bundle_folder, face_networks, face_video, astronaut_path, tmp_path, drive):
    pytest.importorskip("pygame")
    choices = {"video": ["--drive", face_video], "photo": ["--drive", astronaut_path], "webcam": ["--drive", 3]}
    arguments = [bundle_folder, *choices.get(drive, ["--demo-motion"]), "--out", "window", "--json"]
    process = start(["-c", WATCHED + WEBCAM, face_video, tmp_path / "ready", *arguments], SDL_VIDEODRIVER="dummy")
    code, stdout, stderr = interrupt(process, (tmp_path / "shown").exists)
    assert (code, stderr) == (0, "")
    assert json.loads(stdout)["frames"] >= 6


def test_a_window_stops_after_so_many_frames(bundle_folder):
    pytest.importorskip("pygame")
    arguments = [bundle_folder, "--demo-motion", "--out", "window", "--frames", 5]
    process = start(["-m", "bilayer.runtime.rendering.cli", *arguments], SDL_VIDEODRIVER="dummy")
    stdout, stderr = process.communicate(timeout=200)
    assert (process.returncode, stderr) == (0, "\nnext: the same with --out a.mp4\n")
    assert stdout.splitlines()[-1].startswith("network: ")
