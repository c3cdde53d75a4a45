import io
import json
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bilayer.runtime.errors import LandmarkError, OutputError
from bilayer.runtime.files.reading import FileKind
from bilayer.runtime.motion.track import Track
from bilayer.runtime.motion.track_files import read_track, write_track

FRAMES = (np.arange(3 * 136).reshape(3, 68, 2) * 1.37 + 0.1).astype(np.float32)
FORMATS = pytest.mark.parametrize("suffix", [".npy", ".npz", ".json"])
finite = st.floats(-1e6, 1e6, width=32)


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def npz(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def claiming(shape):
    """A .npy file whose header claims an array that is not there."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue() + b"\0" * 64


# ---- there and back ----


@FORMATS
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=arrays(np.float32, st.tuples(st.integers(1, 4), st.just(68), st.just(2)), elements=finite))
def test_what_was_written_is_read(tmp_path, suffix, frames):
    path = tmp_path / f"track{suffix}"
    write_track(path, Track(frames, 29.97))
    back = read_track(path)
    np.testing.assert_array_equal(back.landmarks, frames)
    assert back.fps == (25 if suffix == ".npy" else 29.97)


@FORMATS
def test_the_rate_may_be_told(tmp_path, suffix):
    path = tmp_path / f"track{suffix}"
    write_track(path, Track(FRAMES, 30))
    assert read_track(str(path), fps=50).fps == 50


@FORMATS
def test_the_same_track_gives_the_same_bytes_in_any_process(tmp_path, suffix):
    code = (
        "import sys, numpy as np; from bilayer.runtime.motion.track_files import *; "
        "from bilayer.runtime.motion.track import Track; "
        "write_track(sys.argv[1], Track(np.arange(3 * 136).reshape(3, 68, 2) * 1.37 + 0.1, 30))"
    )
    contents = set()
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}{suffix}"
        subprocess.run([sys.executable, "-c", code, path], check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        contents.add(path.read_bytes())
    write_track(tmp_path / f"here{suffix}", Track(FRAMES, 30))
    assert contents == {(tmp_path / f"here{suffix}").read_bytes()}


def test_others_can_read_what_was_written(tmp_path):
    track = Track(FRAMES, 30)
    for suffix in (".npy", ".npz", ".json"):
        write_track(tmp_path / f"a{suffix}", track)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), FRAMES)
    with np.load(tmp_path / "a.npz") as archive:
        np.testing.assert_array_equal(archive["landmarks"], FRAMES)
        assert archive["fps"] == 30
    parsed = json.loads((tmp_path / "a.json").read_text())
    assert parsed == {"fps": 30, "landmarks": FRAMES.tolist()}


def test_what_others_wrote_is_read(tmp_path):
    contents = {
        "c.npy": npy(FRAMES),
        "f.npy": npy(np.asfortranarray(FRAMES.astype(np.float64))),
        "big.npy": npy(FRAMES.astype(">f4")),
        "half.npy": npy(FRAMES.astype(np.float16)),
        "whole.npy": npy(FRAMES.astype(np.int32)),
        "packed.NPZ": npz(landmarks=npy(FRAMES), fps=npy(np.array([25])), extra=b"not an array"),
        "rateless.npz": npz(landmarks=npy(FRAMES)),
        "bare.json": json.dumps(FRAMES.tolist()).encode(),
        "bom.json": b"\xef\xbb\xbf" + json.dumps({"landmarks": FRAMES.tolist()}).encode(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        track = read_track(tmp_path / name)
        np.testing.assert_allclose(track.landmarks, FRAMES, atol=1 if name in ("half.npy", "whole.npy") else 0)
        assert track.fps == 25


def test_one_frame_is_a_track(tmp_path):
    (tmp_path / "a.npy").write_bytes(npy(FRAMES[0]))
    (tmp_path / "a.npz").write_bytes(npz(landmarks=npy(FRAMES[0])))
    for name in ("a.npy", "a.npz"):
        np.testing.assert_array_equal(read_track(tmp_path / name).landmarks, FRAMES[:1])


# ---- what cannot be used ----


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was read",))


UNUSABLE = {
    "empty.npy": (b"", "expected"),
    "text.npy": (b"hello there", "expected"),
    "pickle.npy": (pickle.dumps(Trap()), "expected"),
    "objects.npy": (npy(np.array([Trap()], dtype=object), allow_pickle=True), "expected numbers, found object"),
    "words.npy": (npy(np.array(["a"])), "expected numbers"),
    "shape.npy": (npy(np.zeros((3, 67, 2))), r"expected shape \(frames, 68, 2\), found \(3, 67, 2\)"),
    "poses.npy": (npy(np.zeros((3, 136))), "expected shape"),
    "nan.npy": (npy(np.full((2, 68, 2), np.nan)), "frame 0 holds a point that is not finite"),
    "none.npy": (npy(np.zeros((0, 68, 2))), "0 frames"),
    "huge.npy": (claiming((1 << 50, 68, 2)), "has not the"),
    "negative.npy": (claiming((-1, 68, 2)), "has not the"),
    "short.npy": (npy(FRAMES)[:-4], "has not the"),
    "long.npy": (npy(FRAMES) + b"\0", "has not the"),
    "text.npz": (b"hello", "not a zip file"),
    "cut.npz": (npz(landmarks=npy(FRAMES))[:-30], "expected"),
    "other.npz": (npz(points=npy(FRAMES)), r'expected the array "landmarks", found \[\'points\'\]'),
    "huge.npz": (npz(landmarks=claiming((1 << 50, 68, 2))), "has not the"),
    "pickle.npz": (npz(landmarks=pickle.dumps(Trap())), "expected"),
    "damaged.npz": (
        npz(landmarks=npy(np.zeros((9, 68, 2))))[:60] + b"\xff" * 9 + npz(landmarks=npy(np.zeros((9, 68, 2))))[69:],
        "expected",
    ),
    "rates.npz": (npz(landmarks=npy(FRAMES), fps=npy(np.zeros(2))), "fps: expected one number"),
    "rate.npz": (npz(landmarks=npy(FRAMES), fps=npy(np.zeros(1))), "fps: expected a number above 0"),
    "cut.json": (b'{"landmarks": [[', "expected"),
    "bytes.json": (b"\xff\xfe\xfa", "expected"),
    "deep.json": (b"[" * 100_000, "expected"),
    "ragged.json": (b"[[[1, 2], [3]]]", r"array` of length 2, got 1 - at `\$\[0\]\[1\]"),
    "short.json": (b"[[[1, 2], [3, 4]]]", r"expected shape .*, found \(1, 2, 2\)"),
    "texts.json": (json.dumps([[["1", "2"]] * 68]).encode(), "Expected `float`, got `str`"),
    "flags.json": (json.dumps([[[True, 2]] * 68]).encode(), "Expected `float`, got `bool`"),
    "words.json": (b'{"landmarks": "here"}', "Expected `array`, got `str`"),
    "number.json": (b"7", "Expected `array`, got `int`"),
    "none.json": (b"null", "Expected `array`, got `null`"),
    "other.json": (b'{"points": []}', r'expected the field "landmarks", found \[\'points\'\]'),
    "rate.json": (b'{"fps": "25", "landmarks": []}', "fps: expected a number, found '25'"),
    "true.json": (b'{"fps": true, "landmarks": []}', "fps: expected a number"),
    "nan.json": (json.dumps(np.full((1, 68, 2), np.nan).tolist()).encode(), "not finite"),
    "large.json": (json.dumps([[[10**400, 0]] * 68]).encode(), "expected"),
    "track.csv": (b"1,2", "expected a .npy, .npz, .json file, found .csv"),
    "track": (b"", "found no extension"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_files_are_one_line_that_names_them(tmp_path, name):
    content, message = UNUSABLE[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LandmarkError, match=message) as caught:
        read_track(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(LandmarkError, match="no such file"):
        read_track(tmp_path / "a.npy")
    (tmp_path / "b.npy").mkdir()
    with pytest.raises(LandmarkError, match="is a folder"):
        read_track(tmp_path / "b.npy")


def test_files_beyond_any_track_are_not_read(tmp_path):
    path = tmp_path / "a.npy"
    with path.open("wb") as stream:
        stream.truncate(FileKind.TRACK.most + 1)  # takes no room on the disk
    with pytest.raises(LandmarkError, match="expected at most"):
        read_track(path)


def test_an_archive_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("landmarks.npy", "w") as member:
        for _ in range(FileKind.TRACK.most // (1 << 22) + 1):
            member.write(bytes(1 << 22))
    with pytest.raises(LandmarkError, match="unpacks to more than"):
        read_track(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(suffix=st.sampled_from([".npy", ".npz", ".json"]), at=st.floats(0, 1), byte=st.integers(0, 255))
def test_a_damaged_byte_is_read_or_refused(tmp_path, suffix, at, byte):
    path = tmp_path / f"a{suffix}"
    write_track(path, Track(FRAMES))
    content = bytearray(path.read_bytes())
    content[min(int(at * len(content)), len(content) - 1)] = byte
    path.write_bytes(content)
    refusal = ""
    try:
        assert read_track(path).landmarks.shape[1:] == (68, 2)
    except LandmarkError as error:
        refusal = str(error)
    assert "\n" not in refusal


# ---- places that cannot be written to ----


def test_unusable_targets(tmp_path):
    track = Track(FRAMES)
    with pytest.raises(LandmarkError, match=r"expected a name in \.npy, \.npz, \.json, found \.csv"):
        write_track(tmp_path / "a.csv", track)
    (tmp_path / "b.npy").touch()
    with pytest.raises(OutputError, match="is a file and not a folder"):
        write_track(tmp_path / "b.npy" / "a.npy", track)
    long = Track(np.zeros((20_001, 68, 2), np.float32))
    with pytest.raises(LandmarkError, match="JSON takes 20000; write"):
        write_track(tmp_path / "a.json", long)
    assert list(tmp_path.iterdir()) == [tmp_path / "b.npy"]
