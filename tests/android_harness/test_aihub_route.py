"""`bench --route aihub`: phones of Qualcomm's AI Hub; a stand-in has the calls of its client that are documented."""

import json
import shutil
import sys

import pytest
from click.testing import CliRunner

from bilayer.android_harness.cli import main
from bilayer.android_harness.report.tables import make_report
from bilayer.android_harness.results import read_result
from tests.android_harness import stand_in_qai_hub
from tests.android_harness.stand_in_qai_hub import INVENTED_US

MODES = ["aihub-tflite-gpu", "aihub-tflite-cpu", "aihub-dlc-npu"]


@pytest.fixture
def aihub(exported_folder, tmp_path, monkeypatch):
    """Runs bench without adb, SDK or account; its result, if any, is tmp_path / "a.json"."""
    monkeypatch.setitem(sys.modules, "qai_hub", stand_in_qai_hub)

    def run(
        *arguments, bundle=exported_folder, device=("--hosted-device", "Test Phone"), command="bench", **environment
    ):
        words = [
            command,
            str(bundle),
            "--route",
            "aihub",
            "--out",
            str(tmp_path / ("a.json" if command == "bench" else "frames")),
        ]
        words += [*device, *(("--poses", "2") if command == "bench" else ()), *arguments]
        return CliRunner().invoke(main, words, env={"ADB": "/nowhere", "SNPE_ROOT": "", **environment})

    return run


@pytest.mark.slow
def test_a_hosted_phone_gives_the_same_report(aihub, tmp_path):
    done = aihub()
    assert done.exit_code == 0, done.stderr
    assert "aihub-tflite-gpu: https://example.invalid/jobs/j1" in done.stderr
    result = read_result(tmp_path / "a.json")
    assert (result.measured_on, result.tools.route, result.tools.program) == ("stand-in", "aihub", "qai-hub")
    assert (result.device.model, result.device.android, result.device.soc) == (
        "Test Phone", "14", "qualcomm-snapdragon-8gen2",
    )  # fmt: skip
    rows = {row.mode: row for row in result.rows}
    assert list(rows) == MODES
    assert rows["aihub-tflite-cpu"].parity.worst_db > 100
    assert rows["aihub-tflite-cpu"].parity.poses == 2
    assert rows["aihub-dlc-npu"].missing == "the bundle has no .dlc"
    assert {row.latency for row in result.rows} == {None}
    for text in (done.stdout, done.stderr, (tmp_path / "a.json").read_text()):
        assert "31.337" not in text
        assert str(INVENTED_US) not in text


def test_on_a_phone_times_and_layers_are_kept(aihub, tmp_path, monkeypatch):
    """The same flow with a client that does not call itself a stand-in: what is read of a profile."""
    monkeypatch.setattr(stand_in_qai_hub, "__version__", "0.56.0")
    done = aihub("--mode", "aihub-tflite-cpu")
    assert done.exit_code == 0, done.stderr
    result = read_result(tmp_path / "a.json")
    assert (result.measured_on, result.why, result.tools.sdk) == ("device", [], "0.56.0")
    (row,) = result.rows
    total, init = row.latency.total_ms, row.latency.init_ms
    assert (total.low, total.median, total.high, init.median) == (31.337, 32.337, 33.337, 313.37)
    assert [(layer.name, layer.ms, layer.unit) for layer in row.layers] == [("conv", 0.7, "GPU")]
    assert "32.34 (31.34 to 33.34)" in make_report([result]).markdown()


@pytest.mark.parametrize("mode", ["no profile", "no times"])
def test_a_phone_without_times_is_refused(aihub, tmp_path, monkeypatch, mode):
    monkeypatch.setattr(stand_in_qai_hub, "__version__", "0.56.0")
    done = aihub("--mode", "aihub-tflite-cpu", STAND_IN=mode)
    assert (done.exit_code, done.exception.__class__) == (3, SystemExit), done.stderr
    assert "AI Hub: expected times of inference in the job's profile, found " in done.stderr
    assert not (tmp_path / "a.json").exists()


def test_what_goes_wrong_is_one_line(aihub, tmp_path, exported_folder, monkeypatch):
    one = ("--mode", "aihub-tflite-cpu")
    failed = aihub(*one, STAND_IN="fail")
    assert failed.exit_code == 0, failed.stderr
    assert read_result(tmp_path / "a.json").rows[0].missing == "the job failed: no such layer"
    for code, line, done in (
        (3, "layers: expected (1, 6, 64, 64) from the service, found (1, 63, 64, 6)", aihub(*one, STAND_IN="wrong")),
        (3, "layers: expected 2 arrays from the service, found 0 of []", aihub(*one, STAND_IN="no outputs")),
        (3, "AI Hub: Failed to load configuration file", aihub(*one, STAND_IN="no token")),
        (3, "Another: the service has no such phone", aihub(*one, device=("--hosted-device", "Another"))),
        (3, "--route aihub: expected --hosted-device NAME", aihub(*one, device=())),
        (
            2,
            "--route aihub: the service measures in its own way, without --repeats, --logs",
            aihub("--repeats", "7", "--logs", str(tmp_path)),
        ),
        (
            2,
            "--route aihub: the service measures in its own way, without --processes, --clean",
            aihub("--processes", "1", "--clean"),
        ),
        (3, "mode cpu: qai-hub has aihub-tflite-gpu", aihub("--mode", "cpu")),
        (2, "--route aihub: expected bench, which alone runs", aihub(command="run", device=())),
    ):
        assert (done.exit_code, done.stderr.lower().count("error: ")) == (code, 1), done.stderr
        assert line in done.stderr
    bare = tmp_path / "bare"
    shutil.copytree(exported_folder, bare)
    contract = json.loads((bare / "avatar.json").read_text())
    for name in [name for name in contract["files"] if name.startswith("tflite")]:
        del contract["files"][name]
    (bare / "avatar.json").write_text(json.dumps(contract))
    none = aihub(bundle=bare)
    assert "has no .tflite or .dlc; export it again with --also tflite" in none.stderr
    monkeypatch.setitem(sys.modules, "qai_hub", None)
    missing = aihub(*one)
    assert (missing.exit_code, "pip install 'bilayer[aihub]'" in missing.stderr) == (5, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--serial", "X"], "--serial"),
        (["--runner", sys.executable], "--runner"),
        (["--runner", sys.executable, "--serial", "X", "--timeout", "600"], "--serial, --runner, --timeout"),
        (["--no-sampler"], "--no-sampler"),
        (["--sampler-runs", "300"], "--sampler-runs"),  # the default, and yet said
    ],
)
def test_what_a_hosted_phone_cannot_be_told_is_a_usage_error(aihub, tmp_path, words, told):
    done = aihub(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"--route aihub: the service measures in its own way, without {told}; leave that out" in done.stderr
    assert not (tmp_path / "a.json").exists()


def test_what_variables_say_is_for_other_routes(aihub, tmp_path):
    done = aihub("--mode", "cpu", ANDROID_SERIAL="X", BILAYER_RUNNER=sys.executable, BILAYER_NCNN_RUNNER=sys.executable)
    assert (done.exit_code, done.stdout) == (3, "")
    assert "mode cpu: qai-hub has aihub-tflite-gpu" in done.stderr


@pytest.mark.parametrize("route", [None, "snpe", "qnn", "ncnn", "litert", "executorch", "aihub"])
@pytest.mark.parametrize(
    ("option", "of"),
    [("--ncnn-runner", "ncnn"), ("--benchmark-model", "litert"), ("--executor-runner", "executorch")],
)
@pytest.mark.parametrize("command", ["bench", "run"])
def test_a_program_of_another_route_is_a_usage_error(exported_folder, tmp_path, command, route, option, of):
    out = tmp_path / ("a.json" if command == "bench" else "frames")
    words = [command, str(exported_folder), "--out", str(out), option, sys.executable]
    environment = {"ADB": "/nowhere", "SNPE_ROOT": "", "QAIRT_SDK_ROOT": ""}
    done = CliRunner().invoke(main, [*words, *(["--route", route] if route else [])], env=environment)
    if route == of:
        assert done.exit_code != 2, done.stderr
    else:
        assert (done.exit_code, done.stdout) == (2, "")
        wanted = f"{option}: expected --route {of} with it, found {route or 'none'}"
        assert wanted in done.stderr or (command, route) == ("run", "aihub")


def test_a_sampler_that_is_left_out_has_no_settings(exported_folder, tmp_path):
    for words in (["--runner", sys.executable], ["--sampler-runs", "5"]):
        given = ["bench", str(exported_folder), "--out", str(tmp_path / "a.json"), "--no-sampler", *words]
        done = CliRunner().invoke(main, given, env={"BILAYER_RUNNER": "/x"})
        assert (done.exit_code, done.stdout) == (2, "")
        assert "--no-sampler times none" in done.stderr
