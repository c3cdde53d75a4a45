import dataclasses
import hashlib
import io
import json
import os
import shlex
import signal
import stat
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import onnx
import pytest

from bilayer.export.convert import tools
from bilayer.export.convert.run import ConvertOptions, convert_onnx, default_target
from bilayer.export.dlc.read import read_dlc
from bilayer.runtime.errors import ConversionError, InputError, OutputError, ParityError, ToolMissingError
from tests.export.networks import avatar_like

ROOT = Path(__file__).parents[2]
TOOLS = {"snpe-1.32": "snpe-onnx-to-dlc", "qairt-sdk": "qairt-converter"}
VARIABLES = {"snpe-1.32": "SNPE_ROOT", "qairt-sdk": "QAIRT_SDK_ROOT"}
VERSIONS = {"snpe-1.32": 3, "qairt-sdk": 4}


@pytest.fixture(autouse=True)
def no_sdk(monkeypatch):
    """No SDK of the person who runs the tests."""
    for name in ("SNPE_ROOT", "QAIRT_SDK_ROOT", "QNN_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def model_path(tmp_path):
    path = tmp_path / "avatar.onnx"
    onnx.save(avatar_like(), path)
    return path


@pytest.fixture
def needs_package():
    pytest.importorskip("onnxruntime_qnn", reason="the extra [qairt] is not installed")


def install(folder, tool):
    """The stand-in as an executable of that name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / tool
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.export.stand_in_converter import main; main()"
    path.write_text(f"#!{sys.executable}\n{start}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(params=TOOLS)
def sdk(request, tmp_path, monkeypatch):
    """A target whose tool the stand-in is, on PATH."""
    folder = tmp_path / "on path"
    install(folder, TOOLS[request.param])
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_RECORD", str(tmp_path / "record"))
    return request.param


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


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
