"""What the keys of the window do, tried without a screen: the window is one that only remembers."""

import numpy as np
import pytest
from PIL import Image

from bilayer.runtime.media import writers
from bilayer.runtime.rendering.live import HELP, MAX_REPEATS, Live


class Screen:
    """A window's memory."""

    def __init__(self):
        self.frames, self.keys, self.closed, self.note, self.titles, self.zoomed = [], [], False, "", [], 0
        self.waits, self.later, self.clock = [], [], Clock()

    def write(self, frame):
        self.frames.append(frame.copy())

    def typed(self):
        typed, self.keys = self.keys, []
        return typed

    def idle(self, seconds):
        self.waits.append(seconds)
        self.clock.now += 7.0
        self.keys = self.later.pop(0) if self.later else []

    def say(self, title):
        self.titles.append(title)

    def zoom(self, step):
        self.zoomed += step

    def refresh(self):
        pass


class Clock:
    """Time that passes only when somebody waits."""

    now = 100.0

    def __call__(self):
        return self.now


class Pace:
    def __init__(self):
        self.held = 0.0

    def hold(self, seconds):
        self.held += seconds


def frame(seed=0, panels=1):
    return np.random.default_rng(seed).integers(0, 256, (6, 6 * panels, 4), np.uint8) | np.uint8([0, 0, 0, 255])


@pytest.fixture
def screen():
    return Screen()


def live_on(screen, tmp_path, pace=None, panels=1):
    return Live([screen], screen, pace, 10.0, panels, tmp_path, screen.clock)


def test_without_a_key_frames_are_shown_as_they_are(screen, tmp_path):
    with live_on(screen, tmp_path) as live:
        live.write(frame())
        assert not live.stopped(lambda: False)
    np.testing.assert_array_equal(screen.frames, [frame()])
    assert not list(tmp_path.iterdir())


def test_m_mirrors_each_picture_in_its_place(screen, tmp_path):
    with live_on(screen, tmp_path, panels=2) as live:
        screen.keys = ["m"]
        live.write(frame(0, 2))
        live.write(frame(1, 2))
        screen.keys = ["m"]
        live.write(frame(2, 2))
        live.write(frame(3, 2))
    left, right = np.split(frame(1, 2), 2, axis=1)
    np.testing.assert_array_equal(screen.frames[1], np.concatenate([left[:, ::-1], right[:, ::-1]], axis=1))
    np.testing.assert_array_equal(screen.frames[3], frame(3, 2))
    assert screen.titles == ["bilayer - mirrored - H: keys", "bilayer - H: keys"]


def test_c_recentres_where_there_is_something_to(screen, tmp_path):
    asked = []
    with live_on(screen, tmp_path) as live:
        for recentre in (None, lambda: asked.append(1)):
            live.recentre = recentre
            screen.keys = ["c"]
            live.write(frame())
    assert asked == [1]


def test_space_waits_until_it_is_pressed_again_and_the_driver_is_not_late(screen, tmp_path):
    pace = Pace()
    with live_on(screen, tmp_path, pace) as live:
        screen.keys, screen.later = [" "], [[], [], [" "]]
        live.write(frame())
        assert not live.stopped(lambda: False)
    assert len(screen.waits) == 3
    assert pace.held == 3 * 7.0


def test_a_pause_ends_with_the_window_and_with_ctrl_c(screen, tmp_path):
    with live_on(screen, tmp_path) as live:
        screen.keys = [" "]
        live.write(frame())
        assert live.stopped(lambda: len(screen.waits) == 2)
        assert len(screen.waits) == 2
        screen.closed = True
        assert live.stopped(lambda: False)


@pytest.mark.parametrize(("keys", "zoomed"), [(["+"], 1), (["=", "="], 2), (["-"], -1)])
def test_plus_and_minus_change_the_size(screen, tmp_path, keys, zoomed):
    with live_on(screen, tmp_path) as live:
        screen.keys = keys
        live.write(frame())
    assert screen.zoomed == zoomed


@pytest.mark.parametrize("key", ["h", "?"])
def test_help_names_every_key_and_goes_again(screen, tmp_path, key):
    with live_on(screen, tmp_path) as live:
        for expected in (HELP, ""):
            screen.keys = [key]
            live.write(frame())
            assert screen.note == expected
    for word in ("Space", "C ", "M ", "R ", "+ -", "H ?", "Esc"):
        assert word in HELP


@pytest.fixture
def as_pictures(monkeypatch):
    """What is recorded becomes a .gif, which needs no extra."""
    monkeypatch.setattr("bilayer.runtime.rendering.live.find_spec", lambda _: None)


def frames_and_length(path):
    with Image.open(path) as image:
        length, shades = 0, []
        for number in range(image.n_frames):
            image.seek(number)
            length += image.info["duration"]
            shades.append(np.asarray(image.convert("RGB"))[0, 0, 0])
        return shades, length


def test_r_records_what_is_seen_in_its_own_time(screen, tmp_path, as_pictures, capsys):
    with live_on(screen, tmp_path) as live:
        for shade, seconds in ((10, 0.0), (60, 0.3), (110, 0.1), (160, 0.02), (210, 0.08)):
            screen.clock.now += seconds
            screen.keys = ["r"] if shade in (10, 210) else []
            live.write(np.full((6, 6, 4), (shade, shade, shade, 255), np.uint8))
    shades, length = frames_and_length(tmp_path / "bilayer-1.gif")
    assert length == 600  # of 0.5 s, both ends' frames
    assert shades == pytest.approx([10, 60, 110, 210], abs=2)  # that in between was due with none
    assert "recorded: " in capsys.readouterr().err
    assert screen.titles == ["bilayer - recording bilayer-1.gif - H: keys", "bilayer - H: keys"]


@pytest.mark.parametrize("keys", [(["r", " "], [], [" "]), ([" "], ["r"], [" "])])
def test_a_pause_is_not_recorded(screen, tmp_path, as_pictures, keys):
    """Whether it begins before the recording, which holds what is seen from then on, or after."""
    with live_on(screen, tmp_path) as live:
        screen.keys, *screen.later = keys
        live.write(frame(0))
        assert not live.stopped(lambda: False)
        screen.clock.now += 0.1
        live.write(frame(1))
    assert frames_and_length(tmp_path / "bilayer-1.gif")[1] == 200


def test_a_very_slow_machine_records_less_than_its_time(screen, tmp_path, as_pictures):
    """Instead of encoding without end what made it slow."""
    with live_on(screen, tmp_path) as live:
        screen.keys = ["r"]
        live.write(frame(0))
        for seconds in (60.0, 0.1):
            screen.clock.now += seconds
            live.write(frame(1))
    assert frames_and_length(tmp_path / "bilayer-1.gif")[1] == 100 * (1 + MAX_REPEATS + 1)


def test_recordings_take_free_names_and_the_end_completes_them(screen, tmp_path, as_pictures):
    (tmp_path / "bilayer-1.gif").write_bytes(b"mine")
    with live_on(screen, tmp_path) as live:
        screen.keys = ["r"]
        live.write(frame())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bilayer-1.gif", "bilayer-2.gif"]
    assert (tmp_path / "bilayer-1.gif").read_bytes() == b"mine"


def test_a_failure_leaves_nothing_of_a_recording(screen, tmp_path, as_pictures):
    def fail():
        with live_on(screen, tmp_path) as live:
            screen.keys = ["r"]
            live.write(frame())
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_recorded_is_told_and_the_show_goes_on(screen, tmp_path, as_pictures, capsys, monkeypatch):
    (tmp_path / "file").write_text("mine")
    with Live([screen], screen, None, 10.0, 1, tmp_path / "file", screen.clock) as live:
        screen.keys = ["r"]
        live.write(frame())
    assert "warning: not recorded: " in capsys.readouterr().err
    monkeypatch.setattr(writers.GifWriter, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with live_on(screen, tmp_path) as live:
        screen.keys = ["r"]
        live.write(frame())
        live.write(frame())
    assert "warning: not recorded: " in capsys.readouterr().err
    assert len(screen.frames) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
