"""Smoothing, its latency, jitter, and the gains that hold a part of the face."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bilayer.runtime import Gains, OneEuro, PoseSmoother, Retargeter, demo_motion, jitter_px, latency_ms
from bilayer.runtime.errors import InputError
from bilayer.runtime.face.expression import eye_opening, mouth_opening
from bilayer.runtime.face.found import face_from_landmarks
from bilayer.runtime.motion.drivers import LandmarkDriver, LiveDriver
from bilayer.runtime.motion.follow import Follower
from bilayer.runtime.motion.smoothing import LIVE_SMOOTHING
from bilayer.runtime.rendering.cli import main
from tests.runtime.synthetic_faces import NARROW, performance

RATE = 25.0
TREMBLING = 0.3  # px of a frame of 256: MediaPipe's, on a photograph with a noisy camera's grain
SOURCE = np.float32(performance(NARROW, size=1.0, at=(0.0, 0.0))[0] / 2)
RIGID = [0, 16, 27, 30, 36, 39, 42, 45]


def trembling(count, seed=0):
    return np.random.default_rng(seed).normal(0, TREMBLING / 128, (count, 68, 2)).astype(np.float32)


def smoothed(frames, amount, rate=RATE):
    smoother = PoseSmoother(SOURCE, amount)
    return np.array([smoother(frame, number / rate) for number, frame in enumerate(frames)]).reshape(frames.shape)


def delay_ms(late, track):
    """The shift of `track` (T, ...) in time that is nearest to `late`."""
    late, track = late.reshape(len(late), -1), track.reshape(len(track), -1)
    times, shifts = np.arange(len(track)), np.arange(0, 0.4, 0.005)
    errors = []
    for shift in shifts:
        moved = [np.interp(times - shift * RATE, times, column) for column in track.T]
        errors.append(np.square(np.transpose(moved) - late)[10:].mean())
    return 1000 * shifts[np.argmin(errors)]


def one_euro(values, times, cutoff, haste, calm=0.0):
    """The filter as its paper writes it (Casiez, Roussel, Vogel 2012, appendix); many values share their RMS speed."""

    def alpha(step, cutoff):
        return 1.0 / (1.0 + 1.0 / (2 * np.pi * cutoff) / step)

    smooth, speed = [np.array(values[0], float)], np.zeros(len(values[0]))
    for past, now, x in zip(times, times[1:], values[1:], strict=False):
        step = now - past
        speed = alpha(step, 1.0) * (x - smooth[-1]) / step + (1 - alpha(step, 1.0)) * speed
        a = alpha(step, cutoff + haste * max(np.sqrt(np.mean(speed**2)) - calm, 0))
        smooth.append(a * x + (1 - a) * smooth[-1])
    return np.array(smooth)


@pytest.mark.parametrize(("width", "calm"), [(1, 0.0), (3, 0.5)])
def test_one_value_is_filtered_as_the_paper_does(width, calm):
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.uniform(0.01, 0.08, 200))
    values = np.sin(np.outer(times, [1, 2, 5][:width])) + rng.normal(0, 0.01, (200, width))
    smoother = OneEuro(1.5, 0.7, calm=calm)
    found = [smoother(value, now) for value, now in zip(values, times, strict=True)]
    np.testing.assert_allclose(found, one_euro(values, times, 1.5, 0.7, calm), atol=1e-12)


@pytest.mark.parametrize("rate", [15.0, 25.0, 30.0, 60.0])
def test_a_still_head_moves_by_a_tenth_of_a_pixel_at_most(rate):
    """Of the amount that a camera gets, at the rates that cameras have, from the second second on."""
    still = SOURCE + trembling(round(8 * rate))
    found = smoothed(still, LIVE_SMOOTHING, rate)[round(2 * rate) :] * 128
    assert (still * 128).std(axis=0).mean() > 0.29
    limit = 0.1 if rate >= 25 else 0.13  # of fewer frames there is less to average
    assert np.sqrt(np.mean(np.var(found, axis=0))) <= limit


def test_jitter_is_the_standard_deviation_of_the_stillest_second():
    noise = trembling(100)
    moving = np.float32(SOURCE + noise + np.linspace(0, 1, 100)[:, None, None])
    track = np.concatenate([moving, SOURCE + 1 + noise, moving]).reshape(300, 136)
    assert jitter_px(track, RATE, 256) == pytest.approx(TREMBLING, rel=0.05)
    assert jitter_px(track, RATE, 512) == pytest.approx(2 * TREMBLING, rel=0.05)
    assert jitter_px(moving.reshape(100, 136), RATE) > 8 * TREMBLING
    assert jitter_px(track[:20], RATE) is None


def test_slow_motion_is_as_late_as_is_told_and_quick_motion_hardly():
    drift = SOURCE + np.linspace(0, 0.03, 200)[:, None, None] * [1, 0]  # half a pixel a second
    for amount in (0.25, LIVE_SMOOTHING):
        late = (drift - smoothed(drift, amount))[-1, :, 0] / (0.03 / 199 * RATE)
        np.testing.assert_allclose(1000 * late, latency_ms(amount), rtol=0.01)
    performed = demo_motion(SOURCE, fps=RATE).landmarks
    smooth = smoothed(performed, LIVE_SMOOTHING)
    assert delay_ms(smooth[:, RIGID], performed[:, RIGID]) <= 40
    assert delay_ms(mouth_opening(smooth), mouth_opening(performed)) <= 30
    assert delay_ms(eye_opening(smooth), eye_opening(performed)) <= 30


def test_a_blink_and_a_syllable_are_not_smoothed_away_as_by_the_heads_filter():
    performed = demo_motion(SOURCE, fps=RATE).landmarks
    smooth = smoothed(performed + trembling(len(performed)), LIVE_SMOOTHING)
    plain = OneEuro(1.0, 0.0)
    head_alone = np.array([plain(frame.ravel(), n / RATE) for n, frame in enumerate(performed)]).reshape(-1, 68, 2)
    for opening, least in ((eye_opening, 0.9), (mouth_opening, 0.85)):
        whole = np.ptp(opening(performed))
        assert np.ptp(opening(smooth)) > least * whole > 1.4 * np.ptp(opening(head_alone))


def test_the_chin_goes_with_the_lower_lip():
    talking = demo_motion(SOURCE, fps=RATE).landmarks
    still_head = np.array([Retargeter(SOURCE, reference=SOURCE, gains=Gains(head=0))(frame) for frame in talking])
    smooth = smoothed(still_head, 1.0)
    assert delay_ms(smooth[:, 8], still_head[:, 8]) <= delay_ms(smooth[:, 66], still_head[:, 66]) + 10 < 50


def test_no_smoothing_changes_no_bit_and_time_that_does_not_go_on_is_taken_as_it_is():
    frames = SOURCE + trembling(5)
    np.testing.assert_array_equal(smoothed(frames, 0), frames)
    smoother = PoseSmoother(SOURCE, 0.5)
    for frame in frames:
        np.testing.assert_allclose(smoother(frame, 1.0), frame.ravel(), atol=1e-6)
    smoother(frames[0], 2.0)
    smoother.reset()
    np.testing.assert_allclose(smoother(frames[1] + 1, 2.1), (frames[1] + 1).ravel(), atol=1e-6)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_amounts_and_gains_that_are_none_are_refused(wrong):
    with pytest.raises(InputError, match=r"smoothing: expected 0 to 1"):
        PoseSmoother(SOURCE, wrong)
    with pytest.raises(InputError, match=r"gain of the mouth: expected 0 to 4"):
        Gains(mouth=5 * wrong)


def test_gains_of_none_hold_their_part_while_the_others_move():
    frames = np.float32(performance(NARROW, size=160.0, at=(300.0, 200.0)))
    moved, head, mouth, eyes = (
        np.array([follow(frame) for frame in frames])
        for follow in (
            Retargeter(SOURCE, gains=gains) for gains in (Gains(), Gains(head=0), Gains(mouth=0), Gains(eyes=0))
        )
    )
    np.testing.assert_allclose(head[:, RIGID], np.broadcast_to(SOURCE[RIGID], head[:, RIGID].shape), atol=1e-6)

    def spread(poses, upper, lower):
        return np.ptp(np.linalg.norm(poses[:, lower] - poses[:, upper], axis=-1))

    assert spread(mouth, 62, 66) < 0.15 * spread(moved, 62, 66) < 0.2 * spread(head, 62, 66)
    assert spread(eyes, 37, 41) < 0.2 * spread(moved, 37, 41)
    np.testing.assert_allclose(spread(eyes, 62, 66), spread(moved, 62, 66), rtol=1e-5)


# ---- a driver, followed ----


def follow(frames, amount, warn):
    driver = LandmarkDriver(np.float32(frames), RATE)
    follower = Follower(driver, Retargeter(SOURCE).pose, SOURCE.ravel(), amount, 256, warn=warn)
    poses = [None if frame.landmarks is None else follower.pose(frame.landmarks) for frame in follower]
    return poses, follower.followed()


def test_a_noisy_driver_is_told_by_its_jitter_before_and_after():
    driver = performance(NARROW, size=160.0, at=(300.0, 200.0))[:1] + 160 * 2 * trembling(100)
    said = []
    _, followed = follow(driver, LIVE_SMOOTHING, said.append)
    assert followed.jitter_px == pytest.approx(TREMBLING, rel=0.15)
    assert followed.smooth_jitter_px <= 0.1
    assert (said, set(followed.problems.values())) == ([], {0})
    assert "188 ms" in next(followed.lines())
    assert "--smoothing" in next(follow(driver, 0, said.append)[1].lines())


def test_each_problem_is_told_once_however_long_it_lasts():
    good = np.repeat(performance(NARROW, size=160.0, at=(300.0, 200.0))[:1], 20, axis=0)
    small = (good - good.mean()) * 0.2 + 300
    turned = good.copy()
    turned[:, 27, 0] = turned[:, 16, 0]
    lost = np.zeros_like(good)
    said = []
    _, followed = follow(np.concatenate([good, small, lost, good, turned, small]), 0, said.append)
    assert followed.problems == {"lost": 20, "too_small": 40, "too_dark": 0, "turned": 20}
    assert [line.split(",")[0] for line in said] == [
        "driver: the face is too small",
        "driver: no face is seen; the pose before is held until there is one",
        "driver: the head is turned by 42 degrees (expected at most 40); face the camera",
    ]
    assert list(followed.lines())[-1] == "driver: lost in 20, too small in 40, turned in 20 frames"
    said.clear()
    follow(np.concatenate([good, small[:5], good]), 0, said.append)  # a blink of the tracker
    assert said == []


# ---- as a user runs it ----


def test_render_smooths_holds_the_head_and_tells_what_it_did(bundle_folder, tmp_path):
    """Of a track that is turned halfway: to the end the head stands as the avatar's own."""
    driver = performance(NARROW, size=160.0, at=(300.0, 200.0))[:1] + 160 * 2 * trembling(40)
    np.save(tmp_path / "track.npy", np.float32(driver))

    def run(*options):
        words = [bundle_folder, "--drive", tmp_path / "track.npy", "--out", tmp_path / "out", *options, "--json"]
        done = CliRunner().invoke(main, list(map(str, words)))
        assert done.exit_code == 0, done.output
        frames = [np.asarray(Image.open(path), int) for path in sorted((tmp_path / "out").glob("*.png"))]
        shutil.rmtree(tmp_path / "out")
        return json.loads(done.stdout), frames

    plain, as_it_is = run()
    told, _ = run("--smoothing", "0.75")
    assert (plain["smoothing"], plain["latency_ms"]) == (0, 0)
    assert plain["jitter_px"] == plain["smooth_jitter_px"] == told["jitter_px"] > 3 * told["smooth_jitter_px"]
    assert (told["smoothing"], round(told["latency_ms"])) == (0.75, 188)
    assert plain["problems"] == dict.fromkeys(("lost", "too_small", "too_dark", "turned"), 0)
    held, frames = run("--hold-head", "--mouth-gain", "0", "--eyes-gain", "0")
    assert held["jitter_px"] < 0.2 * plain["jitter_px"]  # brows and jaw are the head's too
    assert np.std(frames, axis=0).mean() < 0.2 * np.std(as_it_is, axis=0).mean()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--hold-head", "--head-gain", "0.5"], "give either --hold-head or --head-gain"),
        (["--retarget", "absolute", "--mouth-gain", "2"], "gains need relative or procrustes"),
        (["--smoothing", "1.5"], "1.5 is not in the range 0<=x<=1"),
        (["--eyes-gain", "nan"], "Invalid value for '--eyes-gain': "),
        (["--smoothing", "nan"], "Invalid value for '--smoothing': "),
    ],
)
def test_what_contradicts_itself_is_a_usage_error(bundle_folder, tmp_path, options, words):
    np.save(tmp_path / "track.npy", np.float32(performance(NARROW)[:3]))
    words_given = [bundle_folder, "--drive", tmp_path / "track.npy", "--out", tmp_path / "a.mp4", *options]
    done = CliRunner().invoke(main, list(map(str, words_given)))
    assert done.exit_code == 2
    assert words in done.stderr
    assert not (tmp_path / "a.mp4").exists()


def test_a_dark_face_is_told():
    """Of pictures in which the face is found, but hardly to be seen."""
    found = face_from_landmarks(performance(NARROW, size=160.0, at=(300.0, 200.0))[0])

    class Landmarker:
        def track(self, frame, previous):
            return found

    class Pictures:
        rate, count = RATE, None

        def __iter__(self):
            for _ in range(15):
                yield np.full((480, 640, 3), 12, np.uint8)

    said = []
    driver = LiveDriver(Pictures(), Landmarker())
    follower = Follower(driver, Retargeter(SOURCE).pose, SOURCE.ravel(), 0.5, 256, live=True, warn=said.append)
    for frame in follower:
        follower.pose(frame.landmarks)
    assert said == ["driver: the face is too dark, 12 of 255 (expected 40 or more); light it"]
    assert follower.followed().problems["too_dark"] == 15
