"""The native runners as ARM code on the emulated phone: real adb and adbd, Android's shell, the phone's own clocks."""

import shutil
import subprocess

import pytest
from click.testing import CliRunner

from bilayer.android_harness.bench.parity import Reference
from bilayer.android_harness.bench.sampler import SamplerBench, SamplerSettings, write_sampler_inputs
from bilayer.android_harness.cli import main
from bilayer.android_harness.device.adb import Adb
from bilayer.android_harness.device.execution import SAMPLER_RUNNER
from bilayer.android_harness.device.workspace import Workspace
from bilayer.android_harness.results import read_result
from bilayer.android_harness.routes import runner_build
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.motion.poses import load_poses
from tests.android_harness.native_builds import sampler_runner
from tests.android_harness.test_ncnn_route import NCNN_DIR
from tests.android_harness.test_tier2 import COMPILER
from tests.android_harness.tier2 import phone as tier2

pytestmark = pytest.mark.slow

ONE = ("--repeats", 2, "--warm-up", 0, "--processes", 1, "--poses", 2, "--cool-down", 0)
SHARED = {"SNPE_ROOT": "", "QAIRT_SDK_ROOT": "", "QNN_SDK_ROOT": "", "BILAYER_RUNNER": "", "BILAYER_NCNN_RUNNER": ""}


@pytest.fixture(scope="module", autouse=True)
def _needs():
    reason = tier2.missing() or (None if shutil.which(COMPILER) else f"{COMPILER} is not installed")
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def phone(tmp_path_factory):
    phone = tier2.snapdragon_855(tmp_path_factory.mktemp("tier2") / "phone")
    yield phone
    phone.close()


@pytest.fixture(scope="module")
def runner(once_for_all):
    return sampler_runner("arm64", once_for_all)


@pytest.fixture(scope="module")
def ncnn_runner(tmp_path_factory):
    """The real one where ncnn is built for ARM."""
    if not NCNN_DIR:
        pytest.skip("$BILAYER_TEST_NCNN_ARM64 names no build of ncnn for 64-bit ARM")
    build = tmp_path_factory.mktemp("ncnn")
    options = [f"-DCMAKE_CXX_COMPILER={COMPILER}", "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"]
    configure = ["cmake", "-S", runner_build.NATIVE, "-B", build, f"-Dncnn_DIR={NCNN_DIR}", *options]
    for words in (configure, ["cmake", "--build", build, "--target", "bilayer-ncnn-runner"]):
        subprocess.run(list(map(str, words)), check=True, capture_output=True)
    return build / "bilayer-ncnn-runner"


def check_sampler(rows):
    kernels = {(row.kernel, row.cores) for row in rows}
    assert {("portable", "any"), ("neon", "any"), ("numba", "any"), ("neon", "big")} <= kernels
    for row in rows:
        assert (row.differing_bytes, row.frame_ms, row.held_back) == (0, None, False)
    assert {row.core_mhz for row in rows if row.cores == "big"} == {1785.6}
    assert {row.hottest_celsius for row in rows} == {38.5}  # the emulated phone's


def test_the_sampler_gives_the_python_samplers_frames(phone, exported_folder, runner, tmp_path):
    workspace, bundle = Workspace(Adb(str(phone.adb)).choose()), read_bundle(exported_folder)
    reference, poses = Reference(bundle, "numpy"), load_poses(bundle.contract.source.pose)[0][:2]
    files = write_sampler_inputs(bundle, reference, poses, "merged", tmp_path)
    workspace.sync(files | {f"bin/{SAMPLER_RUNNER}": runner})
    bench = SamplerBench(workspace, bundle, reference, SamplerSettings(runner, 2, 1), "merged")
    check_sampler(bench.measure(poses, timeout=120, keep_times=True))  # dropped: the runner finds itself emulated


def test_ncnn_from_bundle_to_report(phone, exported_folder, runner, ncnn_runner, tmp_path):
    out = tmp_path / "a.json"
    words = ["bench", exported_folder, "--route", "ncnn", *ONE, "--out", out, "--serial", phone.serial]
    settings = {"ADB": str(phone.adb), "BILAYER_RUNNER": str(runner), "BILAYER_NCNN_RUNNER": str(ncnn_runner)}
    done = CliRunner().invoke(main, list(map(str, words)), env=SHARED | settings)
    assert done.exit_code == 0, done.stderr
    result = read_result(out)
    assert (result.measured_on, result.tools.route) == ("emulated", "ncnn")
    full, half, *vulkan = result.rows
    assert (full.latency, half.latency) == (None, None)
    assert full.parity.worst_db > 100
    assert 40 < half.parity.worst_db < 80
    assert all("built without Vulkan" in row.missing for row in vulkan)
    check_sampler(result.sampler.rows)
