"""The window shows what it is given, closes when it is told to, and keeps real time."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bilayer.runtime.errors import ToolMissingError
from bilayer.runtime.media.window import MAX_SKIPPED, RealTime, open_window


@pytest.fixture
def pygame(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    return pytest.importorskip("pygame")


def picture(height=48, width=64, alpha=255):
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (height, width, 4), np.uint8)
    frame[..., 3] = alpha
    return frame


def shown(pygame):
    """(H, W, 3), out of the screen, every pixel of which is there as often as any other."""
    screen = pygame.surfarray.array3d(pygame.display.get_surface()).transpose(1, 0, 2)
    times = screen.shape[0] // 48
    frame = screen[::times, ::times]
    np.testing.assert_array_equal(screen, frame.repeat(times, axis=0).repeat(times, axis=1))
    return frame


def key(pygame, code):
    return pygame.event.Event(pygame.KEYDOWN, key=code, unicode=chr(code))


@pytest.mark.parametrize("alpha", [255, 0])
def test_the_screen_holds_the_frame(pygame, alpha):
    with open_window("title") as window:
        for frame in (picture(alpha=255), picture(alpha=alpha)[::-1].copy()):
            window.write(frame)
        expected = picture()[::-1, :, :3] if alpha else np.zeros((48, 64, 3))
        np.testing.assert_array_equal(shown(pygame), expected)
        assert pygame.display.get_caption()[0] == "title"
        assert not window.closed
    assert not pygame.display.get_init()


def test_escape_q_and_the_button_close_it(pygame):
    for event, closes in (
        (key(pygame, pygame.K_ESCAPE), True),
        (key(pygame, pygame.K_q), True),
        (pygame.event.Event(pygame.QUIT), True),
        (key(pygame, pygame.K_a), False),
        (pygame.event.Event(pygame.KEYUP, key=pygame.K_q), False),
    ):
        with open_window("title") as window:
            window.write(picture())
            pygame.event.post(event)
            window.write(picture())
            assert window.closed == closes


def test_a_small_frame_is_as_large_as_the_desktop_allows_and_a_large_one_whole(pygame):
    desktop = pygame.display.init() or pygame.display.get_desktop_sizes()[0]
    for side, expected in ((100, min(desktop) // 100 * 100), (1000, 500)):
        with open_window("title") as window:
            window.write(picture(side, side))
            assert pygame.display.get_surface().get_size() == (expected, expected)


def test_it_grows_and_shrinks_by_whole_multiples(pygame):
    with open_window("title") as window:
        window.zoom(1)  # before there is anything to see
        window.write(picture(300, 200))
        sizes = []
        for step in (-1, -1, -1, 1, 1, 1):
            window.zoom(step)
            sizes.append(pygame.display.get_surface().get_size())
        assert sizes == [(200, 300), (100, 150), (66, 100), (100, 150), (200, 300), (400, 600)]
        np.testing.assert_array_equal(
            pygame.surfarray.array3d(pygame.display.get_surface())[::2, ::2].transpose(1, 0, 2),
            picture(300, 200)[..., :3],
        )


def test_a_window_of_another_shape_shows_the_whole_frame_in_its_middle(pygame):
    with open_window("title") as window:
        window.write(picture())
        pygame.display.set_mode((300, 48), pygame.RESIZABLE)  # as a user drags it
        pygame.event.post(pygame.event.Event(pygame.VIDEORESIZE, size=(300, 48)))
        window.idle(0.02)
        screen = pygame.surfarray.array3d(pygame.display.get_surface()).transpose(1, 0, 2)
        np.testing.assert_array_equal(screen[:, 118:182], picture()[..., :3])
        assert not screen[:, :118].any()
        assert not screen[:, 182:].any()


def test_a_note_lies_over_the_frame_and_goes_again(pygame):
    with open_window("title") as window:
        window.refresh()  # before there is anything to see
        window.write(picture())
        window.note = "Space  pause"
        window.refresh()
        noted = pygame.surfarray.array3d(pygame.display.get_surface())
        window.note = ""
        window.refresh()
        plain = pygame.surfarray.array3d(pygame.display.get_surface())
        assert (noted != plain).any(axis=-1).mean() > 0.002
        np.testing.assert_array_equal(shown(pygame), picture()[..., :3])


def test_what_is_typed_is_told_once(pygame):
    with open_window("title") as window:
        window.write(picture())
        for code in (pygame.K_SPACE, ord("M"), ord("?")):
            pygame.event.post(key(pygame, code))
        window.idle(0.02)
        assert (window.typed(), window.typed()) == ([" ", "m", "?"], [])


def test_waiting_ends_when_it_is_closed(pygame):
    with open_window("title") as window:
        window.idle(0.02)  # before there is anything to see
        window.write(picture())
        window.idle(0.02)
        assert not window.closed
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        window.idle(1e6)
        assert window.closed


def test_a_failure_closes_it_too(pygame):
    def fail():
        with open_window("title") as window:
            window.write(picture())
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail()
    assert not pygame.display.get_init()


def test_pygame_missing_names_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(ToolMissingError, match=r"a window needs pygame-ce .*; pip install 'bilayer\[window\]'"):
        open_window("title").__enter__()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="others always have a screen")
@pytest.mark.parametrize("driver", [None, "x11"])
def test_no_display_is_an_error_and_not_an_unseen_window(pygame, bundle_folder, driver):
    hidden = {"DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER", "XDG_RUNTIME_DIR"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    if driver:
        environment["SDL_VIDEODRIVER"] = driver
    command = [sys.executable, "-W", "error", "-m", "bilayer.runtime.rendering.cli"]
    done = subprocess.run(
        [*command, bundle_folder, "--demo-motion", "--out", "window", "--frames", "1"],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2], env=environment,
    )  # fmt: skip
    if done.returncode == 0 and driver is None:
        pytest.skip("a screen without X and Wayland")
    assert done.returncode == 5
    assert done.stderr.startswith("error: window: cannot be shown here (")
    assert done.stderr.endswith("; write a file, as --out a.mp4\n")
    assert done.stderr.count("\n") == 1


class Clock:
    """Time that passes only when somebody waits or works."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def spend(self, seconds):
        assert seconds >= 0
        self.now += seconds


def play(work, count, rate=10.0):
    """(number, time) of the frames shown, with `work(number)` seconds for a frame."""
    clock = Clock()
    pace, seen = RealTime(rate, clock.spend, clock), []
    for number in range(count):
        if pace.admits(number):
            clock.spend(work(number))
            pace.wait(number)
            seen.append((number, round(clock.now - 100, 6)))
    return seen


def test_a_quick_machine_shows_every_frame_when_it_is_due():
    assert play(lambda _: 0.03, 5) == [(0, 0.03), (1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]


def test_a_slow_machine_skips_frames_and_stays_in_time():
    seen = play(lambda _: 0.25, 40)
    assert 10 < len(seen) < 20  # of 40: the work of 16 fits
    assert all(0 <= time - number / 10 <= 0.35 for number, time in seen)  # no further behind at the end


def test_one_slow_frame_is_caught_up_with():
    seen = play(lambda number: 0.65 if number == 2 else 0.01, 12)
    assert [number for number, _ in seen] == [0, 1, 2, 7, 8, 9, 10, 11]
    assert seen[-1] == (11, 1.1)


def test_a_pause_longer_than_what_is_skipped_starts_the_clock_anew():
    seen = play(lambda number: 1e6 if number == 0 else 0.0, MAX_SKIPPED + 4)
    assert [number for number, _ in seen] == [0, MAX_SKIPPED + 1, MAX_SKIPPED + 2, MAX_SKIPPED + 3]
    assert seen[-1][1] - seen[1][1] == pytest.approx(0.2)


def test_what_was_held_is_made_up_for():
    clock = Clock()
    pace = RealTime(10.0, clock.spend, clock)
    pace.hold(5.0)  # before the first frame
    assert pace.admits(0)
    pace.wait(0)
    clock.spend(30.0)
    pace.hold(30.0)
    assert pace.admits(1)
    pace.wait(1)
    assert clock.now == pytest.approx(100 + 30.1)
