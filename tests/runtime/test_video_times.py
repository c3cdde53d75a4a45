"""A video's frames are shown at their time stamps, whatever its header claims."""

import io
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bilayer.runtime.media.frame_times import MAX_PAUSE, MAX_RATE, Clock, Pace, choose_pace, paced
from bilayer.runtime.media.video import VideoFrames
from bilayer.runtime.media.writers import open_writer

av = pytest.importorskip("av")
from tests.runtime.video_files import number_of, write_slides  # noqa: E402  # it needs PyAV

WEBCAM = np.cumsum([0, 31, 36, 33, 40, 29, 34, 31, 37, 33, 28, 35, 38, 30, 33, 34, 36, 31, 33, 35]).tolist()
CASES = {
    "regular": (range(0, 800, 40), 25, "a.mp4", "libx264"),
    "a browser's header": (range(0, 2000, 50), 1000, "a.webm", "libvpx"),
    "a browser's times": (WEBCAM, 1000, "a.webm", "libvpx"),
    "variable": ([*range(0, 330, 33), *range(330, 2330, 200)], 30, "a.mkv", "libx264"),
    "one long pause": ([0, 40, 80, 4080, 4120, 4160], 25, "a.mp4", "libx264"),
    "dropped frames": ([k * 40 for k in range(30) if k % 7], 25, "a.mkv", "libx264"),
    "late start": (range(3000, 3800, 40), 25, "a.mkv", "libx264"),
    "slow": (range(0, 20000, 4000), 25, "a.mkv", "libx264"),
    "one frame": ([0], 25, "a.mkv", "libx264"),
}


def shown(path):
    """Rate, and the slides' numbers as they come."""
    with VideoFrames(path) as video:
        numbers = [number_of(picture) for picture in video]
        assert video.count == pytest.approx(len(numbers), abs=1)
        return video.rate, numbers


@pytest.mark.parametrize("case", CASES)
def test_every_frame_is_shown_at_its_time(tmp_path, case):
    times, header, name, codec = CASES[case]
    times = np.array(times) / 1000 - times[0] / 1000
    rate, numbers = shown(write_slides(tmp_path / name, CASES[case][0], codec, header))
    assert rate <= MAX_RATE
    assert set(numbers) == set(range(len(times)))  # none is lost
    assert numbers == sorted(numbers)
    for number, time in enumerate(times):
        assert abs(numbers.index(number) / rate - time) <= 1 / rate
    last = np.median(np.diff(times)) if len(times) > 1 else 0.04
    assert abs(len(numbers) / rate - times[-1] - last) <= 1 / rate + 0.001


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx")])
@pytest.mark.parametrize("rate", [12.5, 30000 / 1001, 60])
def test_a_constant_rate_is_the_headers_and_no_frame_comes_twice(tmp_path, name, codec, rate):
    times = [round(1000 * k / rate) for k in range(30)]
    found, numbers = shown(write_slides(tmp_path / name, times, codec, Fraction(rate).limit_denominator(1001)))
    assert found == pytest.approx(rate, rel=2e-3)
    assert numbers == list(range(30))


@pytest.mark.parametrize("rate", [480, 960])
def test_of_a_slow_motion_video_every_nth_frame_is_shown_in_its_time(tmp_path, rate):
    times = [round(1000 * k / 480) for k in range(40)]  # milliseconds round them
    found, numbers = shown(write_slides(tmp_path / "a.mkv", times, "libx264", rate))
    assert (found, len(numbers)) == (MAX_RATE, 20)
    assert all(after - before in (1, 2, 3) for before, after in pairwise(numbers))


def test_moments_give_each_frame_once_with_its_time(tmp_path):
    times = CASES["variable"][0]
    with VideoFrames(write_slides(tmp_path / "a.mkv", times, "libx264", 30)) as video:
        moments = list(video.moments())
    assert [number_of(picture) for _, picture in moments] == list(range(20))
    np.testing.assert_allclose([time for time, _ in moments], np.array(times) / 1000, atol=0.0011)


def test_a_frame_that_comes_again_is_the_same_array(tmp_path):
    with VideoFrames(write_slides(tmp_path / "a.mkv", [0, 40, 80, 400], "libx264")) as video:
        pictures = list(video)
    assert len({id(picture) for picture in pictures}) == 4
    assert len(pictures) > 8


@pytest.mark.parametrize("case", ["a browser's header", "variable", "one long pause"])
@pytest.mark.parametrize("kind", [".mp4", ".gif"])
def test_what_is_written_at_the_rate_lasts_as_long(tmp_path, case, kind):
    times, header, name, codec = CASES[case]
    out = tmp_path / f"out{kind}"
    with (
        VideoFrames(write_slides(tmp_path / name, times, codec, header)) as video,
        open_writer(out, video.rate) as writer,
    ):
        for picture in video:
            writer.write(np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)]))
        rate = video.rate
    with av.open(str(out)) as file:
        seconds = file.duration / av.time_base
    expected = (times[-1] - times[0]) / 1000 + float(np.median(np.diff(times))) / 1000
    assert abs(seconds - expected) <= 1 / rate + 0.02


times_of_frames = st.lists(st.floats(0, 5), min_size=1, max_size=60).map(sorted)


@given(times_of_frames, st.floats(1, 240), st.floats(0, 2))
def test_any_times_are_kept_to_half_a_frame(times, rate, standing):
    times = [time - times[0] for time in times]
    shown = list(paced(((time, standing, number) for number, time in enumerate(times)), Pace(rate)))
    assert shown == sorted(shown)
    assert len(shown) >= 1
    assert abs(len(shown) - (times[-1] + standing) * rate) <= 1
    for tick, number in enumerate(shown[:-1]):
        assert times[number] * rate <= tick + 0.501  # not before its time
        later = [time for time in times if time > times[number]]
        assert not later or later[0] * rate >= tick + 0.498  # and not when the next is due


@given(times_of_frames, st.lists(st.floats(0, 1e9), max_size=2))
def test_any_claims_give_a_rate_that_can_be_written(times, claimed):
    pace = choose_pace(times, claimed)
    assert 0 < pace.rate <= MAX_RATE
    assert abs(pace.shift) * pace.rate <= 0.5


def test_a_clock_that_jumps_or_runs_back_goes_on():
    clock = Clock(0.04)
    stamps = [10.0, 10.04, None, 10.12, 95000.0, 95000.04, 3.0, 3.04, 3.04]
    read = [clock.read(stamp) for stamp in stamps]
    np.testing.assert_allclose(read, [0, 0.04, 0.08, 0.12, 0.16, 0.20, 0.24, 0.28, 0.28], atol=1e-6)


def test_a_wild_time_stamp_does_not_hold_a_frame_for_hours(tmp_path):
    path = write_slides(tmp_path / "a.mkv", [0, 40, 80, 10**9, 10**9 + 40], "libx264")
    rate, numbers = shown(path)
    assert (rate, numbers) == (25.0, [0, 1, 2, 3, 4])
    assert MAX_PAUSE < 10**6


def live(path):
    """The Matroska file in `path` as a browser writes it while it records: no length, no index."""
    stream = io.BytesIO()
    with av.open(str(path)) as given, av.open(stream, "w", format="matroska", options={"live": "1"}) as file:
        video = file.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                file.mux(packet)
    return stream.getvalue()


def test_a_recording_without_a_length_is_whole(tmp_path, caplog):
    (tmp_path / "live.webm").write_bytes(live(write_slides(tmp_path / "a.mkv", range(0, 2000, 50), "libvpx", 1000)))
    rate, numbers = shown(tmp_path / "live.webm")
    assert (rate, numbers) == (pytest.approx(20), list(range(40)))
    assert not caplog.text


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.flv"])
def test_a_video_that_is_cut_short_is_read_with_a_word(tmp_path, caplog, name):
    codec = {"a.mkv": "libx264", "a.avi": "mpeg4", "a.flv": "flv1"}[name]
    rng = np.random.default_rng(0)
    with av.open(str(tmp_path / name), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(40):
            noise = rng.integers(0, 256, (48, 64, 3), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        file.mux(stream.encode())
    whole = (tmp_path / name).read_bytes()
    with VideoFrames(tmp_path / name) as video:
        assert len(list(video)) == 40
    assert not caplog.text
    for part in (0.25, 0.6):
        caplog.clear()
        (tmp_path / name).write_bytes(whole[: int(len(whole) * part)])
        with VideoFrames(tmp_path / name) as video:
            assert 2 <= len(list(video)) <= 30
        assert f"{tmp_path / name}: the video is cut short: " in caplog.text
        assert ("of 40 frames are there" if name == "a.avi" else "seconds are there") in caplog.text


@pytest.mark.parametrize("case", [case for case in CASES if case != "one long pause"])
@pytest.mark.parametrize("late", [0, 700, 60_000, 4_000_000])
def test_a_whole_video_is_not_said_to_be_cut_wherever_its_times_begin(tmp_path, case, late, caplog):
    times, header, name, codec = CASES[case]
    with VideoFrames(write_slides(tmp_path / name, [time + late for time in times], codec, header)) as video:
        list(video)
    assert caplog.text == ""


def test_a_webcams_uneven_times_are_one_tick_each(tmp_path):
    rate, numbers = shown(write_slides(tmp_path / "a.webm", WEBCAM, "libvpx", 1000))
    assert (rate, numbers) == (pytest.approx(1000 * 19 / WEBCAM[-1]), list(range(20)))
