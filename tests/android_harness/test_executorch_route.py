"""`--route executorch`: the bundle's .pte files in executor_runner, for which ONNX Runtime stands in."""

import json
import re
import shutil

import pytest

from bilayer.android_harness.results import read_result
from bilayer.android_harness.routes.executorch import ExecutorchBackend, find_executor_runner
from bilayer.runtime.bundle import describe_file, read_bundle
from bilayer.runtime.errors import BundleError, DeviceError, ToolMissingError
from tests.android_harness.stand_in_executor_runner import INVENTED_US
from tests.android_harness.stand_ins import PROGRAMS

FEW = ("--repeats", 3, "--warm-up", 1, "--processes", 2, "--poses", 2, "--cool-down", 0, "--no-sampler")


def with_pte(exported_folder, folder, *, vulkan=True):
    """A copy of a bundle with .pte files that only the stand-in reads."""
    shutil.copytree(exported_folder, folder)
    contract = json.loads((folder / "avatar.json").read_text())
    for role, name in {"pte_xnnpack": "avatar.xnnpack.pte", "pte_vulkan": "avatar.vulkan.pte"}.items():
        if role == "pte_xnnpack" or vulkan:
            shutil.copy(folder / "avatar.onnx", folder / name)
            file = describe_file(folder / name)
            contract["files"][role] = {"name": name, "bytes": file.bytes, "sha256": file.sha256}
    (folder / "avatar.json").write_text(json.dumps(contract))
    return folder


@pytest.fixture
def executorch(command, exported_folder, tmp_path):
    program = tmp_path / "it's a program"
    PROGRAMS.write(program, "stand_in_executor_runner.py")

    def run(name, *arguments, bundle=None, **environment):
        bundle = bundle or with_pte(exported_folder, tmp_path / "bundle")
        settings = {"SNPE_ROOT": "", "BILAYER_EXECUTOR_RUNNER": str(program)} | environment
        return command(name, bundle, "--route", "executorch", *arguments, **settings)

    return run


@pytest.mark.slow
def test_a_bench_without_an_sdk(executorch, tmp_path):
    out = tmp_path / "a.json"
    done = executorch("bench", *FEW, "--out", out)
    assert done.exit_code == 0, done.stderr
    result = read_result(out)
    assert (result.measured_on, result.tools.route, result.tools.runtime) == ("stand-in", "executorch", "stand-in")
    rows = {row.mode: row for row in result.rows}
    assert list(rows) == ["executorch-xnnpack", "executorch-vulkan"]
    assert "Backend VulkanBackend is not registered" in rows["executorch-vulkan"].missing
    full = rows["executorch-xnnpack"]
    assert (full.processes, full.latency, full.layers, full.parity.poses) == (2, None, [], 2)
    assert full.parity.worst_db > 100
    for text in (done.stdout, done.stderr, out.read_text()):
        assert not any(number in text for number in (str(INVENTED_US), "31.337", "31.34"))


def test_what_was_measured_of_another_file_is_not_gone_on_with(executorch, exported_folder, tmp_path, phone, plug_in):
    """Of either .pte: the first one stays the same."""
    bundle, out = with_pte(exported_folder, tmp_path / "one"), tmp_path / "a.json"
    arguments = ("bench", *FEW, "--out", out)
    phone.faults.unplug_on = ("< timed.txt", 2)
    assert executorch(*arguments, bundle=bundle).exit_code == 3
    session = out.with_name("a.json.partial").read_text()
    assert len(json.loads(session)["processes"]) == 1
    phone.faults.unplug_on = None
    phone.plug_in()
    plug_in()
    for change, anew in ((b"", False), (b"another", True)):
        out.with_name("a.json.partial").write_text(session)
        contract = json.loads((bundle / "avatar.json").read_text())
        with (bundle / "avatar.vulkan.pte").open("ab") as file:
            file.write(change)
        described = describe_file(bundle / "avatar.vulkan.pte")
        contract["files"]["pte_vulkan"] |= {"bytes": described.bytes, "sha256": described.sha256}
        (bundle / "avatar.json").write_text(json.dumps(contract))
        again = executorch(*arguments, bundle=bundle)
        assert again.exit_code == 0, again.stderr
        assert ("going on where it stopped: 1 of 4" in again.stderr) == (not anew)


def test_on_a_device_times_are_kept(executorch, exported_folder, tmp_path, phone, monkeypatch):
    """The same flow with the guard held open: what a device's result holds, of numbers that are invented."""
    monkeypatch.setattr("bilayer.android_harness.bench.outcome.is_android_program", lambda path: True)
    phone.environment["STAND_IN_VERSION"] = ""
    out, bundle = tmp_path / "a.json", with_pte(exported_folder, tmp_path / "one", vulkan=False)
    done = executorch("bench", *FEW, "--out", out, bundle=bundle)
    assert done.exit_code == 0, done.stderr
    (row,) = read_result(out).rows
    assert row.latency.total_ms.median == pytest.approx(INVENTED_US / 1000, abs=1e-3)
    assert row.latency.init_ms.high == INVENTED_US / 1000


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("xnnpack", "expected `Model executed successfully`, found none; is it executor_runner, built with "),
        ("vulkan", r"\(executorch-vulkan\) \w+ with .*: it printed nothing; build it with "),
    ],
)
def test_a_build_that_prints_nothing_is_told_how_to_be_built(executorch, tmp_path, phone, mode, said):
    """ExecuTorch logs nothing in Release, and in its presets for Android to logcat: found by reading its sources."""
    phone.environment["STAND_IN"] = "silent"
    done = executorch("bench", *FEW, "--mode", f"executorch-{mode}", "--out", tmp_path / "a.json")
    assert done.exit_code == 3, done.stderr
    assert re.search(said, done.stderr.splitlines()[-1]), done.stderr
    assert "-DEXECUTORCH_ENABLE_LOGGING=ON -DEXECUTORCH_PAL_DEFAULT=posix" in done.stderr.splitlines()[-1]


def test_what_goes_wrong_is_one_line(executorch, exported_folder, tmp_path):
    missing = executorch("bench", *FEW, "--out", tmp_path / "a.json", BILAYER_EXECUTOR_RUNNER="")
    assert (missing.exit_code, missing.stderr.count("\n")) == (5, 1)
    assert "no executor_runner: give --executor-runner or set $BILAYER_EXECUTOR_RUNNER" in missing.stderr
    with pytest.raises(ToolMissingError, match="nowhere: no such file"):
        find_executor_runner(tmp_path / "nowhere")
    none = executorch("bench", *FEW, "--out", tmp_path / "a.json", bundle=exported_folder)
    assert (none.exit_code, "has no .pte; export it again with bilayer-export --also pte-xn" in none.stderr) == (
        3,
        True,
    )
    with pytest.raises(BundleError):
        ExecutorchBackend(tmp_path, read_bundle(exported_folder))
    backend = ExecutorchBackend(tmp_path, read_bundle(with_pte(exported_folder, tmp_path / "two")))
    (tmp_path / "tool.log").write_text("I 00:00 Model loaded in 1.0 ms.\n")
    with pytest.raises(DeviceError, match="expected `Model executed successfully`"):
        backend.read_log(tmp_path / "tool.log")
