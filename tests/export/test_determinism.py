"""The same photo, checkpoint and options give the same bytes, whatever else is another: the table of docs/export.md."""

import importlib.util
import os
import re
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bilayer.export.dlc.stamp import source_date, stamped
from bilayer.runtime.errors import DlcError, InputError
from tests import golden
from tests.export import dlc_writer, networks
from tests.runtime.conftest import CASE

DOCS = Path(__file__).parents[2] / "docs" / "export.md"
SUFFIXES = (".onnx", ".safetensors", ".preview.png", ".dlc", ".json")
WHEN = 1_700_000_000
# What is another from one export to the next, by the table's rows
ONE = {
    "process": {},
    "hash seed": {"PYTHONHASHSEED": "1"},
    "threads": {"OMP_NUM_THREADS": "1"},
    "time zone and language": {"TZ": "UTC", "LC_ALL": "C"},
}
OTHER = {
    "process": {},
    "hash seed": {"PYTHONHASHSEED": "2"},
    "threads": {"OMP_NUM_THREADS": "2"},
    "time zone and language": {"TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8"},
}
HERE = ("folder", "time")  # the others


def export(folder, settings, target, **further):
    """A new process's export of the tiny published model: contents by suffix."""
    folder.mkdir(parents=True)
    Image.fromarray(CASE["source_image"]).save(folder / "face.png")
    np.save(folder / "face.npy", CASE["source_landmarks"])
    words = [folder / "face.png", "--checkpoint", golden.CASE_A / "runs", "--landmarks", folder / "face.npy",
             "--no-mask", "--target", target, "--out", folder / "avatar.dlc"]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    environment |= {name: value for row in settings.values() for name, value in row.items()} | further
    program = "import sys; from bilayer.export.cli import main; main(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", program, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {path.name.removeprefix("avatar"): path.read_bytes() for path in folder.glob("avatar.*")}


@pytest.fixture(scope="module")
def target():
    return "qairt" if importlib.util.find_spec("onnxruntime_qnn") else "none"


@pytest.fixture(scope="module")
def dated(tmp_path_factory, target):
    return export(tmp_path_factory.mktemp("one") / "a", ONE, target, SOURCE_DATE_EPOCH=str(WHEN))


def test_nothing_but_the_inputs_counts(dated, tmp_path, target):
    time.sleep(1.1)  # the .dlc's time counts seconds
    again = export(tmp_path / "another folder" / "ü", OTHER, target, SOURCE_DATE_EPOCH=str(WHEN))
    assert [name for name in dated if dated[name] != again.get(name)] == []
    assert set(dated) == set(again) == set(SUFFIXES if target == "qairt" else SUFFIXES[:3] + SUFFIXES[4:])


def test_without_a_date_the_converters_clock_is_all_that_differs(dated, tmp_path, target):
    if target == "none":
        pytest.skip("onnxruntime-qnn is not installed: there is no .dlc")
    found = export(tmp_path / "a", ONE, target)
    assert sorted(name for name in dated if dated[name] != found[name]) == [".dlc", ".json"]
    assert stamped(found[".dlc"], WHEN) == dated[".dlc"]
    assert len(found[".dlc"]) == len(dated[".dlc"])
    assert dated[".dlc"].count(b"2023-11-14 22:13:20 UTC") == 3
    lines = zip(dated[".json"].splitlines(), found[".json"].splitlines(), strict=True)
    assert [one.split(b":")[0].strip() for one, other in lines if one != other] == [b'"sha256"']


def test_the_table_of_the_docs_has_all_that_is_tried():
    section = DOCS.read_text("utf-8").partition("## The same bytes")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    assert [cell.strip("`") for cell in rows[0][1:]] == list(SUFFIXES)
    assert [row[0] for row in rows[2:]] == [*ONE, *HERE]
    assert {cell for row in rows[2:] for cell in row[1:]} == {"same", "same with the date", "same by the .dlc's hash"}


def test_a_time_is_changed_in_the_metadata_alone():
    text = '{"a": {"timestamp": "2026-11-27 15:52:57 UTC"}, "b": "2026-11-27 15:52:57 UTC"}'
    checked = dlc_writer.pack({"dlc.metadata2.3.0": text, "model": text})
    with pytest.raises(DlcError, match="its checksum differs"):
        stamped(checked, 0)
    data = checked.replace(zlib.crc32(text.encode()).to_bytes(4, "little"), bytes(4))  # as the library leaves them
    changed = stamped(data, 0)
    assert len(changed) == len(data)
    assert changed == data.replace(b'"timestamp": "2026-11-27 15:52:57', b'"timestamp": "1970-01-01 00:00:00', 1)
    plain = dlc_writer.v3(networks.avatar_like())
    assert stamped(plain, 0) == plain


@pytest.mark.parametrize("given", ["-1", "x", "1.5", "1e9", " 1", "253402300800", "9" * 400, "١"])
def test_a_date_that_is_none_is_told(given):
    with pytest.raises(InputError, match=re.escape("$SOURCE_DATE_EPOCH: expected whole seconds since 1970")):
        source_date({"SOURCE_DATE_EPOCH": given})


def test_dates():
    assert source_date({}) is None
    assert source_date({"SOURCE_DATE_EPOCH": ""}) is None
    assert source_date({"SOURCE_DATE_EPOCH": "253402300799"}) == 253402300799
    assert source_date({"SOURCE_DATE_EPOCH": "0"}) == 0
