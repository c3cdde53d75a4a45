"""A variable that is set for a moment only."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bilayer.runtime.process.environment import environment_default

TOP = Path(__file__).parents[2]
ROOMS = ("runtime", "model", "export", "training", "benchmarks", "android_harness", "bilayer")


def test_a_missing_variable_is_set_inside_and_gone_afterwards(monkeypatch):
    monkeypatch.delenv("BILAYER_X", raising=False)
    with environment_default("BILAYER_X", "1"):
        assert os.environ["BILAYER_X"] == "1"
    assert "BILAYER_X" not in os.environ
    with pytest.raises(ImportError), environment_default("BILAYER_X", "1"):
        raise ImportError
    assert "BILAYER_X" not in os.environ


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("BILAYER_X", "0")
    with environment_default("BILAYER_X", "1"):
        assert os.environ["BILAYER_X"] == "0"
    assert os.environ["BILAYER_X"] == "0"


def test_onnx_runtime_leaves_nothing_and_starts_no_telemetry(tmp_path):
    """Its telemetry writes .ses to the temporary folder and a device's identifier to the user's cache."""
    code = """
from onnx import TensorProto, helper
from bilayer.runtime.engines.onnx_runtime import make_session
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Tanh", ["x"], ["y"])], "g", ends[:1], ends[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=3)
make_session(model.SerializeToString())
"""
    homes = {name: str(tmp_path) for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | homes
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not list(tmp_path.iterdir())


def test_openvino_leaves_nothing_asks_no_host_and_starts_no_thread(tmp_path):
    """Its telemetry writes an identifier to ~/intel, and sends an event from a thread."""
    pytest.importorskip("openvino")
    code = """
import socket, sys, threading
from bilayer.runtime.process.environment import import_openvino
asked = []
socket.getaddrinfo = lambda host, *rest, **named: asked.append(host) or []
openvino = import_openvino()
print(openvino.Core().available_devices != [], threading.active_count(), "openvino_telemetry" in sys.modules, asked)
"""
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_ID")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=environment | {"HOME": str(tmp_path)}, check=True, capture_output=True, text=True
    )  # fmt: skip
    assert done.stdout == "True 1 False []\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnxruntime", "openvino"])
def test_what_has_telemetry_is_imported_in_one_place(package):
    imports = re.compile(rf"^\s*(import|from) {package}\b", re.MULTILINE)
    files = [path for room in ROOMS for path in (TOP / room).rglob("*.py")]
    found = [path.relative_to(TOP).as_posix() for path in files if imports.search(path.read_text("utf-8"))]
    assert found == ["runtime/process/environment.py"]
