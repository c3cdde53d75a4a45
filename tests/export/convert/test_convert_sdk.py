"""An SDK's converter, by a stand-in: how it is found and called, and what is left when it fails."""

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bilayer.export.convert import tools
from bilayer.export.convert.run import ConvertOptions, convert_onnx
from bilayer.export.dlc.read import read_dlc
from bilayer.runtime.errors import ConversionError, ParityError, ToolMissingError
from tests.export.convert.converting import TOOLS, VARIABLES, VERSIONS, files_in, install

# --- the SDKs, by a stand-in --------------------------------------------------------------------------------------


def test_an_sdk_on_path_converts(sdk, model_path, tmp_path):
    conversion = convert_onnx(model_path, tmp_path / "out.dlc", sdk)
    dlc = read_dlc(tmp_path / "out.dlc")
    assert (conversion.tool, conversion.dlc_version, dlc.version) == (TOOLS[sdk], VERSIONS[sdk], VERSIONS[sdk])
    weighted = [node for node in dlc.nodes if node.weights and node.type != "Prelu"]
    assert len(conversion.weights.layers) == len(weighted)
    assert {end.layout for end in conversion.ends[1:]} == {"NHWC" if sdk == "snpe-1.32" else "NCHW"}
    assert conversion.tool_version == ("1.32.0.555" if sdk == "snpe-1.32" else "unknown")
    assert not (tmp_path / "out.dlc.log").exists()


def test_an_sdk_is_told_what_its_manual_says(sdk, model_path, tmp_path):
    conversion = convert_onnx(model_path, tmp_path / "out.dlc", sdk)
    record = json.loads((tmp_path / "record").read_text())
    digest = hashlib.sha256(model_path.read_bytes()).hexdigest()
    expected = {
        "snpe-1.32": "-i avatar.onnx -o out.dlc --input_type pose opaque --input_encoding pose other "
        f"--model_version {digest}",
        "qairt-sdk": "--input_network avatar.onnx --output_path out.dlc",
    }[sdk]
    assert list(conversion.arguments) == [TOOLS[sdk], *expected.split()]
    assert [Path(argument).name for argument in record["arguments"]] == [
        argument.replace("out.dlc", "avatar.dlc") for argument in expected.split()
    ]
    assert record["arguments"][1] == str(model_path)
    if sdk == "snpe-1.32":
        assert read_dlc(tmp_path / "out.dlc").metadata["model-version"] == digest


@pytest.mark.parametrize("sdk", ["snpe-1.32"], indirect=True)
def test_the_older_spelling_is_used_where_the_usage_has_it(sdk, model_path, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN_ERA", "1.27")
    conversion = convert_onnx(model_path, tmp_path / "out.dlc", sdk)
    assert conversion.arguments[1:5] == ("-m", "avatar.onnx", "-d", "out.dlc")
    assert "--input_type" not in conversion.arguments


@pytest.mark.parametrize("target", TOOLS)
def test_an_sdk_under_its_variable_gets_its_environment(target, model_path, tmp_path, monkeypatch):
    root = tmp_path / "an sdk"
    install(root / "bin" / "x86_64-linux-clang", TOOLS[target])
    monkeypatch.setenv(VARIABLES[target], str(root))
    monkeypatch.setenv("PYTHONPATH", "/mine")
    monkeypatch.setenv("STAND_IN_RECORD", str(tmp_path / "record"))
    convert_onnx(model_path, tmp_path / "out.dlc", target)
    record = json.loads((tmp_path / "record").read_text())
    assert record["PATH"].startswith(f"{root}/bin/x86_64-linux-clang{os.pathsep}")
    assert record["LD_LIBRARY_PATH"].split(os.pathsep)[0] == f"{root}/lib/x86_64-linux-clang"
    assert record["PYTHONPATH"] == f"{root}/lib/python{os.pathsep}/mine"
    assert record["folder"] != str(Path.cwd())


FAILURES = {
    "fail": (ConversionError, "ended with code 7: ERROR_OP_NOT_SUPPORTED: Operation Xyz is not supported; what it"),
    "silent failure": (ConversionError, r"ended with code 1: .*: reading .*avatar\.onnx"),
    "no output": (ConversionError, "ended well but wrote no .dlc files"),
    "garbage": (ConversionError, "wrote a file that does not read back: not a .dlc file: expected a zip"),
    "truncated": (ConversionError, "wrote a file that does not read back: truncated"),
    "crash": (ConversionError, r"crashed with signal 11 \(Segmentation fault\)"),
    "other era": (ConversionError, r"wrote a DLC v[34] in place of v[34]: for .*; use the SDK of your runtime"),
    "rounded weights": (
        ParityError,
        r"Conv block0_conv1: .*weight.* by up to .*; .* changed the model, so its file was not kept",
    ),
    "lost output": (ParityError, "outputs: expected delta_uv, lf_rgb, seg, found .*so its file was not kept"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failing_sdk_leaves_the_file_of_yesterday(sdk, model_path, tmp_path, monkeypatch, failure):
    monkeypatch.setenv("STAND_IN", failure)
    target = tmp_path / "out.dlc"
    target.write_bytes(b"yesterday")
    kind, message = FAILURES[failure]
    with pytest.raises(kind, match=message) as caught:
        convert_onnx(model_path, target, sdk)
    assert str(caught.value).startswith(f"{target}: ")
    assert str(caught.value).isprintable()
    assert target.read_bytes() == b"yesterday"
    log = ["out.dlc.log"] if kind is ConversionError else []
    assert files_in(tmp_path) == ["avatar.onnx", "on path", "out.dlc", *log, "record"]
    for name in log:
        assert shlex.split((tmp_path / name).read_text().splitlines()[0])[1].endswith(TOOLS[sdk])


def test_a_failing_sdk_leaves_no_file_where_there_was_none(sdk, model_path, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN", "rounded weights")
    with pytest.raises(ParityError):
        convert_onnx(model_path, tmp_path / "out.dlc", sdk)
    assert files_in(tmp_path) == ["avatar.onnx", "on path", "record"]


def test_a_hanging_sdk_is_stopped_with_its_children(sdk, model_path, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN", "hang")
    with pytest.raises(ConversionError, match="did not end within 3 s and was stopped"):
        convert_onnx(model_path, tmp_path / "out.dlc", sdk, ConvertOptions(timeout=3.0))
    child = int((tmp_path / "record").read_text())
    for _ in range(100):
        if has_ended(child):
            break
        time.sleep(0.05)
    assert has_ended(child)


def has_ended(pid):
    """Whether it is gone, or only waits for whoever is init here."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_ctrl_c_stops_the_tool(sdk, model_path, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN", "hang")
    script = "import sys; from pathlib import Path; from bilayer.export.convert.run import convert_onnx; "
    script += "convert_onnx(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])"
    command = [sys.executable, "-c", script, model_path, tmp_path / "out.dlc", sdk]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    record = tmp_path / "record"
    while not record.exists() or not record.read_text().isdigit():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate()
    child = int(record.read_text())
    for _ in range(100):
        if has_ended(child):
            break
        time.sleep(0.05)
    assert has_ended(child)
    assert files_in(tmp_path) == ["avatar.onnx", "on path", "record"]


@pytest.mark.parametrize("target", TOOLS)
def test_without_the_sdk_the_command_is_told(target, model_path, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(ToolMissingError) as caught:
        convert_onnx(model_path, tmp_path / "out.dlc", target, ConvertOptions(place=Path("my folder")))
    message = str(caught.value)
    assert f"{TOOLS[target]} is not installed; set ${VARIABLES[target]}" in message
    command = shlex.split(message.partition("run where it is: ")[2])
    assert command[0] == TOOLS[target]
    assert command[2] == "my folder/avatar.onnx"
    assert command[4] == "my folder/out.dlc"
    assert files_in(tmp_path) == ["avatar.onnx"]


@pytest.mark.parametrize("target", TOOLS)
def test_a_variable_that_points_elsewhere_is_said(target, model_path, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLES[target], str(tmp_path))
    with pytest.raises(
        ToolMissingError, match=rf"\${VARIABLES[target]} is {tmp_path}, but .*{TOOLS[target]} is not there"
    ):
        convert_onnx(model_path, tmp_path / "out.dlc", target)


def test_a_tool_that_lost_its_mode_is_said(model_path, tmp_path, monkeypatch):
    install(tmp_path / "sdk" / "bin" / "x86_64-linux-clang", "qairt-converter").chmod(0o644)
    monkeypatch.setenv("QNN_SDK_ROOT", str(tmp_path / "sdk"))
    with pytest.raises(ToolMissingError, match=r"qairt-converter is not executable; run chmod \+x"):
        convert_onnx(model_path, tmp_path / "out.dlc", "qairt-sdk")


@pytest.mark.parametrize("target", TOOLS)
def test_a_tool_whose_interpreter_is_missing_is_said(target, model_path, tmp_path, monkeypatch):
    tool = install(tmp_path / "sdk" / "bin" / "x86_64-linux-clang", TOOLS[target])
    tool.write_text("#!/nowhere/python2.7\n")
    monkeypatch.setenv(VARIABLES[target], str(tmp_path / "sdk"))
    with pytest.raises(ToolMissingError, match=rf"{TOOLS[target]}: cannot be started: No such file"):
        convert_onnx(model_path, tmp_path / "out.dlc", target)


@pytest.mark.parametrize("sdk", ["snpe-1.32"], indirect=True)
def test_a_tool_that_cannot_even_print_its_usage_is_said(sdk, model_path, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN", "no python module")
    with pytest.raises(
        ToolMissingError, match="ended with code 1: ModuleNotFoundError: No module named 'snpe'; set up"
    ):
        convert_onnx(model_path, tmp_path / "out.dlc", sdk)


ROOTS = ("SNPE_ROOT", "QAIRT_SDK_ROOT", "QNN_SDK_ROOT")


@pytest.mark.parametrize("target", ["snpe-1.32", "qairt-sdk", "qairt", "none", "litert"])
def test_a_service_tells_at_its_start_what_an_export_would_of_its_converter(model_path, tmp_path, monkeypatch, target):
    monkeypatch.setenv("PATH", str(tmp_path))
    for variable in ROOTS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(tools, "find_spec", lambda name: None)
    if target in ("none", "litert"):
        tools.check_converter(target)
        return
    with pytest.raises(ToolMissingError, match=r"is not installed; (set|run)") as missing:
        tools.check_converter(target)
    with pytest.raises(ToolMissingError) as told:
        convert_onnx(model_path, tmp_path / "a.dlc", target)
    assert str(told.value).startswith(f"{tmp_path / 'a.dlc'}: not made: {missing.value}")
    command = [sys.executable, "-m", "bilayer.export.serve.cli", "--target", target, "--port", "0"]
    command += ["--cache", str(tmp_path / "cache")]
    if target != "qairt":  # which is installed in a process of its own
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ)
        assert (done.returncode, done.stdout) == (5, "")
        assert done.stderr == f"error: --target {target}: {missing.value}; or serve without a .dlc: --target none\n"
        assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("given", ROOTS)
def test_a_variable_that_names_no_sdk_is_told_before_anything_is_started(tmp_path, monkeypatch, given):
    for variable in ROOTS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(given, str(tmp_path))
    with pytest.raises(ToolMissingError, match=rf"\${given} is .*, but .* is not there; correct the variable"):
        tools.check_converter(tools.default_target())
