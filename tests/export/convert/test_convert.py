"""Qualcomm's package makes the .dlc, or says why not; what is refused before any converter is asked."""

import dataclasses
import io
import os
import stat
import struct
import subprocess
import sys
import time
import zipfile

import onnx
import pytest

from bilayer.export.convert import tools
from bilayer.export.convert.run import ConvertOptions, convert_onnx
from bilayer.export.convert.tools import default_target
from bilayer.export.dlc.read import read_dlc
from bilayer.runtime.errors import ConversionError, InputError, OutputError, ToolMissingError
from tests.export.convert.converting import files_in

# --- the package --------------------------------------------------------------------------------------------------


def test_the_package_makes_a_file_that_anyone_may_read(needs_package, model_path, tmp_path):
    before = model_path.read_bytes()
    conversion = convert_onnx(model_path, tmp_path / "a b.dlc")
    dlc = read_dlc(tmp_path / "a b.dlc")
    assert (conversion.target, conversion.tool, conversion.dlc_version) == ("qairt", "onnxruntime-qnn", dlc.version)
    assert conversion.tool_version.endswith(f" of QAIRT {dlc.converter_version}")
    assert conversion.readable_by == dlc.readable_by
    assert conversion.weights.parameters == sum(a.size for n, a in dlc.weights.items() if not n.endswith("_alpha"))
    assert [end.name for end in conversion.ends] == ["pose", "delta_uv", "lf_rgb", "seg"]
    assert conversion.arguments[-3:] == ("avatar.onnx", ".", "36")
    assert not any(str(tmp_path) in argument for argument in conversion.arguments)
    assert stat.S_IMODE((tmp_path / "a b.dlc").stat().st_mode) == 0o666 & ~umask()
    assert files_in(tmp_path) == ["a b.dlc", "avatar.onnx"]
    assert model_path.read_bytes() == before


def umask():
    current = os.umask(0)
    os.umask(current)
    return current


def members(path):
    """Contents by name; `zipfile` refuses the zero CRCs."""
    data = path.read_bytes()
    contents = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            names, extras = struct.unpack_from("<HH", data, entry.header_offset + 26)
            start = entry.header_offset + 30 + names + extras
            contents[entry.filename] = data[start : start + entry.file_size]
    return contents


def test_the_payload_is_the_same_from_any_process(needs_package, model_path, tmp_path):
    script = "import sys; from pathlib import Path; from bilayer.export.convert.run import convert_onnx; "
    script += "convert_onnx(Path(sys.argv[1]), Path(sys.argv[2]))"
    elsewhere = tmp_path / "another folder"
    elsewhere.mkdir()
    (elsewhere / "other.onnx").write_bytes(model_path.read_bytes())
    runs = [(model_path, "1", "1", tmp_path / "a.dlc"), (elsewhere / "other.onnx", "2", "4", elsewhere / "b.dlc")]
    for source, seed, threads, target in runs:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads}
        subprocess.run([sys.executable, "-c", script, source, target], env=environment, check=True)
        time.sleep(1.1 if seed == "1" else 0)  # their timestamps count seconds
    first, second = members(runs[0][-1]), members(runs[1][-1])
    assert first.keys() == second.keys()
    assert sorted(name for name in first if first[name] != second[name]) == [
        "dlc.metadata.history.2.3.0",
        "dlc.metadata2.3.0",
    ]


def test_a_node_that_qnn_does_not_run_is_named(needs_package, model_path, tmp_path):
    model = onnx.load(model_path)
    tanh = next(node for node in model.graph.node if node.op_type == "Tanh")
    tanh.op_type = "Softsign"
    onnx.save(model, model_path)
    with pytest.raises(
        ConversionError, match=r"QNN does not run delta_uv \(Softsign\); what it printed: .*a\.dlc\.log"
    ):
        convert_onnx(model_path, tmp_path / "a.dlc")
    assert files_in(tmp_path) == ["a.dlc.log", "avatar.onnx"]
    log = (tmp_path / "a.dlc.log").read_text()
    assert "Unsupported nodes" in log
    assert "qairt_worker" in log
    assert "\x1b" not in log


def test_a_package_that_takes_too_long_is_stopped(needs_package, model_path, tmp_path):
    with pytest.raises(ConversionError, match="onnxruntime-qnn did not end within"):
        convert_onnx(model_path, tmp_path / "a.dlc", options=ConvertOptions(timeout=0.001))
    assert not (tmp_path / "a.dlc").exists()


def test_a_package_that_crashes_leaves_the_caller_alone(needs_package, model_path, tmp_path, monkeypatch):
    crash = (sys.executable, "-c", "import os, signal; print('oh'); os.kill(os.getpid(), signal.SIGSEGV)")
    package = tools.package
    changed = lambda job: dataclasses.replace(package(job), arguments=(*crash,))  # noqa: E731
    monkeypatch.setitem(convert_onnx.__globals__["_ROUTES"], "qairt", changed)
    with pytest.raises(ConversionError, match=r"onnxruntime-qnn crashed with signal 11 \(Segmentation fault\): oh"):
        convert_onnx(model_path, tmp_path / "a.dlc")


def test_without_the_package_its_command_is_told(model_path, tmp_path, monkeypatch):
    monkeypatch.setattr(tools, "find_spec", lambda name: None)
    with pytest.raises(ToolMissingError, match=r"a\.dlc: not made: onnxruntime-qnn is not installed; run: pip install"):
        convert_onnx(model_path, tmp_path / "a.dlc")
    assert files_in(tmp_path) == ["avatar.onnx"]


def test_a_package_that_does_not_load_is_as_good_as_missing(needs_package, model_path, tmp_path, monkeypatch):
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "onnxruntime_qnn.py").write_text("raise ImportError('libc.so.6: GLIBC_2.35 not found')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'shadow'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(ToolMissingError, match=r"cannot be loaded: .*GLIBC_2\.35 not found; run: pip install"):
        convert_onnx(model_path, tmp_path / "a.dlc")


# --- what is the same for all -------------------------------------------------------------------------------------


def test_messages_and_the_log_name_the_place_of_the_files(sdk, model_path, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN", "garbage")
    place, work = tmp_path / "place", tmp_path / "work"
    place.mkdir()
    work.mkdir()
    with pytest.raises(ConversionError) as caught:
        convert_onnx(model_path, work / "out.dlc", sdk, ConvertOptions(place=place))
    assert str(caught.value).startswith(f"{place / 'out.dlc'}: not made: ")
    assert str(work) not in str(caught.value)
    assert files_in(place) == ["out.dlc.log"]
    assert files_in(work) == []


def test_a_log_that_cannot_be_kept_is_left_out(sdk, model_path, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN", "garbage")
    with pytest.raises(ConversionError) as caught:
        convert_onnx(model_path, tmp_path / "out.dlc", sdk, ConvertOptions(place=model_path / "no folder"))
    assert "what it printed" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "message"), [("file/a.dlc", "file is a file and not a folder"), ("folder", "is a folder")]
)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(sdk, model_path, tmp_path, target, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=message):
        convert_onnx(model_path, tmp_path / target, sdk)
    assert not (tmp_path / "record").exists()


@pytest.mark.parametrize("content", [None, b"", b"not a model"])
def test_a_bad_model_is_refused(tmp_path, content):
    path = tmp_path / "a.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^{path}: "):
        convert_onnx(path, tmp_path / "a.dlc")
    assert not (tmp_path / "a.dlc").exists()


def test_an_unknown_target_is_refused(model_path, tmp_path):
    with pytest.raises(InputError, match=r"target: expected one of qairt, qairt-sdk, snpe-1\.32, found none"):
        convert_onnx(model_path, tmp_path / "a.dlc", "none")


@pytest.mark.parametrize(
    ("variables", "target"),
    [
        ({}, "qairt"),
        ({"SNPE_ROOT": "/a"}, "snpe-1.32"),
        ({"QAIRT_SDK_ROOT": "/a"}, "qairt-sdk"),
        ({"QNN_SDK_ROOT": "/a"}, "qairt-sdk"),
        ({"SNPE_ROOT": "/a", "QAIRT_SDK_ROOT": "/a"}, "qairt-sdk"),
        ({"SNPE_ROOT": ""}, "qairt"),
    ],
)
def test_the_default_target_is_the_sdk_that_is_set_up(variables, target):
    assert default_target(variables) == target
