"""Which photos a bulk export takes, where each goes, and what is told of a manifest that does not fit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bilayer.export.bulk.items import find_items, sift_items
from bilayer.export.bulk.names import with_escapes
from bilayer.export.bulk.photos import OWN
from bilayer.runtime.errors import InputError
from tests import forked
from tests.export.bulk.bulk_photos import NAMES, USUAL


def test_a_folder_and_a_pattern_name_what_they_find(folder):
    (folder / "more" / "deep").mkdir(parents=True)
    (folder / "more" / "deep" / "ann.JPG").write_bytes(b"")
    (folder / "more" / "me.jfif").write_bytes(b"")
    (folder / ".hidden.png").write_bytes(b"")
    assert [item.name for item in find_items(str(folder))] == [*NAMES, "more/deep/ann", "more/me"]
    assert [item.name for item in find_items(str(folder / "*n.png"))] == ["ann", "ben"]
    (folder / "ANN.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"would both be ann"):
        find_items(str(folder))


@pytest.mark.parametrize("out", ["avatars", ".", "deep/er"])
def test_what_a_run_of_before_left_among_the_photos_is_no_photo(folder, out):
    for name in ("ann/avatar.preview.png", "x/y/avatar.preview.png", "contact-sheet.jpg", "ann/me.png"):
        (folder / out / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / out / name).write_bytes(b"")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere/avatar.preview.png").write_bytes(b"")  # of no run of ours, for all that is known
    mine = str(Path(out, "ann/me"))
    kept = sorted([*NAMES, mine, *(["elsewhere/avatar.preview"] if out != "." else [])])
    for place in (folder, folder / "**", folder / ".." / folder.name):
        found = sorted(item.photo for item in find_items(str(place), str(folder / out)))
        assert [Path(photo).resolve().relative_to(folder).with_suffix("").as_posix() for photo in found] == kept, place


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a/b", "a//b"), "would both be a/b"),
        (("a", "./a/"), "would both be a;"),
        (("a/./b", "A/b"), "would both be "),
        (("avatar", "records"), "would be records, where the run keeps its own files"),
        (("Records/a", "b"), "would be Records/a, where"),
        (("results.jsonl", "b"), "would be results.jsonl, where"),
        (("b", "contact-sheet.jpg/c"), "would be contact-sheet.jpg/c, where"),
        (("a", "a.json/b"), "would be a.json/b, where a file of .*ann.png's avatar or record"),
        (("X/A.JSON/b/c", "x/a"), "ann.png would be X/A.JSON/b/c, where a file of .*ben.png's"),
        (("a", "a/avatar.json"), "would be a/avatar.json, where a file of .*ann.png's"),
        (("a/Avatar.preview.png/b/c", "a"), "where a file of .*ben.png's"),
        (("caf\u00e9", "cafe\u0301"), "would both be "),
        (("a", "\udcff"), "expected a name of folders, found"),
        (("a", "b" * 251), "expected a name of at most 250 bytes a folder, 900 in all, found 251 and 251"),
        (("a", "\u00e9" * 126), "found 252 and 252"),
        (("a", "/".join(["b" * 200] * 5)), "found 200 and 1004"),
    ],
)
def test_no_two_photos_share_a_folder_and_none_has_the_runs_own(folder, names, message):
    rows = [{"photo": f"{photo}.png", "name": name} for photo, name in zip(NAMES, names, strict=False)]
    (folder / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=message):
        find_items(str(folder / "all.jsonl"), own=OWN)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "photo,face\nann.png,first", r"a\.csv, line 2: face: expected int"),
        ("a.csv", "photo,face\nann.png,0", r"a\.csv, line 2: .*face"),
        ("a.csv", "photo,rotate\nann.png,45", r"a\.csv, line 2: rotate: expected 0 or 90 or 180 or 270, found"),
        ("a.csv", "photo,colour\nann.png,red", r"a\.csv, line 2: colour: unknown"),
        ("a.csv", "photo\nann.png,ben.png", r"a\.csv, line 2: has more cells"),
        ("a.csv", "photo\n", r"a\.csv: expected a row"),
        ("a.csv", "name\nann", r"a\.csv, line 1: expected names of columns, photo among them, found name; docs"),
        ("a.csv", "Photo,name\na.png,ann", r"a\.csv, line 1: expected .* found Photo, name; "),
        ("a.csv", "photo;name\na.png;ann", r"a\.csv, line 1: expected .* found photo;name; "),
        ("a.csv", "photo,name\n,ann", r"a\.csv, line 2: photo: missing"),
        ("a.csv", b"photo\n\xff.png", r"a\.csv: expected text in UTF-8"),
        ("a.csv", "photo,face,landmarks\na.png,1,\nb.png,1,b.npy", r"a\.csv, line 3: landmarks .*: leave face away"),
        (
            "a.jsonl",
            '{"photo": "a.png", "landmarks": "a.npy", "landmarker": "mediapipe", "face": 2}',
            r"a\.jsonl, line 1: landmarks says where the face is: leave face and landmarker away",
        ),
        (
            "a.jsonl",
            '{"photo": "a.png", "landmarks": "a.npy", "others": ["b.png"], "landmarker": "mediapipe", "face": 2}',
            r"a\.jsonl, line 1: landmarks says where the face is: leave face away",
        ),
        ("a.jsonl", '{"photo": 1}', r"a\.jsonl, line 1: photo: expected str"),
        ("a.jsonl", '{"photo": "a.png"}\n{', r"a\.jsonl, line 2: not readable as JSON"),
        ("a.jsonl", '{"photo": "a.png", "name": "../b"}', r"a\.png: expected a name of folders, found '\.\./b'"),
        ("a.jsonl", '{"photo": "a.png", "name": "/b"}', "expected a name of folders"),
        ("a.jsonl", '{"photo": "a/x.png"}\n{"photo": "b/x.png"}', "would both be x"),
        ("a.jsonl", "[]", r"a\.jsonl, line 1: expected object"),
    ],
)
def test_a_manifest_that_does_not_fit_is_told_by_line_and_field(tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        find_items(str(tmp_path / name))


def test_what_has_an_effect_beside_landmarks_is_taken(tmp_path):
    rows = [
        {"landmarks": "a.npy", "others": ["b.png"], "landmarker": "face-alignment"},
        {"landmarks": "a.npy", "rotate": 90, "face": None},
        {"others": ["b.png"], "landmarker": "mediapipe", "face": 2},
    ]
    lines = [json.dumps({"photo": "a.png", "name": str(number), **row}) for number, row in enumerate(rows)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert [item.landmarker for item in find_items(str(tmp_path / "a.jsonl"))] == ["face-alignment", None, "mediapipe"]


def test_a_csv_reads_as_a_jsonl_does(tmp_path):
    (tmp_path / "a.csv").write_text(
        "\ufeffphoto,name,face,mask,size,others,landmarks\nx/a.png,people/ann,2,false,512,b.png;s3://c/d.png,\n"
    )
    (tmp_path / "a.jsonl").write_text(
        '{"photo": "x/a.png", "name": "people/ann", "face": 2, "mask": false, "size": 512,'
        ' "others": ["b.png", "s3://c/d.png"]}\n'
    )
    one, other = find_items(str(tmp_path / "a.csv")), find_items(str(tmp_path / "a.jsonl"))
    assert one == other
    options = one[0].options(USUAL)
    assert (options.photo, options.face, options.mask, options.size) == (str(tmp_path / "x/a.png"), 2, False, 512)
    assert options.others == (str(tmp_path / "b.png"), "s3://c/d.png")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["PHOTOS", "--out", "x.dlc"], 2, "many photos need a folder"),
        (["PHOTOS", "--landmarks", "face.npy"], 2, "give them in a manifest"),
        (["PHOTOS", "--report", "a.png"], 2, "leave them out"),
        (["PHOTOS/ann.png", "--jobs", "2"], 2, "for many people"),
        (["PHOTOS/ann.png", "PHOTOS/ben.png", "--out", "memory://x"], 2, "give them in a manifest"),
        (["memory://no/ann.png", "--out", "x"], 3, "memory://no/ann.png: no such file"),
        (["PHOTOS/no.png", "--out", "memory://x"], 3, "no.png: no such file"),
        (["PHOTOS/nothing*"], 3, "expected photos"),
        (["PHOTOS", "--opset", "99", "--out", "x"], 2, "99 is not in the range 8<=x<=21"),
        (["PHOTOS", "--target", "litert", "--precision", "w8a16"], 3, "reads no integers that were chosen here"),
        (
            ["PHOTOS", "--checkpoint", "PHOTOS/ann.png", "--out", "x", "--jobs", "2"],
            3,
            "error: PHOTOS/ann.png: expected a checkpoint, found a picture (PNG)",
        ),
        (["s3://nowhere/x.jsonl", "--out", "there"], 5, "s3://nowhere/x.jsonl: Install s3fs"),
        (["PHOTOS", "--ray", "127.0.0.1:1"], 5, "ray is not installed"),
    ],
)
def test_what_does_not_go_with_many_photos_is_told(folder, tmp_path, arguments, code, message):
    if "ray" in message or "s3fs" in message:
        module = message.split()[0] if "ray" in message else "s3fs"
        try:
            __import__(module)
        except ImportError:
            pass
        else:
            pytest.skip(f"{module} is installed")
    done = forked.run("export", *(one.replace("PHOTOS", str(folder)) for one in arguments), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message.replace("PHOTOS", str(folder)) in done.stderr
    assert "Traceback" not in done.stderr


NO_UTF_8 = b"b\xe9n.png"


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system takes no such names")
@pytest.mark.parametrize("pattern", ["", "*.png", "**"])
def test_a_name_that_is_no_utf_8_is_refused_alone(folder, pattern):
    (folder / os.fsdecode(NO_UTF_8)).write_bytes((folder / "ben.png").read_bytes())
    (folder / "tab\tbed.png").write_bytes(b"")
    items, refused = sift_items(str(folder / pattern))
    assert [item.name for item in items] == [*NAMES]
    assert sorted(refused) == [str(folder / os.fsdecode(NO_UTF_8)), str(folder / "tab\tbed.png")]
    for name, told in ((r"b\xe9n", "'b\\xe9n', which is no UTF-8"), ("tab\tbed", "'tab\\tbed'")):
        way_out = "rename it, or give names in a manifest (docs/bulk.md)"
        expected = f"{folder / name}.png: expected a name of folders, found {told}; {way_out}"
        assert expected in refused.values()
    with pytest.raises(InputError, match="expected a name of folders, found"):
        find_items(str(folder / pattern))


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system takes no such names")
def test_a_run_makes_the_others_and_tells_of_a_name_that_is_no_utf_8(folder, tmp_path):
    people = tmp_path / "people"
    people.mkdir()
    (people / os.fsdecode(NO_UTF_8)).write_bytes((folder / "ben.png").read_bytes())
    (people / "none.png").write_text("not a photo")
    command = [sys.executable, "-m", "bilayer.export", people, "--out", tmp_path / "out", "--target", "none"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert f"failed: b\\xe9n: {people}/b\\xe9n.png: expected a name of folders, found" in done.stderr
    assert "error: 2 of 2 photos failed" in done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text("utf-8").splitlines()]
    assert [(row["name"], row["status"]) for row in rows] == [("none", "failed"), (r"b\xe9n", "failed")]
    assert (tmp_path / "out/contact-sheet.jpg").is_file()


@pytest.mark.parametrize(
    ("name", "written"),
    [("ann", "ann"), ("é", "é"), ("b\udce9n", r"b\xe9n"), ("\ud800", r"\ud800"), ("\udcff\ud83d", r"\udcff\ud83d")],
)
def test_any_name_can_be_written(name, written):
    assert with_escapes(name) == written
