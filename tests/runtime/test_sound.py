"""The driver's sound stays beside its frames: in step, as long as they are, and as it was where an .mp4 can hold it."""

import json
import logging

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bilayer.runtime.media.sound import open_sound
from bilayer.runtime.media.writers import open_writer
from bilayer.runtime.rendering.cli import main

av = pytest.importorskip("av")

RATE = 48000
BEEP = 0.4  # s after the first frame, at which the only tone begins; it lasts 0.2 s
STEP = 1024 / RATE  # s, of an AAC packet


def video_with_sound(path, codec, sound_from=0.0, picture=None):
    """A second of 25 frames, grey or all `picture`, and a sound from `sound_from` seconds after the first of them."""
    times = np.arange(round(sound_from * RATE), RATE) / RATE
    tone = np.where((times >= BEEP) & (times < BEEP + 0.2), 0.5 * np.sin(2 * np.pi * 1000 * times), 0)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.height, stream.width = (32, 32) if picture is None else picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        track = file.add_stream(codec, rate=RATE, layout="mono") if codec else None
        for shade in range(25):
            shown = np.full((32, 32, 3), 8 * shade, np.uint8) if picture is None else picture
            file.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        file.mux(stream.encode())
        if track:
            codec_format, size = track.codec_context.format, track.codec_context.frame_size or None
            resampler = av.AudioResampler(codec_format, "mono", RATE, size)
            frame = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), format="flt", layout="mono")
            frame.sample_rate, frame.pts = RATE, round(sound_from * RATE)
            for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
                file.mux(track.encode(piece))
    return path


def rendered(driver, out, frames=25, rate=25.0):
    """`frames` with the driver's sound: what was said of it."""
    with open_sound(driver) as sound, open_writer(out, rate, sound) as writer:
        for shade in range(frames):
            writer.write(np.full((32, 32, 4), (shade, shade, shade, 255), np.uint8))
        return None if sound is None else sound.kind


def heard(path):
    """When the tone begins and ends, and the whole does; s."""
    with av.open(str(path)) as file:
        frames = [(frame.time, frame.to_ndarray()[0]) for frame in file.decode(audio=0)]
        assert file.streams.audio[0].codec_context.codec.canonical_name in ("aac", "mp3")
    samples = np.concatenate([values for _, values in frames])
    loud = np.flatnonzero(np.abs(samples) > 0.2) / RATE + frames[0][0]
    return loud[0], loud[-1], frames[0][0] + len(samples) / RATE


CASES = [
    ("a.mp4", "aac", "aac, copied"),
    ("a.mp4", "libmp3lame", "mp3, copied"),
    ("a.ts", "aac", "aac, made AAC"),  # its first frame is at 1.4 s
    ("a.mkv", "libopus", "opus, made AAC"),
    ("a.mov", "pcm_s16le", "pcm_s16le, made AAC"),
]


@pytest.mark.parametrize("sound_from", [0.0, 0.2])
@pytest.mark.parametrize(("name", "codec", "kind"), CASES)
def test_sound_is_in_step(tmp_path, name, codec, kind, sound_from):
    driver = video_with_sound(tmp_path / name, codec, sound_from)
    assert rendered(driver, tmp_path / "out.mp4") == kind
    begin, end, whole = heard(tmp_path / "out.mp4")
    assert begin == pytest.approx(BEEP, abs=0.005)
    assert end == pytest.approx(BEEP + 0.2, abs=0.005)
    assert whole == pytest.approx(1, abs=STEP + 0.03)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({name, "out.mp4"})


def test_what_is_copied_is_copied_to_the_bit(tmp_path):
    def packets(path):
        with av.open(str(path)) as file:
            return [bytes(packet) for packet in file.demux(audio=0) if packet.size]

    driver = video_with_sound(tmp_path / "a.mp4", "aac")
    rendered(driver, tmp_path / "out.mp4")
    assert packets(tmp_path / "out.mp4") == packets(driver)[: len(packets(tmp_path / "out.mp4"))]


@pytest.mark.parametrize(("name", "codec", "_"), CASES)
def test_it_ends_with_the_frames(tmp_path, name, codec, _):
    rendered(video_with_sound(tmp_path / name, codec), tmp_path / "out.mp4", frames=12)
    begin, _, whole = heard(tmp_path / "out.mp4")
    assert begin == pytest.approx(BEEP, abs=0.005)
    assert whole == pytest.approx(12 / 25, abs=STEP)


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_the_same_sound_gives_the_same_bytes(tmp_path, codec):
    driver = video_with_sound(tmp_path / "a.mov", codec)
    for name in ("a.mp4", "b.mp4"):
        rendered(driver, tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_silent_driver_has_none(tmp_path, astronaut_path):
    for driver in (video_with_sound(tmp_path / "a.mp4", None), astronaut_path):
        assert rendered(driver, tmp_path / "out.mp4") is None
        with av.open(str(tmp_path / "out.mp4")) as file:
            assert not file.streams.audio


def test_damaged_sound_is_told_and_the_frames_stay(tmp_path, caplog):
    content = bytearray(video_with_sound(tmp_path / "a.mp4", "flac").read_bytes())
    with av.open(str(tmp_path / "a.mp4")) as file:
        packets = [(packet.pos, packet.size) for packet in file.demux(audio=0) if packet.size]
    for position, size in packets[4:]:
        content[position : position + size] = bytes(size)
    (tmp_path / "a.mp4").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        rendered(tmp_path / "a.mp4", tmp_path / "out.mp4")
    assert "its sound is damaged, and ends early" in caplog.text
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert sum(1 for _ in file.decode(video=0)) == 25


@pytest.mark.parametrize(("words", "kind"), [([], "aac, copied"), (["--no-sound"], None)])
def test_bilayer_render_keeps_it_unless_told_otherwise(
    bundle_folder, face_networks, astronaut_path, tmp_path, words, kind
):
    photo = np.asarray(Image.open(astronaut_path).convert("RGB"))[:256, 60:380]
    driver, out = video_with_sound(tmp_path / "face.mp4", "aac", picture=photo), tmp_path / "out.mp4"
    arguments = [bundle_folder, "--drive", driver, "--out", out, "--frames", 3, "--json", *words]
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["sound"] == kind
    with av.open(str(out)) as file:
        assert bool(file.streams.audio) == (kind is not None)
