"""`bilayer-parity` as a user runs it."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from functools import partial

import fsspec
import pytest
from click.testing import CliRunner

from bilayer.benchmarks.parity.cli import main
from bilayer.runtime.bundle import read_bundle
from tests import forked
from tests.benchmarks.avatars import copied, rewritten
from tests.export.bulk.bulk_photos import NAMES, write_photos
from tests.export.bulk.bulk_photos import run as export


@pytest.fixture(scope="module")
def bundle(case_a_folder, tmp_path_factory):
    return copied(read_bundle(case_a_folder / "avatar"), tmp_path_factory.mktemp("case_a") / "avatar")


def test_a_broken_avatar_ends_with_4_and_all_reports(bundle, tmp_path):
    flipped = rewritten(bundle, align_corners=True)
    page = tmp_path / "parity.html"
    arguments = [flipped.folder, "--quick", "--poses", "1", "--layers", "--html", page, "--json"]
    command = [sys.executable, "-m", "bilayer.benchmarks.parity.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("\n") == 1
    assert "avatar.json says align_corners True, the network was made for False" in done.stderr
    report = json.loads(done.stdout)
    assert (report["verdict"], report["poses"]) == ("broken", 1)
    assert [rung["name"] for rung in report["rungs"]] == ["onnx", "fp16-hybrid"]
    assert [rung["emulated"] for rung in report["rungs"]] == [False, True]
    assert {missing["name"] for missing in report["not_run"]} == {"trained", "dlc", "device"}
    assert report["rungs"][0]["truth"]["results"]["lf_rgb"]["psnr_db"] > 100
    text = page.read_text()
    assert text.count("<figure>") == 2
    assert text.count("<svg") == 2
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
    assert all(">fp16-hybrid</text>" in chart for chart in text.split("<svg")[1:])
    verdict, failure, picture, table = (text.index(it) for it in ("badge broken", "<li>", "<svg", "<table"))
    assert verdict < failure < picture < text.index("data:image/png") < table


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "Missing argument 'BUNDLE'"),
        (["no/such"], 3, "no such file or folder"),
        (["out", "--checkpoint", "c.safetensors"], 2, "what --photo was exported with"),
        (["out", "--between", "float64", "onnx"], 2, "layers are compared with --layers alone: leave --between away"),
        (["out", "--poses", "0"], 2, "--poses"),
        (["out", "--frames", "9"], 2, "--frames is called --poses here"),
        (["--device-mode", "fp16"], 2, "--device-mode is called --device-precision here"),
        (["out", "--device-precision", "hybrid"], 2, "'hybrid' is called 'fp16-hybrid' here"),
        (["out", "--device-precision", "float16"], 2, "'float16' is called 'fp16' here"),
        (["out", "--photo", "no.jpg"], 3, "no.jpg: no such file"),
        ([__file__, "--drive", "no.npy"], 3, "no.npy: no such file"),
    ],
)
def test_wrong_arguments(arguments, code, words):
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr


def test_help_imports_nothing_slow():
    code = "import sys; from bilayer.benchmarks.parity.cli import main; main(['--help'], standalone_mode=False); "
    code += "assert not {'torch', 'numpy', 'onnx', 'onnxruntime', 'numba'} & set(sys.modules), 'slow imports'"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--device-outputs" in shown.stdout


parity = partial(forked.run, "parity")


def test_a_folder_of_avatars_has_a_verdict_on_each(tmp_path):
    export(write_photos(tmp_path / "photos"), tmp_path / "out")
    done = parity(tmp_path / "out", "--quick", "--poses", 1, "--jobs", 1)
    assert done.returncode in (0, 4), done.stderr  # the tiny model's FP16 is what it is
    alone = json.loads(parity(tmp_path / "out" / NAMES[2], "--quick", "--poses", 1, "--json").stdout)
    texture = tmp_path / "out" / NAMES[1] / "avatar.safetensors"
    texture.write_bytes(texture.read_bytes()[:-4])
    done = parity(tmp_path / "out", "--quick", "--poses", 1, "--jobs", 2, "--json")
    assert done.returncode in (3, 4)
    assert f"failed: {NAMES[1]}/avatar.json: " in done.stderr
    rows = json.loads(done.stdout)["avatars"]
    assert [row["avatar"] for row in rows] == [f"{name}/avatar.json" for name in NAMES]
    assert rows[2]["report"] | {"failures": None} == alone | {"failures": None}
    assert parity(tmp_path / "out", "--layers").returncode == 2
    assert parity(tmp_path / "out" / NAMES[0], "--jobs", 2).returncode == 2


@pytest.fixture
def store(bundle, tmp_path):
    """Two avatars below memory://avatars, and the same in a folder."""
    memory = fsspec.filesystem("memory")
    if memory.exists("/avatars"):
        memory.rm("/avatars", recursive=True)
    for name in ("ann", "more/ben"):
        shutil.copytree(bundle.folder, tmp_path / "out" / name)
        for path in bundle.folder.iterdir():
            memory.pipe_file(f"/avatars/{name}/{path.name}", path.read_bytes())
    return memory, tmp_path / "out"


def judged(*words):
    """What the command says, in this process, where memory:// is."""
    result = CliRunner().invoke(main, [*map(str, words), "--quick", "--poses", "1", "--json"])
    return result.exit_code, result.stdout and json.loads(result.stdout), result.stderr


def same_but_named(found, place):
    """A report as JSON, whatever its avatar is called."""
    return json.loads(json.dumps(found).replace(str(place), "PLACE"))


def without_numbers(found):
    """A report of other processes, whose engines may round a sum otherwise."""
    if isinstance(found, dict):
        return {key: without_numbers(value) for key, value in found.items()}
    if isinstance(found, list):
        return [without_numbers(value) for value in found]
    return "a number" if isinstance(found, float) else found


def test_avatars_of_a_store_have_the_verdicts_of_a_folders(store, tmp_path, monkeypatch):
    _, folder = store
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    for below, jobs in (("", ("--jobs", 1)), ("/ann", ()), ("/more/ben/avatar.json", ())):
        by_url, by_path = judged(f"memory://avatars{below}", *jobs), judged(f"{folder}{below}", *jobs)
        assert by_url[0] == by_path[0], by_url[2]
        assert same_but_named(by_url[1], "memory://avatars") == same_but_named(by_path[1], folder), by_url[2]
        assert not list((tmp_path / "temporary").iterdir())
    assert [row["avatar"] for row in judged("memory://avatars", "--jobs", 1)[1]["avatars"]] == [
        "ann/avatar.json",
        "more/ben/avatar.json",
    ]


def test_what_is_wrong_with_an_avatar_of_a_store_is_told_by_its_url(store):
    memory, _ = store
    memory.pipe_file("/avatars/ann/avatar.safetensors", b"cut")
    code, _, err = judged("memory://avatars/ann")
    assert (code, err.count("\n")) == (3, 1)
    assert err.startswith("error: memory://avatars/ann/avatar.safetensors: not the file that the avatar was exported")
    memory.rm("/avatars/more/ben/avatar.preview.png")
    code, found, _ = judged("memory://avatars", "--jobs", 1)
    assert code == 3
    assert [row["verdict"] for row in found["avatars"]] == ["failed", "failed"]
    assert (
        found["avatars"][1]["reason"]
        == "memory://avatars/more/ben/avatar.preview.png: no such file; name one that is there"
    )
    contract = json.loads(memory.cat_file("/avatars/ann/avatar.json"))
    for name in ("../../secret", "..", "", "avatar.json"):
        contract["files"]["preview"]["name"] = name
        memory.pipe_file("/avatars/ann/avatar.json", json.dumps(contract).encode())
        code, _, err = judged("memory://avatars/ann")
        assert code == 3
        assert err == (
            f"error: memory://avatars/ann/avatar.json: files.{name}: expected a name in the avatar's own folder\n"
        )
    memory.pipe_file("/avatars/ann/other.json", b"{}")
    assert "found avatar.json, other.json; name the file" in judged("memory://avatars/ann")[2]


@pytest.mark.parametrize("large", [False, True])  # a contract has a megabyte at most
@pytest.mark.parametrize(
    ("name", "head", "found"),
    [
        ("avatar.onnx", b"\x08\x08\x12\x07bilayer", "is an ONNX network and not an avatar; give what lies beside it"),
        (
            "avatar.dlc",
            b"PK\x03\x04....",
            "is a .dlc or another zip archive and not an avatar; give what lies beside it",
        ),
        ("other.tflite", b"\x1c\0\0\0TFL3", "is a TensorFlow Lite network and not an avatar; give the folder"),
        ("film.mp4", b"\0\0\0\x18ftypisom", "is a video and not an avatar; give the folder"),
        (
            "me.jpg",
            b"\xff\xd8\xff\xe0....JFIF",
            "is a photo (JPEG) and not an avatar; make one of it: bilayer-export PLACE",
        ),
        ("notes.bin", b"\0\1\2", "is data and not an avatar; give the folder"),
    ],
)
def test_what_is_no_avatar_is_told_what_it_is_by_a_url_as_by_a_path(store, name, head, found, large):
    memory, folder = store
    content = head + bytes(2 << 20 if large else 0)
    (folder / "ann" / name).write_bytes(content)
    memory.pipe_file(f"/avatars/ann/{name}", content)
    for place in ("memory://avatars", f"file://{folder}", str(folder)):
        code, _, err = judged(f"{place}/ann/{name}")
        assert (code, err.count("\n")) == (3, 1)
        assert err.startswith(f"error: {place}/ann/{name}: {found}".replace("PLACE", f"{place}/ann/{name}"))
        assert ("lies beside" not in found) or err.endswith(f": {place}/ann/avatar.json\n")


@pytest.mark.parametrize(
    ("place", "code", "words"),
    [
        ("memory://nowhere", 3, "memory://nowhere: expected one .json of an avatar in it, found none"),
        ("file:///no/such", 3, "file:///no/such: "),
        ("nosuch://x", 3, "nosuch://x: Protocol not known: nosuch"),
        ("dropbox://x", 5, "dropbox://x: "),
    ],
)
def test_places_that_are_no_store_or_have_no_avatar(place, code, words):
    found, _, err = judged(place)
    assert (found, err.count("\n")) == (code, 1)
    assert err.startswith(f"error: {words}")
    assert code != 5 or "; pip install " in err


def test_a_folder_by_its_url_is_judged_on_several_processes(store):
    _, folder = store
    done = parity(f"file://{folder}", "--quick", "--poses", 1, "--jobs", 2, "--json")
    alone = parity(folder, "--quick", "--poses", 1, "--jobs", 1, "--json")
    assert done.returncode == alone.returncode, done.stderr
    by_url, by_path = json.loads(done.stdout), json.loads(alone.stdout)
    assert without_numbers(same_but_named(by_url, f"file://{folder}")) == without_numbers(
        same_but_named(by_path, folder)
    )
