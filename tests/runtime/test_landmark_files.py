import json
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bilayer.runtime.errors import LandmarkError
from bilayer.runtime.face.landmark_files import read_landmarks
from bilayer.runtime.files.reading import FileKind

POINTS = (np.arange(136).reshape(68, 2) * 1.25 + 30).astype(np.float32)


def pts(points):
    """As 300-W writes it: whole header, one point a line, the top left pixel being (1, 1)."""
    lines = "\n".join(f"{x + 1:.6f} {y + 1:.6f}" for x, y in points)
    return f"version: 1\nn_points:  {len(points)}\n{{\n{lines}\n}}\n"


def csv(points, delimiter=","):
    return "\n".join(delimiter.join(str(v) for v in row) for row in np.asarray(points).tolist())


def npy(path, array, save=np.save):
    with path.open("wb") as stream:  # np.save would add .npy to names that end otherwise
        save(stream, array)
    return path


def text(path, content):
    path.write_text(content)
    return path


def test_every_format_gives_the_same_points(tmp_path):
    files = [
        npy(tmp_path / "a.npy", POINTS.astype(np.float64)),
        npy(tmp_path / "b.NPY", POINTS),
        text(tmp_path / "a.json", json.dumps(POINTS.tolist())),
        text(tmp_path / "b.json", json.dumps({"image": "a.jpg", "landmarks": POINTS.tolist()})),
        text(tmp_path / "a.csv", csv(POINTS)),
        text(tmp_path / "b.csv", "x,y\r\n" + csv(POINTS).replace("\n", "\r\n") + "\r\n\r\n"),
        text(tmp_path / "c.csv", csv(POINTS, ";")),
        text(tmp_path / "d.csv", "\ufeff" + csv(POINTS, "\t")),
        text(tmp_path / "a.pts", pts(POINTS)),
        text(tmp_path / "b.pts", pts(POINTS).replace("\n", "\r\n")),
    ]
    for file in files:
        points = read_landmarks(str(file))
        assert points.dtype == np.float32
        np.testing.assert_allclose(points, POINTS, atol=1e-5, err_msg=file.name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(arrays(np.float32, (68, 2), elements=st.floats(-1e4, 1e4, width=32)))
def test_arrays_and_json_keep_every_bit(tmp_path, points):
    np.testing.assert_array_equal(read_landmarks(npy(tmp_path / "a.npy", points)), points)
    np.testing.assert_array_equal(read_landmarks(text(tmp_path / "a.json", json.dumps(points.tolist()))), points)


def test_whole_numbers_are_fine(tmp_path):
    np.testing.assert_array_equal(read_landmarks(npy(tmp_path / "a.npy", POINTS.astype(np.int16))), POINTS.astype(int))


HOSTILE = {
    "wrong shape": ("a.npy", lambda p: npy(p, POINTS[:67]), r"expected shape \(68, 2\), found \(67, 2\)"),
    "3d": ("a.npy", lambda p: npy(p, np.zeros((68, 3))), r"found \(68, 3\)"),
    "nan": ("a.npy", lambda p: npy(p, np.where(np.eye(68, 2, dtype=bool), np.nan, POINTS)), "point 0 is"),
    "complex": ("a.npy", lambda p: npy(p, POINTS.astype(complex)), "expected numbers, found complex128"),
    "too large for float32": ("a.npy", lambda p: npy(p, POINTS.astype(float) * 1e300), "point 0 is"),
    "pickle in npy": ("a.npy", lambda p: npy(p, np.array([{}], dtype=object)), "expected numbers, found object"),
    "bare pickle": ("a.npy", lambda p: p.write_bytes(pickle.dumps(POINTS)), "68"),
    "npz": ("a.npy", lambda p: npy(p, POINTS, np.savez), "archive"),
    "cut npy": ("a.npy", lambda p: p.write_bytes(npy(p, POINTS).read_bytes()[:200]), "68"),
    "empty npy": ("a.npy", lambda p: p.write_bytes(b""), "68"),
    "terabytes claimed": (
        "a.npy",
        lambda p: p.write_bytes(npy(p, POINTS).read_bytes().replace(b"(68, 2), }      ", b"(68000000000, 2)}")),
        "68",
    ),
    "json nan": (
        "a.json",
        lambda p: text(p, json.dumps([[float("nan"), 1]] * 68)),
        r"landmarks\[0\]\[0\]: expected a finite number, found nan",
    ),
    "json endless": (
        "a.json",
        lambda p: text(p, json.dumps([[10**400, 1]] * 68)),
        "expected a finite number, found 10",
    ),
    "json words": (
        "a.json",
        lambda p: text(p, json.dumps([[1, 2], ["a", "b"]] * 34)),
        r"landmarks\[1\]\[0\]: expected float, found 'a'",
    ),
    "json texts": ("a.json", lambda p: text(p, json.dumps([["1", "2"]] * 68)), "expected float, found '1'"),
    "json flags": ("a.json", lambda p: text(p, json.dumps([[True, 2]] * 68)), "expected float, found True"),
    "json ragged": (
        "a.json",
        lambda p: text(p, json.dumps([[1, 2]] * 67 + [[1]])),
        r"landmarks\[67\]: expected array of length 2, found \[1\]",
    ),
    "json object": (
        "a.json",
        lambda p: text(p, '{"points": []}'),
        r"expected the field \"landmarks\", found \['points'\]",
    ),
    "json number": ("a.json", lambda p: text(p, "7"), "landmarks: expected array, found 7"),
    "json null": ("a.json", lambda p: text(p, "null"), "expected"),
    "json nested": ("a.json", lambda p: text(p, "[" * 100_000), "68"),
    "json cut": ("a.json", lambda p: text(p, "[[1, 2], [3"), "68"),
    "binary json": ("a.json", lambda p: p.write_bytes(b"\xff\xfe\x00\x80"), "68"),
    "csv words": ("a.csv", lambda p: text(p, "a,b\n" * 68), "could not convert"),
    "csv short": ("a.csv", lambda p: text(p, csv(POINTS[:5])), r"found \(5, 2\)"),
    "csv inf": ("a.csv", lambda p: text(p, "1,inf\n" * 68), "point 0 is"),
    "pts headless": ("a.pts", lambda p: text(p, csv(POINTS, " ")), "version: 1"),
    "pts unclosed": ("a.pts", lambda p: text(p, pts(POINTS)[:300]), "version: 1"),
    "pts of 66": ("a.pts", lambda p: text(p, pts(POINTS[:66])), r"found \(66, 2\)"),
    "text": ("a.txt", lambda p: text(p, csv(POINTS)), "expected a .npy, .json, .csv, .pts file, found .txt"),
    "no extension": ("landmarks", lambda p: text(p, csv(POINTS)), "found no extension"),
    "large": ("a.csv", lambda p: text(p, " " * (FileKind.LANDMARKS.most + 1)), "at most"),
    "missing": ("a.npy", lambda p: None, "no such file"),
    "folder": ("a.npy", lambda p: p.mkdir(), "is a folder"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_other_files_are_refused_in_one_line_that_names_them(tmp_path, kind):
    name, make, words = HOSTILE[kind]
    path = tmp_path / name
    make(path)
    with pytest.raises(LandmarkError, match=words) as caught:
        read_landmarks(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
