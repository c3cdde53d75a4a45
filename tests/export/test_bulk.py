"""`bilayer-export` of many photos: what single exports give, whatever fails, is killed or comes twice."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bilayer.export.bulk.items import find_items
from bilayer.export.bulk.run import OWN, export_many, plan_export
from bilayer.export.bulk.work import make
from bilayer.export.options import ExportOptions
from bilayer.export.pipeline import export_avatar
from bilayer.model.config import DEMO_CHECKPOINT
from bilayer.runtime.errors import InputError, OutputError
from bilayer.runtime.files import stores
from bilayer.runtime.jobs.run import Workers
from tests import forked, golden

CASE = golden.load("case_a/preproc.npz")
USUAL = ExportOptions("", checkpoint=golden.CASE_A / "runs", target="none", mask=False)
NAMES = ("ann", "ben", "cleo", "dora")


def write_photos(photos):
    """Four photos of the golden face in other light, and a manifest of them with its landmarks."""
    photos.mkdir()
    np.save(photos / "face.npy", CASE["source_landmarks"])
    for number, name in enumerate(NAMES):
        light = (CASE["source_image"].astype(np.float32) * (1 - number / 10)).astype(np.uint8)
        Image.fromarray(light).save(photos / f"{name}.png")
    manifest(photos, NAMES)
    return photos


@pytest.fixture
def folder(tmp_path):
    """Photos that a test may change."""
    return write_photos(tmp_path / "photos")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The files of each photo's avatar by an export of its own, by the photo's name."""
    place = tmp_path_factory.mktemp("alone")
    return singles(write_photos(place / "photos"), place / "out")


def manifest(photos, names, **more):
    rows = [{"photo": f"{name}.png", "landmarks": "face.npy", **more} for name in names]
    (photos / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(photos, out, workers=Workers(1), usual=USUAL, place="all.jsonl"):  # noqa: B008  # it does not change
    plan = plan_export(find_items(str(photos / place)), str(out), usual, workers, lambda: None)
    return export_many(plan, workers, lambda: None)


def start(photos, out, *more):
    command = [sys.executable, "-m", "bilayer.export", photos / "all.jsonl", "--out", out]
    command += ["--checkpoint", USUAL.checkpoint, "--target", "none", "--no-mask", *more]
    return subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def files(avatar):
    return {path.name: path.read_bytes() for path in sorted(Path(avatar).iterdir())}


def singles(photos, out):
    """Each photo's avatar by an export of its own: its files by name."""
    found = {}
    for name in NAMES:
        photo, landmarks = photos / f"{name}.png", photos / "face.npy"
        place = out / name / "avatar.dlc"
        export_avatar(
            ExportOptions(photo, place, landmarks=landmarks, checkpoint=USUAL.checkpoint, target="none", mask=False)
        )
        found[name] = files(out / name)
    return found


def lines(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_on_two_processes_each_is_what_a_single_export_gives(folder, tmp_path, alone):
    (folder / "ben.png").write_text("not a photo")
    code, told, err = finish(start(folder, tmp_path / "out", "--jobs", 2))
    assert code == 3, err
    assert "failed: ben: " in err
    assert "1 of 4 photos failed" in err
    assert "Traceback" not in err
    assert "an hour" in told
    for name in ("ann", "cleo", "dora"):
        assert files(tmp_path / "out" / name) == alone[name]
    rows = lines(tmp_path / "out")
    assert [(row["name"], row["status"]) for row in rows] == [
        ("ann", "done"),
        ("ben", "failed"),
        ("cleo", "done"),
        ("dora", "done"),
    ]
    assert "expected a photo" in rows[1]["error"]
    with Image.open(tmp_path / "out" / "contact-sheet.jpg") as sheet:
        assert sheet.width > 4 * 2 * 100


def test_a_second_run_does_what_is_left_and_what_has_changed(folder, tmp_path):
    out = tmp_path / "out"
    manifest(folder, NAMES[:2])
    assert run(folder, out).finished_before == 0
    before = {name: (out / name / "avatar.json").stat().st_mtime_ns for name in NAMES[:2]}
    manifest(folder, NAMES)
    Image.fromarray(CASE["source_image"][:, ::-1]).save(folder / "ben.png")
    report = run(folder, out)
    assert report.finished_before == 1
    assert [row.status for row in report.rows] == ["done"] * 4
    after = {name: (out / name / "avatar.json").stat().st_mtime_ns for name in NAMES[:2]}
    assert (before["ann"] == after["ann"], before["ben"] == after["ben"]) == (True, False)
    assert run(folder, out).finished_before == 4
    (out / "records" / "ann.json").write_text('{"name": "ann", "pho')  # as a disk may leave it
    (out / "cleo" / "avatar.json").unlink()
    assert run(folder, out).finished_before == 2
    assert run(folder, out, usual=ExportOptions(**vars(USUAL) | {"size": 32})).finished_before == 0


def test_the_same_photo_is_done_once(folder, tmp_path):
    (folder / "dora.png").write_bytes((folder / "ann.png").read_bytes())
    report = run(folder, tmp_path / "out")
    assert [(row.status, row.avatar) for row in report.rows] == [
        ("done", "ann/avatar.json"),
        ("done", "ben/avatar.json"),
        ("done", "cleo/avatar.json"),
        ("same", "ann/avatar.json"),
    ]
    assert not (tmp_path / "out" / "dora").exists()
    again = run(folder, tmp_path / "out")
    assert ([row.status for row in again.rows], again.finished_before) == (["done"] * 3 + ["same"], 3)
    (folder / "ann.png").write_text("no photo")
    (folder / "dora.png").write_text("no photo")
    assert [row.status for row in run(folder, tmp_path / "out").rows] == ["failed", "done", "done", "failed"]


def wait_for(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited a minute in vain")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_driver_that_was_ended_goes_on_where_it_was(folder, tmp_path, how, alone):
    out = tmp_path / "out"
    process = start(folder, out, "--jobs", 2)
    wait_for(lambda: list((out / "records").glob("*.json")) if (out / "records").is_dir() else process.poll())
    process.send_signal(how)
    assert finish(process)[0] == (-signal.SIGKILL if how == signal.SIGKILL else 128 + how)
    complete = {path.stem for path in (out / "records").glob("[!.]*.json")}
    assert all(files(out / name) == alone[name] for name in complete)
    report = run(folder, out)
    assert {row.status for row in report.rows} == {"done"}
    assert report.finished_before >= len(complete) > 0
    assert {name: files(out / name) for name in NAMES} == alone


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes as Linux shows them")
def test_a_killed_worker_loses_nothing(folder, tmp_path, alone):
    out = tmp_path / "out"
    process = start(folder, out, "--jobs", 2)
    wait_for(lambda: list((out / "records").glob("*.json")) if (out / "records").is_dir() else process.poll())
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    workers = [int(one) for task in tasks for one in (task / "children").read_text().split()]
    busy = [one for one in workers if "spawn_main" in Path(f"/proc/{one}/cmdline").read_text()]
    os.kill(busy[0], signal.SIGKILL)
    code, _, err = finish(process)
    assert code == 0, err
    assert {name: files(out / name) for name in NAMES} == alone


def test_a_full_disk_ends_the_run_and_the_next_goes_on(folder, tmp_path, monkeypatch, alone):
    out, write = tmp_path / "out", stores.write

    def full(place, content):
        if place.endswith("cleo.json"):
            raise OutputError(f"{place}: writing failed: No space left on device")
        write(place, content)

    monkeypatch.setattr(stores, "write", full)
    with pytest.raises(OutputError, match="No space left"):
        run(folder, out)
    assert not (out / "results.jsonl").exists()
    monkeypatch.undo()
    report = run(folder, out)
    assert (report.finished_before, {row.status for row in report.rows}) == (2, {"done"})
    assert {name: files(out / name) for name in NAMES} == alone


def test_stores_are_read_and_written_by_their_urls(folder, alone):
    import fsspec

    fs = fsspec.filesystem("memory")
    for path in folder.iterdir():
        fs.pipe_file(f"/in/{path.name}", path.read_bytes())
    items = find_items("memory://in/all.jsonl")
    assert items[0].photo == "memory://in/ann.png"
    for _ in range(2):
        plan = plan_export(items, "memory://out", USUAL, Workers(1), lambda: None)
        report = export_many(plan, Workers(1), lambda: None)
    assert report.finished_before == 4
    for name in NAMES:
        found = {path.rpartition("/")[2]: fs.cat_file(path) for path in fs.ls(f"/out/{name}", detail=False)}
        assert found == alone[name]
    assert len(fs.cat_file("/out/results.jsonl").splitlines()) == 4
    assert [Path(item.photo).name for item in find_items("memory://in")] == [f"{name}.png" for name in NAMES]
    with pytest.raises(InputError, match="expected photos"):
        find_items("memory://nowhere")


def test_what_is_wrong_with_a_photo_of_a_store_is_told_by_its_url(folder):
    import fsspec

    fs = fsspec.filesystem("memory")
    Image.fromarray(CASE["source_image"]).save(folder / "ann.png", icc_profile=b"no profile")
    for name, content in (("ann.png", None), ("face.npy", None), ("bad.png", b"text"), ("bad.npy", b"no points")):
        fs.pipe_file(f"/told/{name}", (folder / name).read_bytes() if content is None else content)
    rows = [("ann.png", "face.npy", "a"), ("bad.png", "face.npy", "b"), ("ann.png", "bad.npy", "c")]
    text = "".join(json.dumps({"photo": p, "landmarks": k, "name": n}) + "\n" for p, k, n in rows)
    fs.pipe_file("/told/all.jsonl", text.encode())
    plan = plan_export(find_items("memory://told/all.jsonl"), "memory://told-out", USUAL, Workers(1), lambda: None)
    fine, no_photo, no_points = export_many(plan, Workers(1), lambda: None).rows
    assert fine.warnings[0] == "memory://told/ann.png: its colour profile is damaged; colours taken as sRGB"
    assert no_photo.error.startswith("memory://told/bad.png: expected a photo")
    assert no_points.error.startswith("memory://told/bad.npy: ")


def test_a_folder_and_a_pattern_name_what_they_find(folder):
    (folder / "more" / "deep").mkdir(parents=True)
    (folder / "more" / "deep" / "ann.JPG").write_bytes(b"")
    (folder / ".hidden.png").write_bytes(b"")
    assert [item.name for item in find_items(str(folder))] == [*NAMES, "more/deep/ann"]
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


def test_names_that_only_look_like_files_of_others_have_their_own_folders(folder, tmp_path):
    rows = [("ann", "a"), ("ben", "b.json/a"), ("cleo", "a.json"), ("dora", f"a/{'b' * 250}")]
    text = "".join(json.dumps({"photo": f"{p}.png", "name": n, "landmarks": "face.npy"}) + "\n" for p, n in rows)
    (folder / "all.jsonl").write_text(text)
    assert {row.status for row in run(folder, tmp_path / "out").rows} == {"done"}
    assert run(folder, tmp_path / "out").finished_before == 4


def test_jobs_hold_no_place_of_this_machines_package(folder, tmp_path):
    usual = ExportOptions("", target="none")  # of the demo weights, which another machine has elsewhere
    plan = plan_export(find_items(str(folder / "all.jsonl")), str(tmp_path / "out"), usual, Workers(1), lambda: None)
    assert len(plan.waiting) == 4
    assert str(DEMO_CHECKPOINT.parent).encode() not in pickle.dumps(plan.waiting)
    made = make(plan.waiting[0])
    assert made.status == "done", made.error
    told = json.loads((tmp_path / "out" / made.avatar).read_text())
    assert told["origin"]["checkpoint"] == DEMO_CHECKPOINT.name
    assert "lids" in told


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "photo,face\nann.png,first", r"a\.csv, line 2: face: expected int"),
        ("a.csv", "photo,face\nann.png,0", r"a\.csv, line 2: .*face"),
        ("a.csv", "photo,rotate\nann.png,45", r"a\.csv, line 2: rotate: expected 0 or 90 or 180 or 270, found"),
        ("a.csv", "photo,colour\nann.png,red", r"a\.csv, line 2: colour: unknown"),
        ("a.csv", "photo\nann.png,ben.png", r"a\.csv, line 2: has more cells"),
        ("a.csv", "photo\n", r"a\.csv: expected a row"),
        ("a.csv", "name\nann", r"a\.csv, line 2: photo: missing"),
        ("a.csv", b"photo\n\xff.png", r"a\.csv: expected text in UTF-8"),
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
        (["PHOTOS", "--checkpoint", "PHOTOS/ann.png", "--out", "x", "--jobs", "2"], 3, "error: PHOTOS/ann.png: not a"),
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


def test_what_is_logged_of_a_photo_is_in_its_line(folder, tmp_path, caplog):
    Image.fromarray(CASE["source_image"]).save(folder / "ann.png", icc_profile=b"no profile")
    manifest(folder, NAMES[:1])
    (row,) = run(folder, tmp_path / "out").rows
    told = f"{folder / 'ann.png'}: its colour profile is damaged; colours taken as sRGB"
    assert row.warnings[0] == told
    assert told not in caplog.text
