"""Forks of one process that has loaded the converter's package, in place of processes of their own."""

import gc
import os
import signal
from pathlib import Path

import onnx
import pytest

from bilayer.export.convert.host import PackageHost
from bilayer.export.convert.run import ConvertOptions, convert_onnx
from bilayer.runtime.errors import ConversionError, ToolMissingError

pytestmark = pytest.mark.usefixtures("needs_package")
NETWORK = "avatar.onnx"


@pytest.fixture
def host():
    return PackageHost()


def test_a_fork_writes_the_bytes_of_a_process_of_its_own(host, model_path, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    expected = convert_onnx(model_path, tmp_path / "alone.dlc")
    for number in range(2):
        found = convert_onnx(model_path, tmp_path / f"{number}.dlc", options=ConvertOptions(host=host))
        assert (tmp_path / f"{number}.dlc").read_bytes() == (tmp_path / "alone.dlc").read_bytes()
        assert found.arguments == expected.arguments


def test_what_a_fork_prints_is_kept_and_the_next_one_converts(host, model_path, tmp_path):
    model = onnx.load(model_path)
    next(node for node in model.graph.node if node.op_type == "Tanh").op_type = "Softsign"
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(ConversionError, match=r"QNN does not run delta_uv \(Softsign\); what it printed: .*odd\.dlc"):
        convert_onnx(tmp_path / "odd.onnx", tmp_path / "odd.dlc", options=ConvertOptions(host=host))
    assert "Unsupported nodes" in (tmp_path / "odd.dlc.log").read_text()
    before = host.pid
    convert_onnx(model_path, tmp_path / "good.dlc", options=ConvertOptions(host=host))
    assert host.pid == before


def test_a_fork_that_takes_too_long_is_stopped_and_the_next_one_converts(host, model_path, tmp_path):
    with pytest.raises(ConversionError, match="onnxruntime-qnn did not end within"):
        convert_onnx(model_path, tmp_path / "a.dlc", options=ConvertOptions(host=host, timeout=0.001))
    convert_onnx(model_path, tmp_path / "a.dlc", options=ConvertOptions(host=host))


def test_a_fork_that_crashes_is_gone_alone(host, tmp_path):
    log = tmp_path / "log"
    log.touch()
    os.mkfifo(tmp_path / NETWORK)  # nobody writes it: the fork waits
    fork = host.start((str(tmp_path / NETWORK), str(tmp_path), "36"), log)
    os.kill(fork.pid, signal.SIGSEGV)
    assert fork.wait(60) == -signal.SIGSEGV
    (tmp_path / NETWORK).unlink()
    again = host.start((str(tmp_path / NETWORK), str(tmp_path), "36"), log)
    assert again.wait(60) == 1
    assert NETWORK in log.read_text()


def test_a_host_that_was_killed_begins_again(host, model_path, tmp_path):
    convert_onnx(model_path, tmp_path / "a.dlc", options=ConvertOptions(host=host))
    os.kill(host.pid, signal.SIGKILL)
    convert_onnx(model_path, tmp_path / "b.dlc", options=ConvertOptions(host=host))


def test_a_host_that_is_killed_with_a_fork_at_work_fails_that_one(host, tmp_path):
    os.mkfifo(tmp_path / NETWORK)  # nobody writes it: the fork waits
    (tmp_path / "log").touch()
    fork = host.start((str(tmp_path / NETWORK), str(tmp_path), "36"), tmp_path / "log")
    os.kill(host.pid, signal.SIGKILL)
    assert fork.wait(60) == -signal.SIGKILL
    assert fork.poll() == -signal.SIGKILL


def test_a_package_that_does_not_load_is_as_good_as_missing(host, model_path, tmp_path, monkeypatch):
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "onnxruntime_qnn.py").write_text("raise ImportError('libc.so.6: GLIBC_2.35 not found')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'shadow'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(ToolMissingError, match=r"cannot be loaded: .*GLIBC_2\.35 not found; run: pip install"):
        convert_onnx(model_path, tmp_path / "a.dlc", options=ConvertOptions(host=host))


def test_its_process_goes_with_it(tmp_path):
    (tmp_path / "log").touch()
    host = PackageHost()
    host.start((str(tmp_path / NETWORK), str(tmp_path), "36"), tmp_path / "log").wait(60)
    process = Path(f"/proc/{host.pid}")
    assert process.is_dir()
    del host
    gc.collect()
    assert not process.exists()
