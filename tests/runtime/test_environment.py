"""A variable that is set for a moment only."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bilayer.runtime.environment import environment_default

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


def test_onnx_runtime_is_imported_in_one_place():
    imports = re.compile(r"^\s*(import|from) onnxruntime\b", re.MULTILINE)
    files = [path for room in ROOMS for path in (TOP / room).rglob("*.py")]
    found = [path.relative_to(TOP).as_posix() for path in files if imports.search(path.read_text("utf-8"))]
    assert found == ["runtime/environment.py"]
