"""`bilayer-export` of many photos: what single exports give, whatever fails, is killed or comes twice."""

import json
import os
import pickle
import signal
from pathlib import Path

import pytest
from PIL import Image

from bilayer.export.bulk.items import find_items
from bilayer.export.bulk.run import export_many, plan_export
from bilayer.export.bulk.work import make_item
from bilayer.export.options import ExportOptions
from bilayer.model.config import DEMO_CHECKPOINT
from bilayer.runtime.errors import InputError, OutputError
from bilayer.runtime.files import stores
from bilayer.runtime.jobs.run import Workers
from tests.export.bulk.bulk_photos import CASE, NAMES, USUAL, files, finish, lines, manifest, run, start
from tests.export.endless import endless_converter, running
from tests.waiting import wait_for


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


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_converters_end_with_the_driver(folder, tmp_path, how):
    environment, notes = endless_converter(tmp_path)
    more = ("--jobs", 2, "--target", "snpe-1.32", "--refine", "none", "--no-verify")
    process = start(folder, tmp_path / "out", *more, environment=environment)
    wait_for(lambda: len([*notes.iterdir()]) == 2 or process.poll() is not None)
    process.send_signal(how)
    code, _, err = finish(process)
    assert (code, running(notes), "Traceback" in err) == (128 + how, [], False), err


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
    made = make_item(plan.waiting[0])
    assert made.status == "done", made.error
    told = json.loads((tmp_path / "out" / made.avatar).read_text())
    assert told["origin"]["checkpoint"] == DEMO_CHECKPOINT.name
    assert "lids" in told


def test_what_is_logged_of_a_photo_is_in_its_line(folder, tmp_path, caplog):
    Image.fromarray(CASE["source_image"]).save(folder / "ann.png", icc_profile=b"no profile")
    manifest(folder, NAMES[:1])
    (row,) = run(folder, tmp_path / "out").rows
    told = f"{folder / 'ann.png'}: its colour profile is damaged; colours taken as sRGB"
    assert row.warnings[0] == told
    assert told not in caplog.text
