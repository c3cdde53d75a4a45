"""Videos are read upright and whole, followed once, and written whole or not at all."""

import importlib.util
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
from PIL import Image, ImageSequence

from bilayer.runtime.errors import InputError, LandmarkError, OutputError
from bilayer.runtime.face.found import face_from_landmarks
from bilayer.runtime.media.video import VideoFrames, WebcamFrames
from bilayer.runtime.media.writers import open_writer
from bilayer.runtime.motion.drivers import Repeated, TrackedDriver

av = pytest.importorskip("av")


def moving_square(count, height=48, width=64, alpha=255):
    """A red square on blue, two pixels further right in each frame (H, W, 4)."""
    frames = np.zeros((count, height, width, 4), np.uint8)
    frames[..., 2:] = 200, alpha
    for i, frame in enumerate(frames):
        frame[10:26, 2 * i : 2 * i + 16] = 220, 30, 20, 255
    return frames


def write(path, frames, rate=25.0):
    with open_writer(path, rate) as writer:
        for frame in frames:
            writer.write(frame)
    return path


@pytest.mark.parametrize("rate", [25.0, 30000 / 1001, 12.5])
@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_an_mp4_is_what_was_written(tmp_path, rate, size):
    frames = moving_square(12, *size)
    path = write(tmp_path / "a.mp4", frames, rate)
    with VideoFrames(path) as video:
        assert (video.rate, video.count) == (pytest.approx(rate, rel=1e-6), 12)
        read = [frame[: size[0], : size[1]] for frame in video]
    assert len(read) == 12
    assert read[0].shape == (*size, 3)
    for frame, expected in zip(read, frames, strict=True):
        assert np.abs(frame.astype(int) - expected[..., :3]).mean() < 6  # colours at half the resolution
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    with av.open(str(path)) as file:
        codec = file.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt, codec.width % 2, codec.height % 2) == ("h264", "yuv420p", 0, 0)


def test_transparency_is_black_in_an_mp4(tmp_path):
    path = write(tmp_path / "a.mp4", moving_square(3, alpha=0))
    with VideoFrames(path) as video:
        last = list(video)[-1]
    assert last[40:, 40:].max() < 10
    assert last[14:22, 8:16, 0].min() > 180


def test_the_same_frames_give_the_same_bytes(tmp_path):
    for name in ("a.mp4", "a.gif"):
        assert (
            write(tmp_path / name, moving_square(5)).read_bytes()
            == write(tmp_path / f"b{name}", moving_square(5)).read_bytes()
        )


@pytest.mark.parametrize("alpha", [255, 0])
def test_a_gif_is_what_was_written_and_as_long(tmp_path, alpha):
    frames = moving_square(24, alpha=alpha)
    with Image.open(write(tmp_path / "a.gif", frames, 30.0)) as image:
        read, milliseconds = [], 0
        for frame in ImageSequence.Iterator(image):
            read.append(np.asarray(frame.convert("RGBA")))
            milliseconds += frame.info["duration"]
        assert image.info["loop"] == 0
    assert milliseconds == 800  # 24 frames at 30 a second, in hundredths
    assert len(read) == 24
    for frame, expected in zip(read, frames, strict=True):
        np.testing.assert_array_equal(frame[..., 3], expected[..., 3])
        shown = expected[..., 3] == 255
        assert np.abs(frame[shown].astype(int) - expected[shown]).max() <= 8


def test_pngs_are_what_was_written_to_the_bit(tmp_path):
    frames = moving_square(3, alpha=100)
    folder = write(tmp_path / "frames", frames)
    assert sorted(path.name for path in folder.iterdir()) == ["00000.png", "00001.png", "00002.png"]
    for i, expected in enumerate(frames):
        np.testing.assert_array_equal(np.asarray(Image.open(folder / f"{i:05d}.png")), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "frames"])
def test_a_failure_in_the_middle_leaves_nothing_and_keeps_the_old(tmp_path, name):
    old = tmp_path / "a.mp4" if name == "frames" else tmp_path / name
    old.write_bytes(b"old")

    def frames():
        yield moving_square(1)[0]
        raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        write(tmp_path / name, frames())
    assert [path.name for path in tmp_path.iterdir()] == [old.name]
    assert old.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "frames"])
def test_no_frame_is_an_error(tmp_path, name):
    with pytest.raises(OutputError, match="no frame to write"), open_writer(tmp_path / name, 25.0):
        pass
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for place, words in (
        ("a.avi", "expected .mp4, .gif, or a folder's name for PNGs; found .avi"),
        ("full", "not an empty folder"),
        ("full/mine.txt/a.mp4", "is a file and not a folder"),
        ("full/mine.txt/frames", "is a file and not a folder"),
    ):
        with pytest.raises(OutputError, match=words):
            write(tmp_path / place, moving_square(1))
    for rate in (0, -1, float("nan"), 1e9):
        with pytest.raises(InputError, match="rate"):
            write(tmp_path / "a.mp4", moving_square(1), rate)
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["a.gif", "a.mp4", "frames"])
def test_a_missing_folder_is_made_and_goes_again_if_nothing_comes_into_it(tmp_path, name):
    with pytest.raises(OutputError, match="no frame"), open_writer(tmp_path / "new/er" / name, 25.0):
        assert (tmp_path / "new/er").is_dir()
    assert not list(tmp_path.iterdir())
    write(tmp_path / "new/er" / name, moving_square(1))
    assert [path.name for path in (tmp_path / "new/er").iterdir()] == [name]


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_a_video_from_a_turned_phone_is_upright(tmp_path, turn):
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(turn)
        for frame in moving_square(4):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[..., :3]), format="rgb24")))
        file.mux(stream.encode())
    with av.open(str(path)) as file:
        told = next(file.decode(video=0)).rotation
    assert abs(told) == abs(turn)
    with VideoFrames(path) as video:
        first = next(iter(video))
    expected = np.rot90(moving_square(1)[0, ..., :3], told // 90)
    assert first.shape == expected.shape
    assert np.abs(first.astype(int) - expected).mean() < 6


def test_videos_that_are_none(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video at all")
    for name in ("sound.wav", "sound.mka"):
        with av.open(str(tmp_path / name), "w") as file:
            stream = file.add_stream("pcm_s16le", rate=8000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
            frame.rate = 8000
            file.mux(stream.encode(frame))
            file.mux(stream.encode())
    for name, words in (
        ("no.mp4", "no such file; name a video"),
        ("", "is a folder; name a video"),
        ("text.mp4", "not a video that FFmpeg reads"),
        ("sound.wav", "not a video that FFmpeg reads .found sound"),
        ("sound.mka", "expected a video, found no picture in it"),
    ):
        with pytest.raises(InputError, match=words):
            VideoFrames(tmp_path / name)


def read_count(path):
    """Number of frames, and what is said of the file."""
    count = 0
    try:
        with VideoFrames(path) as video:
            for _ in video:
                count += 1
    except InputError as error:
        return count, str(error)
    return count, ""


def test_a_damaged_video_is_one_error_or_fewer_frames(tmp_path):
    whole = write(tmp_path / "a.mp4", moving_square(20)).read_bytes()
    damaged = tmp_path / "b.mp4"
    rng = np.random.default_rng(0)
    for cut in (*range(40, len(whole), len(whole) // 12), None):
        content = bytearray(whole[:cut])
        if cut is None:
            for place in rng.integers(len(content) // 2, len(content), 40):
                content[place] ^= 0xFF
        damaged.write_bytes(content)
        count, message = read_count(damaged)
        assert count <= 20
        assert "\n" not in message
        assert not message or str(damaged) in message


def test_a_webcam_that_is_not_there():
    with pytest.raises(InputError, match="webcam 97: cannot be opened"):
        WebcamFrames(97)


def test_a_webcams_frames_are_the_cameras(tmp_path):
    """OpenCV opens a file as it opens a camera."""
    path = write(tmp_path / "a.mp4", moving_square(6), rate=12.5)
    with WebcamFrames(str(path)) as camera, VideoFrames(path) as video:
        assert (camera.rate, camera.count) == (12.5, None)
        pairs = list(zip(camera, video, strict=True))
    assert len(pairs) == 6
    for frame, expected in pairs:
        assert frame.flags.c_contiguous
        assert np.abs(frame.astype(int) - expected).mean() < 4  # red and blue in their places


class CountingLandmarker:
    """Finds a face that stands at the picture's mean colour, and none in black ones."""

    def __init__(self):
        self.seen = []

    def track(self, frame, previous):
        self.seen.append(previous)
        colour = float(frame.mean())
        return face_from_landmarks(np.arange(136).reshape(68, 2) + colour) if colour else None


class Slides:
    """Pictures of one colour each, as a video; notes when it is opened, gone through and closed."""

    rate, count = 12.0, None

    def __init__(self, *colours):
        self.colours, self.events = colours, []

    def __enter__(self):
        self.events.append("open")
        return self

    def __exit__(self, *_):
        self.events.append("close")

    def __iter__(self):
        self.events.append("read")
        for colour in self.colours:
            yield np.full((8, 10, 3), colour, np.uint8)


@pytest.mark.parametrize("with_pictures", [False, True])
def test_faces_are_looked_for_once(with_pictures):
    slides, landmarker, advanced = Slides(10, 0, 30), CountingLandmarker(), []
    driver = TrackedDriver(lambda: slides, with_pictures)
    assert driver.rate == 12.0
    driver.track(landmarker, advance=lambda: advanced.append(1))
    assert (driver.count, len(advanced)) == (3, 3)
    for _ in range(2):
        frames = list(driver)
        assert [None if frame.landmarks is None else frame.landmarks[0, 0] for frame in frames] == [10, None, 30]
        found = [None if frame.picture is None else frame.picture[0, 0, 0] for frame in frames]
        assert found == ([10, 0, 30] if with_pictures else [None] * 3)
        assert all(frame.seconds > 0 for frame in frames)
    assert [face is None for face in landmarker.seen] == [True, False, True]  # a lost face is looked for anew
    assert slides.events.count("open") == slides.events.count("close")
    assert slides.events.count("read") == (3 if with_pictures else 1)


def test_only_as_many_frames_as_are_wanted_are_looked_at():
    landmarker = CountingLandmarker()
    driver = TrackedDriver(lambda: Slides(10, 20, 30, 40), with_pictures=True)
    driver.track(landmarker, limit=2)
    assert (driver.count, len(landmarker.seen), len(list(driver))) == (2, 2, 2)


@pytest.mark.parametrize("colours", [(), (0, 0)])
def test_no_face_in_a_whole_video_is_an_error(colours):
    driver = TrackedDriver(lambda: Slides(*colours), with_pictures=False)
    with pytest.raises(LandmarkError, match="driver: expected a face, found none"):
        driver.track(CountingLandmarker())


def test_a_driver_repeated_goes_on_and_counts_its_time_once():
    driver = TrackedDriver(lambda: Slides(10, 30), with_pictures=False)
    driver.track(CountingLandmarker())
    frames = list(islice(Repeated(driver), 5))
    assert [frame.landmarks[0, 0] for frame in frames] == [10, 30, 10, 30, 10]
    assert [frame.seconds > 0 for frame in frames] == [True, True, False, False, False]


def test_pyav_missing_names_what_installs_it(monkeypatch, tmp_path):
    import sys

    from bilayer.runtime.errors import ToolMissingError

    assert importlib.util.find_spec("av")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ToolMissingError, match=r"pip install 'bilayer\[video\]'"):
        write(tmp_path / "a.mp4", moving_square(1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.gif", "a.mp4", "frames"])
def test_a_disk_that_takes_no_more_is_told_with_a_way_out(tmp_path, name):
    """By the system's limit of a file's size, in a process that keeps it to itself."""
    code = f"""
import resource, signal
from pathlib import Path
import numpy as np
from bilayer.runtime.errors import OutputError
from bilayer.runtime.media.writers import open_writer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
noise = np.random.default_rng(0).integers(0, 256, (20, 256, 256, 4), np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
try:
    with open_writer(Path({str(tmp_path / name)!r}), 25.0) as writer:
        for frame in noise:
            writer.write(frame)
except OutputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told = f"{tmp_path / name}: writing failed: File too large; make room there, or name another place\n"
    assert done.stdout == told
    assert not list(tmp_path.iterdir())
